//! Never worse than no cache: a key whose fills do not earn their price is not filled any more. A fill and the push that
//! ends it cost the upstream about as much as [`PRICE`] plain reads more than the read that it replaces.
//!
//! Kept by stripes of hashes. A push or a write that ends a fill settles its account: the hits that it brought, less its
//! price. A key in debt is tried again once in a while, so that one that has become quiet is found out.

const STRIPES: usize = 4096;
/// In hits.
const PRICE: i8 = 2;
/// The most that a key can owe, and can have earned.
const DEBT: i8 = -6;
const CREDIT: i8 = 12;
/// From here on it is not filled.
const POOR: i8 = -4;
/// Of so many reads of keys in debt, one is filled all the same.
const ONE_IN: u32 = 64;

#[derive(Debug)]
pub(super) struct Earnings {
    accounts: Box<[i8]>,
    turned_away: u32,
}

impl Default for Earnings {
    fn default() -> Self {
        Self {
            accounts: vec![0; STRIPES].into_boxed_slice(),
            turned_away: 0,
        }
    }
}

fn stripe(key: u64) -> usize {
    usize::try_from(key >> 40).unwrap_or_default() % STRIPES
}

impl Earnings {
    /// Whether a fill with so many hits has earned its price.
    pub fn is_earned(hits: u8) -> bool {
        i8::try_from(hits).is_ok_and(|hits| hits >= PRICE)
    }

    /// A fill of `key` has ended, after so many hits.
    pub fn settle(&mut self, key: u64, hits: u8) {
        let account = &mut self.accounts[stripe(key)];
        let earned = i8::try_from(hits).unwrap_or(CREDIT).min(CREDIT) - PRICE;
        *account = account.saturating_add(earned).clamp(DEBT, CREDIT);
    }

    /// Whether `key` is in debt.
    pub fn is_poor(&self, key: u64) -> bool {
        self.accounts[stripe(key)] <= POOR
    }

    /// Whether a fill of `key` may pay.
    pub fn allow(&mut self, key: u64) -> bool {
        if !self.is_poor(key) {
            return true;
        }
        self.turned_away = self.turned_away.wrapping_add(1);
        self.turned_away.is_multiple_of(ONE_IN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_earns_is_rarely_filled_and_comes_back_when_it_does() {
        let mut earnings = Earnings::default();
        let filled = (0..6400)
            .filter(|_| {
                let filled = earnings.allow(7);
                if filled {
                    earnings.settle(7, 0);
                }
                filled
            })
            .count();
        assert!((90..=110).contains(&filled), "{filled} of 6400");
        for _ in 0..2 {
            earnings.settle(7, 4);
        }
        assert!(earnings.allow(7));
    }

    #[test]
    fn the_price_is_enough() {
        let mut earnings = Earnings::default();
        for _ in 0..1000 {
            assert!(earnings.allow(7));
            earnings.settle(7, 2);
        }
    }
}
