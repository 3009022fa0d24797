//! How many writes of a key are under way, and over which connection, in fixed stripes of hashes: two keys that share one
//! refuse each other's fills while a write is out, which costs a miss and needs no allocation.
//!
//! A write counts itself *before* it looks whether its key is held, a fill asks for writes *under the table's lock*,
//! which it holds alone: either the fill came first, and the write finds what it has put in, or it sees the count.
//!
//! A read that goes down the lane of the writes is answered in their order: who takes part in one before its reply has
//! come is told nothing that is older than a write whose reply he may know of. Of writes that went any other way the
//! same read may know nothing.

use crate::sync::atomic::{AtomicU64, Ordering};

const STRIPES: usize = 4096;

/// What a write goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// The lane of the space with this number.
    Lane(u16),
    /// A connection of its session's own.
    Own,
}

/// How many, in the lower half; in the upper one the space of the lane that carries them all, plus one, or [`SEVERAL`].
#[derive(Debug)]
struct Stripe(AtomicU64);

const SEVERAL: u64 = u32::MAX as u64;

fn carrier(word: u64) -> u64 {
    word >> 32
}

fn count(word: u64) -> u64 {
    word & u64::from(u32::MAX)
}

impl Carrier {
    fn tag(self) -> u64 {
        match self {
            Self::Lane(space) => u64::from(space) + 1,
            Self::Own => SEVERAL,
        }
    }
}

impl Stripe {
    fn change(&self, to: impl Fn(u64) -> u64) {
        let to = |word| Some(to(word));
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, to);
    }
}

#[derive(Debug)]
pub(super) struct InFlight {
    stripes: Box<[Stripe]>,
}

impl Default for InFlight {
    fn default() -> Self {
        let stripes = (0..STRIPES).map(|_| Stripe(AtomicU64::new(0)));
        Self {
            stripes: stripes.collect(),
        }
    }
}

impl InFlight {
    fn of(&self, hash: u64) -> &Stripe {
        &self.stripes[usize::try_from(hash >> 40).unwrap_or_default() % STRIPES]
    }

    fn word(&self, hash: u64) -> u64 {
        self.of(hash).0.load(Ordering::Acquire)
    }

    pub fn begin(&self, hash: u64, over: Carrier) {
        self.of(hash).change(|word| {
            let alone = count(word) == 0 || carrier(word) == over.tag();
            let tag = if alone { over.tag() } else { SEVERAL };
            tag << 32 | (count(word) + 1)
        });
    }

    pub fn end(&self, hash: u64) {
        self.of(hash).change(|word| {
            debug_assert!(
                count(word) > 0,
                "every end of a write follows its beginning"
            );
            word - 1
        });
    }

    pub fn has(&self, hash: u64) -> bool {
        count(self.word(hash)) > 0
    }

    /// Whether one is under way that the lane of this space does not carry.
    pub fn has_beside(&self, hash: u64, space: u16) -> bool {
        let word = self.word(hash);
        count(word) > 0 && carrier(word) != Carrier::Lane(space).tag()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_of_one_lane_are_told_from_those_of_others_until_all_have_ended() {
        let (writes, key) = (InFlight::default(), 1 << 40);
        let seen = || {
            [
                writes.has(key),
                writes.has_beside(key, 0),
                writes.has_beside(key, 7),
            ]
        };
        assert_eq!(seen(), [false, false, false]);
        writes.begin(key, Carrier::Lane(7));
        writes.begin(key, Carrier::Lane(7));
        assert_eq!(seen(), [true, true, false]);
        for other in [Carrier::Lane(0), Carrier::Own] {
            writes.begin(key, other);
            assert_eq!(seen(), [true, true, true]);
            writes.end(key);
            // Which one has ended is not known.
            assert_eq!(seen(), [true, true, true]);
            writes.end(key);
            writes.end(key);
            assert_eq!(seen(), [false, false, false]);
            writes.begin(key, Carrier::Lane(7));
            writes.begin(key, Carrier::Lane(7));
            assert_eq!(seen(), [true, true, false]);
        }
        assert!(!writes.has(2 << 40));
    }
}
