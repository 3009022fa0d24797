//! What became of the sampled operations: each one is waiting, exported or dropped, and counted so.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why an operation's spans did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There were more than `max_per_second`.
    TooMany,
    /// The queue had no room.
    QueueFull,
    /// The receiver could not be reached in time, did not answer in time, or said until then that it cannot.
    Unreachable,
    /// The receiver refused the whole request.
    Refused,
    /// The receiver took the request and refused a part of it.
    Rejected,
    /// nearside ended before they could be sent.
    Shutdown,
}

impl Reason {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::TooMany,
        Self::QueueFull,
        Self::Unreachable,
        Self::Refused,
        Self::Rejected,
        Self::Shutdown,
    ];

    /// Its name in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::QueueFull => "queue_full",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The counts. An operation counts as one, however many spans it has.
#[derive(Debug, Default)]
pub struct Tally {
    sampled: AtomicU64,
    exported: AtomicU64,
    dropped: [AtomicU64; Reason::ALL.len()],
    rejected_spans: AtomicU64,
}

impl Tally {
    /// Operations that were to be sent.
    #[must_use]
    pub fn sampled(&self) -> u64 {
        self.sampled.load(Ordering::Relaxed)
    }

    /// Those that the receiver took.
    #[must_use]
    pub fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Those that it did not get, or did not take, for this reason.
    #[must_use]
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    /// Those that it did not get, or did not take.
    #[must_use]
    pub fn all_dropped(&self) -> u64 {
        Reason::ALL.iter().map(|reason| self.dropped(*reason)).sum()
    }

    /// Spans that the receiver refused out of requests that it took.
    #[must_use]
    pub fn rejected_spans(&self) -> u64 {
        self.rejected_spans.load(Ordering::Relaxed)
    }

    pub(super) fn sample(&self) {
        self.sampled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn drop(&self, reason: Reason, operations: u64) {
        self.dropped[reason as usize].fetch_add(operations, Ordering::Relaxed);
    }

    /// A request with so many operations goes on its way.
    pub(super) fn depart(&self, operations: u64) -> Flight<'_> {
        Flight {
            tally: self,
            operations,
        }
    }
}

/// Operations on their way. Where the end comes first, they count as dropped for that.
#[derive(Debug)]
pub(super) struct Flight<'a> {
    tally: &'a Tally,
    operations: u64,
}

impl Flight<'_> {
    /// The receiver took the request of `spans` spans, but for so many.
    pub(super) fn arrived(mut self, spans: u64, rejected: u64) {
        let all = std::mem::take(&mut self.operations);
        let rejected = rejected.min(spans);
        self.tally
            .rejected_spans
            .fetch_add(rejected, Ordering::Relaxed);
        // It does not say which: that they were spread evenly is the best guess, and right where it was all or none.
        let lost = (rejected * all).div_ceil(spans.max(1));
        self.tally.drop(Reason::Rejected, lost);
        self.tally.exported.fetch_add(all - lost, Ordering::Relaxed);
    }

    /// It did not.
    pub(super) fn failed(mut self, reason: Reason) {
        let all = std::mem::take(&mut self.operations);
        self.tally.drop(reason, all);
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.tally.drop(Reason::Shutdown, self.operations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_a_request_is_counted_once() {
        let tally = Tally::default();
        for (operations, spans, rejected, lost) in [
            (10, 20, 0, 0),
            (10, 20, 20, 10),
            (10, 20, 99, 10),
            (10, 10, 3, 3),
            (10, 20, 1, 1),
            (10, 20, 5, 3),
        ] {
            let (exported, dropped) = (tally.exported(), tally.dropped(Reason::Rejected));
            tally.depart(operations).arrived(spans, rejected);
            assert_eq!(tally.dropped(Reason::Rejected) - dropped, lost);
            assert_eq!(tally.exported() - exported, operations - lost);
        }
        assert_eq!(tally.rejected_spans(), 20 + 20 + 3 + 1 + 5);
        tally.depart(3).failed(Reason::Refused);
        drop(tally.depart(4));
        assert_eq!(tally.dropped(Reason::Refused), 3);
        assert_eq!(tally.dropped(Reason::Shutdown), 4);
    }
}
