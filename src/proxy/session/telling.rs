//! What a session tells of its commands: how long each took, by command and route, and of some what became of them.
//!
//! A command is begun when its turn comes, and is asked of L1, a lane, the session's own connection, or nobody. Commands
//! that are alike (the same one, read from the client at once, asked of the same) stand together with their number, so that
//! a pipeline costs one record and not one for each. The end of what was answered at once is the clock that is read behind
//! the flush; that of a lane's replies is when the session takes them. Both are read once a pass, for all of it.
//!
//! What is told of single operations (because they were drawn, took long or failed) is put together off that path. What a
//! lane's reader knows of them comes with the mail, as a [`Note`] for the number that the reply has among the session's.
//!
//! Not seen are commands of a session whose bytes go through as they are, and those behind MONITOR or CLIENT REPLY.

use std::ops::Range;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use super::attention::Shares;
use crate::command::{self, Row};
use crate::resp::request::{RequestScanner, Scanned};
use crate::telemetry::Telemetry;
use crate::telemetry::durations::{Label, Recorder, Route};
use crate::telemetry::operation::{Context, Key, Operation, Why};
use crate::upstream::lanes::Lanes;
use crate::upstream::mailbox::{Note, first_word};

mod asks;
mod recording;

pub(in crate::proxy) use asks::Ask;
use asks::{Asks, Told};

/// Kinds of commands answered at once that are kept apart in one pass.
const KINDS: usize = 8;

/// Commands answered at once, of one kind.
#[derive(Debug, Clone, Copy)]
struct Done {
    label: Label,
    route: Route,
    began: u64,
    count: u64,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Telling {
    telemetry: Arc<Telemetry>,
    recorder: Option<Arc<Recorder>>,
    session: u64,
    /// From how long on an operation is told of, in microseconds.
    slow: u64,
    /// Keys may be told as they are.
    pub(super) tells_keys: bool,
    /// The command in hand, and when it was read.
    label: Label,
    pub(super) began: u64,
    told: Option<Box<Told>>,
    /// Nobody has been asked it yet.
    open: bool,
    /// The one that has to wait, and is begun again.
    held: Ask,
    is_held: bool,
    done: [Done; KINDS],
    kinds: usize,
    /// Operations of this pass that are told of when it has ended.
    ending: Vec<Operation>,
    lane: Asks,
    /// Replies of the lane that were taken and are not recorded yet.
    taken: u64,
    /// The number of the newest one that is.
    recorded: u64,
    notes: Vec<Note>,
    /// Replies that were big: their number, the key's hash, their size, and of which command.
    pub(super) big: Vec<(u64, u64, u64, Label)>,
    /// What the client has said of the trace of its next command.
    pub(super) context: Option<Context>,
}

impl Telling {
    pub(super) fn new(telemetry: &Arc<Telemetry>, session: u64) -> Self {
        let none = Done {
            label: Label::OTHER,
            route: Route::Here,
            began: 0,
            count: 0,
        };
        Self {
            recorder: telemetry.recorder(),
            slow: telemetry.slow(),
            tells_keys: telemetry.tells_keys(),
            telemetry: Arc::clone(telemetry),
            session,
            label: Label::OTHER,
            began: 0,
            told: None,
            open: false,
            held: Ask::default(),
            is_held: false,
            done: [none; KINDS],
            kinds: 0,
            ending: Vec::new(),
            lane: Asks::default(),
            taken: 0,
            recorded: 0,
            notes: Vec::new(),
            big: Vec::new(),
            context: None,
        }
    }

    /// A command's turn has come; whether for the first time.
    #[inline]
    pub(super) fn begin(&mut self, label: Label, arrived: u64) -> bool {
        if self.is_held && self.begin_again(label) {
            return false;
        }
        (self.label, self.began) = (label, arrived);
        self.open = true;
        true
    }

    /// The one that had to wait, if it is the one in hand.
    #[cold]
    fn begin_again(&mut self, label: Label) -> bool {
        self.is_held = false;
        let held = std::mem::take(&mut self.held);
        let same = held.label == label;
        if same {
            self.resume(held);
        }
        same
    }

    /// It is told of, whatever becomes of it.
    #[cold]
    pub(super) fn follow(&mut self, key: Key) {
        self.told = Some(Box::new(Told {
            key,
            keyspace: None,
            context: self.context.take(),
        }));
    }

    /// Whether the command in hand is told of, whatever becomes of it.
    #[inline]
    pub(super) fn is_followed(&self) -> bool {
        self.told.is_some()
    }

    /// The command in hand is a cacheable read of this key space.
    #[inline]
    pub(super) fn reads(&mut self, keyspace: u8) {
        if let Some(told) = &mut self.told {
            told.keyspace = Some(keyspace);
        }
    }

    /// It has to wait, and is begun again.
    pub(super) fn hold(&mut self) {
        self.held = self.ask();
        self.is_held = true;
    }

    /// It is somebody else's from here on, who asks or answers it later.
    #[inline]
    pub(super) fn ask(&mut self) -> Ask {
        self.open = false;
        Ask {
            label: self.label,
            began: self.began,
            told: self.told.take(),
            ..Ask::default()
        }
    }

    /// The same, by an own connection that is asked at `now`, in microseconds.
    pub(super) fn ask_at(&mut self, now: u64) -> Ask {
        Ask {
            sent: now,
            ..self.ask()
        }
    }

    /// Takes a command in hand again that was given away.
    pub(super) fn resume(&mut self, ask: Ask) {
        (self.label, self.began, self.told) = (ask.label, ask.began, ask.told);
        self.open = true;
    }

    /// Nothing is told of the command in hand.
    pub(super) fn pass_over(&mut self) {
        self.open = false;
        self.told = None;
    }

    /// A lane was asked.
    #[inline]
    pub(super) fn ask_lane(&mut self) {
        if self.told.is_some() {
            let ask = self.ask();
            self.lane.push_told(ask);
        } else {
            self.open = false;
            self.lane.push(self.label, self.began);
        }
    }

    /// It was answered at once, from there.
    #[inline]
    pub(super) fn done(&mut self, route: Route) {
        self.open = false;
        if self.told.is_some() {
            self.tell_later(route);
        }
        self.count(self.label, route, self.began, 1);
    }

    /// So many were, all read at this time.
    #[inline]
    pub(super) fn count(&mut self, label: Label, route: Route, began: u64, count: u64) {
        let same = |done: &Done| done.label == label && done.route == route && done.began == began;
        if let Some(last) = self.done[..self.kinds].last_mut().filter(|last| same(last)) {
            last.count += count;
            return;
        }
        self.count_another(Done {
            label,
            route,
            began,
            count,
        });
    }

    /// The same of what is not like the last.
    fn count_another(&mut self, another: Done) {
        let same = |done: &&mut Done| {
            (done.label, done.route, done.began) == (another.label, another.route, another.began)
        };
        if let Some(done) = self.done[..self.kinds].iter_mut().find(same) {
            done.count += another.count;
            return;
        }
        if self.kinds == KINDS {
            self.record(crate::telemetry::clock::now_us());
        }
        self.done[self.kinds] = another;
        self.kinds += 1;
    }

    /// If nobody has been asked the command in hand, it was answered here.
    #[inline]
    pub(super) fn finish(&mut self) {
        if self.open {
            self.done(Route::Here);
        }
    }

    /// The command in hand is answered here, with this error.
    #[cold]
    pub(super) fn refuse(&mut self, error: &str) {
        if !self.open {
            return;
        }
        if let Some(recorder) = &self.recorder {
            recorder.failed(self.label, Route::Here);
        }
        let drawn = self.told.is_some();
        let told = self.told.take();
        let told = *told.unwrap_or_default();
        let mut operation = self.operation(self.label, Route::Here, self.began, told);
        operation.error = Some(first_word(error.as_bytes()));
        operation.why = if drawn { Why::Drawn } else { Why::Failed };
        self.ending.push(operation);
        self.done(Route::Here);
    }

    /// A hit among several is told of.
    #[cold]
    pub(super) fn hit(&mut self, label: Label, key: Key, keyspace: u8, began: u64) {
        self.label = label;
        self.began = began;
        self.follow(key);
        self.reads(keyspace);
        self.tell_later(Route::L1);
    }

    #[cold]
    fn tell_later(&mut self, route: Route) {
        if let Some(told) = self.told.take() {
            let operation = self.operation(self.label, route, self.began, *told);
            self.ending.push(operation);
        }
    }

    fn operation(&self, label: Label, route: Route, began: u64, told: Told) -> Operation {
        let hit = told.keyspace.map(|_| route == Route::L1);
        Operation {
            label,
            route,
            key: told.key,
            keyspace: told.keyspace,
            hit,
            session: self.session,
            began,
            ended: began,
            upstream: None,
            reply_bytes: 0,
            error: None,
            why: Why::Drawn,
            context: told.context,
        }
    }

    /// So many replies of the lane were taken, with what its reader had to say of some.
    #[inline]
    pub(super) fn take(&mut self, replies: u64, notes: &mut Vec<Note>) {
        self.taken += replies;
        if !notes.is_empty() {
            self.notes.append(notes);
        }
    }

    /// The newest of the replies taken was none: its command is asked again.
    pub(super) fn take_back(&mut self, now: u64) {
        if self.taken > 0
            && let Some(ask) = self.lane.pop_newest()
        {
            self.taken -= 1;
            self.record(now);
            self.recorded += 1;
            self.resume(ask);
        }
    }

    /// Whether there is anything for [`record`](Self::record).
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.kinds > 0 || self.taken > 0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// The command in hand gets more than the least.
    #[cold]
    pub(super) fn single_out_command(
        &mut self,
        row: Option<&'static Row>,
        request: &[u8],
        args: &[Range<usize>],
    ) {
        self.drawn = self.attention.drawn(self.shares());
        if self.drawn.traced || self.telling.context.is_some() {
            let key = row
                .and_then(|row| row.keys(request, args)?.next())
                .and_then(|at| args.get(at))
                .map(|key| self.key_to_tell(&request[key.clone()]));
            self.telling.follow(key.unwrap_or_default());
        }
    }

    /// Records what was answered.
    #[inline]
    pub(super) fn tell(&mut self) {
        self.telling.record(self.now_us);
        if !self.telling.big.is_empty() {
            self.tell_big();
        }
    }

    /// Notes keys with big replies: that of the newest read by its name, for its request is kept.
    #[cold]
    fn tell_big(&mut self) {
        let big_keys = &self.lanes.telemetry().big_keys;
        for (ordinal, hash, bytes, label) in self.telling.big.drain(..) {
            let newest = (ordinal == self.sent).then_some(&*self.repeat);
            let named = newest.and_then(key_of);
            let key = named.as_ref().map(|(key, _)| key.as_slice());
            let key = key.filter(|key| self.l1.hash(key) == hash);
            big_keys.note(hash, key, bytes, label);
        }
    }

    /// A key as it may be told.
    pub(super) fn key_to_tell(&self, key: &[u8]) -> Key {
        if self.telling.tells_keys {
            Key::Plain(key.into())
        } else {
            Key::Hash(self.l1.hash(key))
        }
    }

    /// Of which shares of the commands more is done.
    pub(super) fn shares(&self) -> Shares {
        shares(&self.lanes)
    }
}

/// Of which shares of the commands more is done.
pub(super) fn shares(lanes: &Lanes) -> Shares {
    Shares {
        traced: lanes.telemetry().drawn_share(),
        audited: lanes.auditor().share(),
    }
}

/// The first key that a request names, and its command.
pub(super) fn key_of(request: &[u8]) -> Option<(Vec<u8>, Label)> {
    let mut scanner = RequestScanner::default();
    let whole = matches!(scanner.scan(request), Ok(Scanned::Request { .. }));
    let args = scanner.args();
    let row = command::of(request, args).filter(|_| whole)?;
    let at = row.keys(request, args)?.next()?;
    Some((request[args.get(at)?.clone()].to_vec(), row.label))
}
