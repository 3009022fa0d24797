//! Key spaces: named patterns of keys, each with its own policy. The first that matches a key is its own.

use crate::sync::atomic::{AtomicU64, Ordering};

use super::glob;
use super::parts::Sum;
use super::settings::{Keyspace, Settings, WritePolicy};

/// The most that can be named.
pub const MOST: usize = 200;
/// The name of what matches none.
pub const DEFAULT: &str = "default";

/// Why a reply was not put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// The upstream does not track the read.
    Untracked,
    /// A push named its key on the way, or everything was dropped.
    Pushed,
    /// A write of its key is in flight.
    Written,
    /// What the upstream says of its key's expiry does not agree with it.
    Expiry,
    /// It is larger than `max_entry_bytes`, or than all of L1.
    Large,
    /// It is an error.
    Error,
    /// It says that there is no such key, and its key space wants none of those.
    Negative,
    /// Its key was dropped by hand on the way.
    ByHand,
    /// Its reply came after `request_timeout`.
    Late,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Untracked,
        Self::Pushed,
        Self::Written,
        Self::Expiry,
        Self::Large,
        Self::Error,
        Self::Negative,
        Self::ByHand,
        Self::Late,
    ];

    /// As metrics and statistics name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Untracked => "untracked",
            Self::Pushed => "pushed",
            Self::Written => "written",
            Self::Expiry => "expiry",
            Self::Large => "large",
            Self::Error => "error",
            Self::Negative => "negative",
            Self::ByHand => "by_hand",
            Self::Late => "late",
        }
    }
}

/// Why a cacheable read was not answered from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Missed {
    /// Nothing is held of it.
    NotHeld,
    /// What was held has come to its end.
    Expired,
    /// Its session was shown something that may be newer than what is held.
    Fenced,
    /// A write of its key is in flight.
    Written,
    /// It could not wait for its turn: a later command of its pipeline had to be sent first, or too many waited.
    Overtaken,
    /// The upstream was not heard from lately, or L1 is closed for a write whose keys are not known.
    NotServing,
    /// L1 is off, or the upstream does not track for it.
    Off,
    /// L1 does not answer, it only looks whether it would be right.
    Shadow,
}

impl Missed {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::NotHeld,
        Self::Expired,
        Self::Fenced,
        Self::Written,
        Self::Overtaken,
        Self::NotServing,
        Self::Off,
        Self::Shadow,
    ];

    /// As metrics name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotHeld => "not_held",
            Self::Expired => "expired",
            Self::Fenced => "fenced",
            Self::Written => "written",
            Self::Overtaken => "overtaken",
            Self::NotServing => "not_serving",
            Self::Off => "off",
            Self::Shadow => "shadow",
        }
    }
}

/// What happened in one key space.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reads answered from memory.
    pub hits: Sum,
    /// Cacheable reads that were not, by [`Missed`]; they went upstream unless they are `shared`.
    pub missed: [AtomicU64; Missed::ALL.len()],
    /// Those of the misses that shared another session's read.
    pub shared: AtomicU64,
    /// Null replies of the upstream to cacheable reads.
    pub absent: AtomicU64,
    /// Write commands sent upstream, by their first key.
    pub writes: Sum,
    /// Reads answered with what was held when the upstream was lost; not among the hits.
    pub stale: AtomicU64,
    /// Replies put in.
    pub fills: AtomicU64,
    /// Replies not put in, by [`Refusal`].
    pub refused: [AtomicU64; Refusal::ALL.len()],
    /// Shadow mode: answers that L1 would have given and that were the upstream's.
    pub same: AtomicU64,
    /// Shadow mode: answers that L1 would have given and that were not the upstream's, with a push on the way.
    pub moved: AtomicU64,
    /// Shadow mode: the same without one, which should never be.
    pub different: AtomicU64,
    /// Audited hits that were not what the upstream had, for no reason known.
    pub incoherent: AtomicU64,
}

impl Counters {
    /// Cacheable reads not answered from memory, for whatever reason.
    #[must_use]
    pub fn misses(&self) -> u64 {
        let each = self.missed.iter();
        each.map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    /// Replies not put in, for whatever reason.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let each = self.refused.iter();
        each.map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

/// All key spaces of an L1: those that are set, then the default one.
#[derive(Debug)]
pub struct Keyspaces {
    policies: Box<[Keyspace]>,
    counters: Box<[Counters]>,
    any_written_through: bool,
    /// Of those that serve stale at all, the shortest and the longest time, in milliseconds.
    stale: Option<(u64, u64)>,
}

impl Keyspaces {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut policies = settings.keyspaces.clone();
        policies.push(Keyspace {
            name: DEFAULT.to_owned(),
            pattern: b"*".to_vec(),
            ..settings.default_keyspace()
        });
        let counters = policies.iter().map(|_| Counters::default()).collect();
        let through = |policy: &Keyspace| policy.write_policy == WritePolicy::WriteThrough;
        let stale = policies.iter().map(Keyspace::stale_ms);
        let stale = stale.filter(|&ms| ms > 0);
        Self {
            stale: stale.clone().min().zip(stale.max()),
            any_written_through: policies.iter().any(through),
            policies: policies.into_boxed_slice(),
            counters,
        }
    }

    /// The number of a key's.
    #[inline]
    #[must_use]
    pub fn of(&self, key: &[u8]) -> u8 {
        let named = &self.policies[..self.policies.len() - 1];
        let found = named
            .iter()
            .position(|space| glob::matches(&space.pattern, key));
        u8::try_from(found.unwrap_or(named.len())).unwrap_or(u8::MAX)
    }

    /// Whether any has its keys filled behind a write.
    #[must_use]
    pub fn any_written_through(&self) -> bool {
        self.any_written_through
    }

    /// The shortest and the longest time for which one serves stale, in milliseconds; `None` where none does.
    #[inline]
    #[must_use]
    pub fn stale(&self) -> Option<(u64, u64)> {
        self.stale
    }

    /// The longest reply that any of them keeps.
    #[must_use]
    pub fn largest_entry(&self) -> usize {
        let each = self.policies.iter().map(|policy| policy.max_entry_bytes);
        each.max().unwrap_or_default()
    }

    /// The policy of one.
    #[must_use]
    pub fn policy(&self, number: u8) -> &Keyspace {
        &self.policies[usize::from(number).min(self.policies.len() - 1)]
    }

    /// What happened in one.
    #[must_use]
    pub fn counters(&self, number: u8) -> &Counters {
        &self.counters[usize::from(number).min(self.counters.len() - 1)]
    }

    /// Each with its number.
    pub fn all(&self) -> impl Iterator<Item = (u8, &Keyspace, &Counters)> {
        let counted = self.policies.iter().zip(&self.counters);
        (0..)
            .zip(counted)
            .map(|(number, (policy, counters))| (number, policy, counters))
    }

    /// Whether there is none but the default one.
    #[inline]
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.policies.len() == 1
    }

    /// Counts hits, and writes that were sent upstream.
    pub fn count(&self, number: u8, hits: u64, writes: u64) {
        let counters = self.counters(number);
        if writes > 0 {
            counters.writes.add(writes);
        }
        if hits > 0 {
            counters.hits.add(hits);
        }
    }

    /// Counts reads that were not answered from memory.
    pub fn miss(&self, number: u8, why: Missed, reads: u64) {
        let missed = &self.counters(number).missed;
        missed[why as usize].fetch_add(reads, Ordering::Relaxed);
    }

    /// The sum of one counter over all.
    #[must_use]
    pub fn total(&self, counter: impl Fn(&Counters) -> u64) -> u64 {
        self.counters.iter().map(counter).sum()
    }

    /// Counts a reply that was not put in.
    pub fn refuse(&self, number: u8, why: Refusal) {
        self.counters(number).refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}
