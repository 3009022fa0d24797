//! What ends entries: pushes, writes of ours and lanes that are lost; and the counts by which others learn of it.

use super::by_hand::Epoch;
use super::in_flight::Carrier;
use super::store::L1;
use super::table::Table;
use super::{Rule, Space};
use crate::sync::atomic::Ordering;

impl L1 {
    /// A write of `key` is about to be sent over a connection of its session's own: drops its entry and refuses fills until
    /// [`Self::end_write`].
    pub fn begin_write(&self, hash: u64, key: &[u8]) {
        self.begin_write_over(Carrier::Own, hash, key);
    }

    /// The same for one that is about to be sent down the lane of `space`.
    #[inline]
    pub fn begin_lane_write(&self, space: &Space, hash: u64, key: &[u8]) {
        self.begin_write_over(Carrier::Lane(space.id), hash, key);
    }

    fn begin_write_over(&self, carrier: Carrier, hash: u64, key: &[u8]) {
        let concerns = |table: &Table| table.concerns(hash, key);
        self.announce(carrier, hash, concerns, |table| {
            table.remove(hash, key);
        });
    }

    /// As [`Self::begin_write`], of a key known by its hash alone: what shares the hash is dropped.
    pub fn begin_write_of(&self, hash: u64) {
        let concerns = |table: &Table| table.concerns_hash(hash);
        self.announce(Carrier::Own, hash, concerns, |table| {
            table.remove_hash(hash);
        });
    }

    fn announce(
        &self,
        carrier: Carrier,
        hash: u64,
        concerns: impl FnOnce(&Table) -> bool,
        remove: impl FnOnce(&mut Table),
    ) {
        self.counters.own_writes.fetch_add(1, Ordering::Relaxed);
        self.in_flight.begin(hash, carrier);
        // Most writes are of keys that are not held, and keep nobody waiting.
        let table = self.table.read();
        if !concerns(&table) {
            self.generations.drop_key(hash);
            return;
        }
        drop(table);
        let mut table = self.table.write();
        self.generations.drop_key(hash);
        remove(&mut table);
    }

    /// L1 is known to have seen the write that began with the key of this hash.
    pub fn end_write(&self, hash: u64) {
        self.in_flight.end(hash);
    }

    /// A write that may change any key is about to be sent down a lane: drops everything and refuses fills until
    /// [`Self::end_write_of_any`].
    pub fn begin_write_of_any(&self) {
        self.barred.fetch_add(1, Ordering::AcqRel);
        self.clear();
    }

    /// L1 is known to have seen that write.
    pub fn end_write_of_any(&self) {
        self.barred.fetch_sub(1, Ordering::AcqRel);
    }

    /// A push on the lane of `space` named `key`.
    pub fn invalidate(&self, space: &Space, key: &[u8]) {
        let hash = self.hash(key);
        self.counters.invalidations.fetch_add(1, Ordering::Relaxed);
        {
            // Both under the lock: who finds the key held has the count that its drop moves on.
            let mut table = self.table.write();
            self.generations.drop_key(hash);
            table.remove(hash, key);
        }
        // Not before it is gone: who takes the count first and then finds the key held learns of this push by it.
        space.note_push(hash);
        self.moved_on();
    }

    /// A push on the lane of `space` said that everything is void.
    pub fn flush(&self, space: &Space) {
        self.clear();
        space.note_flush();
    }

    /// Drops everything.
    pub fn clear(&self) {
        self.counters.clears.fetch_add(1, Ordering::Relaxed);
        self.table.write().clear();
        self.generations.drop_all();
        self.moved_on();
    }

    /// What was true until now is gone, and something newer may be filled from here on. Not before it is gone: who
    /// then took the count and what was about to go would hold it for as new as what comes.
    pub(super) fn moved_on(&self) {
        self.drops.fetch_add(1, Ordering::AcqRel);
    }

    /// Drops everything and refuses every fill that was sent before: after SWAPDB, which pushes nothing.
    pub fn clear_and_refuse_sent(&self) {
        self.refuse_sent();
        self.clear();
    }

    /// Refuses every fill that was sent before.
    pub(super) fn refuse_sent(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Where L1 stands: changes when something sent before has become unfit for fills.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch {
            all: self.epoch.load(Ordering::Acquire),
            by_hand: self.by_hand.count(),
        }
    }

    /// How often the upstream has had something dropped: unchanged between two looks means that what was read in
    /// between is a snapshot.
    #[must_use]
    pub fn drops(&self) -> u64 {
        self.drops.load(Ordering::Acquire)
    }

    /// No hits for anyone until the matching [`Self::open`]. What is frozen is dropped: no marker will show that it has
    /// seen what this is for.
    pub fn close(&self) {
        self.closed.fetch_add(1, Ordering::AcqRel);
        self.drop_frozen();
    }

    /// Ends `n` closures.
    pub fn open(&self, n: u32) {
        self.closed.fetch_sub(n, Ordering::AcqRel);
    }

    /// The lane of `space` is gone: nothing of it is true any more.
    pub fn lane_lost(&self, space: &Space) {
        space.silence();
        self.no_longer_frozen(space);
        if !self.knocked_out(Rule::LaneLoss) {
            self.clear_space(space);
        }
        space.note_flush();
    }

    /// Drops what is in `space`.
    pub fn clear_space(&self, space: &Space) {
        self.table.write().remove_space(space.id);
        self.generations.drop_all();
        self.moved_on();
        self.counters.clears.fetch_add(1, Ordering::Relaxed);
    }
}
