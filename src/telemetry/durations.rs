//! How long commands took, by command and route: histograms that each thread keeps for itself.
//!
//! A [`Recorder`] belongs to one thread, which alone writes to it, with plain loads and stores: no locked instruction, no
//! line that two cores pass to and fro. Who scrapes reads it from another thread and sums what all of them have. A count
//! that is read in the middle of a record is behind by that record, no more; nothing is torn, since each number is an atomic.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;

use crate::sync::Mutex;

/// A command, as the command table numbers it; [`Label::OTHER`] for what it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Label(pub u16);

impl Label {
    /// A command that the table does not have.
    pub const OTHER: Self = Self(0);
}

/// Where a command was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// From L1.
    L1,
    /// By the upstream, over a lane.
    Lane,
    /// By the upstream, over the session's own connection.
    Own,
    /// By nearside itself, without asking.
    Here,
}

impl Route {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::L1, Self::Lane, Self::Own, Self::Here];

    /// Its name in labels and in the slow log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::Lane => "lane",
            Self::Own => "own",
            Self::Here => "here",
        }
    }
}

/// Upper bounds of the buckets, in microseconds; a last bucket has no bound.
pub const BOUNDS: [u64; 18] = [
    10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// Buckets of a histogram.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// The bucket of a duration with so many significant bits, or the one before it.
const FIRST: [u8; 65] = first();

const fn first() -> [u8; 65] {
    let mut table = [0; 65];
    let mut bits = 1;
    while bits <= 64 {
        let least = 1_u64 << (bits - 1);
        let mut bucket = 0;
        while (bucket as usize) < BOUNDS.len() && BOUNDS[bucket as usize] < least {
            bucket += 1;
        }
        table[bits] = bucket;
        bits += 1;
    }
    table
}

/// The bucket of a duration in microseconds.
#[inline]
#[must_use]
pub fn bucket(us: u64) -> usize {
    let bits = u64::BITS - us.leading_zeros();
    let mut bucket = usize::from(FIRST[bits as usize]);
    while bucket < BOUNDS.len() && us > BOUNDS[bucket] {
        bucket += 1;
    }
    bucket
}

/// Adds without a locked instruction; the caller is the only writer.
#[inline]
fn add(counter: &AtomicU64, n: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(n),
        Ordering::Relaxed,
    );
}

/// Durations of one command on one route.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
    errors: AtomicU64,
}

/// What was recorded of one command on one route, or of several together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    /// So many took at most [`BOUNDS`], each counted in one bucket only.
    pub buckets: [u64; BUCKETS],
    /// All of them together, in microseconds.
    pub sum_us: u64,
    /// Those that were answered with an error.
    pub errors: u64,
}

impl Durations {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Takes others in.
    pub fn merge(&mut self, other: &Self) {
        for (mine, other) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += other;
        }
        self.sum_us += other.sum_us;
        self.errors += other.errors;
    }
}

/// Pairs of command and route that a thread can keep apart; a power of two, several times what the command table has.
const SLOTS: usize = 2048;

/// One thread's histograms. Written by that thread alone.
#[derive(Debug)]
pub struct Recorder {
    /// Label and route of each slot, plus one; 0 for a free one.
    keys: Box<[AtomicU32; SLOTS]>,
    histograms: Box<[OnceLock<Box<Histogram>>; SLOTS]>,
    /// From when a lane's request was handed over to its reply.
    upstream: Histogram,
}

impl Default for Recorder {
    fn default() -> Self {
        let histograms: Box<[_]> = (0..SLOTS).map(|_| OnceLock::new()).collect();
        Self {
            keys: Box::new([const { AtomicU32::new(0) }; SLOTS]),
            histograms: histograms.try_into().expect("there are so many"),
            upstream: Histogram::default(),
        }
    }
}

impl Recorder {
    /// `times` commands took `us` each.
    #[inline]
    pub fn record(&self, label: Label, route: Route, us: u64, times: u64) {
        let histogram = self.histogram(label, route);
        add(&histogram.buckets[bucket(us)], times);
        add(&histogram.sum_us, us.wrapping_mul(times));
    }

    /// One of those recorded was answered with an error.
    pub fn failed(&self, label: Label, route: Route) {
        add(&self.histogram(label, route).errors, 1);
    }

    /// `times` requests to the upstream took `us` each.
    #[inline]
    pub fn record_upstream(&self, us: u64, times: u64) {
        add(&self.upstream.buckets[bucket(us)], times);
        add(&self.upstream.sum_us, us.wrapping_mul(times));
    }

    #[inline]
    fn histogram(&self, label: Label, route: Route) -> &Histogram {
        let key = (u32::from(label.0) << 2 | route as u32) + 1;
        let slot = key.wrapping_mul(0x9e37_79b9) as usize >> 21;
        if self.keys[slot].load(Ordering::Relaxed) == key
            && let Some(histogram) = self.histograms[slot].get()
        {
            return histogram;
        }
        self.find(key, slot)
    }

    /// That of a pair which is not at its first place, or is new.
    #[cold]
    fn find(&self, key: u32, mut slot: usize) -> &Histogram {
        loop {
            let found = self.keys[slot].load(Ordering::Relaxed);
            if found == 0 || found == key {
                // The key behind the histogram, so that whoever finds it finds that too.
                let histogram = self.histograms[slot].get_or_init(Box::default);
                self.keys[slot].store(key, Ordering::Release);
                return histogram;
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// What has been recorded so far, each pair once.
    pub fn each(&self) -> impl Iterator<Item = (Label, Route, Durations)> {
        self.keys
            .iter()
            .zip(self.histograms.iter())
            .filter_map(|(key, histogram)| {
                let key = key.load(Ordering::Acquire).checked_sub(1)?;
                let route = Route::ALL[(key & 3) as usize];
                let label = Label(u16::try_from(key >> 2).ok()?);
                Some((label, route, read(histogram.get()?)))
            })
    }

    /// What requests to the upstream took.
    pub fn upstream(&self) -> Durations {
        read(&self.upstream)
    }
}

fn read(histogram: &Histogram) -> Durations {
    let mut durations = Durations {
        buckets: [0; BUCKETS],
        sum_us: histogram.sum_us.load(Ordering::Relaxed),
        errors: histogram.errors.load(Ordering::Relaxed),
    };
    for (count, bucket) in durations.buckets.iter_mut().zip(&histogram.buckets) {
        *count = bucket.load(Ordering::Relaxed);
    }
    durations
}

/// The recorders of all threads.
#[derive(Debug, Default)]
pub struct Recorders(Mutex<Vec<(ThreadId, Arc<Recorder>)>>);

impl Recorders {
    /// That of the thread which asks; it alone may write to it.
    #[must_use]
    pub fn here(&self) -> Arc<Recorder> {
        let thread = std::thread::current().id();
        let mut recorders = self.0.lock();
        if let Some((_, recorder)) = recorders.iter().find(|(owner, _)| *owner == thread) {
            return Arc::clone(recorder);
        }
        let recorder = Arc::new(Recorder::default());
        recorders.push((thread, Arc::clone(&recorder)));
        recorder
    }

    /// What all of them have recorded, in order of label and route, and what requests to the upstream took.
    #[must_use]
    pub fn sum(&self) -> (Vec<(Label, Route, Durations)>, Durations) {
        let mut all = std::collections::BTreeMap::<(Label, Route), Durations>::new();
        let mut upstream = Durations::default();
        // A session that begins meanwhile does not wait for the sum.
        let recorders: Vec<Arc<Recorder>> = {
            let recorders = self.0.lock();
            recorders
                .iter()
                .map(|(_, recorder)| Arc::clone(recorder))
                .collect()
        };
        for recorder in recorders {
            for (label, route, durations) in recorder.each() {
                all.entry((label, route)).or_default().merge(&durations);
            }
            upstream.merge(&recorder.upstream());
        }
        let all = all.into_iter();
        let all = all.map(|((label, route), durations)| (label, route, durations));
        (all.collect(), upstream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_what_its_bound_allows() {
        for us in (0..30_000).chain([99_999, 100_000, 100_001, 10_000_000, 10_000_001, u64::MAX]) {
            let plain = BOUNDS.iter().position(|&bound| us <= bound);
            assert_eq!(bucket(us), plain.unwrap_or(BOUNDS.len()), "{us}");
        }
    }

    #[test]
    fn threads_are_summed_and_pairs_kept_apart() {
        let recorders = Recorders::default();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let recorder = recorders.here();
                    for label in 0..400 {
                        for route in Route::ALL {
                            recorder.record(Label(label * 163), route, u64::from(label), 2);
                        }
                    }
                    recorder.failed(Label(163), Route::Own);
                    recorder.record_upstream(7, 5);
                });
            }
        });
        let (all, upstream) = recorders.sum();
        assert_eq!(all.len(), 1600);
        for (label, route, durations) in all {
            let us = u64::from(label.0 / 163);
            assert_eq!(durations.count(), 6);
            assert_eq!(durations.buckets[bucket(us)], 6);
            assert_eq!(durations.sum_us, us * 6);
            let errors = if (label.0, route) == (163, Route::Own) {
                3
            } else {
                0
            };
            assert_eq!(durations.errors, errors);
        }
        assert_eq!((upstream.count(), upstream.sum_us), (15, 105));
    }
}
