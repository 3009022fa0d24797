//! Keys whose replies were seen to be large: they are read over own connections, where back-pressure applies.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Keys remembered; past it all are forgotten, and seen again at the cost of one large reply on the lane each.
const REMEMBERED: usize = 16 * 1024;

/// See the module's header. Keys are known by L1's hash of their name.
#[derive(Debug, Default)]
pub struct LargeKeys {
    hashes: Mutex<HashSet<u64, foldhash::fast::FixedState>>,
    len: AtomicUsize,
}

impl LargeKeys {
    /// A reply of this key was large.
    pub fn add(&self, hash: u64) {
        let mut hashes = self.hashes.lock();
        if hashes.len() >= REMEMBERED {
            hashes.clear();
        }
        hashes.insert(hash);
        self.len.store(hashes.len(), Ordering::Release);
    }

    /// A reply of this key was small.
    pub fn remove(&self, hash: u64) {
        let mut hashes = self.hashes.lock();
        hashes.remove(&hash);
        self.len.store(hashes.len(), Ordering::Release);
    }

    /// Whether the key was seen to be large.
    #[inline]
    #[must_use]
    pub fn contains(&self, hash: u64) -> bool {
        !self.is_empty() && self.hashes.lock().contains(&hash)
    }

    /// Whether none was, as nearly always: then no key needs to be hashed to find out.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }
}
