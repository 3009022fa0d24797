//! Who stays in L1: an order over numbered slots, by weight. No I/O, no locks, no clock, no chance.
//!
//! The table goes here.

mod queues;
mod sketch;
mod trial;

use queues::Queues;
pub use queues::{Mark, Node, Slots};
use sketch::Sketch;
use trial::Trial;

/// The window sizes that are tried, in hundredths of the capacity: for frequency, and for recency.
const WINDOWS: [usize; 3] = [5, 50, 99];
/// A trial holds between half as many entries and so many.
const TRIAL_ENTRIES: usize = 256;
/// The sampled reads between two decisions: so many for each entry in a trial, but not fewer than
/// [`LEAST_READS`], since a sketch must have learned first.
const READS_AN_ENTRY: usize = 5;
const LEAST_READS: usize = 4096;
/// The other window must earn at least this share of the reads more, as a divisor, to be taken.
const BETTER: usize = 100;
/// The bits of a hash that say whether a key is in the sample; L1 takes its shards from those below.
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
            if let Some(weight) = weight {
                trial.fill(hash, weight);
            }
        }
        self.sampled_reads += 1;
        let held = self.trials.iter().map(Trial::len).max().unwrap_or_default();
        let enough = (held * READS_AN_ENTRY).max(LEAST_READS);
        if self.sampled_reads >= enough {
            self.decide(enough);
            self.sampled_reads = 0;
            // The entries have become much smaller or larger than they were.
            let fewest = TRIAL_ENTRIES / 4;
            if held > TRIAL_ENTRIES * 2 || held < fewest && self.sample > 0 {
                self.try_windows();
            }
        }
    }

    /// A key was read and is not here. A hit is [marked](Mark::hit) by the owner, who has the entry in hand.
    pub fn miss(&mut self, hash: u64) {
        self.sketch.add(hash);
    }

    /// Takes in a new entry, which must [fit](Self::fits). A slot is the next unused number, or one that was given back.
    pub fn insert(&mut self, slots: &mut impl Slots, slot: u32, hash: u64) {
        self.queues.insert(slots, slot, hash);
        self.sketch.reach(self.queues.len());
        if self.samples(hash) {
            let weight = slots.weight(slot);
            for trial in &mut self.trials {
                trial.fill(hash, weight);
            }
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
