//! A session: one client connection, from its first byte to its last. Here are its state, its passes and where each
//! command goes; cacheable reads are in `reads`, the own connection in `route`, what is answered here in `here`.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::own::{Effect, Expect, Own};
use crate::command::{self, Class, Row};
use crate::l1::settings::Mode;
use crate::l1::{L1, Rule};
use crate::resp::downgrade::Shape;
use crate::resp::encode;
use crate::resp::request::{RequestScanner, Scanned};
use crate::upstream::clock::now_ms;
use crate::upstream::lane::Lane;
use crate::upstream::mailbox::Mailbox;
use crate::upstream::{Keys, Op, Pending};

mod here;
mod reads;
mod route;

/// Bytes read at a time, from the client or from an own connection.
const CHUNK: usize = 64 * 1024;
/// Unread requests above which a session that has to wait reads no further.
const INPUT_WINDOW: usize = 1 << 20;
/// Unsent replies above which nothing is read from an own connection.
const OUTPUT_WINDOW: usize = 256 * 1024;
/// Buffers larger than this are given back when they are empty.
const KEPT: usize = 16 * 1024;
/// Passes of one poll, after which the other sessions of the thread get their turn.
const PASSES: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// What became of a command.
enum Flow {
    Done,
    /// It has to wait for replies that are outstanding.
    Hold,
}

/// A cacheable read that waits for its turn behind outstanding replies.
struct Deferred {
    request: Vec<u8>,
    keys: Vec<Range<usize>>,
    array: bool,
    /// What L1 said when it came; used by a knock-out alone.
    captured: Option<Vec<u8>>,
}

/// See the module's header. A future that ends when the connection does.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about the connection"
)]
pub struct Session<S> {
    stream: S,
    id: u64,
    lane: Arc<Lane>,
    l1: Arc<L1>,
    l1_on: bool,
    draining: Arc<AtomicBool>,
    mailbox: Arc<Mailbox>,
    resp2: bool,
    name: Option<Vec<u8>>,
    input: Vec<u8>,
    scanner: RequestScanner,
    out: Vec<u8>,
    written: usize,
    /// Lane commands to be submitted at the end of the pass.
    bytes: Vec<u8>,
    batch: Vec<Pending>,
    /// The newest GET that was sent, while it may have to be sent again.
    repeat: Vec<u8>,
    /// The same of what is queued and not submitted.
    queued_repeat: Vec<u8>,
    sent: u64,
    answered: u64,
    fences_raised: u64,
    fences_answered: u64,
    deferred: Vec<Deferred>,
    own: Option<Own>,
    blocking: bool,
    /// State that only the own connection has; the session stays there.
    pinned: bool,
    /// Its commands are not looked at, and L1 is closed for as long as it lives.
    closes_l1: bool,
    watching: bool,
    /// Inside MULTI, with what its queued commands will change.
    transaction: Option<Effect>,
    client_gone: bool,
    closing: bool,
    now: u64,
    hits: u64,
    misses: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session on `stream`; `id` is what CLIENT ID answers.
    pub fn new(stream: S, id: u64, lane: Arc<Lane>, draining: Arc<AtomicBool>) -> Self {
        let l1 = Arc::clone(lane.l1());
        Self {
            stream,
            id,
            l1_on: l1.settings().mode == Mode::On,
            l1,
            lane,
            draining,
            mailbox: Arc::default(),
            resp2: true,
            name: None,
            input: Vec::new(),
            scanner: RequestScanner::default(),
            out: Vec::new(),
            written: 0,
            bytes: Vec::new(),
            batch: Vec::new(),
            repeat: Vec::new(),
            queued_repeat: Vec::new(),
            sent: 0,
            answered: 0,
            fences_raised: 0,
            fences_answered: 0,
            deferred: Vec::new(),
            own: None,
            blocking: false,
            pinned: false,
            closes_l1: false,
            watching: false,
            transaction: None,
            client_gone: false,
            closing: false,
            now: 0,
            hits: 0,
            misses: 0,
        }
    }

    /// Where a drain wakes the session.
    pub fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }

    fn lane_idle(&self) -> bool {
        self.sent == self.answered && self.deferred.is_empty()
    }

    fn own_idle(&self) -> bool {
        self.own.as_ref().is_none_or(Own::is_idle)
    }

    fn fenced(&self) -> bool {
        self.fences_answered < self.fences_raised && !self.l1.knocked_out(Rule::Fence)
    }

    /// Takes what the lane's reader has left; whether there was anything.
    fn take_mail(&mut self) -> io::Result<bool> {
        let mut mail = self.mailbox.lock();
        if let Some(reason) = mail.cut {
            tracing::warn!(session = self.id, reason, "client cut off");
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let news = mail.answered != self.answered || !mail.out.is_empty();
        self.answered = mail.answered;
        self.fences_answered = mail.fences;
        if self.out.is_empty() {
            std::mem::swap(&mut self.out, &mut mail.out);
        } else {
            self.out.append(&mut mail.out);
        }
        let too_large = std::mem::take(&mut mail.too_large);
        drop(mail);
        if too_large {
            self.repeat_on_own();
        }
        if news {
            self.mailbox.room.wake();
        }
        Ok(news)
    }

    fn submit(&mut self) {
        if !self.batch.is_empty() {
            let mut mail = self.mailbox.lock();
            if mail.too_large {
                // What was queued comes behind the read that has to be repeated first.
                return;
            }
            mail.submitted = self.sent;
            drop(mail);
            std::mem::swap(&mut self.repeat, &mut self.queued_repeat);
            self.lane.submit(&mut self.bytes, &mut self.batch);
        }
    }

    /// Queues a lane command; a `repeatable` one is a GET.
    fn queue(&mut self, request: &[u8], shape: Shape, repeatable: bool, op: Op) {
        self.sent += 1;
        if repeatable {
            self.queued_repeat.clear();
            self.queued_repeat.extend_from_slice(request);
        }
        self.bytes.extend_from_slice(request);
        let session = Some(Arc::clone(&self.mailbox));
        self.batch.push(Pending {
            session,
            sent: self.now,
            resp2: self.resp2,
            shape,
            repeatable,
            op,
        });
    }

    /// Announces a write of these keys and gives their hashes; `None` when they cannot be told.
    fn begin_write(&self, row: &Row, request: &[u8], args: &[Range<usize>]) -> Option<Vec<u64>> {
        let written = row.written(request, args)?;
        if !self.l1_on {
            return Some(Vec::new());
        }
        let hashes = written.map(|at| {
            let key = &request[args[at].clone()];
            let hash = self.l1.hash(key);
            self.l1.begin_write(hash, key);
            hash
        });
        Some(hashes.collect())
    }

    fn command(&mut self, request: &[u8], args: &[Range<usize>], no_lane: bool) -> Flow {
        if args.is_empty() {
            return Flow::Done;
        }
        let row = command::of(request, args);
        let shape = row.map_or(Shape::Generic, |row| row.shape(args.len()));
        let own_state = self.pinned
            || self.watching
            || self.transaction.is_some()
            || !self.own_idle()
            || no_lane;
        let class = row.map_or(Class::OwnUnknown, |row| row.class);
        if self.own.as_ref().is_some_and(Own::is_resetting) {
            return Flow::Hold;
        }
        if !own_state {
            match (class, row) {
                (Class::Get, _) if args.len() == 2 => {
                    self.read(request, &args[1..], false);
                    return Flow::Done;
                }
                (Class::Mget, _) if args.len() >= 2 => {
                    self.read(request, &args[1..], true);
                    return Flow::Done;
                }
                (Class::Get | Class::Mget | Class::LaneRead, _) => {
                    self.flush_deferred();
                    self.queue(request, shape, false, Op::Relay);
                    return Flow::Done;
                }
                (Class::LaneWrite, Some(row)) if row.written(request, args).is_some() => {
                    self.flush_deferred();
                    let keys = self.begin_write(row, request, args).unwrap_or_default();
                    let keys = if let [hash] = keys[..] {
                        Keys::One(hash)
                    } else {
                        Keys::Many(keys.into())
                    };
                    self.queue(request, shape, false, Op::Write(keys));
                    return Flow::Done;
                }
                _ => {}
            }
        }
        // Everything else changes the route or is answered here: it waits for what is outstanding on the lane.
        if !self.lane_idle() {
            return Flow::Hold;
        }
        if !own_state && self.answer_here(class, request, args) {
            return Flow::Done;
        }
        if class == Class::Quit {
            if !self.own_idle() {
                return Flow::Hold;
            }
            self.out.extend_from_slice(b"+OK\r\n");
            self.closing = true;
            return Flow::Done;
        }
        self.send_own(row, class, request, args);
        Flow::Done
    }

    /// Goes through the requests in hand; whether any was taken.
    fn process(&mut self) -> bool {
        if self.input.is_empty() || self.closing {
            return false;
        }
        let no_lane = self.lane.is_refused();
        let input = std::mem::take(&mut self.input);
        let mut scanner = std::mem::take(&mut self.scanner);
        let mut at = 0;
        while !self.closing {
            if self.own.as_ref().is_some_and(|own| own.raw) {
                if let Some(own) = &mut self.own {
                    own.send(&input[at..]);
                }
                at = input.len();
                break;
            }
            match scanner.scan(&input[at..]) {
                Ok(Scanned::Incomplete) => break,
                Ok(Scanned::Request { end }) => {
                    if let Flow::Hold = self.command(&input[at..at + end], scanner.args(), no_lane)
                    {
                        break;
                    }
                    at += end;
                }
                Ok(Scanned::Inline { end, args }) => {
                    let parts: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                    let mut request = Vec::new();
                    encode::request(&mut request, &parts);
                    let mut inner = RequestScanner::default();
                    if !parts.is_empty()
                        && inner.scan(&request).is_ok()
                        && let Flow::Hold = self.command(&request, inner.args(), no_lane)
                    {
                        break;
                    }
                    at += end;
                }
                Err(error) => {
                    if self.lane_idle() && self.own_idle() {
                        encode::error(&mut self.out, &format!("ERR {error}"));
                        self.closing = true;
                    }
                    break;
                }
            }
            scanner.reset();
        }
        self.scanner = scanner;
        self.input = input;
        self.input.drain(..at);
        if self.input.is_empty() && self.input.capacity() > KEPT {
            self.input = Vec::new();
        }
        at > 0
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.client_gone
            || self.closing
            || (self.input.len() > INPUT_WINDOW && !(self.lane_idle() && self.own_idle()))
        {
            return Ok(false);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Pending => Ok(false),
                Poll::Ready(Err(error)) => Err(error),
                Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                    self.client_gone = true;
                    Ok(true)
                }
                Poll::Ready(Ok(())) => {
                    self.input.extend_from_slice(buf.filled());
                    self.now = now_ms();
                    Ok(true)
                }
            }
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut progress = false;
        while self.written < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    self.written += n;
                    progress = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
            if self.out.capacity() > KEPT {
                self.out = Vec::new();
            }
        } else if self.out.len() - self.written > self.lane.settings().output_limit {
            tracing::warn!(
                session = self.id,
                "client cut off: more than output_limit was waiting for it"
            );
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(progress)
    }

    /// Everything that was sent has been answered, and the client has the answers. A subscription owes it nothing.
    fn is_settled(&self) -> bool {
        let own_owes = self
            .own
            .as_ref()
            .is_some_and(|own| !own.expected.is_empty());
        self.lane_idle() && !own_owes && self.out.is_empty() && self.mailbox.lock().out.is_empty()
    }

    /// One pass; `None` when there is nothing more to do for now, `Some(true)` when the session is over.
    fn pass(&mut self, cx: &mut Context<'_>) -> io::Result<Option<bool>> {
        let mut progress = false;
        // While the client is far behind, its next replies stay in the mailbox, where the lane's reader sees them.
        if self.out.len() - self.written <= OUTPUT_WINDOW {
            progress |= self.take_mail()?;
        }
        self.now = now_ms();
        progress |= self.poll_own(cx)?;
        self.serve_deferred();
        progress |= self.process();
        if self.poll_read(cx)? {
            progress = true;
            self.process();
        }
        self.submit();
        self.l1.count(
            std::mem::take(&mut self.hits),
            std::mem::take(&mut self.misses),
        );
        progress |= self.poll_write(cx)?;
        if self.client_gone && self.blocking {
            return Ok(Some(true));
        }
        let leaving = self.closing || self.client_gone || self.draining.load(Ordering::Acquire);
        if leaving && !progress && self.is_settled() {
            return Ok(Some(true));
        }
        Ok(progress.then_some(false))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Session<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let session = self.get_mut();
        session.mailbox.register(cx.waker());
        for _ in 0..PASSES {
            match session.pass(cx) {
                Ok(Some(false)) => {}
                Ok(Some(true)) | Err(_) => return Poll::Ready(()),
                Ok(None) => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S> Drop for Session<S> {
    fn drop(&mut self) {
        // A write that was sent over the own connection and not answered may have been carried out.
        let mut release = Vec::new();
        let mut open = 0;
        for expect in self.own.iter_mut().flat_map(|own| own.expected.drain(..)) {
            if let Expect::Reply(effect) = expect {
                release.extend(effect.keys);
                open = u32::from(effect.unknown).max(open);
            }
        }
        if open > 0 {
            self.l1.close();
        }
        open += u32::from(self.closes_l1);
        if self.l1_on && (open > 0 || !release.is_empty()) {
            let mut bytes = b"*1\r\n$4\r\nPING\r\n".to_vec();
            let op = Op::Marker { release, open };
            self.lane.submit(
                &mut bytes,
                &mut vec![Pending {
                    session: None,
                    sent: now_ms(),
                    resp2: false,
                    shape: Shape::Generic,
                    repeatable: false,
                    op,
                }],
            );
        }
        let mut mail = self.mailbox.lock();
        mail.cut = Some("the client is gone");
        mail.out = Vec::new();
        drop(mail);
        self.mailbox.room.wake();
    }
}
