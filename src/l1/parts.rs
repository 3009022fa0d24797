//! What several threads write to at a time, in parts: each thread has its own, so that no line passes to and fro between
//! cores. Who asks puts the parts together.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Threads with a higher number share the parts of others, which costs time alone.
pub const PARTS: usize = 8;

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
}

/// The number of this thread's part, of so many.
pub fn own(parts: usize) -> usize {
    NUMBER.with(|number| number % parts)
}

/// On lines of its own; two, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Apart<T>(pub T);

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Sum([Apart<AtomicU64>; PARTS]);

impl Sum {
    /// Counts.
    pub fn add(&self, n: u64) {
        self.0[own(PARTS)].0.fetch_add(n, Ordering::Relaxed);
    }

    /// What was counted.
    #[must_use]
    pub fn get(&self) -> u64 {
        let parts = self.0.iter();
        parts.map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}
