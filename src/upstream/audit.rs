//! Audits: a few of the hits are read from the upstream as well, and compared. What differs and should not is how an operator
//! learns that the cache is wrong.
//!
//! # What a difference proves
//!
//! An audit's read goes down the lane that filled the entry, behind the hit. It is a plain one: it tracks nothing and fills
//! nothing, and its reply is for nobody. A push that comes before a reply is already in that reply, and the other way round:
//! for whatever the server did to a tracked key before it answered, the push is ahead of the answer. So when the reply has
//! come, L1 has heard of every change that can be in it, and either the reply is what L1 had ([`Outcome::Same`]), or
//!
//! | the reply differs, and | because |
//! |---|---|
//! | a key of it was dropped since the hit: [`L1::has_withdrawn`] | a push named it, a write of ours, a null push, a lost lane, somebody by hand |
//! | the entry has ended, or was to end within the bound (of a second at most) | the server's clock is not ours |
//! | what was sent before has become void since: [`L1::has_voided`] | a SWAPDB of ours pushes nothing: its reply, over another connection, says it |
//! | none of these | L1 was wrong: [`Outcome::Incoherent`] |
//!
//! The first is asked by key, at the moment of the reply: that *some* push came meanwhile would explain everything where
//! much is written, and a push for the key that comes *behind* the reply is for a later change, or for the end of a key that
//! our read has found expired, of which L1 did not know; neither says why the reply is different. Keys are known by the
//! stripes of `generations`, so a change of one key in 16384 explains another's. Only the third may come later than the
//! reply, since it does not come over the lane, and is waited for as long as the bound, `max_staleness`. The key is dropped
//! at once; what is waited for is the verdict.
//!
//! Tried and not chosen: to look a second time and let whatever came in between explain the first. A key that is written
//! often, as those are that the rules of coherence are for, would then be explained always.
//!
//! What an audit does not see: that a session's own write, or what it was told, was newer than its hit. The push for it comes
//! before the reply, and by the bound alone the hit was right. It does see what is known not to be pushed, SWAPDB from
//! elsewhere and the writes of some modules, and a server whose clock was set.
//!
//! # What it costs
//!
//! A read for each hit that is drawn, at most [`Settings::max_per_second`] of them, none where the circuit is not closed, the
//! lane is late or much waits on it, and of all together little more than 4 MiB of replies are held. An audit counts in
//! its `Drop`, so that each that was sent counts once, whatever becomes of its lane.
//!
//! Atomics: each a number of its own; who finds none under way finds what all came to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::l1::{Claim, L1};
use crate::resp::alike::{Arrays, are_alike};

/// All of the hits, in millionths.
const ALL: u32 = 1_000_000;
/// Bytes of replies that wait to be compared, of all audits together.
const HELD: usize = 4 << 20;
/// How many may be sent at once that were not sent before, as a time in microseconds.
const BURST: u64 = 100_000;
/// How far the server's clock and ours are apart at most where an entry ends, in milliseconds.
const DRIFT: u64 = 1000;
/// The least time between two lines of the log, in milliseconds.
const LOGGED: u64 = 1000;

/// What an operator can set about audits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The share of the hits, in millionths; 0 for none.
    pub sample: u32,
    /// Most reads a second for it.
    pub max_per_second: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sample: 0,
            max_per_second: 100,
        }
    }
}

/// What became of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// The upstream had the same.
    Same,
    /// It had something else, and L1 knows why.
    Explained,
    /// It had something else for no reason known.
    Incoherent,
    /// It did not say.
    Unanswered,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [
        Self::Same,
        Self::Explained,
        Self::Incoherent,
        Self::Unanswered,
    ];

    /// As metrics name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Explained => "explained",
            Self::Incoherent => "incoherent",
            Self::Unanswered => "unanswered",
        }
    }
}

/// Which hits are audited, and what came of it.
#[derive(Debug)]
pub struct Auditor {
    sample: AtomicU32,
    max_per_second: AtomicU32,
    /// When the next one is due if they came as fast as they may, in microseconds of the boot clock.
    due: AtomicU64,
    held: AtomicUsize,
    under_way: AtomicUsize,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    logged: AtomicU64,
    unlogged: AtomicU64,
}

impl Auditor {
    /// With nothing audited yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            sample: AtomicU32::new(settings.sample),
            max_per_second: AtomicU32::new(settings.max_per_second),
            due: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            outcomes: Default::default(),
            logged: AtomicU64::new(0),
            unlogged: AtomicU64::new(0),
        }
    }

    /// What holds now.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            sample: self.sample.load(Ordering::Relaxed),
            max_per_second: self.max_per_second.load(Ordering::Relaxed),
        }
    }

    /// Changes what holds; sessions follow within some thousand hits.
    pub fn set(&self, settings: Settings) {
        self.sample.store(settings.sample, Ordering::Relaxed);
        self.max_per_second
            .store(settings.max_per_second, Ordering::Relaxed);
    }

    /// How many audits came to this.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }

    /// Audits that were sent and have come to nothing yet.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Acquire)
    }

    /// The share of the hits that is audited, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        f64::from(self.sample.load(Ordering::Relaxed)) / f64::from(ALL)
    }

    /// Whether one more read may be sent at `now`, in milliseconds of the boot clock; takes it.
    #[must_use]
    pub fn admits(&self, now: u64) -> bool {
        let max = self.max_per_second.load(Ordering::Relaxed);
        let (now, each) = (now * 1000, 1_000_000 / u64::from(max.max(1)));
        let take = |due: u64| {
            let due = due.max(now);
            (max > 0 && due <= now + BURST).then_some(due + each)
        };
        self.held.load(Ordering::Relaxed) < HELD
            && self
                .due
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
    }

    /// Whether a line of the log is due at `now`, and how many had none since the last.
    fn logs(&self, now: u64) -> Option<u64> {
        let take = |last: u64| (last == 0 || now.saturating_sub(last) >= LOGGED).then_some(now);
        let due = self
            .logged
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        if due.is_err() {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unlogged.swap(0, Ordering::Relaxed))
    }
}

/// A hit whose read was sent to the upstream as well.
#[derive(Debug)]
pub struct Audit {
    auditor: Arc<Auditor>,
    claim: Claim,
    keys: Vec<Box<[u8]>>,
    command: &'static str,
    arrays: Arrays,
    /// When the hit was, in milliseconds of the boot clock.
    asked: u64,
    /// What has come of the upstream's reply, as far as it may be alike.
    heard: Vec<u8>,
    longer: bool,
    held: usize,
    outcome: Outcome,
}

impl Audit {
    /// Of what L1 claims to be the reply to `command`, which reads these keys, at `asked` in milliseconds of the boot clock.
    #[must_use]
    pub fn new(
        auditor: &Arc<Auditor>,
        command: &'static str,
        keys: &[&[u8]],
        arrays: Arrays,
        claim: Claim,
        asked: u64,
    ) -> Self {
        let held = claim.reply.len();
        auditor.held.fetch_add(held, Ordering::Relaxed);
        auditor.under_way.fetch_add(1, Ordering::Relaxed);
        Self {
            auditor: Arc::clone(auditor),
            claim,
            keys: keys.iter().map(|&key| key.into()).collect(),
            command,
            arrays,
            asked,
            heard: Vec::new(),
            longer: false,
            held,
            outcome: Outcome::Unanswered,
        }
    }

    /// Takes a stretch of the upstream's reply. One that is longer than what is expected is another, and the rest of it
    /// does not matter.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        // Of an error the first word is looked at.
        let room = self.claim.reply.len().max(64) - self.heard.len();
        self.longer |= bytes.len() > room;
        self.heard
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The reply has ended at `now`, and the lane's stream so far is known to L1. `None` where only what comes otherwise
    /// than by the lane can still explain it: then the keys are dropped, and it is to be judged when `bound` milliseconds
    /// have passed.
    pub(super) fn answered(&mut self, l1: &L1, now: u64, bound: u64) -> Option<Outcome> {
        let error = matches!(self.heard.first(), Some(b'-' | b'!'));
        let outcome = if error && !self.heard.starts_with(b"-WRONGTYPE") {
            Some(Outcome::Unanswered)
        } else if !self.longer && are_alike(&self.claim.reply, &self.heard, self.arrays) {
            Some(Outcome::Same)
        } else if l1.has_withdrawn(&self.claim)
            || now.saturating_add(bound.min(DRIFT)) >= self.claim.until
        {
            Some(Outcome::Explained)
        } else {
            for key in &self.keys {
                l1.drop_by_hand(key);
            }
            None
        };
        self.heard = Vec::new();
        self.outcome = outcome.unwrap_or(self.outcome);
        outcome
    }

    /// The bound has passed since.
    pub(super) fn judge(mut self, l1: &L1, now: u64) {
        if l1.has_voided(&self.claim) {
            self.outcome = Outcome::Explained;
            return;
        }
        self.outcome = Outcome::Incoherent;
        let keyspaces = l1.keyspaces();
        let counters = keyspaces.counters(self.claim.keyspace);
        counters.incoherent.fetch_add(1, Ordering::Relaxed);
        let Some(unlogged) = self.auditor.logs(now) else {
            return;
        };
        let hash = self.keys.first().map_or(0, |key| l1.hash(key));
        tracing::error!(
            key_hash = %format_args!("{hash:016x}"),
            command = self.command,
            cache_type = %keyspaces.policy(self.claim.keyspace).name,
            ms_since_hit = now.saturating_sub(self.asked),
            ms_to_live = self.claim.until.saturating_sub(self.asked),
            not_logged = unlogged,
            "an incoherent read: L1 was wrong about a key, which was dropped"
        );
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.auditor.held.fetch_sub(self.held, Ordering::Relaxed);
        self.auditor.outcomes[self.outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.auditor.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
