//! How much may be sent again: a fifth of what was answered lately, so that an outage is not amplified by retries.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// How long a request counts at least, in milliseconds; half as much more at most.
const WINDOW: u64 = 10_000;
/// Retries that are granted whatever was answered, in that time.
const LEAST: u64 = 10;
/// One retry for so many requests.
const SHARE: u64 = 5;

/// Requests and retries of one stretch of time.
#[derive(Debug, Default, Clone, Copy)]
struct Stretch {
    /// Its number, counted in halves of the window.
    number: u64,
    requests: u64,
    retries: u64,
}

/// See the module's header. Times are milliseconds of one clock that never goes back.
#[derive(Debug, Default)]
pub struct Budget {
    /// This stretch and the two before it.
    stretches: Mutex<[Stretch; 3]>,
    granted: AtomicU64,
    refused: AtomicU64,
    shared: AtomicU64,
}

impl Budget {
    /// So many requests were answered.
    pub fn note(&self, requests: u32, now: u64) {
        let mut stretches = self.stretches.lock();
        at(&mut stretches, now).requests += u64::from(requests);
    }

    /// Whether something may be sent again now; a yes is counted.
    #[must_use]
    pub fn grant(&self, now: u64) -> bool {
        let mut stretches = self.stretches.lock();
        at(&mut stretches, now);
        let (requests, retries) = stretches.iter().fold((0, 0), |(requests, retries), one| {
            (requests + one.requests, retries + one.retries)
        });
        let yes = retries < (requests / SHARE).max(LEAST);
        if yes {
            at(&mut stretches, now).retries += 1;
        }
        drop(stretches);
        let counter = if yes { &self.granted } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        yes
    }

    /// A session shares what another one was granted.
    pub fn note_shared(&self) {
        self.shared.fetch_add(1, Ordering::Relaxed);
    }

    /// How many shared what others were granted, ever.
    #[must_use]
    pub fn shared(&self) -> u64 {
        self.shared.load(Ordering::Relaxed)
    }

    /// How many were granted and how many refused, ever.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.granted), count(&self.refused))
    }
}

/// The stretch of `now`; those that are over are forgotten.
fn at(stretches: &mut [Stretch; 3], now: u64) -> &mut Stretch {
    let number = now / (WINDOW / 2);
    for one in stretches.iter_mut() {
        if one.number + 2 < number {
            *one = Stretch::default();
        }
    }
    let slot = usize::try_from(number % 3).unwrap_or_default();
    let one = &mut stretches[slot];
    if one.number != number {
        *one = Stretch {
            number,
            ..Stretch::default()
        };
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(budget: &Budget, now: u64, asked: u64) -> usize {
        (0..asked).filter(|_| budget.grant(now)).count()
    }

    #[test]
    fn a_fifth_of_the_recent_requests_and_a_few_at_least() {
        let budget = Budget::default();
        assert_eq!(granted(&budget, 100_000, 50), 10);
        budget.note(1000, 100_000);
        assert_eq!(granted(&budget, 104_000, 500), 190);
        assert_eq!(granted(&budget, 109_000, 500), 0, "they still count");
        assert_eq!(granted(&budget, 130_000, 500), 10, "all are forgotten");
        assert_eq!(budget.counts(), (210, 1340));
    }
}
