//! Which share of the reads each level of the cache could answer, by key space.

use std::sync::atomic::Ordering;

use crate::l1::keyspace::{Counters, Keyspaces};
use crate::telemetry::families::float;

/// What was read in a key space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reads {
    /// Answered from memory.
    pub(super) hits: u64,
    /// Cacheable.
    pub(super) all: u64,
    /// Sent upstream.
    pub(super) sent: u64,
    /// Of those, answered with null.
    pub(super) absent: u64,
}

impl Reads {
    /// As the counters have it.
    pub(super) fn of(counters: &Counters) -> Self {
        // What is a part of another is read first, so that it is never more than that.
        let absent = counters.absent.load(Ordering::Relaxed);
        let shared = counters.shared.load(Ordering::Relaxed);
        let misses = counters.misses();
        let hits = counters.hits.get() + counters.stale.load(Ordering::Relaxed);
        Self {
            hits,
            all: hits + misses,
            sent: misses.saturating_sub(shared),
            absent,
        }
    }

    /// The shares of L1 and of the upstream since `before`; `None` where there was nothing to answer.
    pub(super) fn ratios(&self, before: &Self) -> [Option<f64>; 2] {
        let gained = |of: fn(&Self) -> u64| of(self).saturating_sub(of(before));
        let sent = gained(|reads| reads.sent);
        // A reply may come in another stretch of time than its read was sent in.
        let found = sent.saturating_sub(gained(|reads| reads.absent));
        [
            share(gained(|reads| reads.hits), gained(|reads| reads.all)),
            share(found, sent),
        ]
    }
}

fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| float(part) / float(of))
}

/// What was read so far, by the number of the key space.
pub(super) fn so_far(keyspaces: &Keyspaces) -> Box<[Reads]> {
    let all = keyspaces.all();
    all.map(|(_, _, counters)| Reads::of(counters)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_came_since() {
        let before = Reads {
            hits: 10,
            all: 20,
            sent: 8,
            absent: 1,
        };
        assert_eq!(before.ratios(&before), [None, None]);
        let after = Reads {
            hits: 13,
            all: 24,
            sent: 12,
            absent: 2,
        };
        assert_eq!(after.ratios(&before), [Some(0.75), Some(0.75)]);
        let late = Reads {
            sent: 9,
            absent: 3,
            ..before
        };
        assert_eq!(late.ratios(&before), [None, Some(0.0)]);
    }

    #[test]
    fn shared_reads_are_not_sent_and_stale_ones_are_answered() {
        let counters = Counters::default();
        let add = |counter: &crate::sync::atomic::AtomicU64, n| {
            counter.fetch_add(n, Ordering::Relaxed);
        };
        counters.hits.add(5);
        add(&counters.stale, 2);
        add(&counters.missed[0], 3);
        add(&counters.missed[2], 1);
        add(&counters.shared, 1);
        add(&counters.absent, 2);
        let reads = Reads {
            hits: 7,
            all: 11,
            sent: 3,
            absent: 2,
        };
        assert_eq!(Reads::of(&counters), reads);
    }
}
