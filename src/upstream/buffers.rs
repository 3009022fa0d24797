//! What all clients' buffers hold together, so that many clients that are each within their own bound cannot take
//! all memory between them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A buffer's size is told again when it has changed by this much.
const GRAIN: usize = 16 * 1024;

/// Bytes held for clients, requests and replies, and their bound.
#[derive(Debug)]
pub struct Buffers {
    held: AtomicUsize,
    limit: usize,
}

/// One holder's share.
#[derive(Debug, Default)]
pub struct Share {
    told: usize,
}

impl Buffers {
    /// Nothing held yet, `limit` bytes at most.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let held = AtomicUsize::new(0);
        Self { held, limit }
    }

    /// Bytes held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether the bound is passed: who holds much has to let go or do without more.
    #[inline]
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.held() > self.limit
    }

    /// A holder now holds `bytes`; small changes are not told.
    #[inline]
    pub fn hold(&self, share: &mut Share, bytes: usize) {
        if bytes.abs_diff(share.told) >= GRAIN {
            self.tell(share, bytes);
        }
    }

    /// A holder holds nothing any more.
    pub fn release(&self, share: &mut Share) {
        self.tell(share, 0);
    }

    fn tell(&self, share: &mut Share, bytes: usize) {
        if bytes >= share.told {
            self.held.fetch_add(bytes - share.told, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(share.told - bytes, Ordering::Relaxed);
        }
        share.told = bytes;
    }
}
