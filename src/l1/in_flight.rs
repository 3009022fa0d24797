//! How many writes of a key are under way, in fixed stripes of hashes: two keys that share one refuse each other's fills
//! while a write is out, which costs a miss and needs no allocation.
//!
//! A write counts itself *before* it looks whether its key is held, a fill asks for writes *under the table's lock*,
//! which it holds alone: either the fill came first, and the write finds what it has put in, or it sees the count.

use crate::sync::atomic::{AtomicU32, Ordering};

const STRIPES: usize = 4096;

#[derive(Debug)]
pub(super) struct InFlight {
    counts: Box<[AtomicU32]>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            counts: (0..STRIPES).map(|_| AtomicU32::new(0)).collect(),
        }
    }
}

impl InFlight {
    fn of(&self, hash: u64) -> &AtomicU32 {
        &self.counts[usize::try_from(hash >> 40).unwrap_or_default() % STRIPES]
    }

    pub fn begin(&self, hash: u64) {
        self.of(hash).fetch_add(1, Ordering::AcqRel);
    }

    pub fn end(&self, hash: u64) {
        let before = self.of(hash).fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "every end of a write follows its beginning");
    }

    pub fn has(&self, hash: u64) -> bool {
        self.of(hash).load(Ordering::Acquire) > 0
    }
}
