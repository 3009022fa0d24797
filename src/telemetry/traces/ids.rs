//! Ids of traces and spans, and draws: from a generator of each thread's own, seeded by the operating system.
//!
//! They are no secrets, so they need not be hard to guess; but those of a whole fleet are not to meet,
//! so the state has 256 bits: xoshiro256++ of Blackman and Vigna, <https://prng.di.unimi.it/>.

use std::cell::RefCell;
use std::hash::{BuildHasher as _, RandomState};

/// A generator.
#[derive(Debug)]
struct Generator([u64; 4]);

impl Generator {
    fn seeded() -> Self {
        // The standard library's hash keys come from the operating system.
        let state = RandomState::new();
        Self([1_u64, 2, 3, 4].map(|word| state.hash_one(word)))
    }

    fn next(&mut self) -> u64 {
        let state = &mut self.0;
        let result = state[0]
            .wrapping_add(state[3])
            .rotate_left(23)
            .wrapping_add(state[0]);
        let kept = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= kept;
        state[3] = state[3].rotate_left(45);
        result
    }
}

thread_local! {
    static GENERATOR: RefCell<Generator> = RefCell::new(Generator::seeded());
}

fn next() -> u64 {
    GENERATOR.with_borrow_mut(Generator::next)
}

/// A span's id, which is never 0.
pub(super) fn span() -> u64 {
    next().max(1)
}

/// A trace's id, which is never 0.
pub(super) fn trace() -> u128 {
    u128::from(next()) << 64 | u128::from(span())
}

/// True for so many millionths of all calls.
pub(super) fn drawn(millionths: u32) -> bool {
    next() % 1_000_000 < u64::from(millionths)
}

/// Between half of it and all of it, so that those who failed together do not come back together.
pub(super) fn jittered(us: u64) -> u64 {
    us / 2 + next() % (us / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_reference() {
        // The first outputs for the state 1, 2, 3, 4, as the authors' code gives them.
        let mut generator = Generator([1, 2, 3, 4]);
        let first = [(); 3].map(|()| generator.next());
        assert_eq!(first, [41_943_041, 58_720_359, 3_588_806_011_781_223]);
    }

    #[test]
    fn threads_do_not_meet_and_draws_keep_to_their_share() {
        let mine: Vec<u128> = (0..1000).map(|_| trace()).collect();
        let others = std::thread::spawn(|| (0..1000).map(|_| trace()).collect::<Vec<_>>());
        let mut all = others.join().unwrap();
        all.extend(mine);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2000);
        let hits = (0..100_000).filter(|_| drawn(10_000)).count();
        assert!((600..1500).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| drawn(1_000_000) && !drawn(0)));
        assert!((0..1000).all(|_| (500..=1000).contains(&jittered(1000))));
    }
}
