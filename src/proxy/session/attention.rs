//! Which operations get more than the least: a few are noted for the hot keys, a few are followed by a trace, a few hits
//! are compared with the upstream. One countdown stands for all three, so that the others pay one subtraction.
//!
//! The gaps between traced (and between audited) operations are drawn from the geometric distribution, which is what
//! tossing a coin for each would give.

use crate::l1::hot;

/// A gap is drawn anew after so many operations, so that a share that was changed is soon heeded; for a distribution without
/// memory that makes no difference.
const LONGEST: u32 = 1 << 16;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Attention {
    left: u32,
    /// What `left` began with.
    span: u32,
    state: u64,
    hot: u32,
    traced: Gap,
    audited: Gap,
}

/// What an operation is singled out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Drawn {
    /// Its key is noted among the hot ones.
    pub(super) hot: bool,
    /// It is told of whatever becomes of it.
    pub(super) traced: bool,
    /// If it is a hit, the upstream is asked too.
    pub(super) audited: bool,
}

/// Operations until the next one, or until it is drawn anew.
#[derive(Debug, Clone, Copy)]
struct Gap {
    left: u32,
    /// Something happens when it ends.
    fires: bool,
}

/// Shares of the operations, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Shares {
    pub(super) traced: f64,
    pub(super) audited: f64,
}

impl Attention {
    pub(super) fn new(seed: u64, shares: Shares) -> Self {
        let none = Gap {
            left: 0,
            fires: false,
        };
        let mut attention = Self {
            left: 0,
            span: 0,
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            hot: 0,
            traced: none,
            audited: none,
        };
        attention.renew(shares);
        attention
    }

    /// Whether this operation is singled out, or a gap has to be drawn anew: [`Self::drawn`] says which.
    #[inline]
    pub(super) fn ends(&mut self) -> bool {
        self.left -= 1;
        self.left == 0
    }

    /// The same for up to so many operations; how many of them are not singled out.
    #[inline]
    pub(super) fn pass(&mut self, operations: usize) -> usize {
        let passed = u32::try_from(operations)
            .unwrap_or(u32::MAX)
            .min(self.left - 1);
        self.left -= passed;
        passed as usize
    }

    /// What the operation at which the countdown ended is singled out for.
    #[cold]
    pub(super) fn drawn(&mut self, shares: Shares) -> Drawn {
        self.hot -= self.span;
        self.traced.left -= self.span;
        self.audited.left -= self.span;
        let drawn = Drawn {
            hot: self.hot == 0,
            traced: self.traced.left == 0 && self.traced.fires,
            audited: self.audited.left == 0 && self.audited.fires,
        };
        self.renew(shares);
        drawn
    }

    /// Has the next operation asked after, whatever it is.
    pub(super) fn look_at_next(&mut self) {
        self.span -= self.left - 1;
        self.left = 1;
    }

    fn renew(&mut self, shares: Shares) {
        if self.hot == 0 {
            self.hot = hot::gap(self.random());
        }
        if self.traced.left == 0 {
            self.traced = self.gap(shares.traced);
        }
        if self.audited.left == 0 {
            self.audited = self.gap(shares.audited);
        }
        self.left = self.hot.min(self.traced.left).min(self.audited.left);
        self.span = self.left;
    }

    fn gap(&mut self, share: f64) -> Gap {
        if share <= 0.0 {
            return Gap {
                left: LONGEST,
                fires: false,
            };
        }
        if share >= 1.0 {
            return Gap {
                left: 1,
                fires: true,
            };
        }
        // In (0, 1].
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let uniform = ((self.random() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        let gap = (uniform.ln() / (-share).ln_1p()).floor() + 1.0;
        let fires = gap <= f64::from(LONGEST);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 1 to LONGEST"
        )]
        let left = gap.clamp(1.0, f64::from(LONGEST)) as u32;
        Gap { left, fires }
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(traced: f64, audited: f64) -> Shares {
        Shares { traced, audited }
    }

    /// So many of `operations` were singled out for each.
    fn counts(attention: &mut Attention, shares: Shares, operations: u32) -> (u32, u32, u32) {
        let mut counts = (0, 0, 0);
        for _ in 0..operations {
            if attention.ends() {
                let drawn = attention.drawn(shares);
                counts.0 += u32::from(drawn.hot);
                counts.1 += u32::from(drawn.traced);
                counts.2 += u32::from(drawn.audited);
            }
        }
        counts
    }

    #[test]
    fn each_gets_its_share() {
        let shares = shares(0.01, 0.2);
        let mut attention = Attention::new(7, shares);
        let (hot, traced, audited) = counts(&mut attention, shares, 1_000_000);
        assert!((29_000..34_000).contains(&hot), "{hot}");
        assert!((9_400..10_600).contains(&traced), "{traced}");
        assert!((198_000..202_000).contains(&audited), "{audited}");
    }

    #[test]
    fn all_or_none() {
        let shares = shares(1.0, 0.0);
        let mut attention = Attention::new(3, shares);
        assert_eq!(counts(&mut attention, shares, 200_000).1, 200_000);
        let mut attention = Attention::new(3, Shares::default());
        assert_eq!(counts(&mut attention, Shares::default(), 200_000).1, 0);
    }

    #[test]
    fn a_small_share_gets_it_over_many_gaps() {
        let shares = shares(1e-5, 0.0);
        let mut attention = Attention::new(11, shares);
        let traced = counts(&mut attention, shares, 20_000_000).1;
        assert!((140..260).contains(&traced), "{traced}");
    }

    #[test]
    fn the_next_is_asked_after() {
        for seed in 1..200 {
            let mut attention = Attention::new(seed, Shares::default());
            let before = seed % 20;
            let mut hot = 0;
            let mut step = |attention: &mut Attention| {
                let ends = attention.ends();
                hot += u32::from(ends && attention.drawn(Shares::default()).hot);
                ends
            };
            for _ in 0..before {
                step(&mut attention);
            }
            attention.look_at_next();
            assert!(step(&mut attention));
            for _ in 0..64 * 100 {
                step(&mut attention);
            }
            assert!(hot >= 100, "the others go on: {hot}");
        }
    }

    #[test]
    fn several_at_once_stop_before_the_one_that_is_singled_out() {
        let mut attention = Attention::new(5, Shares::default());
        let (mut passed, mut drawn) = (0, 0);
        while passed + drawn < 100_000 {
            let some = attention.pass(16);
            passed += some;
            if some < 16 {
                assert!(attention.ends());
                drawn += usize::from(attention.drawn(Shares::default()).hot);
            }
        }
        assert!((2_900..3_400).contains(&drawn), "{drawn}");
    }
}
