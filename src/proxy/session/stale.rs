//! Reads that are served stale: from what was held when the upstream was lost, where their key spaces say so.
//!
//! What others wrote since is not seen, and that is what `serve_stale` asks for. What this session has been told
//! otherwise is: an own connection's replies, or another place's lane, may have shown what its lane had not. So it is
//! served only what was true later than that, by the lane's last proof of life. A fence says less: it is lifted by
//! whatever ends the wait for the lane, its loss too.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use super::asked::Asked;
use crate::resp::encode;
use crate::telemetry::clock::now_ms;
use crate::telemetry::durations::Route;
use crate::upstream::lanes::Seat;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Answers a read with what was true when the upstream was lost, if all that it asks for was held then and all its
    /// key spaces serve that for so long. Whether it did; nothing is to be outstanding.
    #[cold]
    pub(super) fn answer_stale(&mut self, asked: Asked<'_>) -> bool {
        let Some((_, longest)) = self.l1.keyspaces().stale() else {
            return false;
        };
        let space = self.seat.as_ref().and_then(|seat| seat.stale());
        let Some(space) = space.filter(|_| self.l1_on) else {
            return false;
        };
        let Some(proof) = self.l1.true_until(&space) else {
            return false;
        };
        let age = self.now.saturating_sub(proof);
        if age > longest {
            // Nobody is served from it any more.
            if let Some(seat) = &self.seat {
                seat.drop_stale();
            }
            return false;
        }
        let keyspaces = self.l1.keyspaces();
        let limit = |key: &[u8]| keyspaces.policy(keyspaces.of(key)).stale_ms();
        let limit = asked.keys().into_iter().map(limit).min();
        if proof <= self.told || limit.is_none_or(|limit| limit == 0 || age > limit) {
            return false;
        }
        let Some(keyspace) = self.answer_from(&space, asked) else {
            return false;
        };
        self.shown = true;
        let counters = self.l1.keyspaces().counters(keyspace);
        counters.stale.fetch_add(1, Ordering::Relaxed);
        self.telling.reads(keyspace);
        self.telling.done(Route::L1);
        true
    }

    /// Answers so many commands, writes among them, with the error that the lane would refuse them with, if it would:
    /// before they are announced, since what they name is then still true.
    #[inline]
    pub(super) fn turns_writes_away(&mut self, commands: usize) -> bool {
        self.l1.serves_stale() && self.lane_idle() && self.are_turned_away(commands)
    }

    fn are_turned_away(&mut self, commands: usize) -> bool {
        let error = self.seat.as_ref().and_then(|seat| seat.turns_away());
        let Some(error) = error else {
            return false;
        };
        for _ in 0..commands {
            encode::error(&mut self.out, &error);
        }
        self.telling.refuse(&error);
        true
    }

    /// Something was said over an own connection, which its lane may not have shown.
    pub(super) fn was_told(&mut self) {
        self.shown = true;
        if self.l1.serves_stale() {
            // Not when the pass began: what was said has come since.
            self.told = now_ms();
        }
    }

    /// A script is sent down the lane: what it writes is known to be in what was true later, of this lane.
    pub(super) fn sends_script(&mut self) {
        self.ran_script = true;
        self.told = self.now;
    }

    /// It is about to take another seat. What the lane there holds may be older than what it was told here, unless it is
    /// what the lane here has held; and that may be older than a script whose end it has not seen.
    pub(super) fn leaves_for(&mut self, seat: &Seat) {
        if !self.l1.serves_stale() {
            return;
        }
        let (held, stale) = (self.seat.as_ref(), seat.stale());
        let same = held
            .zip(stale)
            .is_some_and(|(held, stale)| Arc::ptr_eq(held.space(), &stale));
        if !same || self.ran_script {
            self.told = now_ms();
        }
    }
}
