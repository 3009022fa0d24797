//! Any history of calls against a plain map, and what the policy is there for.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// An owner of entries: weights and marks by slot, and the slots that are free.
#[derive(Debug, Default)]
struct Owner {
    entries: Vec<(usize, Mark)>,
    free: Vec<u32>,
    /// Hash and weight of what is live, by slot.
    live: BTreeMap<u32, (u64, usize)>,
}

impl Slots for Owner {
    fn weight(&self, slot: u32) -> usize {
        self.live[&slot].1
    }

    fn mark(&mut self, slot: u32) -> &mut Mark {
        assert!(self.live.contains_key(&slot), "{slot} is not live");
        &mut self.entries[slot as usize].1
    }
}

#[derive(Debug)]
struct Store {
    owner: Owner,
    policy: Policy,
}

impl Store {
    fn new(capacity: usize) -> Self {
        Self {
            owner: Owner::default(),
            policy: Policy::new(capacity),
        }
    }

    fn live(&self, nth: usize) -> Option<u32> {
        let live = self.owner.live.len();
        (live > 0).then(|| *self.owner.live.keys().nth(nth % live).unwrap())
    }

    fn release(&mut self, slot: u32) {
        let (hash, _) = self.owner.live.remove(&slot).expect("evicted once");
        assert_eq!(self.policy.hash(slot), hash);
        self.owner.free.push(slot);
    }

    fn read(&mut self, hash: u64, found: Option<u32>) {
        if self.policy.samples(hash) {
            let weight = found.map(|slot| self.owner.weight(slot));
            self.policy.sampled_read(hash, weight);
        }
        match found {
            Some(slot) => self.owner.mark(slot).hit(),
            None => self.policy.note_read(hash),
        }
    }

    fn insert(&mut self, hash: u64, weight: usize) {
        if weight > self.policy.capacity() {
            return;
        }
        while !self.policy.fits(weight) {
            let slot = self.policy.evict(&mut self.owner);
            self.release(slot.expect("an entry that fits alone has room in the end"));
        }
        let slot = self.owner.free.pop().unwrap_or_else(|| {
            self.owner.entries.push((weight, Mark::default()));
            u32::try_from(self.owner.entries.len() - 1).unwrap()
        });
        self.owner.entries[slot as usize] = (weight, Mark::default());
        self.owner.live.insert(slot, (hash, weight));
        self.policy.insert(&mut self.owner, slot, hash);
    }

    fn remove(&mut self, slot: u32) {
        self.policy.remove(&mut self.owner, slot);
        self.release(slot);
    }

    fn check(&mut self) {
        let weights = self.owner.live.values().map(|&(_, weight)| weight);
        assert_eq!(self.policy.weight(), weights.sum::<usize>());
        assert!(self.policy.weight() <= self.policy.capacity());
        assert!(self.policy.entries_in_trial() <= TRIAL_ENTRIES * 2);
        let mut ordered = self.policy.queues.check_invariants(&mut self.owner);
        ordered.sort_unstable();
        assert!(ordered.iter().eq(self.owner.live.keys()));
    }
}

#[derive(Debug, Clone, Copy)]
enum Call {
    Miss(u64),
    Insert(u64, usize),
    /// Of the nth live slot.
    Hit(usize),
    Remove(usize),
    Invalidate(u64),
    Evict,
    Clear,
}

fn call() -> impl Strategy<Value = Call> {
    // Some in every sample, some not.
    let hash = || (0..40_u64).prop_map(|n| n << SAMPLE_SHIFT | n);
    prop_oneof![
        40 => hash().prop_map(Call::Miss),
        60 => (hash(), 0..40_usize).prop_map(|(hash, weight)| Call::Insert(hash, weight)),
        60 => any::<usize>().prop_map(Call::Hit),
        20 => any::<usize>().prop_map(Call::Remove),
        10 => hash().prop_map(Call::Invalidate),
        5 => Just(Call::Evict),
        1 => Just(Call::Clear),
    ]
}

fn apply(store: &mut Store, call: Call) {
    match call {
        Call::Miss(hash) => store.read(hash, None),
        Call::Insert(hash, weight) => store.insert(hash, weight),
        Call::Hit(nth) => {
            if let Some(slot) = store.live(nth) {
                store.read(store.policy.hash(slot), Some(slot));
            }
        }
        Call::Remove(nth) => {
            if let Some(slot) = store.live(nth) {
                store.remove(slot);
            }
        }
        Call::Invalidate(hash) => store.policy.invalidate(hash),
        Call::Evict => match store.policy.evict(&mut store.owner) {
            Some(slot) => store.release(slot),
            None => assert!(store.owner.live.is_empty()),
        },
        Call::Clear => {
            store.policy.clear();
            store.owner = Owner::default();
        }
    }
}

proptest! {
    #[test]
    fn any_history_keeps_the_bound_and_every_slot(
        capacity in 1..400_usize,
        calls in prop::collection::vec(call(), 1..400),
    ) {
        let mut store = Store::new(capacity);
        for call in calls {
            apply(&mut store, call);
            store.check();
        }
        // Each live slot is evicted exactly once, then nothing is left.
        for _ in 0..store.owner.live.len() {
            let slot = store.policy.evict(&mut store.owner);
            store.release(slot.expect("one is left"));
            store.check();
        }
        prop_assert_eq!(store.policy.evict(&mut store.owner), None);
    }
}

/// A generator of numbers below `bound`, spread over their range by `power`: the higher, the more small ones.
fn numbers(bound: f64, power: i32) -> impl FnMut() -> u64 {
    let mut state = 1_u64;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "32 bits in, and a small number out"
        )]
        {
            (((state >> 32) as f64 / 4_294_967_296.0).powi(power) * bound) as u64
        }
    }
}

fn hash(key: u64) -> u64 {
    let mixed = (key + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29)
        .wrapping_mul(0xBF58_476D_1CE4_E5B9)
        .rotate_left(17)
}

/// Reads keys, filling each at its miss; the hits.
fn run(store: &mut Store, weight: usize, keys: impl Iterator<Item = u64>) -> usize {
    let mut slots = BTreeMap::new();
    for (&slot, &(hash, _)) in &store.owner.live {
        slots.insert(hash, slot);
    }
    let mut hits = 0;
    for key in keys {
        let hash = hash(key);
        let holds = |slot: &&u32| {
            store
                .owner
                .live
                .get(slot)
                .is_some_and(|held| held.0 == hash)
        };
        let found = slots.get(&hash).filter(holds).copied();
        store.read(hash, found);
        if found.is_some() {
            hits += 1;
        } else {
            store.insert(hash, weight);
            let newest = store.owner.live.iter().find(|(_, held)| held.0 == hash);
            slots.insert(hash, *newest.unwrap().0);
        }
    }
    store.check();
    hits
}

#[test]
fn a_scan_does_not_push_out_what_is_read_often() {
    let mut store = Store::new(200);
    let mut often = numbers(150.0, 1);
    run(&mut store, 1, (0..20_000).map(|_| often()));
    run(&mut store, 1, 1_000_000..1_001_000);
    let hits = run(&mut store, 1, 0..150);
    assert!(hits >= 140, "{hits}");
}

#[test]
fn the_window_grows_where_reads_are_soon_repeated_and_shrinks_again() {
    let mut store = Store::new(1000);
    let mut behind = numbers(300.0, 3);
    // What is read was new a moment ago, and never is again.
    let hits = run(
        &mut store,
        10,
        (1000..60_000).map(|n| n / 10 - behind() % 100),
    );
    assert_ne!(store.policy.window, 0, "{hits} hits");
    // A loop longer than the cache.
    run(&mut store, 10, (0..60_000).map(|n| 1_000_000 + n % 130));
    assert_eq!(store.policy.window, 0);
}

#[test]
fn trials_begin_anew_when_entries_have_another_size() {
    let mut store = Store::new(64_000);
    let mut keys = numbers(4000.0, 2);
    run(&mut store, 1000, (0..2000).map(|_| keys()));
    assert_eq!(store.policy.sample, 0);
    let mut keys = numbers(40_000.0, 2);
    run(&mut store, 32, (0..20_000).map(|_| 100_000 + keys()));
    assert!(store.policy.sample > 0, "some 2000 entries");
}
