//! Durations counted by how long they were, for what is rare enough to be counted under a lock: leases and their ledger.
//! What the data path does is counted in `durations`.

/// Upper bounds for what may be waited for, in microseconds: a lease waits for ten minutes at most.
pub const WAITS: &[u64] = &[
    1000,
    2500,
    5000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
];

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static [u64],
    /// Each duration in one bucket only; the last has no bound.
    buckets: Box<[u64]>,
    sum_us: u64,
}

impl Histogram {
    /// An empty one with these upper bounds, which grow, in microseconds.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            buckets: vec![0; bounds.len() + 1].into(),
            sum_us: 0,
        }
    }

    /// Something took so long, in microseconds.
    pub fn record(&mut self, us: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < us);
        self.buckets[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// The bounds; one fewer than there are buckets.
    #[must_use]
    pub fn bounds(&self) -> &'static [u64] {
        self.bounds
    }

    /// What is in each bucket alone.
    #[must_use]
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// All of them together, in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_what_its_bound_allows() {
        let mut histogram = Histogram::new(&[10, 20]);
        for us in [0, 10, 11, 20, 21] {
            histogram.record(us);
        }
        assert_eq!(
            (histogram.buckets(), histogram.sum_us()),
            (&[2, 2, 1][..], 62)
        );
    }
}
