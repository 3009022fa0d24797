//! A session: one client connection, from its first byte to its last.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::own::{Effect, Ended, Expect, Own};
use crate::command::{self, Class, Row};
use crate::l1::settings::Mode;
use crate::l1::{L1, Lookup, Rule};
use crate::resp::encode;
use crate::resp::request::{RequestScanner, Scanned};
use crate::upstream::clock::now_ms;
use crate::upstream::connect::open_own;
use crate::upstream::lane::Lane;
use crate::upstream::mailbox::Mailbox;
use crate::upstream::{FillKeys, Keys, Op, Pending};

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
    fn queue(&mut self, request: &[u8], repeatable: bool, op: Op) {
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
            repeatable,
            op,
        });
    }

    /// Looks reads up whose turn has come, or sends them.
    fn serve_deferred(&mut self) {
        if self.sent != self.answered || !self.own_idle() {
            return;
        }
        // With the list taken, the first is looked up at once; one that misses makes those behind it wait again.
        for read in std::mem::take(&mut self.deferred) {
            match read.captured {
                Some(captured) => self.out.extend_from_slice(&captured),
                None => self.read(&read.request, &read.keys, read.array),
            }
        }
    }

    /// Sends the reads that waited, because a later lane command is about to be sent.
    fn flush_deferred(&mut self) {
        if self.l1.knocked_out(Rule::WaitAtTail) {
            return;
        }
        for read in std::mem::take(&mut self.deferred) {
            self.misses += 1;
            self.queue(&read.request, !read.array, Op::Relay);
        }
    }

    /// A cacheable read: from L1 now, from L1 when its turn comes, or from the lane.
    fn read(&mut self, request: &[u8], keys: &[Range<usize>], array: bool) {
        let serving = self.l1_on && !self.fenced() && self.l1.serving(self.now);
        if serving && self.sent == self.answered && self.deferred.is_empty() {
            if self.answer(request, keys, array) {
                self.hits += 1;
                return;
            }
        } else if serving
            && keys.iter().all(|key| {
                self.l1.contains(
                    self.l1.hash(&request[key.clone()]),
                    &request[key.clone()],
                    self.now,
                )
            })
        {
            let captured = self.l1.knocked_out(Rule::WaitingHit).then(|| {
                let before = self.out.len();
                self.answer(request, keys, array);
                self.out.split_off(before)
            });
            self.deferred.push(Deferred {
                request: request.to_vec(),
                keys: keys.to_vec(),
                array,
                captured,
            });
            return;
        }
        self.flush_deferred();
        self.misses += 1;
        let admitted = self.l1_on
            && keys
                .iter()
                .filter(|key| self.l1.admits(self.l1.hash(&request[(*key).clone()])))
                .count()
                > 0;
        if !admitted {
            self.queue(request, !array, Op::Relay);
            return;
        }
        let keys: Vec<Box<[u8]>> = keys.iter().map(|key| request[key.clone()].into()).collect();
        self.bytes
            .extend_from_slice(b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n");
        let mut ttls = Vec::new();
        for key in &keys {
            encode::request(&mut ttls, &[b"PTTL", key]);
        }
        let epoch = self.l1.epoch();
        self.queue(
            request,
            !array,
            Op::Fill(Box::new(FillKeys { keys, array, epoch })),
        );
        self.bytes.extend_from_slice(&ttls);
    }

    /// Answers from L1, if it has every key; what it has is a snapshot, or it is not used.
    fn answer(&mut self, request: &[u8], keys: &[Range<usize>], array: bool) -> bool {
        let before = self.out.len();
        let pushes = self.l1.pushes();
        if array {
            encode::header(&mut self.out, b'*', keys.len() as u64);
        }
        for key in keys {
            let key = &request[key.clone()];
            if self
                .l1
                .get(self.l1.hash(key), key, self.now, self.resp2, &mut self.out)
                == Lookup::Miss
            {
                self.out.truncate(before);
                return false;
            }
        }
        if array && self.l1.pushes() != pushes {
            self.out.truncate(before);
            return false;
        }
        true
    }

    /// Announces a write of these keys and gives their hashes.
    fn begin_write(&self, row: &Row, request: &[u8], args: &[Range<usize>]) -> Vec<u64> {
        if !self.l1_on {
            return Vec::new();
        }
        row.key_positions(args.len())
            .filter_map(|at| args.get(at))
            .map(|key| {
                let key = &request[key.clone()];
                let hash = self.l1.hash(key);
                self.l1.begin_write(hash, key);
                hash
            })
            .collect()
    }

    fn command(&mut self, request: &[u8], args: &[Range<usize>], no_lane: bool) -> Flow {
        let Some(name) = args.first() else {
            return Flow::Done;
        };
        let row = command::find(&request[name.clone()]);
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
                    self.queue(request, false, Op::Relay);
                    return Flow::Done;
                }
                (Class::LaneWrite, Some(row)) => {
                    self.flush_deferred();
                    let keys = self.begin_write(row, request, args);
                    let keys = if let [hash] = keys[..] {
                        Keys::One(hash)
                    } else {
                        Keys::Many(keys.into())
                    };
                    self.queue(request, false, Op::Write(keys));
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

    /// Commands about the connection itself that need no upstream connection.
    fn answer_here(&mut self, class: Class, request: &[u8], args: &[Range<usize>]) -> bool {
        let arg = |at: usize| args.get(at).map(|range| &request[range.clone()]);
        match class {
            Class::Reset if args.len() == 1 => {
                self.resp2 = true;
                self.name = None;
                self.own = None;
                self.out.extend_from_slice(b"+RESET\r\n");
            }
            Class::Select
                if arg(1) == Some(self.lane.endpoint().db.to_string().as_bytes())
                    && args.len() == 2 =>
            {
                self.out.extend_from_slice(b"+OK\r\n");
            }
            Class::Client => {
                let sub = arg(1).map(<[u8]>::to_ascii_uppercase).unwrap_or_default();
                match (sub.as_slice(), args.len()) {
                    (b"REPLY", 3)
                        if arg(2).is_some_and(|mode| mode.eq_ignore_ascii_case(b"ON")) =>
                    {
                        self.out.extend_from_slice(b"+OK\r\n");
                    }
                    (b"SETINFO", 4) | (b"NO-EVICT" | b"NO-TOUCH", 3) => {
                        self.out.extend_from_slice(b"+OK\r\n");
                    }
                    (b"SETNAME", 3) => {
                        if self.remember_name(arg(2).unwrap_or_default()) {
                            self.own = None;
                            self.out.extend_from_slice(b"+OK\r\n");
                        } else {
                            let text = "ERR Client names cannot contain spaces, newlines or special characters.";
                            encode::error(&mut self.out, text);
                        }
                    }
                    (b"GETNAME", 2) => match &self.name {
                        Some(name) => encode::bulk(&mut self.out, name),
                        None => encode::nil(&mut self.out, self.resp2),
                    },
                    (b"ID", 2) => encode::header(&mut self.out, b':', self.id),
                    _ => return false,
                }
            }
            Class::Hello => return self.hello(request, args),
            _ => return false,
        }
        true
    }

    /// HELLO without AUTH, answered as the upstream would; anything unusual is the upstream's to answer.
    fn hello(&mut self, request: &[u8], args: &[Range<usize>]) -> bool {
        let resp2 = match args.get(1).map(|range| &request[range.clone()]) {
            None => self.resp2,
            Some(b"2") => true,
            Some(b"3") => false,
            Some(_) => return false,
        };
        let server = self.lane.hello();
        if args.len() > 2 || server.version.is_empty() {
            return false;
        }
        if resp2 != self.resp2 {
            self.own = None;
        }
        self.resp2 = resp2;
        encode::header(
            &mut self.out,
            if resp2 { b'*' } else { b'%' },
            if resp2 { 14 } else { 7 },
        );
        for (field, value) in [("server", &server.server), ("version", &server.version)] {
            encode::bulk(&mut self.out, field.as_bytes());
            encode::bulk(&mut self.out, value.as_bytes());
        }
        encode::bulk(&mut self.out, b"proto");
        encode::header(&mut self.out, b':', if resp2 { 2 } else { 3 });
        encode::bulk(&mut self.out, b"id");
        encode::header(&mut self.out, b':', self.id);
        for (field, value) in [("mode", &server.mode), ("role", &server.role)] {
            encode::bulk(&mut self.out, field.as_bytes());
            encode::bulk(&mut self.out, value.as_bytes());
        }
        encode::bulk(&mut self.out, b"modules");
        encode::header(&mut self.out, b'*', 0);
        true
    }

    /// Sees to it that there is an own connection, opening or open; where there can be none now, answers with the error.
    fn open_own(&mut self) -> bool {
        if self.own.is_none() {
            if let Some(error) = self.lane.unavailable() {
                encode::error(&mut self.out, &error);
                return false;
            }
            let (lane, resp2, name) = (Arc::clone(&self.lane), self.resp2, self.name.clone());
            self.own = Some(Own::new(Box::pin(async move {
                let opened =
                    open_own(lane.endpoint(), lane.settings(), !resp2, name.as_deref()).await;
                lane.attempted(opened.as_ref().map(|_| ()));
                opened
            })));
        }
        true
    }

    /// Takes a client name, empty for none; whether it is one that Redis takes.
    fn remember_name(&mut self, name: &[u8]) -> bool {
        let valid = name.iter().all(|b| (b'!'..=b'~').contains(b));
        if valid {
            self.name = (!name.is_empty()).then(|| name.to_vec());
        }
        valid
    }

    /// Queues a request on the own connection, which is there.
    fn hand_over(&mut self, request: &[u8], raw: bool, expect: Expect) {
        if raw {
            self.close_l1_for_life();
        }
        let own = self.own.as_mut().expect("the caller has opened it");
        own.send(request);
        if raw || own.raw {
            own.raw = true;
        } else {
            own.expected.push_back(expect);
        }
    }

    /// What a raw connection writes is not seen here, so nobody may be served from memory while it lives.
    fn close_l1_for_life(&mut self) {
        if self.l1_on && !self.closes_l1 {
            self.closes_l1 = true;
            self.l1.close();
        }
    }

    /// Sends a GET again whose reply is too large for the lane: here back-pressure reaches the upstream.
    fn repeat_on_own(&mut self) {
        let request = std::mem::take(&mut self.repeat);
        if self.open_own()
            && let Some(own) = &mut self.own
        {
            own.send(&request);
            own.expected.push_back(Expect::Reply(Effect::default()));
        }
    }

    /// Sends a command over the session's own connection.
    fn send_own(
        &mut self,
        row: Option<&'static Row>,
        class: Class,
        request: &[u8],
        args: &[Range<usize>],
    ) {
        if !self.open_own() {
            return;
        }
        let in_transaction = self.transaction.is_some();
        let unary = args.len() == 1;
        self.blocking = row.is_some_and(|row| row.blocking) && !in_transaction;
        let sub = args
            .get(1)
            .map(|range| request[range.clone()].to_ascii_uppercase())
            .unwrap_or_default();
        let mut effect = Effect::default();
        let mut expect = None;
        match class {
            Class::LaneWrite | Class::OwnWrite if in_transaction => {
                if let (Some(row), Some(queued)) = (row, &mut self.transaction) {
                    // Announced when EXEC is sent; until then nothing is changed.
                    let keys = row.key_positions(args.len()).filter_map(|at| args.get(at));
                    queued
                        .keys
                        .extend(keys.map(|key| self.l1.hash(&request[key.clone()])));
                }
            }
            Class::LaneWrite | Class::OwnWrite => {
                effect.keys = row
                    .map(|row| self.begin_write(row, request, args))
                    .unwrap_or_default();
            }
            Class::OwnUnknown => effect.unknown = true,
            Class::Swapdb => (effect.unknown, effect.swapped) = (true, true),
            Class::Multi if unary && !in_transaction => self.transaction = Some(Effect::default()),
            Class::Exec if unary => {
                effect = self.transaction.take().unwrap_or_default();
                for &hash in &effect.keys {
                    self.l1.begin_write_of(hash);
                }
                self.watching = false;
                expect = Some(Expect::Reply(std::mem::take(&mut effect)));
            }
            Class::Discard if unary => {
                self.transaction = None;
                self.watching = false;
                expect = Some(Expect::Reply(Effect::default()));
            }
            Class::Watch => self.watching = true,
            Class::Unwatch if !in_transaction => self.watching = false,
            Class::Subscribe if !in_transaction && args.len() > 1 => {
                expect = Some(Expect::Confirmations(
                    u32::try_from(args.len() - 1).unwrap_or(u32::MAX),
                ));
            }
            Class::Unsubscribe if !in_transaction => {
                let own = self.own.as_ref().expect("opened above");
                let all =
                    u32::try_from(own.subscribed[0].max(own.subscribed[1]).max(1)).unwrap_or(1);
                let n = if unary {
                    all
                } else {
                    u32::try_from(args.len() - 1).unwrap_or(u32::MAX)
                };
                // Without arguments the number of confirmations is the server's to know; such a session stays here.
                self.pinned |= unary;
                expect = Some(Expect::Confirmations(n));
            }
            Class::Client if [&b"TRACKING"[..], b"CACHING", b"REPLY"].contains(&sub.as_slice()) => {
                self.pinned = true;
            }
            Class::Hello
                if !in_transaction && args.len() == 2 && matches!(sub.as_slice(), b"2" | b"3") =>
            {
                expect = Some(Expect::Hello { resp2: sub == b"2" });
            }
            Class::Hello if !in_transaction && unary => {}
            Class::Select | Class::Auth | Class::Hello | Class::Subscribe | Class::Unsubscribe => {
                self.pinned = true;
            }
            Class::Reset if unary => expect = Some(Expect::Reset),
            Class::Client if sub == b"SETNAME" && args.len() == 3 => {
                self.remember_name(&request[args[2].clone()]);
                self.pinned |= in_transaction;
            }
            _ => {}
        }
        let raw = class == Class::Raw || class == Class::Client && sub == b"REPLY";
        self.pinned |= raw;
        if in_transaction
            && expect.is_none()
            && let Some(queued) = &mut self.transaction
        {
            let write = matches!(class, Class::LaneWrite | Class::OwnWrite) || effect.is_write();
            queued.merge(std::mem::take(&mut effect));
            expect = Some(Expect::Queued { write });
        }
        self.hand_over(request, raw, expect.unwrap_or(Expect::Reply(effect)));
    }

    /// Makes known what the own connection has said: fences this session, releases its writes at a marker.
    fn settle(&mut self, effect: Effect) {
        if !self.l1_on {
            return;
        }
        if effect.swapped {
            self.l1.clear_and_refuse_sent();
        }
        let mut open = 0;
        let mut release = effect.keys;
        if effect.unknown
            && !self.l1.knocked_out(Rule::Closure)
            && !self.l1.knocked_out(Rule::Marker)
        {
            self.l1.close();
            open = 1;
        }
        if self.l1.knocked_out(Rule::Marker) {
            for hash in release.drain(..) {
                self.l1.end_write(hash);
            }
        }
        self.fences_raised += 1;
        self.bytes.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
        let session = Some(Arc::clone(&self.mailbox));
        self.batch.push(Pending {
            session,
            sent: self.now,
            resp2: false,
            repeatable: false,
            op: Op::Marker { release, open },
        });
        self.submit();
    }

    /// Drives the own connection; whether anything came.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let Some(mut own) = self.own.take() else {
            return Ok(false);
        };
        let mut news = false;
        let outcome = match own.poll_send(cx) {
            Ok(Some(Err(error))) => {
                self.own_failed(&mut own, error.reason());
                return Ok(true);
            }
            Ok(outcome) => {
                news |= outcome.is_some();
                Ok(())
            }
            Err(error) => Err(error),
        };
        let mut effects = Effect::default();
        let (mut relayed, mut reset, mut protocol) = (false, false, None);
        let received = outcome.and_then(|()| {
            SCRATCH.with_borrow_mut(|scratch| {
                while self.out.len() - self.written < OUTPUT_WINDOW {
                    let Some(n) = own.poll_receive(cx, scratch)? else {
                        return Ok(());
                    };
                    relayed = true;
                    own.take(&scratch[..n], &mut self.out, |ended| match ended {
                        Ended::Reply(effect) => effects.merge(effect),
                        Ended::Reset => reset = true,
                        Ended::Hello { resp2 } => protocol = Some(resp2),
                        Ended::Nothing => {}
                    })
                    .map_err(|error| io::Error::other(error.to_string()))?;
                }
                Ok(())
            })
        });
        if relayed {
            self.settle(effects);
        }
        self.resp2 = protocol.unwrap_or(self.resp2);
        if let Err(error) = received {
            // A clean idle connection that the server closed is just forgotten; any other takes its client with it.
            if !own.is_idle() || self.pinned || self.watching || self.transaction.is_some() {
                self.release(&mut own);
                return Err(error);
            }
            return Ok(true);
        }
        if reset {
            (
                self.pinned,
                self.watching,
                self.transaction,
                self.resp2,
                self.name,
            ) = (false, false, None, true, None);
            return Ok(true);
        }
        self.blocking &= !own.expected.is_empty();
        self.own = Some(own);
        Ok(news || relayed)
    }

    /// The own connection could not be opened: what was sent there gets an error each, and nothing of it was carried out.
    fn own_failed(&mut self, own: &mut Own, reason: &str) {
        let address = &self.lane.endpoint().address;
        let error = self
            .lane
            .unavailable()
            .unwrap_or_else(|| format!("UNAVAILABLE upstream {address}: {reason}"));
        for _ in 0..own.expected.len() {
            encode::error(&mut self.out, &error);
        }
        self.release(own);
        self.closing |= own.raw || self.pinned;
        (self.watching, self.transaction, self.blocking) = (false, None, false);
    }

    /// Releases the writes whose replies will not come, behind a marker, since they may have been carried out.
    fn release(&mut self, own: &mut Own) {
        let mut effects = Effect::default();
        for expect in own.expected.drain(..) {
            if let Expect::Reply(effect) = expect {
                effects.merge(effect);
            }
        }
        if effects.is_write() {
            self.settle(effects);
        }
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
