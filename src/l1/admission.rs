//! Which missed keys were read before: the admission window, as a filter that may rarely say yes to a key that was not.
//! What was held, paid and has been dropped counts as read, so that the next read fills it again.
//!
//! Two generations of a Bloom filter, each with all of a key's bits in one word: 4 bytes for each key at most, a tenth
//! of what two sets of hashes took. A wrong yes, below one read in ten when the window is fullest, only has a key
//! filled a read early.

/// Keys for each word of a full generation, when it has the fewest.
const KEYS_A_WORD: usize = 8;
/// The window is never shorter.
const LEAST_KEYS: usize = 1024;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Admission {
    seen: Box<[u64]>,
    seen_before: Box<[u64]>,
    noted: usize,
}

impl Admission {
    /// Whether `hash` was noted within the window, which is at least as many keys as are `held`; notes it.
    pub fn admits(&mut self, hash: u64, held: usize) -> bool {
        if has(&self.seen, hash) || has(&self.seen_before, hash) {
            return true;
        }
        self.note(hash, held);
        false
    }

    /// Notes `hash`, as a read that missed does.
    pub fn note(&mut self, hash: u64, held: usize) {
        if has(&self.seen, hash) {
            return;
        }
        let window = held.max(LEAST_KEYS);
        if self.seen.is_empty() || self.noted >= window {
            let words = (window / KEYS_A_WORD).next_power_of_two();
            let seen = vec![0; words].into_boxed_slice();
            self.seen_before = std::mem::replace(&mut self.seen, seen);
            self.noted = 0;
        }
        let (word, bits) = place(&self.seen, hash);
        self.seen[word] |= bits;
        self.noted += 1;
    }
}

fn has(generation: &[u64], hash: u64) -> bool {
    if generation.is_empty() {
        return false;
    }
    let (word, bits) = place(generation, hash);
    generation[word] & bits == bits
}

/// The word of `hash`, and its three bits there.
fn place(generation: &[u64], hash: u64) -> (usize, u64) {
    let mixed = hash.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let word = usize::try_from(mixed >> 32).unwrap_or_default() & (generation.len() - 1);
    let bits = 1 << (mixed >> 14 & 63) | 1 << (mixed >> 20 & 63) | 1 << (mixed >> 26 & 63);
    (word, bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32) ^ n
    }

    #[test]
    fn a_second_read_is_admitted_within_the_window() {
        let mut admission = Admission::default();
        let mut noted = Vec::new();
        for n in 0..20_000 {
            if !admission.admits(hash(n), 3000) {
                noted.push(n);
            }
            if let Some(earlier) = noted.len().checked_sub(3000) {
                assert!(admission.admits(hash(noted[earlier]), 3000), "{n}");
            }
        }
    }

    #[test]
    fn what_is_noted_is_admitted_at_its_next_read() {
        let mut admission = Admission::default();
        for n in 0..10_000 {
            admission.note(hash(n), 3000);
            assert!(admission.admits(hash(n), 3000), "{n}");
        }
    }

    #[test]
    fn a_first_read_is_rarely_admitted() {
        let mut admission = Admission::default();
        let reads = 1_000_000_u64;
        let wrong = (0..reads)
            .filter(|&n| admission.admits(hash(n), 8191))
            .count();
        assert!(wrong < 100_000, "{wrong}");
    }
}
