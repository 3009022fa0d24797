//! A session: one client connection, from its first byte to its last. Here are its state and its passes; where each
//! command goes is in `route`, cacheable reads are in `reads`, what goes down the lane in `queue`, the own connection
//! in `link`, what is answered here in `here`, transactions that fit the
//! lane in `block`, MGETs with some keys missing in `partial`, and who the client is in `place`.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;

use super::forget_written;
use super::own::{Effect, Own};
use super::registry::Sessions;
use super::session::partial::Partial;
use super::settings::{Causality, Settings, Sharing};
use crate::l1::settings::Mode;
use crate::l1::{L1, Rule, Settling, Unsettled};
use crate::resp::encode;
use crate::resp::frame::{FrameWalker, Ignore};
use crate::resp::request::{RequestScanner, Scanned};
use crate::upstream::Pending;
use crate::upstream::buffers::Share;
use crate::upstream::clock::now_ms;
use crate::upstream::identity::{Identity, LaneKey};
use crate::upstream::lanes::{Lanes, Seat};
use crate::upstream::mailbox::Mailbox;

mod block;
mod here;
mod link;
mod partial;
mod place;
mod queue;
mod reads;
mod route;

/// Bytes read at a time, from the client or from an own connection.
const CHUNK: usize = 64 * 1024;
/// Unread requests above which a session that has to wait reads no further.
const INPUT_WINDOW: usize = 1 << 20;
/// A request that has grown to this and is not complete is passed on over an own connection as it comes.
const STREAMED: usize = 1 << 20;
/// Unsent bytes above which nothing more is taken in that way.
const STREAM_WINDOW: usize = 256 * 1024;
/// Unsent bytes of its lane above which a session that waits for the lane reads no further.
const LANE_WINDOW: usize = 1 << 20;
/// Replies to come above which a session reads no further, where its client is not what they wait for.
const OUTSTANDING: u64 = 64 * 1024;
/// Requests of waiting hits above which further ones do not wait but go to the lane.
const DEFERRED_WINDOW: usize = 256 * 1024;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Done,
    /// It has to wait for replies that are outstanding.
    Hold,
}

/// What CLIENT REPLY asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replies {
    On,
    Off,
    SkipNext,
}

/// A cacheable read that waits for its turn behind outstanding replies.
struct Deferred {
    request: Vec<u8>,
    keys: Vec<Range<usize>>,
    array: bool,
    silent: bool,
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
    sessions: Arc<Sessions>,
    /// The client has asked for its number, which is that of its own connection: it keeps it, and what concerns the
    /// connection goes there.
    numbered: bool,
    lanes: Arc<Lanes>,
    /// Who the client is, and its database.
    place: LaneKey,
    /// How often the upstream had let the user in when it let this client in.
    let_in: u64,
    /// On the lane of its place; none where there is no room for another lane.
    seat: Option<Seat>,
    l1: Arc<L1>,
    l1_on: bool,
    dedicated: bool,
    scripts_by_lane: bool,
    causality: Causality,
    draining: Arc<AtomicBool>,
    mailbox: Arc<Mailbox>,
    resp2: bool,
    name: Option<Vec<u8>>,
    replies: Replies,
    /// The reply of the command in hand is not for the client.
    silent: bool,
    input: Vec<u8>,
    scanner: RequestScanner,
    /// A large request is being passed on.
    streaming: Option<FrameWalker>,
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
    /// Bytes of their requests.
    deferred_bytes: usize,
    /// An MGET whose missing keys are on their way; everything behind it waits.
    partial: Option<Partial>,
    /// No further request is in hand behind the one being taken.
    last_in_hand: bool,
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
    opened: u64,
    peer: Peer,
    idle_timeout: Option<Duration>,
    /// What its buffers count for among all.
    share: Share,
}

/// Both ends of a client's connection, as CLIENT INFO shows them.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// The client's.
    pub remote: String,
    /// Ours.
    pub local: String,
}

fn is_multi(request: &[u8], args: &[Range<usize>]) -> bool {
    let [name] = args else {
        return false;
    };
    request[name.clone()].eq_ignore_ascii_case(b"MULTI")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session on `stream`; `id` is what CLIENT ID answers.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(
        stream: S,
        id: u64,
        lanes: Arc<Lanes>,
        sessions: &Arc<Sessions>,
        settings: &Settings,
        draining: Arc<AtomicBool>,
        peer: Peer,
    ) -> Self {
        let now = now_ms();
        let l1 = Arc::clone(lanes.l1());
        let place = lanes.base();
        let mailbox: Arc<Mailbox> = Arc::default();
        mailbox.heard(now);
        let mut session = Self {
            stream,
            id,
            sessions: Arc::clone(sessions),
            numbered: false,
            l1_on: l1.settings().mode == Mode::On,
            l1,
            dedicated: settings.sharing == Sharing::Dedicated,
            scripts_by_lane: settings.scripts_by_lane,
            causality: settings.causality(),
            seat: None,
            place,
            let_in: 0,
            lanes,
            draining,
            mailbox,
            resp2: true,
            name: None,
            replies: Replies::On,
            silent: false,
            input: Vec::new(),
            scanner: RequestScanner::default(),
            streaming: None,
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
            deferred_bytes: 0,
            partial: None,
            last_in_hand: false,
            own: None,
            blocking: false,
            pinned: false,
            closes_l1: false,
            watching: false,
            transaction: None,
            client_gone: false,
            closing: false,
            now,
            hits: 0,
            misses: 0,
            opened: now,
            peer,
            idle_timeout: settings.idle_timeout,
            share: Share::default(),
        };
        if !session.is_transparent() {
            session.seat = session.lanes.seat(&session.place, &Handle::current());
        }
        session
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

    /// With neither the lane's cache nor its sharing, every byte goes through as it is.
    fn is_transparent(&self) -> bool {
        self.dedicated && !self.l1_on
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
        if let Some(partial) = &mut self.partial {
            partial.arrived.append(&mut mail.out);
        } else if self.out.is_empty() {
            std::mem::swap(&mut self.out, &mut mail.out);
        } else {
            self.out.append(&mut mail.out);
        }
        self.lanes.buffers.release(&mut mail.share);
        let too_large = std::mem::take(&mut mail.too_large);
        drop(mail);
        if too_large {
            self.repeat_on_own();
        }
        self.finish_partial()?;
        if news {
            self.mailbox.room.wake();
        }
        Ok(news)
    }

    /// Goes through the requests in hand; whether any was taken.
    fn process(&mut self) -> bool {
        if self.input.is_empty() || self.closing {
            return false;
        }
        self.keep_seat();
        let input = std::mem::take(&mut self.input);
        let mut scanner = std::mem::take(&mut self.scanner);
        let mut at = 0;
        while !self.closing {
            if self.is_transparent() || self.streaming.is_some() {
                let passed = self.pass_on(&input[at..]);
                at += passed;
                if passed == 0 || at == input.len() {
                    break;
                }
                continue;
            }
            match scanner.scan(&input[at..]) {
                Ok(Scanned::Incomplete) => {
                    let held = input.len() - at;
                    let much = held >= STREAMED || held > CHUNK && self.lanes.buffers.is_over();
                    let args = (scanner.args(), scanner.announced());
                    if much && self.start_streaming(&input[at..], args) {
                        scanner.reset();
                        continue;
                    }
                    break;
                }
                Ok(Scanned::Request { end }) => {
                    self.last_in_hand = at + end == input.len();
                    if is_multi(&input[at..], scanner.args())
                        && let Some(taken) = self.take_block(&input[at..], end)
                    {
                        at += taken;
                        scanner.reset();
                        continue;
                    }
                    if self.take(&input[at..at + end], scanner.args()) == Flow::Hold {
                        break;
                    }
                    at += end;
                }
                Ok(Scanned::Inline { end, args }) => {
                    self.last_in_hand = false;
                    let parts: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                    let mut request = Vec::new();
                    encode::request(&mut request, &parts);
                    let mut inner = RequestScanner::default();
                    if parts.is_empty() {
                        self.take_blank(&input[at..at + end]);
                    } else if inner.scan(&request).is_ok()
                        && self.take(&request, inner.args()) == Flow::Hold
                    {
                        break;
                    }
                    at += end;
                }
                Err(error) => {
                    if let Some(own) = self.own.as_mut().filter(|own| own.raw) {
                        // Only the upstream knows what it has still to answer first.
                        own.send(&input[at..]);
                        at = input.len();
                    } else if self.lane_idle() && !self.own.as_ref().is_some_and(Own::awaits) {
                        if self.replies == Replies::On {
                            encode::error(&mut self.out, &format!("ERR {error}"));
                        }
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

    /// Takes one request; what it is answered with here is dropped where CLIENT REPLY asked for that.
    fn take(&mut self, request: &[u8], args: &[Range<usize>]) -> Flow {
        if self.partial.is_some() {
            return Flow::Hold;
        }
        let (before, asked) = (self.out.len(), self.replies);
        self.silent = self.take_skip();
        let flow = self.command(request, args);
        match flow {
            Flow::Hold => self.replies = asked,
            Flow::Done if self.silent => self.out.truncate(before),
            Flow::Done => {}
        }
        flow
    }

    /// A blank line or an array of nothing, which Redis counts as a command where replies are skipped.
    fn take_blank(&mut self, line: &[u8]) {
        match self.own.as_mut().filter(|own| own.raw) {
            Some(own) => own.send(line),
            None => {
                self.take_skip();
            }
        }
    }

    /// Whether the next reply is not for the client.
    fn take_skip(&mut self) -> bool {
        let silent = self.replies != Replies::On;
        if self.replies == Replies::SkipNext {
            self.replies = Replies::On;
        }
        silent
    }

    /// Turns to passing a large request on as it comes, over the own connection; false while it has to wait. Its first
    /// arguments are here, and so is the number of all.
    fn start_streaming(&mut self, request: &[u8], args: (&[Range<usize>], usize)) -> bool {
        let place = &self.place;
        let elsewhere = |own: &Own| own.is_changing() || own.key.place != *place;
        if !self.lane_idle() || self.own.as_ref().is_some_and(elsewhere) {
            return false;
        }
        self.silent = self.take_skip();
        self.expect_streamed(request, args);
        self.streaming = Some(FrameWalker::default());
        true
    }

    /// Passes on what there is room for; the bytes taken.
    fn pass_on(&mut self, bytes: &[u8]) -> usize {
        if self.is_transparent() && !self.open_own() {
            self.closing = true;
            return bytes.len();
        }
        // Where the connection is gone, the rest of the request is swallowed.
        let room = self
            .own
            .as_ref()
            .map_or(usize::MAX, |own| STREAM_WINDOW.saturating_sub(own.unsent()));
        let mut bytes = &bytes[..bytes.len().min(room)];
        if let Some(walker) = &mut self.streaming {
            match walker.walk(bytes, &mut Ignore) {
                Ok(walked) => {
                    bytes = &bytes[..walked.consumed];
                    if walked.done {
                        self.streaming = None;
                    }
                }
                // The upstream will say what is wrong with it, and close.
                Err(_) => self.pinned = true,
            }
        }
        if let Some(own) = &mut self.own {
            own.raw |= self.dedicated && !self.l1_on;
            own.send(bytes);
        }
        bytes.len()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let waiting = !(self.lane_idle() && self.own_idle()) || self.is_transparent();
        let window = if self.streaming.is_some() || self.is_transparent() {
            STREAM_WINDOW
        } else {
            INPUT_WINDOW
        };
        let full = || self.input.len() > window || self.is_held_back();
        let finishing = self.own.as_ref().is_some_and(Own::is_finishing);
        if self.client_gone || self.closing || finishing || waiting && full() {
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
                    self.mailbox.heard(self.now);
                    Ok(true)
                }
            }
        })
    }

    /// Whether the upstream takes commands slower than the client sends them. What is awaited wakes the session.
    fn is_held_back(&self) -> bool {
        let own = self.own.as_ref();
        if own.is_some_and(|own| own.unsent() > STREAM_WINDOW) {
            return true;
        }
        let awaited = self.sent - self.answered + own.map_or(0, Own::awaited) as u64;
        if awaited > OUTSTANDING && self.out.len() - self.written <= OUTPUT_WINDOW {
            return true;
        }
        let late = |seat: &Seat| seat.backlog() > LANE_WINDOW;
        // Not by what was taken: that waits for the client, who may be writing and not reading.
        self.seat.as_ref().is_some_and(late) && self.mailbox.lock().answered != self.sent
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut progress = false;
        while self.written < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]) {
                Poll::Pending => {
                    forget_written(&mut self.out, &mut self.written);
                    break;
                }
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
        } else if self.out.len() - self.written > self.lanes.settings().output_limit {
            tracing::warn!(
                session = self.id,
                "client cut off: more than output_limit was waiting for it"
            );
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(progress)
    }

    /// Everything that was sent has been carried out, and the client has the answers. A subscription owes it nothing.
    fn is_settled(&self) -> bool {
        // Of bytes that nobody looks at the end alone tells that all have come.
        let busy = |own: &Own| own.awaits() || self.is_transparent();
        let own_busy = self.own.as_ref().is_some_and(busy);
        self.lane_idle() && !own_busy && self.out.is_empty() && self.mailbox.lock().out.is_empty()
    }

    /// One pass; `None` when there is nothing more to do for now, `Some(true)` when the session is over.
    fn pass(&mut self, cx: &mut Context<'_>) -> io::Result<Option<bool>> {
        let mut progress = false;
        // While the client is far behind, its next replies stay in the mailbox, where the lane's reader sees them.
        if self.out.len() - self.written <= OUTPUT_WINDOW {
            progress |= self.take_mail()?;
        }
        self.now = now_ms();
        progress |= self.poll_own(cx);
        self.serve_deferred();
        self.closing |= self.is_locked_out();
        progress |= self.process();
        if self.poll_read(cx)? {
            progress = true;
            self.process();
        }
        self.submit();
        self.count();
        progress |= self.poll_write(cx)?;
        self.weigh();
        if self.mailbox.take_idle_check() && self.is_idle_for_too_long() {
            return Ok(Some(true));
        }
        if self.client_gone && self.blocking {
            // The server does as it would with its own client: it answers what it can at once, and gives up what waits.
            match &mut self.own {
                Some(own) if self.input.is_empty() => progress |= own.finish(),
                _ => return Ok(Some(true)),
            }
        }
        let leaving = self.closing || self.client_gone || self.draining.load(Ordering::Acquire);
        if leaving && !progress {
            if self.is_settled() {
                return Ok(Some(true));
            }
            if self.is_transparent() && self.input.is_empty() {
                progress = self.own.as_mut().is_some_and(Own::finish);
            }
        }
        Ok(progress.then_some(false))
    }

    /// Whether the upstream lets in no more whom it has let in before.
    fn is_locked_out(&self) -> bool {
        let named = matches!(self.place.identity, Identity::User(_));
        let let_in = self.let_in;
        named
            && self
                .seat
                .as_ref()
                .is_some_and(|seat| seat.locks_out(let_in))
    }

    /// Tells what its buffers hold.
    fn weigh(&mut self) {
        let own = self.own.as_ref().map_or(0, Own::held);
        let held = self.input.capacity() + self.out.capacity() + self.bytes.capacity() + own;
        self.lanes.buffers.hold(&mut self.share, held);
    }

    /// Whether the client has sent nothing for `idle_timeout` and waits for nothing.
    fn is_idle_for_too_long(&self) -> bool {
        let waits = !self.lane_idle() || !self.own_idle() || self.is_transparent();
        self.idle_timeout.is_some_and(|timeout| {
            !waits
                && u128::from(self.now.saturating_sub(self.mailbox.heard_at()))
                    > timeout.as_millis()
        })
    }

    fn count(&mut self) {
        if self.hits + self.misses > 0 {
            if let Some(seat) = self.seat.as_ref().filter(|_| self.hits > 0) {
                seat.space().note_use();
            }
            self.l1.count(
                std::mem::take(&mut self.hits),
                std::mem::take(&mut self.misses),
            );
        }
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
        // What was queued and not submitted was not carried out.
        crate::upstream::refuse(&self.l1, self.batch.drain(..), "the client is gone");
        // A write that was sent over the own connection and not answered may have been carried out.
        let effect = self.own.as_mut().map(Own::abandon).unwrap_or_default();
        if effect.rights {
            self.lanes.accepts.expire();
        }
        if self.l1_on && (effect.swapped || effect.rights) {
            self.l1.clear_and_refuse_sent();
        }
        let mut writes = Unsettled {
            hashes: effect.keys,
            ..Unsettled::default()
        };
        if effect.unknown {
            self.l1.close();
            writes.closures += 1;
        }
        writes.closures += u32::from(self.closes_l1);
        if self.l1_on && !writes.is_empty() {
            self.lanes.settle(&Settling::new(&self.l1, writes), None);
        }
        self.lanes.buffers.release(&mut self.share);
        let mut mail = self.mailbox.lock();
        mail.cut = Some("the client is gone");
        mail.out = Vec::new();
        self.lanes.buffers.release(&mut mail.share);
        drop(mail);
        self.mailbox.room.wake();
    }
}
