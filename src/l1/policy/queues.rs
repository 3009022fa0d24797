//! The two queues, window and main, each a ring with a clock's hand, over slots that somebody else owns.
//!
//! A new entry joins the window. The window's next victim must be counted more often than main's to take its place
//! there (W-TinyLFU, by the paper that [`super::sketch`] names). A hit only sets a bit in the entry; the hand, when it
//! comes by, clears it, counts one read in the sketch, and lets the entry stay for another round. To join a ring is
//! to stand right behind the hand, so nothing moves within it.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::sketch::Sketch;

const NONE: u32 = u32::MAX;

/// What the policy keeps within an entry, beside what a look-up reads anyway.
#[derive(Debug, Default)]
pub struct Mark(AtomicU8);

impl Mark {
    const USED: u8 = 1;
    const MAIN: u8 = 2;

    /// The entry was read.
    #[inline]
    pub fn hit(&self) {
        // Not written again where it is set, which leaves the cache line clean.
        let bits = self.0.load(Relaxed);
        if bits & Self::USED == 0 {
            self.0.store(bits | Self::USED, Relaxed);
        }
    }

    fn take_used(&mut self) -> bool {
        let bits = self.0.get_mut();
        let used = *bits & Self::USED != 0;
        *bits &= !Self::USED;
        used
    }
}

/// Whoever owns the entries.
///
/// The caller guarantees, for every slot between its `insert` and its `remove` or `evict`:
/// - its weight stays the same
/// - its mark is touched by [`Mark::hit`] alone
pub trait Slots {
    /// What the entry takes of the capacity; in L1, bytes.
    fn weight(&self, slot: u32) -> usize;
    /// The entry's mark.
    fn mark(&mut self, slot: u32) -> &mut Mark;
}

/// An entry's place in its ring.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    hash: u64,
    newer: u32,
    older: u32,
}

#[derive(Debug, Clone, Copy)]
struct Ring {
    /// The next to be looked at, for eviction; the ring's oldest, but for those that were spared.
    hand: u32,
    weight: usize,
}

impl Ring {
    const EMPTY: Self = Self {
        hand: NONE,
        weight: 0,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    Window,
    Main,
}

/// See the module's header.
#[derive(Debug)]
pub struct Queues {
    nodes: Vec<Node>,
    window: Ring,
    main: Ring,
    capacity: usize,
    window_capacity: usize,
    len: usize,
}

impl Queues {
    /// `window` is the window's share of the capacity, in hundredths.
    pub fn new(capacity: usize, window: usize) -> Self {
        let mut queues = Self {
            nodes: Vec::new(),
            window: Ring::EMPTY,
            main: Ring::EMPTY,
            capacity,
            window_capacity: 0,
            len: 0,
        };
        queues.set_window(window);
        queues
    }

    /// Changes the window's share; the entries follow as others come.
    pub fn set_window(&mut self, hundredths: usize) {
        self.window_capacity =
            self.capacity / 100 * hundredths + self.capacity % 100 * hundredths / 100;
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn weight(&self) -> usize {
        self.window.weight + self.main.weight
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn fits(&self, weight: usize) -> bool {
        weight <= self.capacity.saturating_sub(self.weight())
    }

    /// The hash that a slot in use was inserted with.
    pub fn hash(&self, slot: u32) -> u64 {
        self.nodes[slot as usize].hash
    }

    /// Takes in an entry that [fits](Self::fits). A slot is the next unused number, or one that was given back.
    pub fn insert(&mut self, slots: &mut impl Slots, slot: u32, hash: u64) {
        debug_assert!(
            self.fits(slots.weight(slot)),
            "room is made before an insert"
        );
        let node = Node {
            hash,
            newer: NONE,
            older: NONE,
        };
        if slot as usize == self.nodes.len() {
            self.nodes.push(node);
        } else {
            self.nodes[slot as usize] = node;
        }
        *slots.mark(slot) = Mark::default();
        self.len += 1;
        self.join(slots, Queue::Window, slot);
        // While there is room for all there is nothing to decide. Two moves for each insert are enough to catch up.
        let next = slots.weight(slot);
        for _ in 0..2 {
            if self.window.weight <= self.window_capacity || !self.fits(next) {
                break;
            }
            let oldest = self.window.hand;
            self.leave(slots, oldest);
            self.join(slots, Queue::Main, oldest);
        }
    }

    /// Lets an entry go that its owner drops; its last hits are counted.
    pub fn remove(&mut self, slots: &mut impl Slots, slot: u32, sketch: &mut Sketch) {
        if slots.mark(slot).take_used() {
            sketch.add(self.nodes[slot as usize].hash);
        }
        self.leave(slots, slot);
        self.len -= 1;
    }

    /// Lets one entry go, and says which; `None` if there is none. Looks at each entry twice at most.
    pub fn evict(&mut self, slots: &mut impl Slots, sketch: &mut Sketch) -> Option<u32> {
        let over = self.window.weight > self.window_capacity || self.main.hand == NONE;
        let candidate = if over {
            self.next_victim(Queue::Window, slots, sketch)
        } else {
            None
        };
        let victim = match (candidate, self.next_victim(Queue::Main, slots, sketch)) {
            (Some(candidate), Some(victim)) => {
                if self.deserves(candidate, victim, slots, sketch) {
                    self.leave(slots, candidate);
                    self.join(slots, Queue::Main, candidate);
                    victim
                } else {
                    candidate
                }
            }
            (candidate, victim) => candidate.or(victim)?,
        };
        self.leave(slots, victim);
        self.len -= 1;
        Some(victim)
    }

    /// Whether the candidate should have the victim's place. It must be read more often, and in proportion if it is
    /// the heavier: it will cost several their place then.
    fn deserves(&self, candidate: u32, victim: u32, slots: &impl Slots, sketch: &Sketch) -> bool {
        let ours = sketch.count(self.hash(candidate));
        let theirs = sketch.count(self.hash(victim));
        let (our_weight, their_weight) = (slots.weight(candidate), slots.weight(victim));
        ours > theirs && ours * their_weight as u64 >= theirs * our_weight as u64
    }

    /// Moves a queue's hand to the next entry that was not read since it last came by. It stays in its place.
    fn next_victim(
        &mut self,
        queue: Queue,
        slots: &mut impl Slots,
        sketch: &mut Sketch,
    ) -> Option<u32> {
        let mut at = self.ring(queue).hand;
        if at == NONE {
            return None;
        }
        while slots.mark(at).take_used() {
            sketch.add(self.nodes[at as usize].hash);
            at = self.nodes[at as usize].newer;
        }
        self.ring(queue).hand = at;
        Some(at)
    }

    fn ring(&mut self, queue: Queue) -> &mut Ring {
        match queue {
            Queue::Window => &mut self.window,
            Queue::Main => &mut self.main,
        }
    }

    fn join(&mut self, slots: &mut impl Slots, queue: Queue, slot: u32) {
        let mark = slots.mark(slot);
        match queue {
            Queue::Window => *mark.0.get_mut() &= !Mark::MAIN,
            Queue::Main => *mark.0.get_mut() |= Mark::MAIN,
        }
        let weight = slots.weight(slot);
        let ring = self.ring(queue);
        ring.weight += weight;
        let hand = ring.hand;
        let (newer, older) = if hand == NONE {
            ring.hand = slot;
            (slot, slot)
        } else {
            (hand, self.nodes[hand as usize].older)
        };
        let node = &mut self.nodes[slot as usize];
        (node.newer, node.older) = (newer, older);
        self.nodes[older as usize].newer = slot;
        self.nodes[newer as usize].older = slot;
    }

    fn leave(&mut self, slots: &mut impl Slots, slot: u32) {
        let queue = if *slots.mark(slot).0.get_mut() & Mark::MAIN == 0 {
            Queue::Window
        } else {
            Queue::Main
        };
        let weight = slots.weight(slot);
        let Node { newer, older, .. } = self.nodes[slot as usize];
        self.nodes[older as usize].newer = newer;
        self.nodes[newer as usize].older = older;
        let ring = self.ring(queue);
        ring.weight -= weight;
        if newer == slot {
            ring.hand = NONE;
        } else if ring.hand == slot {
            ring.hand = newer;
        }
    }

    /// Every slot, in order; each ring is whole, and holds what is marked as its own.
    #[cfg(test)]
    pub fn check_invariants(&self, slots: &mut impl Slots) -> Vec<u32> {
        let mut all = Vec::new();
        for (ring, main) in [(self.window, 0), (self.main, Mark::MAIN)] {
            let (mut at, mut weight) = (ring.hand, 0);
            while at != NONE {
                let Node { newer, .. } = self.nodes[at as usize];
                assert_eq!(self.nodes[newer as usize].older, at);
                assert_eq!(*slots.mark(at).0.get_mut() & Mark::MAIN, main);
                weight += slots.weight(at);
                all.push(at);
                at = if newer == ring.hand { NONE } else { newer };
            }
            assert_eq!(weight, ring.weight);
        }
        assert_eq!(all.len(), self.len);
        all
    }
}
