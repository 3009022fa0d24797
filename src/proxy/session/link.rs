//! The session's own connection: where it comes from, what its replies make known, and where it goes.

use std::io;
use std::sync::Arc;
use std::task::Context;

use tokio::io::{AsyncRead, AsyncWrite};

use super::client::SCRATCH;
use super::telling::key_of;
use super::{OUTPUT_WINDOW, Session};
use crate::l1::{Rule, Settling, Unsettled};
use crate::proxy::own::Own;
use crate::proxy::own::expected::{Change, Effect, Expect};
use crate::proxy::own::stream::{Ended, Said};
use crate::proxy::settings::Causality;
use crate::resp::encode;
use crate::upstream::breaker::Kind;
use crate::upstream::connect::open_own;
use crate::upstream::identity::LaneKey;
use crate::upstream::lane::{NO_REPLY, may_have_been};
use crate::upstream::lanes::Seat;
use crate::upstream::mailbox::first_word;
use crate::upstream::pool::{self, OwnKey};

/// State that only the own connection has: the session stays there while there is any.
#[derive(Debug, Default)]
pub(super) struct Bound {
    /// For good, or until RESET: what is on the connection is not followed any further.
    pub(super) pinned: bool,
    pub(super) watching: bool,
    /// Inside MULTI, with what its queued commands will change.
    pub(super) transaction: Option<Effect>,
}

impl Bound {
    pub(super) fn any(&self) -> bool {
        self.pinned || self.is_in_transaction()
    }

    /// Whether what the client has begun ends only with EXEC, DISCARD or UNWATCH: a drain lets it.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.watching || self.transaction.is_some()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Sees to it that there is an own connection, opening or open; where there can be none now, answers with the error.
    pub(super) fn open_own(&mut self) -> bool {
        self.open_own_in(self.place.db)
    }

    /// The same, in another database than the session's.
    pub(super) fn open_own_in(&mut self, db: u32) -> bool {
        if self.own.is_some() {
            return true;
        }
        let identity = self.place.identity.clone();
        let key = OwnKey {
            place: LaneKey { identity, db },
            resp3: !self.resp2,
        };
        let node = self.lanes.node();
        if let Some(error) = node.refusal() {
            encode::error(&mut self.out, &error);
            self.telling.refuse(&error);
            return false;
        }
        if let Some(clean) = pool::take(&key, node.generation()) {
            self.own = Some(Own::clean(key, clean));
        } else {
            if let Some(error) = self.seat.as_ref().and_then(|seat| seat.unavailable()) {
                encode::error(&mut self.out, &error);
                self.telling.refuse(&error);
                return false;
            }
            let generation = node.generation();
            let (lanes, opening) = (Arc::clone(&self.lanes), key.clone());
            self.own = Some(Own::opening(
                key,
                generation,
                Box::pin(async move {
                    let credentials = lanes.credentials(&opening.place.identity);
                    let db = opening.place.db;
                    let opened = open_own(&lanes, credentials.as_ref(), db, opening.resp3).await;
                    lanes.node().attempted(opened.as_ref().map(|_| ()));
                    opened
                }),
            ));
        }
        self.name_own();
        true
    }

    /// Where the upstream refuses nearside itself, a client's password reaches it all the same: over a connection that
    /// gives none before, and whose only use is this.
    pub(super) fn open_bare(&mut self) {
        let key = OwnKey {
            place: self.place.clone(),
            resp3: false,
        };
        let lanes = Arc::clone(&self.lanes);
        let mut own = Own::opening(
            key,
            self.lanes.node().generation(),
            Box::pin(async move {
                let opened = open_own(&lanes, None, 0, false).await;
                lanes.node().attempted(opened.as_ref().map(|_| ()));
                opened
            }),
        );
        own.bare = true;
        self.own = Some(own);
    }

    /// Gives the own connection the client's name.
    fn name_own(&mut self) {
        let Some(own) = &mut self.own else {
            return;
        };
        if own.name != self.name && !self.dedicated {
            let name = self.name.as_deref().unwrap_or_default();
            let mut request = Vec::new();
            encode::request(&mut request, &[b"CLIENT", b"SETNAME", name]);
            own.send(&request);
            own.expect(Expect::Reply(Effect::default()), true);
            own.name.clone_from(&self.name);
        }
    }

    /// Gives the own connection back, if nothing is outstanding and there is no state on it.
    pub(super) fn give_back_own(&mut self) {
        let keeps = self.dedicated
            || self.bound.any()
            || self.streaming.is_some()
            || self.numbered
            || self.needs_own();
        let left = |own: &Own| own.generation != self.lanes.node().generation();
        let stays = self.bound.any() || self.numbered || self.needs_own();
        if self.own_idle() && !stays && self.own.as_ref().is_some_and(left) {
            self.own = None;
            return;
        }
        if !keeps && self.own_idle() {
            let clean = self.own.take().and_then(Own::into_clean);
            if let Some((key, clean)) = clean {
                pool::put(key, clean);
            }
        }
    }

    /// Whether the own connection has led the session to a place whose lane is not up: it may never be, for want of
    /// rights or of room, and nor may another own connection.
    pub(super) fn needs_own(&self) -> bool {
        let lane_is_up = |seat: &Seat| seat.is_up();
        self.own.as_ref().is_some_and(|own| own.moved)
            && !self.seat.as_ref().is_some_and(lane_is_up)
    }

    /// What comes behind MONITOR or CLIENT REPLY cannot be told by its replies, so nobody may be served from memory
    /// while this connection lives.
    pub(super) fn close_l1_for_life(&mut self) {
        self.unseen = true;
        if self.l1_on && !self.closes_l1 {
            self.closes_l1 = true;
            self.l1.close();
        }
    }

    /// Sends a GET again whose reply is too large for the lane: here back-pressure reaches the upstream.
    pub(super) fn repeat_on_own(&mut self) {
        let request = std::mem::take(&mut self.repeat);
        if self.open_own()
            && let Some(own) = &mut self.own
        {
            own.send(&request);
            own.asking = Some(self.telling.ask_at(self.now_us));
            self.large = key_of(&request);
            let hash = self.large.as_ref().map(|(key, _)| self.l1.hash(key));
            let expect = hash.map_or(Expect::Reply(Effect::default()), Expect::LargeRead);
            own.expect(expect, false);
        }
    }

    /// Makes known what the own connection has said: fences this session, and releases its writes when every lane has
    /// brought what is under way by now.
    pub(super) fn settle(&mut self, effect: Effect) {
        if effect.rights {
            self.lanes.accepts.expire();
        }
        // What was announced before L1 was switched off is to end all the same.
        if !self.l1_on && effect.keys.is_empty() {
            return;
        }
        if effect.swapped || effect.rights {
            self.l1.clear_and_refuse_sent();
        }
        let mut writes = Unsettled {
            hashes: effect.keys,
            elsewhere: effect.elsewhere,
            ..Unsettled::default()
        };
        let closes = effect.unknown && !self.l1.knocked_out(Rule::Closure);
        if (closes || self.causality == Causality::Process) && !self.l1.knocked_out(Rule::Marker) {
            self.l1.close();
            writes.closures = 1;
        }
        let fenced_alone = writes.is_empty() || self.l1.knocked_out(Rule::Marker);
        let settling = Settling::new(&self.l1, writes);
        if fenced_alone {
            self.raise_fence();
        } else {
            let seat = self.seat.as_ref();
            self.fences_raised += u64::from(seat.is_some());
            let fence = seat.map(|seat| (&**seat, &self.mailbox));
            self.lanes.settle(&settling, self.place.db, fence);
        }
    }

    /// Drives the own connection; whether anything came.
    pub(super) fn poll_own(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut own) = self.own.take() else {
            return false;
        };
        let unsent = own.unsent();
        let outcome = match own.poll_send(cx) {
            Ok(Some(Err(error))) => {
                self.own_failed(&mut own, error.reason());
                return true;
            }
            Ok(outcome) => Ok(outcome.is_some()),
            Err(error) => Err(error),
        };
        let mut came = Came::default();
        let mut received = outcome.and_then(|opened| {
            came.news = opened || own.unsent() < unsent;
            SCRATCH.with_borrow_mut(|scratch| {
                while self.out.len() - self.written < OUTPUT_WINDOW {
                    let Some(n) = own.poll_receive(cx, scratch)? else {
                        return Ok(());
                    };
                    came.news = true;
                    own.take(&scratch[..n], &mut self.out, |ended| came.note(ended))
                        .map_err(|error| io::Error::other(error.to_string()))?;
                }
                Ok(())
            })
        });
        if came.begun {
            self.was_told();
            self.settle(came.effects);
        }
        let small = self.lanes.settings().large_reply;
        for &(hash, size) in &came.read {
            let named = self.large.as_ref();
            if let Some((key, label)) = named.filter(|(key, _)| self.l1.hash(key) == hash) {
                let big_keys = &self.lanes.telemetry().big_keys;
                big_keys.note(hash, Some(key), size as u64, *label);
            }
        }
        for (hash, _) in came.read.into_iter().filter(|(_, size)| *size <= small) {
            self.lanes.large.remove(hash);
        }
        self.count_own(&mut own);
        for (ask, error) in own.ended.drain(..) {
            self.telling.own_ended(ask, self.now_us, error);
        }
        let cut = self.lanes.node().is_cut();
        if received.is_ok() && own.is_late(cx, self.now, self.lanes.settings(), cut) {
            self.own_timed_out(&mut own);
            received = Err(io::ErrorKind::TimedOut.into());
        } else if received.is_err() && own.awaits() {
            self.lanes.node().failed(Kind::Lost);
        }
        if received.is_err() {
            self.blocking = false;
            for change in came.changes {
                // The client has been told, so that it holds.
                self.changed(change);
            }
            // A clean idle connection that the server closed is just forgotten; any other takes its client with it,
            // once the client has what came before.
            // Where its user would not be let in again, that is a state too.
            let refused = self.seat.as_ref().is_some_and(|seat| seat.is_refused());
            let stateful = self.bound.any() || self.numbered || own.moved && refused;
            if own.raw || !own.is_idle() || stateful || self.is_transparent() {
                self.own_unanswered(&mut own, "connection lost");
                self.settle_abandoned(&mut own);
                self.closing = true;
            }
            return true;
        }
        self.blocking &= !own.is_idle();
        self.own = Some(own);
        for change in came.changes {
            self.changed(change);
        }
        if self.own.as_ref().is_some_and(|own| own.bare) && self.own_idle() {
            self.own = None;
        }
        self.give_back_own();
        came.news
    }

    /// Hands the node what the replies on the own connection say of it.
    fn count_own(&self, own: &mut Own) {
        let node = self.lanes.node();
        let Said {
            replies,
            unready,
            read_only,
        } = std::mem::take(&mut own.said);
        for _ in 0..unready {
            node.failed(Kind::Loading);
        }
        if replies > 0 {
            node.replied(replies, 0);
        }
        if read_only && node.was_primary() {
            self.lanes.left(own.generation);
        }
    }

    /// What is still to come is waited for no longer: each reply is an error, where none has begun. The connection is given
    /// up, and what hangs on it with it.
    fn own_timed_out(&mut self, own: &mut Own) {
        let node = self.lanes.node();
        node.failed(Kind::Timeout);
        if own.is_midway() {
            self.closing = true;
            return;
        }
        let error = node.error(&may_have_been(NO_REPLY));
        for _ in 0..own.owes() {
            encode::error(&mut self.out, &error);
        }
        self.own_unanswered(own, &error);
        self.closing |= own.is_moving();
        let lost = own.abandon();
        own.forget();
        if lost.is_write() {
            self.settle(lost);
        }
    }

    /// The own connection could not be opened: what was sent there gets an error each, and nothing of it was carried out.
    fn own_failed(&mut self, own: &mut Own, reason: &str) {
        let down = self.seat.as_ref().and_then(|seat| seat.unavailable());
        let error = down.unwrap_or_else(|| self.lanes.error(reason));
        for _ in 0..own.owes() {
            encode::error(&mut self.out, &error);
        }
        self.own_unanswered(own, &error);
        // With what was asked for there gone, what the client sends next would mean something else.
        self.closing |= own.raw || own.is_moving() || self.bound.any();
        // No push is to come for what was announced.
        let unsent = Unsettled {
            hashes: own.abandon().keys,
            ..Unsettled::default()
        };
        drop(Settling::new(&self.l1, unsent));
        (self.bound.watching, self.bound.transaction, self.blocking) = (false, None, false);
    }

    /// What was asked of it gets this error.
    fn own_unanswered(&mut self, own: &mut Own, error: &str) {
        for ask in own.take_asks() {
            let word = first_word(error.as_bytes());
            self.telling.own_ended(ask, self.now_us, Some(word));
        }
    }

    /// Releases the writes whose replies will not come, behind markers, since they may have been carried out.
    fn settle_abandoned(&mut self, own: &mut Own) {
        let effects = own.abandon();
        if effects.is_write() {
            self.settle(effects);
        }
    }
}

/// What one look at the own connection has brought.
#[derive(Default)]
struct Came {
    news: bool,
    /// A frame has begun: its client now knows something.
    begun: bool,
    effects: Effect,
    changes: Vec<Change>,
    read: Vec<(u64, usize)>,
}

impl Came {
    fn note(&mut self, ended: Ended) {
        match ended {
            Ended::Begun => self.begun = true,
            Ended::Reply(effect) => self.effects.merge(effect),
            Ended::Changed(change) => self.changes.push(change),
            Ended::Read(hash, size) => self.read.push((hash, size)),
            Ended::Nothing => {}
        }
    }
}
