//! Who stays in L1 when memory is full: an order over numbered slots, by weight. No I/O, no locks, no clock, no chance.
//!
//! Owns: the two queues and each entry's place in them ([`queues`]), how often keys were read lately ([`sketch`]), and
//! the size of the window, which [`trial`]s decide. The table owns the entries; a bit of the policy's lies in each.
//!
//! ```text
//! insert -> window --[its next victim is counted more often than main's]--> main
//!              |                                                              |
//!              +-- else it is evicted            main's is evicted in its place +
//! ```
//!
//! No window is right for all: a small one keeps what is read often, a large one what was read lately. So three small
//! caches without values, one for each size, see the reads of a sample of the keys (about 256 entries' worth), and
//! from time to time L1 takes the window that earned most. They begin with the first eviction; before it nothing is
//! to be decided, and a hit outside the sample costs one bit in the line that the look-up reads anyway.
//!
//! Hit ratios at 1, 5 and 20 % of the distinct keys of the first 3,000,000 accesses, and their mean, by
//! `examples/hit_ratio.rs`; L1's and moka's differ by up to .015 between runs, since their hashes do:
//!
//! | trace | LRU | `quick_cache` 0.7 | moka 0.12 | this |
//! |---|---|---|---|---|
//! | OLTP | .416 .601 .720: .579 | .440 .607 .716: .588 | .407 .545 .592: .515 | .459 .618 .703: .593 |
//! | P3 | .012 .029 .386: .142 | .024 .105 .473: .201 | .016 .181 .460: .219 | .012 .175 .447: .212 |
//! | loop | .000 .000 .000: .000 | .009 .047 .193: .083 | .002 .044 .199: .082 | .008 .043 .175: .075 |
//! | multi1 | .010 .238 .467: .239 | .061 .408 .562: .343 | .205 .443 .562: .404 | .192 .460 .540: .397 |
//! | multi3 | .051 .266 .441: .253 | .091 .328 .563: .327 | .232 .398 .558: .396 | .236 .439 .555: .410 |
//! | orm-busy | .736 .835 .912: .827 | .702 .837 .915: .818 | .640 .770 .881: .764 | .742 .835 .924: .834 |
//! | web07 | .392 .506 .610: .503 | .411 .536 .624: .524 | .423 .523 .600: .515 | .442 .536 .622: .533 |
//! | all | .363 | .412 | .413 | .436 |
//!
//! Tried and not chosen, as the mean over all traces:
//! - one window of 5, 10 or 20 %: .43, and up to .05 behind an LRU where keys are read soon after or never
//! - windows of 5 and 50 % alone: .437, but an LRU stays .11 ahead on a working set that drifts; 99 % costs .001 and
//!   halves that
//! - counts of up to 3, 7 or 15 hits in the entry in the place of one bit: .438, .435, .433 against .439
//! - a memory of 10 turnovers, as is usual: .433
//! - moving main's hand on when its victim wins, or choosing the least of 2 to 8 victims: .001 less

mod queues;
mod sketch;
mod trial;

use queues::Queues;
pub use queues::{Mark, Node, Slots};
use sketch::Sketch;
use trial::Trial;

/// The window sizes that are tried, in hundredths of the capacity, from frequency to recency.
const WINDOWS: [usize; 3] = [5, 50, 99];
/// A trial begins with room for half as many entries to so many; they are never more than twice as many.
const TRIAL_ENTRIES: usize = 256;
/// The sampled reads between two decisions: so many for each entry in a trial, but not fewer than
/// [`LEAST_READS`], since a sketch must have learned first.
const READS_AN_ENTRY: usize = 5;
const LEAST_READS: usize = 4096;
/// The other window must earn at least this share of the reads more, as a divisor, to be taken.
const BETTER: usize = 100;
/// The bits of a hash that say whether a key is in the sample; the lowest say whether it is cached at all.
const SAMPLE_SHIFT: u32 = 24;
/// No key is sampled.
const NO_SAMPLE: u64 = u64::MAX;

/// See the module's header.
#[derive(Debug)]
pub struct Policy {
    queues: Queues,
    sketch: Sketch,
    /// A key whose hash has none of these bits is in the sample.
    sample: u64,
    /// One for each of [`WINDOWS`], or none yet.
    trials: Vec<Trial>,
    /// Which of [`WINDOWS`] is in force.
    window: usize,
    sampled_reads: usize,
}

impl Policy {
    /// For entries that weigh at most `capacity` together.
    pub fn new(capacity: usize) -> Self {
        Self {
            queues: Queues::new(capacity, WINDOWS[0]),
            sketch: Sketch::new(),
            sample: NO_SAMPLE,
            trials: Vec::new(),
            window: 0,
            sampled_reads: 0,
        }
    }

    /// Forgets all entries and gives their memory back; the window stays as it was found best.
    pub fn clear(&mut self) {
        let window = self.window;
        *self = Self::new(self.capacity());
        self.window = window;
        self.queues.set_window(WINDOWS[window]);
    }

    /// What all entries may weigh together.
    pub fn capacity(&self) -> usize {
        self.queues.capacity()
    }

    /// What they weigh.
    pub fn weight(&self) -> usize {
        self.queues.weight()
    }

    /// Whether so much more would be within the capacity.
    pub fn fits(&self, weight: usize) -> bool {
        self.queues.fits(weight)
    }

    /// The hash of a slot in use.
    pub fn hash(&self, slot: u32) -> u64 {
        self.queues.hash(slot)
    }

    /// Whether reads of this key are in the sample, so that [`Self::sampled_read`] is to be told of each.
    #[inline]
    pub fn samples(&self, hash: u64) -> bool {
        (hash >> SAMPLE_SHIFT) & self.sample == 0
    }

    /// A key of the sample is read; `weight` is that of its entry, if there is one.
    pub fn sampled_read(&mut self, hash: u64, weight: Option<usize>) {
        if self.trials.is_empty() {
            return;
        }
        for trial in &mut self.trials {
            trial.read(hash);
        }
        self.sampled_reads += 1;
        let held = self.entries_in_trial();
        let enough = (held * READS_AN_ENTRY).max(LEAST_READS);
        if self.sampled_reads >= enough {
            self.decide(enough);
            self.sampled_reads = 0;
            // The entries have become much larger than they were.
            if held < TRIAL_ENTRIES / 4 && self.sample > 0 {
                self.try_windows();
            }
        }
        if let Some(weight) = weight {
            self.fill_trials(hash, weight);
        }
    }

    /// A key was read that was not here, and is about to be taken in. A hit is [marked](Mark::hit) by the owner, who has the
    /// entry in hand; a read of which nothing is kept is not counted.
    pub fn note_read(&mut self, hash: u64) {
        self.sketch.add(hash);
    }

    /// Takes in a new entry, which must [fit](Self::fits). A slot is the next unused number, or one that was given back.
    pub fn insert(&mut self, slots: &mut impl Slots, slot: u32, hash: u64) {
        self.queues.insert(slots, slot, hash);
        self.sketch.reach(self.queues.len());
        if self.samples(hash) {
            self.fill_trials(hash, slots.weight(slot));
        }
    }

    /// Lets one entry go, to make room, and says which; `None` if there is none.
    pub fn evict(&mut self, slots: &mut impl Slots) -> Option<u32> {
        if self.trials.is_empty() {
            self.try_windows();
        }
        self.queues.evict(slots, &mut self.sketch)
    }

    /// Lets an entry go that its owner drops.
    pub fn remove(&mut self, slots: &mut impl Slots, slot: u32) {
        self.queues.remove(slots, slot, &mut self.sketch);
    }

    /// What is known of this key has been invalidated, here and in the trials.
    pub fn invalidate(&mut self, hash: u64) {
        if self.samples(hash) {
            for trial in &mut self.trials {
                trial.forget(hash);
            }
        }
    }

    fn fill_trials(&mut self, hash: u64, weight: usize) {
        for trial in &mut self.trials {
            trial.fill(hash, weight);
        }
        // The entries have become much smaller than they were.
        if self.entries_in_trial() > TRIAL_ENTRIES * 2 {
            self.try_windows();
        }
    }

    fn entries_in_trial(&self) -> usize {
        self.trials.iter().map(Trial::len).max().unwrap_or_default()
    }

    fn decide(&mut self, reads: usize) {
        let margin = u32::try_from(reads / BETTER).unwrap_or(u32::MAX);
        let mut bar = self.trials[self.window].score().saturating_add(margin);
        for (window, trial) in self.trials.iter_mut().enumerate() {
            if trial.score() > bar {
                bar = trial.score();
                self.window = window;
            }
            trial.fade();
        }
        self.queues.set_window(WINDOWS[self.window]);
    }

    /// Begins new trials, on a sample that fits the entries there are.
    fn try_windows(&mut self) {
        let one_in = self
            .queues
            .len()
            .div_ceil(TRIAL_ENTRIES)
            .next_power_of_two();
        self.sample = one_in as u64 - 1;
        self.sampled_reads = 0;
        let capacity = self.capacity() / one_in;
        self.trials = WINDOWS
            .iter()
            .map(|&window| Trial::new(capacity, window))
            .collect();
    }
}

#[cfg(test)]
mod properties;
