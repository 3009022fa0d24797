//! Hot keys: which are read most, from a sample of the cacheable reads, in a fixed room.
//!
//! Space-Saving (Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements in data streams",
//! 2005): so many keys are counted; a key that is not among them takes the place of the one that was counted least, with
//! that one's count for its own and for what it may be too high by. So no key's count is too low, and a key that was
//! noted more often than all notes by [`COUNTED`] is always among them. Two sketches take turns, so that what was hot an
//! hour ago is forgotten. Where several threads read, each has two of its own, and who asks adds them up: what one of them
//! does not count may have been noted there as often as what it has counted least, and that goes into the bound.
//!
//! Reads are drawn at random distances, not every so many: a client that reads its keys in a fixed round would else
//! show one of them alone.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use crate::sync::Mutex;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::parts::{self, Apart, PARTS};

/// Keys that a sketch counts.
pub const COUNTED: usize = 256;
/// On average one of so many reads is noted.
pub const ONE_IN: u64 = 32;
/// How long a sketch takes notes, in milliseconds. What is told is of this time to twice as long.
pub const WINDOW: u64 = 60_000;
/// Longer keys are left out.
const LONGEST: usize = 1024;

/// A key that was read often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotKey {
    /// The key.
    pub key: Vec<u8>,
    /// Reads that were noted of it, at most.
    pub noted: u64,
    /// By how much `noted` may be too high.
    pub over: u64,
}

impl HotKey {
    /// How often it was read, estimated.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.noted * ONE_IN
    }

    /// How far `reads` may be off: all that it may be too high by, and two standard deviations of the sample.
    #[must_use]
    pub fn error(&self) -> u64 {
        let twice = (4 * self.noted).isqrt() + 1;
        (self.over + twice) * ONE_IN
    }
}

/// Draws the reads that are noted, where they are looked at one by one.
#[derive(Debug)]
pub struct Sampler {
    left: u32,
    state: u64,
}

impl Sampler {
    /// Another sequence for each seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut sampler = Self {
            left: 0,
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        };
        sampler.draw();
        sampler
    }

    /// Whether this read is to be noted.
    #[inline]
    pub fn draws(&mut self) -> bool {
        self.left -= 1;
        let drawn = self.left == 0;
        if drawn {
            self.draw();
        }
        drawn
    }

    fn draw(&mut self) {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.left = gap(self.state);
    }
}

/// How many reads on the next one is noted, by a random number: from 1 to 63, so 32 on average.
#[must_use]
pub fn gap(random: u64) -> u32 {
    let most = 2 * ONE_IN - 1;
    #[expect(clippy::cast_possible_truncation, reason = "at most 63")]
    let gap = ((random >> 32) % most + 1) as u32;
    gap
}

#[derive(Debug)]
struct Count {
    key: Vec<u8>,
    noted: u64,
    over: u64,
}

/// One sketch; see the module's header.
#[derive(Debug, Default)]
struct Sketch {
    counts: Vec<Count>,
    places: HashTable<u32>,
    /// Keys of counts that are gone, for their memory.
    spare: Vec<Vec<u8>>,
    /// None is counted less, once all are taken.
    least: u64,
    /// Where the search for one that is goes on.
    hand: usize,
    hasher: RandomState,
}

impl Sketch {
    fn place(&self, key: &[u8]) -> Option<usize> {
        let is_it = |&at: &u32| self.counts[at as usize].key == key;
        let found = self.places.find(self.hasher.hash_one(key), is_it)?;
        Some(*found as usize)
    }

    fn note(&mut self, key: &[u8]) {
        if let Some(at) = self.place(key) {
            self.counts[at].noted += 1;
            return;
        }
        let at = if self.counts.len() < COUNTED {
            let mut own = self.spare.pop().unwrap_or_default();
            own.clear();
            own.extend_from_slice(key);
            self.counts.push(Count {
                key: own,
                noted: 1,
                over: 0,
            });
            self.counts.len() - 1
        } else {
            self.replace_least(key)
        };
        let at = u32::try_from(at).expect("at most COUNTED");
        let (counts, hasher) = (&self.counts, &self.hasher);
        let hash = |&at: &u32| hasher.hash_one(counts[at as usize].key.as_slice());
        self.places.insert_unique(hasher.hash_one(key), at, hash);
    }

    /// Has `key` counted in the place of one that was counted least.
    fn replace_least(&mut self, key: &[u8]) -> usize {
        let at = self.find_least();
        let count = &mut self.counts[at];
        let hash = self.hasher.hash_one(count.key.as_slice());
        let is_it = |&place: &u32| place as usize == at;
        if let Ok(found) = self.places.find_entry(hash, is_it) {
            found.remove();
        }
        count.key.clear();
        count.key.extend_from_slice(key);
        count.over = count.noted;
        count.noted += 1;
        at
    }

    /// Counts only grow: what is behind the hand is above the least already. So the hand goes round once for each step that
    /// the least takes, not for each key.
    fn find_least(&mut self) -> usize {
        loop {
            let rest = &self.counts[self.hand..];
            if let Some(on) = rest.iter().position(|count| count.noted <= self.least) {
                self.hand += on;
                return self.hand;
            }
            let noted = self.counts.iter().map(|count| count.noted);
            self.least = noted.min().unwrap_or_default();
            self.hand = 0;
        }
    }

    /// Forgets all keys and keeps their memory.
    fn clear(&mut self) {
        self.places.clear();
        (self.least, self.hand) = (0, 0);
        self.spare
            .extend(self.counts.drain(..).map(|count| count.key));
    }

    /// What a key may have been noted that is not counted.
    fn least(&self) -> u64 {
        if self.counts.len() < COUNTED {
            return 0;
        }
        let noted = self.counts.iter().map(|count| count.noted);
        noted.min().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Windows {
    current: Sketch,
    previous: Sketch,
    /// When the current one began.
    turned: u64,
}

impl Windows {
    fn turn(&mut self, now: u64) {
        let age = now.saturating_sub(self.turned);
        if age < WINDOW {
            return;
        }
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.clear();
        if age >= 2 * WINDOW {
            self.previous.clear();
        }
        self.turned = now;
    }
}

/// See the module's header.
#[derive(Debug)]
pub struct HotKeys {
    parts: Box<[Apart<Mutex<Windows>>]>,
}

impl HotKeys {
    /// For so many threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let parts = if threads > 1 { PARTS } else { 1 };
        Self {
            parts: (0..parts).map(|_| Apart::default()).collect(),
        }
    }

    /// Notes a read that was drawn, at `now` in milliseconds.
    pub fn note(&self, key: &[u8], now: u64) {
        if key.len() > LONGEST {
            return;
        }
        let mut windows = self.parts[parts::own(self.parts.len())].0.lock();
        windows.turn(now);
        windows.current.note(key);
    }

    /// The `n` keys that were read most, the most first.
    #[must_use]
    pub fn hottest(&self, n: usize, now: u64) -> Vec<HotKey> {
        let mut parts: Vec<_> = self.parts.iter().map(|part| part.0.lock()).collect();
        for windows in &mut parts {
            windows.turn(now);
        }
        let sketches = parts
            .iter()
            .flat_map(|part| [&part.current, &part.previous]);
        let sketches: Vec<_> = sketches.map(|sketch| (sketch, sketch.least())).collect();
        let counts = sketches.iter().flat_map(|(sketch, _)| &sketch.counts);
        let keys: BTreeSet<&[u8]> = counts.map(|count| count.key.as_slice()).collect();
        let told = |key: &[u8]| {
            let each = sketches.iter().map(|(sketch, least)| {
                let counted = sketch.place(key).map(|at| &sketch.counts[at]);
                counted.map_or((*least, *least), |count| (count.noted, count.over))
            });
            let (noted, over) = each.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
            HotKey {
                key: key.to_vec(),
                noted,
                over,
            }
        };
        let mut hot: Vec<HotKey> = keys.into_iter().map(told).collect();
        drop(parts);
        hot.sort_by(|a, b| b.noted.cmp(&a.noted).then_with(|| a.key.cmp(&b.key)));
        hot.truncate(n);
        hot
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is read in whichever order, and across a turn: the exact count is never above what is told, nor
        /// further below it than is told; and what was noted more often than one in COUNTED is told.
        #[test]
        fn counts_are_within_their_bounds(
            keys in proptest::collection::vec((0..40u32, 0..2000u32, any::<bool>()), 1..4000),
            turn in 0..4000usize,
        ) {
            let hot = HotKeys::new(1);
            let mut exact: HashMap<Vec<u8>, u64> = HashMap::new();
            for (at, (few, many, often)) in keys.iter().enumerate() {
                let key = if *often { format!("few:{few}") } else { format!("many:{many}") };
                hot.note(key.as_bytes(), if at < turn { 1 } else { WINDOW + 1 });
                *exact.entry(key.into_bytes()).or_default() += 1;
            }
            let now = if keys.len() <= turn { 1 } else { WINDOW + 1 };
            let told = hot.hottest(usize::MAX, now);
            for one in &told {
                let exact = exact.get(&one.key).copied().unwrap_or_default();
                prop_assert!(exact <= one.noted && one.noted - one.over <= exact, "{one:?}: {exact}");
            }
            prop_assert!(told.windows(2).all(|pair| pair[0].noted >= pair[1].noted));
            for (key, count) in exact {
                let sure = count > 2 * (keys.len() / COUNTED) as u64 + 1;
                prop_assert!(!sure || told.iter().any(|one| one.key == key), "{key:?}: {count}");
            }
        }
    }

    /// Each thread's sketch is full, and counts other keys beside the one that all of them read.
    #[test]
    fn what_several_threads_have_noted_is_added_up() {
        const THREADS: usize = 4;
        let hot = HotKeys::new(THREADS);
        let exact = (COUNTED * 3 * THREADS) as u64;
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let hot = &hot;
                scope.spawn(move || {
                    for n in 0..COUNTED * 3 {
                        hot.note(b"hot", 1);
                        hot.note(format!("{thread}:{n}").as_bytes(), 1);
                    }
                });
            }
        });
        let told = hot.hottest(1, 1).remove(0);
        assert_eq!(told.key, b"hot");
        assert!(
            told.noted >= exact && told.noted - told.over <= exact,
            "{told:?}"
        );
    }

    #[test]
    fn what_was_hot_is_forgotten() {
        let hot = HotKeys::new(1);
        let told = |now| hot.hottest(9, now).len();
        hot.note(b"a", 0);
        assert_eq!((told(0), told(WINDOW), told(2 * WINDOW)), (1, 1, 0));
        hot.note(b"a", 2 * WINDOW);
        assert_eq!((told(2 * WINDOW), told(5 * WINDOW)), (1, 0));
    }

    #[test]
    fn one_in_so_many_is_drawn_and_not_one_in_a_fixed_round() {
        let mut drawn = [0u32; 32];
        let mut sampler = Sampler::new(7);
        for read in 0..320_000 {
            drawn[read % 32] += u32::from(sampler.draws());
        }
        let all: u32 = drawn.iter().sum();
        assert!((9_500..10_500).contains(&all), "{all}");
        assert!(drawn.iter().all(|&n| (200..430).contains(&n)), "{drawn:?}");
    }
}
