//! Where each command goes: down the lane, over the own connection, or nowhere because it is answered here.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::asked::{Asked, Wanted};
use super::attention::Drawn;
use super::{Flow, Replies, Session, foresee};
use crate::command::{Cache, Class, Flags, Row};
use crate::proxy::own::Own;
use crate::proxy::own::expected::{Change, Effect, Expect, Limit};
use crate::resp::encode;
use crate::telemetry::durations::Label;
use crate::upstream::{Keys, Op};

/// Writes of one string, which write-through fills anew.
const STRING_WRITES: [&str; 12] = [
    "APPEND",
    "DECR",
    "DECRBY",
    "GETSET",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "PSETEX",
    "SET",
    "SETEX",
    "SETNX",
    "SETRANGE",
];

/// How a command goes down the lane.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// As a read that L1 may answer.
    Read(Wanted),
    /// As it is.
    Relay,
    /// As a write of the keys that it names, or of any.
    Write,
    /// As a script, with a marker behind it.
    Script,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A command's turn has come.
    #[inline]
    pub(super) fn begin(
        &mut self,
        row: Option<&'static Row>,
        request: &[u8],
        args: &[Range<usize>],
    ) {
        let label = row.map_or(Label::OTHER, |row| row.label);
        if self.telling.begin(label, self.arrived) {
            self.drawn = Drawn::default();
            if self.attention.ends() {
                self.single_out_command(row, request, args);
            }
        }
    }

    pub(super) fn command(&mut self, request: &[u8], args: &[Range<usize>]) -> Flow {
        if args.is_empty() {
            return Flow::Done;
        }
        let row = self.recent.of(request, args);
        let row = row.or_else(|| self.module_read(request, args));
        let class = row.map_or(Class::OwnUnknown, |row| row.class);
        self.begin(row, request, args);
        let place = &self.place;
        let elsewhere = |own: &Own| own.is_changing() || own.key.place != *place;
        if self.own.as_ref().is_some_and(elsewhere) {
            return Flow::Hold;
        }
        if self.own.as_ref().is_some_and(|own| own.raw) {
            self.telling.pass_over();
            self.send_raw(class, request);
            return Flow::Done;
        }
        if class == Class::Nearside {
            return self.nearside(row, request, args);
        }
        if class == Class::Reset && args.len() == 1 && self.replies == Replies::Off {
            // It ends that first.
            self.silent = false;
        }
        if self.resp2 && !matches!(class, Class::Subscribe | Class::Unsubscribe) {
            if self.own.as_ref().is_some_and(Own::is_subscribing) {
                return Flow::Hold;
            }
            if self.is_refused_to_subscribers(row, class) {
                self.send_refused(request);
                return Flow::Done;
            }
        }
        let own_state = !self.on_lane();
        if !own_state && let Some(flow) = self.by_lane(class, row, request, args) {
            return flow;
        }
        // Everything else changes the route or is answered here: it waits for what is outstanding on the lane.
        if !self.lane_idle() {
            return Flow::Hold;
        }
        if !self.dedicated {
            if class == Class::Client
                && self.bound.transaction.is_none()
                && let Some(flow) = self.client_reply(request, args)
            {
                return flow;
            }
            let numbered = row.is_some_and(|row| row.name == "CLIENT|ID");
            self.numbered |= numbered;
            if !own_state && !self.numbered && self.answer_here(class, request, args) {
                return Flow::Done;
            }
        }
        if class == Class::Quit {
            // An own connection says goodbye itself, so that what hangs on it is gone when the client hears of it.
            self.closing = true;
            if self.own.is_none() {
                self.out.extend_from_slice(b"+OK\r\n");
                return Flow::Done;
            }
        }
        if self.own.is_some()
            && let Some(error) = self.lanes.node().refusal()
        {
            if self.own.as_ref().is_some_and(Own::awaits) {
                return Flow::Hold;
            }
            encode::error(&mut self.out, &error);
            self.telling.refuse(&error);
            // Without this command the transaction would be another one.
            self.closing |= self.bound.transaction.is_some()
                || self.decides_what_follows(row, class, request, args);
            return Flow::Done;
        }
        if self.own.is_none() && self.is_let_in_alone(class, request, args) {
            self.open_bare();
            self.send_own(row, class, request, args);
            return Flow::Done;
        }
        // A busy server refuses SELECT, and these are what ends it. Not over a connection that the session then keeps.
        let ends_busy = row.is_some_and(|row| ENDS_BUSY.contains(&row.name))
            && !self.dedicated
            && !self.numbered;
        let db = if ends_busy { 0 } else { self.place.db };
        if self.open_own_in(db) {
            self.send_own(row, class, request, args);
        } else {
            self.closing |= self.decides_what_follows(row, class, request, args);
        }
        Flow::Done
    }

    /// The row of a module's read that the operator vouches for.
    pub(super) fn module_read(
        &self,
        request: &[u8],
        args: &[Range<usize>],
    ) -> Option<&'static Row> {
        let name = args.first().filter(|_| self.l1_on)?;
        let row = self.lanes.module_read(&request[name.clone()])?;
        // Where its keys cannot be told it is no such read.
        let keys = row
            .takes(args.len())
            .then(|| row.keys(request, args))
            .flatten();
        keys?.next().is_some().then_some(row)
    }

    /// Whether what follows means something else where this was not carried out: commands of a transaction, or for
    /// another database or user. The server knows no such case, and a client that pipelines has sent them already.
    pub(super) fn decides_what_follows(
        &self,
        row: Option<&Row>,
        class: Class,
        request: &[u8],
        args: &[Range<usize>],
    ) -> bool {
        match class {
            Class::Multi | Class::Watch | Class::Reset => true,
            Class::Select | Class::Auth | Class::Hello => self
                .change(class, request, args)
                .is_none_or(|change| change.moves()),
            _ => row.is_some_and(|row| row.name == "CLIENT|REPLY"),
        }
    }

    /// Whether the client gives a password of its own where the upstream refuses whom the session is for now.
    fn is_let_in_alone(&self, class: Class, request: &[u8], args: &[Range<usize>]) -> bool {
        let refused = self.seat.as_ref().is_some_and(|seat| seat.is_refused());
        refused
            && !self.lanes.node().is_cut()
            && matches!(
                self.change(class, request, args),
                Some(Change::User(_) | Change::Hello { user: Some(_), .. })
            )
    }

    /// Whether a RESP2 client that has subscriptions sends what the upstream does not take from such.
    pub(super) fn is_refused_to_subscribers(&self, row: Option<&Row>, class: Class) -> bool {
        self.own.as_ref().is_some_and(Own::is_subscribed)
            && self.bound.transaction.is_none()
            && !matches!(class, Class::Reset | Class::Quit)
            && row.is_none_or(|row| row.name != "PING")
    }

    /// Sends what changes nothing, for the upstream's words on it.
    fn send_refused(&mut self, request: &[u8]) {
        let silent = self.silent;
        if let Some(own) = &mut self.own {
            own.send(request);
            own.asking = Some(self.telling.ask_at(self.now_us));
            own.expect(Expect::Reply(Effect::default()), silent);
        }
    }

    /// Whether commands may go by the lane: there is one, and no state on an own connection.
    pub(super) fn on_lane(&self) -> bool {
        self.seat.as_ref().is_some_and(|seat| !seat.is_refused())
            && !self.bound.any()
            && self.own_idle()
            && !self.needs_own()
    }

    fn is_lane_quiet(&self) -> bool {
        self.batch.is_empty() && self.seat.as_ref().is_some_and(|seat| seat.is_quiet())
    }

    /// How a command goes down the lane; `None` for what does not.
    pub(super) fn way(
        &self,
        class: Class,
        row: &'static Row,
        request: &[u8],
        args: &[Range<usize>],
    ) -> Option<Way> {
        match class {
            Class::Get if args.len() == 2 && (self.l1_on || !self.dedicated) => {
                Some(Way::Read(Wanted::Value))
            }
            Class::Mget if args.len() >= 2 && (self.l1_on || !self.dedicated) => {
                Some(Way::Read(Wanted::Values))
            }
            Class::LaneRead
                if self.l1_on
                    && row.cache == Cache::Keyed
                    && row.takes(args.len())
                    // Where its keys cannot be told it is malformed.
                    && row.keys(request, args).is_some_and(|mut keys| keys.next().is_some()) =>
            {
                Some(Way::Read(Wanted::Reply(row)))
            }
            _ if self.dedicated => None,
            // Monitoring asks most when something is stuck, and then must not wait behind it.
            Class::LaneRead if row.name == "INFO" && !self.is_lane_quiet() => None,
            Class::Get | Class::Mget | Class::LaneRead => Some(Way::Relay),
            Class::LaneWrite | Class::LaneUnknown => Some(Way::Write),
            Class::OwnUnknown | Class::OwnRead
                if self.scripts_by_lane && SCRIPTS.contains(&row.name) =>
            {
                Some(Way::Script)
            }
            _ => None,
        }
    }

    /// Sends what goes down the lane; `None` for what does not.
    fn by_lane(
        &mut self,
        class: Class,
        row: Option<&'static Row>,
        request: &[u8],
        args: &[Range<usize>],
    ) -> Option<Flow> {
        let row = row?;
        match self.way(class, row, request, args)? {
            Way::Write | Way::Script if self.turns_writes_away(1) => {}
            Way::Read(wanted) => return Some(self.read(Asked::new(wanted, request, args))),
            Way::Relay => {
                let key = row.keys(request, args).and_then(|mut keys| keys.next());
                let key = key.and_then(|at| args.get(at));
                let hash = key.map(|key| self.l1.hash(&request[key.clone()]));
                if let Some(hash) = hash.filter(|&hash| self.lanes.large.contains(hash)) {
                    return Some(self.read_large(request, hash));
                }
                self.flush_deferred();
                // What changes no key may still have an effect, as PUBLISH has.
                let again = row.flags.has(Flags::READONLY);
                self.queue(request, again, hash, row.shape(args.len()), Op::Relay);
            }
            Way::Write => {
                self.flush_deferred();
                let keys = match class {
                    Class::LaneWrite => {
                        self.note_write(row, request, args);
                        self.begin_lane_write(row, request, args)
                    }
                    _ => None,
                };
                let keys = keys.unwrap_or_else(|| {
                    self.l1.begin_write_of_any();
                    Keys::Any
                });
                self.queue(request, false, None, row.shape(args.len()), Op::Write(keys));
                if self.l1_on
                    && self.l1.keyspaces().any_written_through()
                    && STRING_WRITES.contains(&row.name)
                    && let Some(key) = args.get(1)
                {
                    self.write_through(&request[key.clone()]);
                }
            }
            Way::Script => {
                self.flush_deferred();
                self.queue_script(request);
            }
        }
        Some(Flow::Done)
    }

    /// CLIENT REPLY, which concerns what is sent to the client alone.
    fn client_reply(&mut self, request: &[u8], args: &[Range<usize>]) -> Option<Flow> {
        let arg = |at: usize| {
            args.get(at)
                .map(|range: &Range<usize>| &request[range.clone()])
        };
        let (Some(sub), Some(mode), 3) = (arg(1), arg(2), args.len()) else {
            return None;
        };
        // Where it is bound to its own connection, the server does that better.
        let bound = self.bound.pinned && self.replies == Replies::On;
        if !sub.eq_ignore_ascii_case(b"REPLY") || bound {
            return None;
        }
        if self.own.as_ref().is_some_and(Own::awaits) {
            return Some(Flow::Hold);
        }
        if mode.eq_ignore_ascii_case(b"ON") {
            self.replies = Replies::On;
            self.silent = false;
            self.out.extend_from_slice(b"+OK\r\n");
        } else if mode.eq_ignore_ascii_case(b"OFF") {
            self.replies = Replies::Off;
        } else if mode.eq_ignore_ascii_case(b"SKIP") {
            if self.replies == Replies::On {
                self.replies = Replies::SkipNext;
            }
        } else {
            encode::error(&mut self.out, "ERR syntax error");
        }
        Some(Flow::Done)
    }

    /// A request on a connection that answers when it likes. As long as it is one, the server takes no write on it.
    fn send_raw(&mut self, class: Class, request: &[u8]) {
        if class == Class::Reset {
            self.close_l1_for_life();
        }
        if let Some(own) = &mut self.own {
            own.send(request);
        }
    }

    /// Sends a command over the session's own connection, which is there.
    fn send_own(
        &mut self,
        row: Option<&'static Row>,
        class: Class,
        request: &[u8],
        args: &[Range<usize>],
    ) {
        let in_transaction = self.bound.transaction.is_some();
        if matches!(class, Class::LaneWrite | Class::OwnWrite)
            && let Some(row) = row
        {
            self.note_write(row, request, args);
        }
        // What comes behind a blocked command waits with it.
        self.blocking |= row.is_some_and(Row::blocking) && !in_transaction;
        if self.taints(row, class)
            && let Some(own) = &mut self.own
        {
            own.tainted = true;
        }
        let (expect, effect) = self.foresee(row, class, request, args);
        let expect = match (expect, &mut self.bound.transaction) {
            (Some(expect), _) => expect,
            (None, Some(queued)) if in_transaction => {
                let write =
                    matches!(class, Class::LaneWrite | Class::OwnWrite) || effect.is_write();
                queued.merge(effect);
                Expect::Queued { write }
            }
            (None, _) => Expect::Reply(effect),
        };
        let mode = args.get(2).map(|mode| &request[mode.clone()]);
        let reply_off = row.is_some_and(|row| row.name == "CLIENT|REPLY")
            && args.len() == 3
            && mode.is_some_and(|mode| !mode.eq_ignore_ascii_case(b"ON"));
        if reply_off {
            // What is written from then on can no longer be told by its replies.
            self.close_l1_for_life();
        }
        let raw = class == Class::Raw || reply_off;
        self.bound.pinned |= raw;
        let silent = self.silent;
        let limit = if in_transaction && class != Class::Exec {
            Limit::Request
        } else {
            foresee::limit(row, class, request, args)
        };
        let Some(own) = &mut self.own else {
            return;
        };
        own.send(request);
        let mut ask = self.telling.ask_at(self.now_us);
        ask.key = row
            .and_then(|row| row.keys(request, args)?.next())
            .and_then(|at| args.get(at))
            .map(|key| self.l1.hash(&request[key.clone()]));
        if raw {
            own.raw = true;
        } else {
            ask.waits = matches!(limit, Limit::Blocking(_) | Limit::Never);
            own.asking = Some(ask);
            own.expect_within(expect, silent, limit);
        }
    }
}

/// What a server that is busy with a script takes, and that needs no database.
const ENDS_BUSY: [&str; 4] = ["SCRIPT|KILL", "FUNCTION|KILL", "FUNCTION|STATS", "SHUTDOWN"];

/// What runs code of the client's, for as long as that likes.
const SCRIPTS: [&str; 6] = [
    "EVAL",
    "EVAL_RO",
    "EVALSHA",
    "EVALSHA_RO",
    "FCALL",
    "FCALL_RO",
];
