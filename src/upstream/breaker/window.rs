//! What became of the calls of the last while: a ring of buckets, each a tenth of the window.
//!
//! A bucket is thrown away as a whole, so a call is remembered for nine to ten tenths of the window and
//! never for longer than it. The ring is a part of its owner: counting allocates nothing.

use std::time::Duration;

const BUCKETS: u8 = 10;

/// Calls and how many of them went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that succeeded slowly.
    pub slow: u64,
}

impl Counts {
    fn add(&mut self, more: Self) {
        self.calls = self.calls.saturating_add(more.calls);
        self.failures = self.failures.saturating_add(more.failures);
        self.slow = self.slow.saturating_add(more.slow);
    }

    fn take_out(&mut self, old: Self) {
        self.calls = self.calls.saturating_sub(old.calls);
        self.failures = self.failures.saturating_sub(old.failures);
        self.slow = self.slow.saturating_sub(old.slow);
    }
}

/// See the module's header. Times are milliseconds of a clock that never goes back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// A bucket's milliseconds, at least 1.
    width: u64,
    /// The newest bucket's number since the clock's zero; its place is that modulo the ring's length.
    newest: u64,
    buckets: [Counts; BUCKETS as usize],
    /// Of all buckets.
    total: Counts,
}

impl Window {
    /// An empty one. Shorter than 10 ms is taken as 10 ms.
    pub(super) fn new(length: Duration) -> Self {
        let width = super::millis(length) / u64::from(BUCKETS);
        Self {
            width: width.max(1),
            newest: 0,
            buckets: [Counts::default(); BUCKETS as usize],
            total: Counts::default(),
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.buckets = [Counts::default(); BUCKETS as usize];
        self.total = Counts::default();
    }

    /// Counts `more` at `now` and says what the window holds with it.
    pub(super) fn count(&mut self, now: u64, more: Counts) -> Counts {
        self.advance(now);
        let place = place(self.newest);
        self.buckets[place].add(more);
        self.total.add(more);
        self.total
    }

    /// What it holds at `now`.
    pub(super) fn at(&self, now: u64) -> Counts {
        let mut then = *self;
        then.advance(now);
        then.total
    }

    /// Empties the buckets whose time is over. A `now` that another thread's has overtaken counts as that.
    fn advance(&mut self, now: u64) {
        let newest = now / self.width;
        let steps = newest.saturating_sub(self.newest).min(u64::from(BUCKETS));
        if steps == 0 {
            return;
        }
        for step in 0..steps {
            let place = place(newest - step);
            self.total.take_out(self.buckets[place]);
            self.buckets[place] = Counts::default();
        }
        self.newest = newest;
    }

    /// That the total is the buckets' and no count exceeds its calls.
    pub(super) fn check_invariants(&self) {
        let mut total = Counts::default();
        for bucket in self.buckets {
            assert!(bucket.failures <= bucket.calls && bucket.slow <= bucket.calls);
            total.add(bucket);
        }
        assert_eq!(total, self.total);
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number % u64::from(BUCKETS)).expect("less than the ring's length")
}
