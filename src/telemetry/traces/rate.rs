//! How many operations a second are sent: what a span costs is paid by the process whose clients are to be served, so where
//! very much is sampled the rest is counted and no more.
//!
//! The generic cell rate algorithm (ITU-T I.371): one number, the time at which the next would be due if they came as evenly
//! as they may; so many as are due in [`BURST`] may come at once.

use std::sync::atomic::{AtomicU64, Ordering};

/// What may come at once, as a time in nanoseconds.
const BURST: u64 = 1_000_000_000;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Rate {
    /// Between two of them, in nanoseconds.
    each: u64,
    due: AtomicU64,
}

impl Rate {
    /// So many a second.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            each: 1_000_000_000 / u64::from(per_second.max(1)),
            due: AtomicU64::new(0),
        }
    }

    /// Whether one more may come at this time, in microseconds of a clock; takes it.
    pub(super) fn admits(&self, now: u64) -> bool {
        let now = now * 1000;
        let take = |due: u64| {
            let due = due.max(now);
            (due < now + BURST).then_some(due + self.each)
        };
        let taken = self
            .due
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_and_a_second_of_them_at_once() {
        let rate = Rate::new(100);
        let at = |now: u64, asked: usize| (0..asked).filter(|_| rate.admits(now)).count();
        assert_eq!(at(5_000_000, 1000), 100, "at once");
        assert_eq!(at(5_000_000, 10), 0);
        assert_eq!(at(5_500_000, 1000), 50, "half a second later");
        let spread: usize = (0..10_000).map(|ms| at(5_500_000 + ms * 1000, 3)).sum();
        assert!((990..=1010).contains(&spread), "{spread}");
        assert_eq!(at(99_000_000, 1000), 100, "no more is saved up");
    }
}
