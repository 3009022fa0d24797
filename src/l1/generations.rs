//! How often each key was dropped, by stripes of hashes. A number that has not moved means that no push, and no write
//! of ours, has concerned the key since: the server still tracks it, and what hangs on it is still true. Two keys that
//! share a stripe end each other's claims, which costs a miss.
//!
//! A key's number moves under the table's lock, together with the drop; where nothing of the key is held, others may hold
//! it too. The number of all moves after a drop of everything. So whoever finds an entry, and then takes the number, is
//! told of every drop of that entry.

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// 64 KiB in all.
const STRIPES: usize = 16 * 1024;

/// Where a key stood at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generation {
    key: u32,
    all: u64,
}

#[derive(Debug)]
pub(super) struct Generations {
    keys: Box<[AtomicU32]>,
    all: AtomicU64,
}

impl Default for Generations {
    fn default() -> Self {
        Self {
            keys: (0..STRIPES).map(|_| AtomicU32::new(0)).collect(),
            all: AtomicU64::new(0),
        }
    }
}

impl Generations {
    fn stripe(&self, hash: u64) -> &AtomicU32 {
        &self.keys[usize::try_from(hash >> 34).unwrap_or_default() % STRIPES]
    }

    pub fn of(&self, hash: u64) -> Generation {
        Generation {
            key: self.of_key(hash),
            all: self.all.load(Ordering::Acquire),
        }
    }

    /// Without what drops everything: for entries that such a drop takes away themselves.
    pub fn of_key(&self, hash: u64) -> u32 {
        self.stripe(hash).load(Ordering::Acquire)
    }

    pub fn drop_key(&self, hash: u64) {
        self.stripe(hash).fetch_add(1, Ordering::AcqRel);
    }

    pub fn drop_all(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
    }
}
