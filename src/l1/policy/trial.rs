//! A small cache without values that shows what a window's size is worth.

use hashbrown::HashTable;

use super::queues::{Mark, Queues, Slots};
use super::sketch::Sketch;

/// An entry's part in a trial.
#[derive(Debug)]
struct Held {
    weight: u32,
    mark: Mark,
}

#[derive(Debug, Default)]
struct Holdings(Vec<Held>);

impl Slots for Holdings {
    fn weight(&self, slot: u32) -> usize {
        self.0[slot as usize].weight as usize
    }

    fn mark(&mut self, slot: u32) -> &mut Mark {
        &mut self.0[slot as usize].mark
    }
}

/// See the module's header.
#[derive(Debug)]
pub struct Trial {
    table: HashTable<u32>,
    held: Holdings,
    free: Vec<u32>,
    queues: Queues,
    sketch: Sketch,
    /// Hits, the older ones for less.
    score: u32,
}

impl Trial {
    pub fn new(capacity: usize, window: usize) -> Self {
        Self {
            table: HashTable::new(),
            held: Holdings::default(),
            free: Vec::new(),
            queues: Queues::new(capacity, window),
            sketch: Sketch::new(),
            score: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn score(&self) -> u32 {
        self.score
    }

    /// What was scored counts for half from now on.
    pub fn fade(&mut self) {
        self.score /= 2;
    }

    /// A read of `hash`, which this cache may have or not.
    pub fn read(&mut self, hash: u64) {
        if let Some(slot) = self.find(hash) {
            self.held.mark(slot).hit();
            self.score += 1;
        } else {
            self.sketch.add(hash);
        }
    }

    /// What was read is there to be held.
    pub fn fill(&mut self, hash: u64, weight: usize) {
        if weight > self.queues.capacity() || self.find(hash).is_some() {
            return;
        }
        let Ok(in_short) = u32::try_from(weight) else {
            return;
        };
        while !self.queues.fits(weight) {
            let Some(slot) = self.queues.evict(&mut self.held, &mut self.sketch) else {
                return;
            };
            self.release(slot);
        }
        let held = Held {
            weight: in_short,
            mark: Mark::default(),
        };
        let slot = if let Some(slot) = self.free.pop() {
            self.held.0[slot as usize] = held;
            slot
        } else {
            self.held.0.push(held);
            u32::try_from(self.held.0.len() - 1).expect("a trial is small")
        };
        self.queues.insert(&mut self.held, slot, hash);
        self.sketch.reach(self.queues.len());
        let queues = &self.queues;
        self.table
            .insert_unique(hash, slot, |&slot| queues.hash(slot));
    }

    /// `hash` is not true any more.
    pub fn forget(&mut self, hash: u64) {
        if let Some(slot) = self.find(hash) {
            self.queues.remove(&mut self.held, slot, &mut self.sketch);
            self.release(slot);
        }
    }

    fn find(&self, hash: u64) -> Option<u32> {
        let is_it = |&slot: &u32| self.queues.hash(slot) == hash;
        self.table.find(hash, is_it).copied()
    }

    fn release(&mut self, slot: u32) {
        let hash = self.queues.hash(slot);
        if let Ok(found) = self.table.find_entry(hash, |&at| at == slot) {
            found.remove();
        }
        self.free.push(slot);
    }
}
