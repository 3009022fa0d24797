//! Invalidation by hand: of keys, of what a pattern says, of everything; in every space.
//!
//! It drops what is held, as a push does, and more has to be done than for a push: the lane's stream does not say where
//! it stands among the reads under way, so what was read before it and arrives after it must not be put in. A key's
//! hash goes into a log that a fill looks through from where it stood when its read was sent. Not so the generations:
//! they also move for pushes and writes of ours that come before the read, and would refuse a fill right behind a write.
//!
//! What a pattern says cannot be looked up by hash, so a pattern raises the epoch: every fill under way is refused, at
//! most one round trip's.
//!
//! A reply knows its keys only by hash. Who has the command table tells which they are: [`L1::walk`] hands out what was
//! asked, a few entries at a time, and takes keys to drop.

use crate::sync::atomic::{AtomicU64, Ordering};

use crate::sync::Mutex;

use super::{Cursor, L1};

/// Keys that the log remembers; a fill that was sent before that many is refused.
const REMEMBERED: u64 = 1024;
/// Slots that a walk goes through under one lock.
const STEP: usize = 256;

/// Where L1 stood when a read was sent: what has to be unchanged, or to have concerned other keys, for its fill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Epoch {
    /// Drops of everything that refuse what was sent.
    pub(super) all: u64,
    /// Keys dropped by hand.
    pub(super) by_hand: u64,
}

/// The hashes that were dropped by hand.
#[derive(Debug, Default)]
pub(super) struct Log {
    count: AtomicU64,
    ring: Mutex<Vec<u64>>,
}

impl Log {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    fn note(&self, hash: u64) {
        let mut ring = self.ring.lock();
        let count = self.count.load(Ordering::Relaxed);
        ring.resize(usize::try_from(REMEMBERED).unwrap_or_default(), 0);
        ring[slot(count)] = hash;
        self.count.store(count + 1, Ordering::Release);
    }

    /// Whether one of these was dropped since the count was `from`, or may have been.
    pub fn named_since(&self, from: u64, hashes: &[u64]) -> bool {
        if self.count() == from {
            return false;
        }
        let ring = self.ring.lock();
        let count = self.count();
        count - from > REMEMBERED || (from..count).any(|n| hashes.contains(&ring[slot(n)]))
    }
}

fn slot(n: u64) -> usize {
    usize::try_from(n % REMEMBERED).unwrap_or_default()
}

/// What an entry answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// The value of this key.
    Value(Vec<u8>),
    /// This request.
    Reply(Vec<u8>),
}

impl L1 {
    /// Drops a key by hand; what was sent for it before is not put in. The entries that went.
    pub fn drop_by_hand(&self, key: &[u8]) -> u64 {
        // Before it is dropped: a fill that still goes in is dropped here, and one that comes later sees this.
        self.by_hand.note(self.hash(key));
        self.drop_named(key)
    }

    /// Drops everything by hand, and refuses what was sent before. The entries that went.
    pub fn clear_by_hand(&self) -> u64 {
        self.refuse_sent();
        let dropped = {
            let mut table = self.table.write();
            let held = table.len() as u64;
            table.clear();
            held
        };
        self.generations.drop_all();
        self.dropped_by_hand(dropped);
        dropped
    }

    /// Begins to drop what a pattern says: nothing that was sent before is put in any more, nor shared. What is held is
    /// for the caller to go through with [`Self::walk`].
    pub fn begin_drop_by_pattern(&self) {
        self.refuse_sent();
        self.generations.drop_all();
    }

    /// Drops a key that a pattern fits. The entries that went.
    pub fn drop_named(&self, key: &[u8]) -> u64 {
        let hash = self.hash(key);
        let dropped = {
            let mut table = self.table.write();
            self.generations.drop_key(hash);
            table.remove(hash, key) as u64
        };
        self.dropped_by_hand(dropped);
        dropped
    }

    fn dropped_by_hand(&self, entries: u64) {
        self.counters.by_hand.fetch_add(entries, Ordering::Relaxed);
        self.moved_on();
    }

    /// What the next few entries answer; `None` at the end. Whatever was put in before the walk began, and is still
    /// held, is among it: an entry keeps its slot.
    pub fn walk(&self, walk: &mut Cursor) -> Option<Vec<Known>> {
        let (known, next) = self.table.read().slots(walk.0?, STEP);
        walk.0 = next;
        Some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_what_was_dropped_since_and_forgets_on_the_safe_side() {
        let log = Log::default();
        let before = log.count();
        assert!(!log.named_since(before, &[1]));
        log.note(1);
        log.note(2);
        assert!(log.named_since(before, &[1]) && log.named_since(before, &[7, 2]));
        assert!(!log.named_since(before, &[3]));
        assert!(!log.named_since(before + 1, &[1]));
        for hash in 10..9 + REMEMBERED {
            log.note(hash);
        }
        assert!(!log.named_since(before + 1, &[3]));
        assert!(log.named_since(before, &[3]), "more than is remembered");
    }
}
