//! How often a key was read lately, for keys in L1 and for keys that are not: a count-min sketch of 4-bit counters
//! that are halved now and then (Einziger, Friedman and Manes, "`TinyLFU`", 2017).
//!
//! A key's four counters lie in one block of 64 bytes, so that asking costs one cache line; on the traces that is as
//! good as four places anywhere.

/// Words in a block.
const BLOCK: usize = 8;
/// The least number of blocks. Small caches need a memory longer than themselves.
const LEAST_BLOCKS: usize = 128;
/// Entries for each block, when the sketch is fullest: 4 to 8 bytes an entry.
const ENTRIES_A_BLOCK: usize = 16;
/// Counts for each entry between two halvings. With 10, as usual, what is read once in several turnovers is
/// forgotten (P3, loop); beyond 30 nothing more is won.
const MEMORY: usize = 30;
/// The least number of entries that the time between halvings is reckoned with.
const LEAST_ENTRIES: usize = 512;
const HIGHEST: u64 = 15;

/// See the module's header.
#[derive(Debug)]
pub struct Sketch {
    blocks: Vec<[u64; BLOCK]>,
    counted: usize,
    period: usize,
}

impl Sketch {
    pub fn new() -> Self {
        Self {
            blocks: vec![[0; BLOCK]; LEAST_BLOCKS],
            counted: 0,
            period: MEMORY * LEAST_ENTRIES,
        }
    }

    /// Makes it large enough for so many entries, and its memory as long. What was counted stays.
    pub fn reach(&mut self, entries: usize) {
        self.period = MEMORY * entries.max(LEAST_ENTRIES);
        if entries > self.blocks.len() * ENTRIES_A_BLOCK {
            // A block's number is taken from the hash's low bits, so a key finds its counts in either half.
            let len = self.blocks.len();
            self.blocks.reserve_exact(len);
            self.blocks.extend_from_within(..);
        }
    }

    /// How often `hash` was counted lately; at most 15, and too high where others share its counters.
    pub fn count(&self, hash: u64) -> u64 {
        let (block, places) = self.places(hash);
        least(&self.blocks[block], places)
    }

    /// Counts `hash` once.
    pub fn add(&mut self, hash: u64) {
        let (block, places) = self.places(hash);
        let block = &mut self.blocks[block];
        let count = least(block, places);
        if count < HIGHEST {
            for (word, shift) in places {
                // The higher ones are others' counts as well, and need not grow.
                if block[word] >> shift & HIGHEST == count {
                    block[word] += 1 << shift;
                }
            }
        }
        self.counted += 1;
        if self.counted >= self.period {
            self.counted /= 2;
            for word in self.blocks.as_flattened_mut() {
                *word = *word >> 1 & 0x7777_7777_7777_7777;
            }
        }
    }

    /// The block, and in it the word and the shift of each of the four counters; no two of them are in one word.
    #[inline]
    fn places(&self, hash: u64) -> (usize, [(usize, u32); 4]) {
        let mixed = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let block = usize::try_from(mixed >> 40).unwrap_or_default() & (self.blocks.len() - 1);
        let choices = (mixed >> 8).to_le_bytes();
        let places = std::array::from_fn(|row| {
            let choice = choices[row];
            let word = row * 2 + usize::from(choice >> 4 & 1);
            (word, u32::from(choice & 15) * 4)
        });
        (block, places)
    }
}

#[inline]
fn least(block: &[u64; BLOCK], places: [(usize, u32); 4]) -> u64 {
    let counts = places.map(|(word, shift)| block[word] >> shift & HIGHEST);
    counts.into_iter().min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        (n + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(32)
    }

    #[test]
    fn counts_stay_as_it_grows_and_are_halved_with_time() {
        let mut sketch = Sketch::new();
        for _ in 0..20 {
            sketch.add(hash(1));
        }
        sketch.add(hash(2));
        let counts = |sketch: &Sketch| [1, 2, 3].map(|n| sketch.count(hash(n)));
        assert_eq!(counts(&sketch), [15, 1, 0]);
        sketch.reach(LEAST_BLOCKS * ENTRIES_A_BLOCK + 1);
        assert_eq!(sketch.blocks.len(), LEAST_BLOCKS * 2);
        assert_eq!(counts(&sketch), [15, 1, 0]);
        for _ in sketch.counted..sketch.period {
            sketch.add(hash(4));
        }
        assert_eq!(counts(&sketch), [7, 0, 0]);
    }
}
