//! What goes down the lane: the batch of a pass, the seat it goes from, and the fence.

use std::ops::Range;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;

use super::Session;
use crate::command::Row;
use crate::l1::{Rule, Space};
use crate::resp::downgrade::Shape;
use crate::upstream::lane::{Closed, MARKER, Submitted};
use crate::upstream::lanes::Seat;
use crate::upstream::{Attempt, Extra, Keys, NO_KEYSPACE, Op, Pending, Terms};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Leaves a lane that is late or retired, once nothing is outstanding on it; takes a seat where there was no room
    /// for one, once there is.
    pub(super) fn keep_seat(&mut self) {
        let found = match &self.seat {
            Some(seat) if seat.wants_leaving() && self.lane_idle() => {
                self.lanes.fresh(seat, &Handle::current())
            }
            None if !self.is_transparent() && self.own_idle() => {
                self.lanes.seat_once_up(&self.place, &Handle::current())
            }
            _ => None,
        };
        if let Some(seat) = found {
            self.sit(seat);
        }
    }

    /// Takes another seat: what the lane there holds may be older than what this session was shown before.
    pub(super) fn sit(&mut self, seat: Seat) {
        self.leaves_for(&seat);
        self.seat = Some(seat);
        if let Some(partial) = &mut self.partial {
            partial.forget();
        }
        // Most clients select their database before anything else.
        if self.shown || self.sent > 0 || self.tally.has_hits() {
            self.raise_fence();
        }
    }

    /// Reads go to the lane until it has answered one more. No marker for that: it would cost the upstream a command for
    /// each reply and message here, and a read that follows closely goes down the lane all the same. And it would come
    /// between what clients send at the same moment: the upstream, woken by it, takes what is behind it on the lane first.
    pub(super) fn raise_fence(&mut self) {
        self.fenced_until = self.sent + 1;
    }

    /// Hands the batch to the lane.
    pub(super) fn submit(&mut self) {
        // What was queued while a read had to be repeated over the own connection comes behind that.
        if self.batch.is_empty() || !self.own_idle() {
            return;
        }
        let mut mail = self.mailbox.lock();
        if mail.repeats() {
            // The read before has to be repeated first.
            return;
        }
        let behind = mail.submitted != mail.answered;
        mail.submitted = self.sent;
        drop(mail);
        self.repeat.clear();
        let repeated = std::mem::take(&mut self.repeated);
        self.repeat.extend_from_slice(&self.bytes[repeated]);
        while let Some(seat) = &self.seat {
            match seat.submit(&mut self.bytes, &mut self.batch, behind) {
                Ok(submitted) => {
                    if let Some(flight) = self.departures.take()
                        && submitted == Submitted::Queued
                    {
                        seat.flights().add(flight);
                    }
                    return;
                }
                // It has closed because nothing was outstanding on it, of this session either.
                Err(Closed) => match self.lanes.fresh(seat, &Handle::current()) {
                    Some(fresh) => self.sit(fresh),
                    None => break,
                },
            }
        }
        let error = self.lanes.error("no further lane can be opened");
        self.bytes.clear();
        crate::upstream::refuse(&self.l1, self.batch.drain(..), &error);
    }

    /// Queues a lane command; a `repeatable` one is a read that may be sent again, and `reads` is the hash of the key that a read names.
    pub(super) fn queue(
        &mut self,
        request: &[u8],
        repeatable: bool,
        reads: Option<u64>,
        shape: Shape,
        op: Op,
    ) {
        self.queue_read(request, repeatable, reads, shape, op, Extra::default());
    }

    /// The same with what few commands have.
    #[inline]
    pub(super) fn queue_read(
        &mut self,
        request: &[u8],
        repeatable: bool,
        reads: Option<u64>,
        shape: Shape,
        op: Op,
        extra: Extra,
    ) {
        self.sent += 1;
        let told = self.telling.is_followed();
        self.telling.ask_lane();
        if matches!(op, Op::Write(_) | Op::Exec(_) | Op::Script) {
            self.wrote = self.sent;
        }
        let attempt = if self.again {
            Attempt::Second
        } else if repeatable && !self.silent && self.partial.is_none() {
            self.repeated = self.bytes.len()..self.bytes.len() + request.len();
            Attempt::First
        } else {
            Attempt::Only
        };
        self.bytes.extend_from_slice(request);
        let terms = Terms {
            sent_us: self.now_us,
            keyspace: std::mem::replace(&mut self.missed, NO_KEYSPACE),
            shape,
            attempt,
            resp2: self.resp2,
            silent: self.silent,
            told,
        };
        // What others may join, or is compared, has a record of its own.
        if extra.is_empty()
            && let Some(last) = self.batch.last_mut()
            && last.takes_in(&terms, reads, &op)
        {
            return;
        }
        let session = Some(Arc::clone(&self.mailbox));
        self.batch
            .push(Pending::new(session, terms, reads, op, extra));
    }

    /// Queues a script, and behind it the marker whose reply says that L1 has seen what it wrote.
    pub(super) fn queue_script(&mut self, request: &[u8]) {
        self.sends_script();
        self.queue(request, false, None, Shape::Generic, Op::Script);
        self.bytes.extend_from_slice(MARKER);
        let session = Some(Arc::clone(&self.mailbox));
        self.batch
            .push(Pending::ours(session, self.now, Op::ScriptEnd));
    }

    /// Whether a write may also change keys of another database.
    pub(super) fn reaches_elsewhere(&self, row: &Row, args: &[Range<usize>]) -> bool {
        row.reaches_elsewhere(args.len()) && !self.l1.knocked_out(Rule::Elsewhere)
    }

    /// Announces a write of the keys that a request changes and gives their hashes; `None` where they cannot be told,
    /// and nothing is announced.
    pub(super) fn begin_write(
        &self,
        row: &Row,
        request: &[u8],
        args: &[Range<usize>],
    ) -> Option<Vec<u64>> {
        if !self.l1_on {
            return Some(Vec::new());
        }
        let keys = row.written(request, args)?;
        Some(
            keys.map(|at| self.announce(None, &request[args[at].clone()]))
                .collect(),
        )
    }

    /// The same for one that goes down the lane by itself.
    #[inline]
    pub(super) fn begin_lane_write(
        &self,
        row: &Row,
        request: &[u8],
        args: &[Range<usize>],
    ) -> Option<Keys> {
        if !self.l1_on {
            return Some(Keys::Many(Box::default()));
        }
        let elsewhere = self.reaches_elsewhere(row, args);
        let mut keys = row.written(request, args)?.fuse();
        let space = self.seat.as_ref()?.space();
        let announce = |at: usize| self.announce(Some(space), &request[args[at].clone()]);
        // Most have one key, and need no list.
        let (first, second) = (keys.next().map(announce), keys.next().map(announce));
        match (first, second) {
            (Some(hash), None) if !elsewhere => Some(Keys::One(hash)),
            (first, second) => {
                let some = first.into_iter().chain(second);
                Some(Keys::of(
                    some.chain(keys.map(announce)).collect(),
                    elsewhere,
                ))
            }
        }
    }

    /// A write of a key is about to be sent: down the lane of that space, or over the own connection. Its hash.
    #[inline]
    fn announce(&self, lane: Option<&Space>, key: &[u8]) -> u64 {
        let hash = self.l1.hash(key);
        match lane {
            Some(space) => self.l1.begin_lane_write(space, hash, key),
            None => self.l1.begin_write(hash, key),
        }
        hash
    }
}
