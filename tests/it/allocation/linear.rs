//! Linearizability of recorded histories: whether there is an order of the calls, each at some moment between its beginning
//! and its end, in which a pool that is a plain number gives the same answers. Wing and Gong's search, with Lowe's memory of
//! where it has been: what a pool holds follows from which calls have taken place, so the place in each thread is all.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Instant;

/// What a call did, as its caller saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// Took so much, with this fence.
    Granted { amount: u64, fence: u64 },
    /// Was refused so much.
    Refused { amount: u64 },
    /// Gave so much back.
    Released { amount: u64 },
}

/// A call of one thread.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub began: Instant,
    pub ended: Instant,
    pub did: Did,
}

/// What each thread did, in its order.
#[derive(Debug, Default)]
pub struct History(Vec<Vec<Call>>);

impl History {
    pub fn of(threads: Vec<Vec<Call>>) -> Self {
        Self(threads)
    }

    /// Whether a pool of this capacity may have answered so.
    pub fn is_linearizable(&self, capacity: u64) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![(vec![0_usize; self.0.len()], 0_u64, 0_u64)];
        while let Some((at, used, fence)) = open.pop() {
            let next = |thread: usize| self.0[thread].get(at[thread]);
            let threads = 0..self.0.len();
            let Some(first_end) = threads
                .clone()
                .filter_map(|t| next(t).map(|call| call.ended))
                .min()
            else {
                return true;
            };
            for thread in threads {
                // Whatever begins after another one's end takes place after it.
                let Some(call) = next(thread).filter(|call| call.began <= first_end) else {
                    continue;
                };
                let after = match call.did {
                    Did::Granted { amount, fence: new }
                        if used + amount <= capacity && new > fence =>
                    {
                        (used + amount, new)
                    }
                    Did::Refused { amount } if used + amount > capacity => (used, fence),
                    Did::Released { amount } => (used - amount, fence),
                    Did::Granted { .. } | Did::Refused { .. } => continue,
                };
                let mut then = at.clone();
                then[thread] += 1;
                if seen.insert(then.clone()) {
                    open.push((then, after.0, after.1));
                }
            }
        }
        false
    }
}

/// Takes down what threads do.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<Vec<Call>>>);

impl Recorder {
    pub fn add(&self, calls: Vec<Call>) {
        self.0.lock().expect("no panic").push(calls);
    }

    pub fn history(self) -> History {
        History(self.0.into_inner().expect("no panic"))
    }
}

/// One call, timed.
pub fn timed(call: impl FnOnce() -> Did) -> Call {
    let began = Instant::now();
    let did = call();
    Call {
        began,
        ended: Instant::now(),
        did,
    }
}

mod tests {
    use std::time::Duration;

    use super::*;

    fn history(threads: &[&[(u64, u64, Did)]]) -> History {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let calls = |thread: &&[(u64, u64, Did)]| {
            let each = thread.iter();
            each.map(|&(began, ended, did)| Call {
                began: at(began),
                ended: at(ended),
                did,
            })
            .collect()
        };
        History::of(threads.iter().map(calls).collect())
    }

    const fn granted(fence: u64) -> Did {
        Did::Granted { amount: 1, fence }
    }

    const REFUSED: Did = Did::Refused { amount: 1 };
    const RELEASED: Did = Did::Released { amount: 1 };

    #[test]
    fn a_double_grant_is_seen() {
        assert!(!history(&[&[(0, 1, granted(1))], &[(0, 1, granted(2))]]).is_linearizable(1));
        assert!(history(&[&[(0, 1, granted(1))], &[(0, 1, granted(2))]]).is_linearizable(2));
    }

    #[test]
    fn calls_that_overlap_may_have_been_in_either_order() {
        let overlapping = [(0, 1, granted(1)), (2, 5, RELEASED)];
        assert!(history(&[&overlapping, &[(3, 4, granted(2))]]).is_linearizable(1));
        assert!(history(&[&overlapping, &[(3, 4, REFUSED)]]).is_linearizable(1));
    }

    #[test]
    fn what_came_back_is_there_afterwards() {
        let first = [(0, 1, granted(1)), (2, 3, RELEASED)];
        assert!(!history(&[&first, &[(4, 5, REFUSED)]]).is_linearizable(1));
        assert!(!history(&[&first, &[(1, 2, granted(2))]]).is_linearizable(0));
    }

    #[test]
    fn a_fence_that_goes_back_is_seen() {
        let first = [(0, 1, granted(2)), (2, 3, RELEASED)];
        assert!(!history(&[&first, &[(4, 5, granted(1))]]).is_linearizable(1));
    }
}
