//! Cacheable reads: from L1 now, from L1 when their turn comes, with somebody else's read, or from the lane.

use std::ops::Range;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncWrite};

use super::ahead::warm_keys;
use super::asked::{Asked, Wanted};
use super::attention::Drawn;
use super::requests::ANSWERED;
use super::telling::{Ask, key_of};
use super::{Flow, Session};
use crate::l1::keyspace::Missed;
use crate::l1::settings::Mode;
use crate::l1::{AHEAD, L1, Lookup, Read, Rule, Space};
use crate::proxy::own::expected::Expect;
use crate::resp::downgrade::Shape;
use crate::resp::encode;
use crate::telemetry::durations::Route;
use crate::upstream::flights::Join;
use crate::upstream::{Extra, NO_KEYSPACE, Predicted};

/// Requests of waiting hits above which further ones do not wait but go to the lane.
const DEFERRED_WINDOW: usize = 256 * 1024;

/// A cacheable read that waits for its turn behind outstanding replies.
pub(super) struct Deferred {
    request: Vec<u8>,
    args: Vec<Range<usize>>,
    wanted: Wanted,
    silent: bool,
    ask: Ask,
    drawn: Drawn,
    /// What L1 said when it came; used by a knock-out alone.
    captured: Option<Vec<u8>>,
}

/// How far a read is that a session might take part in.
#[derive(Debug, Clone, Copy)]
pub(super) enum UnderWay {
    /// It may have been sent.
    Sent,
    /// Its lane is still being connected.
    Unsent,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Looks reads up whose turn has come, or sends them.
    pub(super) fn serve_deferred(&mut self) {
        if self.deferred.is_empty() || self.sent != self.answered || !self.own_idle() {
            return;
        }
        self.last_in_hand = false;
        self.deferred_bytes = 0;
        // With the list taken, the first is looked up at once; one that misses makes those behind it wait again.
        let mut reads = std::mem::take(&mut self.deferred).into_iter();
        let enough = self.out.len() + ANSWERED;
        while self.out.len() < enough
            && let Some(read) = reads.next()
        {
            let before = self.out.len();
            self.silent = read.silent;
            let asked = Asked::new(read.wanted, &read.request, &read.args);
            self.telling.resume(read.ask);
            self.drawn = read.drawn;
            match read.captured {
                Some(captured) => self.out.extend_from_slice(&captured),
                None => self.look_up(asked),
            }
            self.telling.finish();
            if read.silent {
                self.out.truncate(before);
            }
        }
        self.deferred.extend(reads);
    }

    /// Sends the reads that waited, because a later lane command is about to be sent.
    #[inline]
    pub(super) fn flush_deferred(&mut self) {
        if !self.deferred.is_empty() && !self.l1.knocked_out(Rule::WaitAtTail) {
            self.send_deferred();
        }
    }

    #[cold]
    fn send_deferred(&mut self) {
        let silent = self.silent;
        let in_hand = self.telling.ask();
        self.deferred_bytes = 0;
        for read in std::mem::take(&mut self.deferred) {
            self.silent = read.silent;
            self.telling.resume(read.ask);
            let asked = Asked::new(read.wanted, &read.request, &read.args);
            let keyspace = self.keyspace(&asked);
            self.note_miss(keyspace, Missed::Overtaken);
            let first = asked.first_read(&self.l1);
            self.send_plain(asked, first, Extra::default());
        }
        self.silent = silent;
        self.telling.resume(in_hand);
    }

    /// A cacheable read.
    pub(super) fn read(&mut self, asked: Asked<'_>) -> Flow {
        if !self.lanes.large.is_empty()
            && !matches!(asked.wanted, Wanted::Values)
            && let Some(key) = asked.key
        {
            let hash = self.l1.hash(key);
            if self.lanes.large.contains(hash) {
                return self.read_large(asked.request, hash);
            }
        }
        self.sample(asked);
        self.look_up(asked);
        Flow::Done
    }

    /// Notes a few of the reads, for the hot keys.
    #[inline]
    fn sample(&mut self, asked: Asked<'_>) {
        if let Wanted::Values = asked.wanted {
            for key in &asked.args[1..] {
                if self.sampler.draws() {
                    self.l1.hot.note(&asked.request[key.clone()], self.now);
                }
            }
        } else if self.drawn.hot
            && let Some(key) = asked.key
        {
            self.l1.hot.note(key, self.now);
        }
    }

    /// A read of a key that was seen to be large goes over an own connection, where back-pressure reaches the upstream.
    pub(super) fn read_large(&mut self, request: &[u8], hash: u64) -> Flow {
        if !self.lane_idle() {
            return Flow::Hold;
        }
        if self.open_own()
            && let Some(own) = &mut self.own
        {
            own.send(request);
            own.asking = Some(self.telling.ask_at(self.now_us));
            own.expect(Expect::LargeRead(hash), self.silent);
            self.large = key_of(request);
        }
        Flow::Done
    }

    /// From L1 now, from L1 when its turn comes, or from the lane.
    pub(super) fn look_up(&mut self, asked: Asked<'_>) {
        let Some(seat) = &self.seat else {
            return;
        };
        let space = seat.space();
        // A lane that was left has not read what the one in its place has shown to others.
        let serving =
            self.l1_on && !self.fenced() && !seat.is_retired() && self.l1.serving(space, self.now);
        let mut why = if serving {
            Missed::NotHeld
        } else {
            self.why_not_serving(space)
        };
        let idle = self.sent == self.answered && self.deferred.is_empty();
        if serving
            && !idle
            && self.l1.knocked_out(Rule::JoinIdle)
            && self.join(asked, asked.first_read(&self.l1), UnderWay::Sent, why)
        {
            return;
        }
        let mut predicted = None;
        if serving && self.l1.mode() == Mode::Shadow {
            predicted = self.predict(asked);
            why = Missed::Shadow;
        } else if serving && idle {
            why = match self.answer(asked) {
                Ok(keyspace) => {
                    self.note_hit(keyspace);
                    self.telling.done(Route::L1);
                    if self.drawn.audited {
                        self.audit(asked);
                    }
                    return;
                }
                Err(why) => why,
            };
            if matches!(asked.wanted, Wanted::Values)
                && self.last_in_hand
                && self.ask_for_missing(asked, why)
            {
                return;
            }
        } else if serving && self.may_wait(asked, &mut why) {
            let captured = self.l1.knocked_out(Rule::WaitingHit).then(|| {
                let before = self.out.len();
                let _ = self.answer(asked);
                self.out.split_off(before)
            });
            self.deferred_bytes += asked.request.len();
            self.deferred.push(Deferred {
                request: asked.request.to_vec(),
                args: asked.args.to_vec(),
                wanted: asked.wanted,
                silent: self.silent,
                ask: self.telling.ask(),
                drawn: self.drawn,
                captured,
            });
            return;
        } else if !serving && idle && self.l1.serves_stale() && self.answer_stale(asked) {
            return;
        }
        // Nothing is known there yet, and nothing was sent: such reads are shared as well.
        let fresh = !serving && idle && self.is_before_lane();
        let first = asked.first_read(&self.l1);
        let shared = if fresh {
            self.join(asked, first, UnderWay::Unsent, why)
        } else {
            let missed = serving && idle && self.l1.mode() != Mode::Shadow;
            missed && self.join(asked, first, UnderWay::Sent, why)
        };
        if !shared {
            self.flush_deferred();
            let may_be_shared = (serving || fresh) && idle;
            self.send_read(asked, first, predicted, may_be_shared, why);
        }
    }

    /// Whether L1 can answer a read when its turn comes; `why` not, if not.
    fn may_wait(&self, asked: Asked<'_>, why: &mut Missed) -> bool {
        let held = if self.deferred_bytes > DEFERRED_WINDOW {
            Err(Missed::Overtaken)
        } else {
            self.has_all(asked)
        };
        *why = held.err().unwrap_or(*why);
        held.is_ok()
    }

    /// Why L1 answers nothing now.
    fn why_not_serving(&self, space: &Space) -> Missed {
        if !self.l1_on || self.l1.mode() == Mode::Off || !space.is_tracked() {
            Missed::Off
        } else if self.fenced() {
            Missed::Fenced
        } else {
            Missed::NotServing
        }
    }

    /// The L1 reads that a request consists of.
    pub(super) fn reads<'a>(&self, asked: Asked<'a>) -> impl Iterator<Item = Read<'a>> {
        let further = match asked.wanted {
            Wanted::Values => &asked.args[2..],
            Wanted::Value | Wanted::Reply(_) => &[],
        };
        let l1 = &self.l1;
        let values = further
            .iter()
            .map(move |key| l1.value(&asked.request[key.clone()]));
        asked.first_read(l1).into_iter().chain(values)
    }

    /// Whether L1 has all that is asked for, or why not.
    pub(super) fn has_all(&self, asked: Asked<'_>) -> Result<(), Missed> {
        let seat = self.seat.as_ref().ok_or(Missed::Off)?;
        let held = |read| self.l1.holds(seat.space(), &read, self.now);
        self.reads(asked).try_for_each(held)
    }

    /// Takes part in the same read of another session, if one is under way: only with nothing outstanding, or it would
    /// be answered out of its turn.
    pub(super) fn join(
        &mut self,
        asked: Asked<'_>,
        first: Option<Read<'_>>,
        under_way: UnderWay,
        why: Missed,
    ) -> bool {
        let busy = !self.batch.is_empty() && !self.l1.knocked_out(Rule::JoinIdle);
        if matches!(asked.wanted, Wanted::Values) || self.silent || busy {
            return false;
        }
        let (Some(seat), Some(read)) = (&self.seat, first) else {
            return false;
        };
        let join = Join {
            session: &self.mailbox,
            resp2: self.resp2.then(|| asked.shape()),
            repeatable: !self.again,
            now: self.now,
        };
        let written = self.l1.written_beside(seat.space(), read.key)
            && !self.l1.knocked_out(Rule::JoinDropped);
        let joined = || match under_way {
            UnderWay::Sent => seat.flights().join(&self.l1, &read, &join),
            UnderWay::Unsent => seat.join_unsent(&read, &join),
        };
        if written || !joined() {
            return false;
        }
        let keyspace = self.keyspace(&asked);
        self.note_miss(keyspace, why);
        self.sent += 1;
        self.missed = NO_KEYSPACE;
        self.telling.ask_lane();
        self.repeat.clear();
        self.repeat.extend_from_slice(asked.request);
        if self.again {
            self.lanes.node().retries.note_shared();
        } else {
            let counters = self.l1.keyspaces().counters(keyspace);
            counters.shared.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// What L1 would say.
    fn predict(&mut self, asked: Asked<'_>) -> Option<Predicted> {
        let space = self.seat.as_ref()?.space();
        let (pushes, drops) = (space.push_count(), self.l1.drops());
        let mut predicted = Predicted {
            reply: Vec::new(),
            keys: Vec::new(),
            until: u64::MAX,
            pushes,
            keyspace: self.keyspace(&asked),
        };
        if let Wanted::Values = asked.wanted {
            encode::header(&mut predicted.reply, b'*', asked.args.len() as u64 - 1);
        }
        for read in self.reads(asked) {
            let reply = &mut predicted.reply;
            match self.l1.get(space, &read, self.now, None, reply) {
                Lookup::Hit { until, .. } => predicted.until = predicted.until.min(until),
                Lookup::Miss(_) => return None,
            }
        }
        predicted.keys = asked.keys().iter().map(|key| self.l1.hash(key)).collect();
        let whole = !predicted.keys.is_empty() && self.l1.drops() == drops;
        // As a hit does: the lane then says by signs of life of its own how old L1 is.
        self.tally.note_use(whole);
        whole.then_some(predicted)
    }

    pub(super) fn keyspace(&self, asked: &Asked<'_>) -> u8 {
        let keyspaces = self.l1.keyspaces();
        asked.key.map_or(0, |key| keyspaces.of(key))
    }

    /// Answers from L1, if it has all that is asked for; what it has is a snapshot, or it is not used. The number of the
    /// (first) key space, or why it did not.
    fn answer(&mut self, asked: Asked<'_>) -> Result<u8, Missed> {
        let from = Source {
            l1: &self.l1,
            space: self.seat.as_ref().ok_or(Missed::Off)?.space(),
            now: self.now,
            resp2: self.resp2,
        };
        from.answer(asked, &mut self.out)
    }

    /// The same from another part of L1 than its lane's.
    pub(super) fn answer_from(&mut self, space: &Space, asked: Asked<'_>) -> Option<u8> {
        let from = Source {
            l1: &self.l1,
            space,
            now: self.now,
            resp2: self.resp2,
        };
        from.answer(asked, &mut self.out).ok()
    }
}

/// What a read is answered from, and how.
struct Source<'a> {
    l1: &'a L1,
    space: &'a Space,
    now: u64,
    resp2: bool,
}

impl Source<'_> {
    #[inline]
    fn answer(&self, asked: Asked<'_>, out: &mut Vec<u8>) -> Result<u8, Missed> {
        let read = match asked.wanted {
            Wanted::Values => return self.answer_values(asked, out),
            Wanted::Reply(row) => {
                let key = asked.key.ok_or(Missed::NotHeld)?;
                self.l1.reply(row.name, key, asked.rest())
            }
            Wanted::Value => self.l1.value(&asked.request[asked.args[1].clone()]),
        };
        let shape = self.resp2.then(|| asked.shape());
        match self.l1.get(self.space, &read, self.now, shape, out) {
            Lookup::Hit { keyspace, .. } => Ok(keyspace),
            Lookup::Miss(why) => Err(why),
        }
    }

    fn answer_values(&self, asked: Asked<'_>, out: &mut Vec<u8>) -> Result<u8, Missed> {
        let before = out.len();
        let drops = self.l1.drops();
        encode::header(out, b'*', asked.args.len() as u64 - 1);
        let mut first = None;
        let keys = &asked.args[1..];
        for (n, key) in keys.iter().enumerate() {
            if n % AHEAD == 0 {
                warm_keys(self.l1, asked.request, &keys[n..]);
            }
            let read = self.l1.value(&asked.request[key.clone()]);
            let shape = self.resp2.then_some(Shape::Generic);
            match self.l1.get(self.space, &read, self.now, shape, out) {
                Lookup::Hit { keyspace, .. } => first = first.or(Some(keyspace)),
                Lookup::Miss(why) => {
                    out.truncate(before);
                    return Err(why);
                }
            }
        }
        if self.l1.drops() != drops {
            out.truncate(before);
            return Err(Missed::NotHeld);
        }
        first.ok_or(Missed::NotHeld)
    }
}
