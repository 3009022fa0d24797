//! All that is held: a hash table over a slab of entries, their eviction policy, and what is known of keys that are not.

use hashbrown::HashTable;

use super::admission::Admission;
use super::by_hand::Known;
use super::earnings::Earnings;
use super::entry::{Entry, New, Slab};
use super::families::Families;
use super::generations::Generations;
use super::keyspace::Missed;
use super::policy::{Policy, Slots};
use super::read::{Ident, Read};

/// See the module's header. The lock that it is in has a line of its own, which each look-up writes to.
#[derive(Debug)]
#[repr(align(128))]
pub struct Table {
    places: HashTable<u32>,
    slab: Slab,
    free: Vec<u32>,
    policy: Policy,
    families: Families,
    earnings: Earnings,
    admission: Admission,
    /// What is held of each key space.
    kept: Box<[Kept]>,
}

/// Entries, and their accounted bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Entries.
    pub entries: u64,
    /// Accounted bytes.
    pub bytes: u64,
}

impl Kept {
    /// Of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Table {
    pub fn new(max_bytes: usize, keyspaces: usize) -> Self {
        Self {
            places: HashTable::new(),
            slab: Slab::default(),
            free: Vec::new(),
            policy: Policy::new(max_bytes),
            families: Families::default(),
            earnings: Earnings::default(),
            admission: Admission::default(),
            kept: vec![Kept::default(); keyspaces].into_boxed_slice(),
        }
    }

    pub fn bytes(&self) -> usize {
        self.policy.weight()
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// What is held of each key space, by its number.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// What the entries in some slots answer, and the slot to go on from, if there are more.
    pub fn slots(&self, from: usize, count: usize) -> (Vec<Known>, Option<usize>) {
        let slots = &self.slab.0;
        let end = (from + count).min(slots.len());
        let held = slots[from.min(end)..end].iter().flatten();
        let known = held.map(Entry::known).collect();
        (known, (end < slots.len()).then_some(end))
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.slab.0.iter().flatten()
    }

    /// The live entry of a read in `space`, or why there is none. The policy is told of the read, if it samples its key.
    #[inline]
    pub fn get(
        &mut self,
        space: u16,
        read: &Read<'_>,
        now: u64,
        generations: &Generations,
    ) -> Result<&Entry, Missed> {
        if self.samples(read.hash) {
            self.sampled_read(space, read);
        }
        let Some(at) = self.find(space, read) else {
            return Err(Missed::NotHeld);
        };
        let entry = self.slab.entry(at);
        let ended = entry.deadline() <= now;
        if ended || entry.is_joint() && !entry.is_joint_true(generations) {
            self.keep_admitted(at);
            self.remove_at(at);
            return Err(if ended {
                Missed::Expired
            } else {
                Missed::NotHeld
            });
        }
        let entry = self.slab.entry(at);
        entry.hit();
        Ok(entry)
    }

    /// The live entry of a read of one key. The policy is not told: where the table [samples](Self::samples) the read's
    /// hash, [`Self::sampled_read`] is for the caller to call. A miss changes nothing.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "measured: every hit of a pipeline comes through here"
    )]
    pub fn hit(&self, space: u16, read: &Read<'_>, now: u64) -> Option<&Entry> {
        let entry = self.slab.entry(self.find(space, read)?);
        if entry.deadline() <= now {
            return None;
        }
        entry.hit();
        Some(entry)
    }

    /// The live entry of a read, without anybody being told of it.
    pub fn peek(
        &self,
        space: u16,
        read: &Read<'_>,
        now: u64,
        generations: &Generations,
    ) -> Option<&Entry> {
        let entry = self.slab.entry(self.find(space, read)?);
        let live = entry.deadline() > now && entry.is_joint_true(generations);
        live.then_some(entry)
    }

    /// Whether the policy is to be told of each read of this hash.
    #[inline]
    pub fn samples(&self, hash: u64) -> bool {
        self.policy.samples(hash)
    }

    /// Loads what look-ups of these hashes will read. Each loop's loads hang on none of its others, so the processor
    /// waits for them together, where look-ups one by one wait for each; what is found here decides nothing.
    pub fn warm(&self, hashes: &[u64], slots: &mut [Option<u32>]) {
        for (slot, &hash) in slots.iter_mut().zip(hashes) {
            *slot = self.places.find(hash, |_| true).copied();
        }
        let mut loaded = 0;
        for &slot in slots.iter().flatten() {
            if let Some(Some(entry)) = self.slab.0.get(slot as usize) {
                loaded ^= entry.load();
            }
        }
        std::hint::black_box(loaded);
    }

    /// Tells the policy of a read that it samples. Out of the way of all others.
    #[cold]
    #[inline(never)]
    pub fn sampled_read(&mut self, space: u16, read: &Read<'_>) {
        let at = self.find(space, read);
        let weight = at.map(|at| self.slab.weight(at));
        self.policy.sampled_read(read.hash, weight);
    }

    /// Until when a key is known to live, if something of it is held in `space`: its value, or one of the first few of
    /// the replies that hang on it.
    pub fn known_until(&self, space: u16, hash: u64, key: &[u8], now: u64) -> Option<u64> {
        const LOOKED_AT: usize = 8;
        let value = Read {
            key: hash,
            hash,
            ident: Ident::Value(key),
        };
        let first = self.families.first(hash);
        let family = std::iter::successors(first, |&at| self.families.next(at)).take(LOOKED_AT);
        let mut held = self.find(space, &value).into_iter().chain(family);
        held.find_map(|at| {
            let entry = self.slab.entry(at);
            let live = entry.space() == space && entry.deadline() > now;
            live.then(|| entry.deadline())
        })
    }

    /// Puts a reply in, in the place of any other of its read and space, and evicts down to the bound. The evicted are
    /// counted; `None` if it is too large to go in at all.
    pub fn insert(&mut self, new: &New<'_>) -> Option<u64> {
        if let Some(at) = self.find(new.space, new.read) {
            self.remove_at(at);
        }
        let entry = new.entry()?;
        let (hash, bytes, is_reply) = (new.read.hash, entry.bytes(), entry.is_reply());
        let keyspace = usize::from(entry.keyspace());
        if bytes > self.policy.capacity() {
            return None;
        }
        self.policy.note_read(hash);
        let mut evicted = 0;
        while !self.policy.fits(bytes) {
            let Some(at) = self.policy.evict(&mut self.slab) else {
                break;
            };
            self.release(at);
            evicted += 1;
        }
        let at = if let Some(at) = self.free.pop() {
            self.slab.0[at as usize] = Some(entry);
            at
        } else {
            self.slab.0.push(Some(entry));
            u32::try_from(self.slab.0.len() - 1).expect("memory bounds the entries far below 2^32")
        };
        self.kept[keyspace].entries += 1;
        self.kept[keyspace].bytes += bytes as u64;
        self.policy.insert(&mut self.slab, at, hash);
        self.enter(hash, at);
        if is_reply {
            self.families.add(new.read.key, at);
        }
        Some(evicted)
    }

    /// Whether something hangs on `key` in some space, or the policy is to hear of its end: then [`Self::remove`] has
    /// something to do.
    pub fn concerns(&self, hash: u64, key: &[u8]) -> bool {
        let is_it = |&at: &u32| {
            let entry = self.slab.entry(at);
            !entry.is_reply() && entry.ident() == key
        };
        self.samples(hash)
            || self.places.find(hash, is_it).is_some()
            || self.families.first(hash).is_some()
    }

    /// The same for any key of this hash, and [`Self::remove_hash`].
    pub fn concerns_hash(&self, hash: u64) -> bool {
        let is_it = |&at: &u32| self.policy.hash(at) == hash;
        self.samples(hash)
            || self.places.find(hash, is_it).is_some()
            || self.families.first(hash).is_some()
    }

    /// Drops what hangs on `key` in every space; how many entries that was.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> usize {
        let before = self.places.len();
        self.policy.invalidate(hash);
        let is_it = |entry: &Entry| !entry.is_reply() && entry.ident() == key;
        while let Some(&at) = self.places.find(hash, |&at| is_it(self.slab.entry(at))) {
            self.drop_at(hash, at);
        }
        self.remove_family(hash);
        before - self.places.len()
    }

    /// Drops the replies that hang on the key of this hash.
    fn remove_family(&mut self, hash: u64) {
        while let Some(at) = self.families.first(hash) {
            self.policy.invalidate(self.policy.hash(at));
            self.drop_at(hash, at);
        }
    }

    /// A write has overtaken a fill of this key, which cost its price all the same.
    pub fn settle_refused(&mut self, key: u64) {
        self.earnings.settle(key, 0);
    }

    /// Ends what was filled under a key, and settles its account.
    fn drop_at(&mut self, key: u64, at: u32) {
        self.earnings.settle(key, self.slab.entry(at).hits());
        self.keep_admitted(at);
        self.remove_at(at);
    }

    /// Has what is about to be dropped filled again at its next read, if this fill has earned its price.
    fn keep_admitted(&mut self, at: u32) {
        if Earnings::is_earned(self.slab.entry(at).hits()) {
            let held = self.places.len();
            self.admission.note(self.policy.hash(at), held);
        }
    }

    /// Goes through the slots from `at` on, so many at most, and gives `take` the entries of a space that were read since
    /// the last time; the slot to go on from, if there are more.
    pub fn take_read(
        &mut self,
        space: u16,
        at: usize,
        slots: usize,
        mut take: impl FnMut(&Entry),
    ) -> Option<usize> {
        let end = self.slab.0.len().min(at + slots);
        let entries = self.slab.0.get_mut(at..end).unwrap_or_default();
        for entry in entries.iter_mut().flatten() {
            if entry.space() == space && entry.take_read() {
                take(entry);
            }
        }
        (end < self.slab.0.len()).then_some(end)
    }

    /// Drops every entry of a space.
    pub fn remove_space(&mut self, space: u16) {
        for at in 0..self.slab.0.len() {
            if self.slab.0[at]
                .as_ref()
                .is_some_and(|entry| entry.space() == space)
            {
                self.remove_at(
                    u32::try_from(at).expect("memory bounds the entries far below 2^32"),
                );
            }
        }
        if self.places.is_empty() {
            self.clear();
        }
    }

    /// Drops what hangs on any key of this hash.
    pub fn remove_hash(&mut self, hash: u64) {
        self.policy.invalidate(hash);
        while let Some(&at) = self.places.find(hash, |&at| self.policy.hash(at) == hash) {
            self.drop_at(hash, at);
        }
        self.remove_family(hash);
    }

    /// Drops every entry and gives their memory back.
    pub fn clear(&mut self) {
        self.places = HashTable::new();
        self.slab = Slab::default();
        self.free = Vec::new();
        self.families = Families::default();
        self.kept.fill(Kept::default());
        self.policy.clear();
    }

    /// Whether fills of this key earn what they cost.
    pub fn pays(&mut self, key: u64) -> bool {
        self.earnings.allow(key)
    }

    /// Whether fills of this key have not earned what they cost; asks for nothing.
    pub fn is_poor(&self, key: u64) -> bool {
        self.earnings.is_poor(key)
    }

    /// Whether a missed read came before within the window, which is as many reads as there are entries; notes this one.
    pub fn admits(&mut self, hash: u64) -> bool {
        self.admission.admits(hash, self.places.len())
    }

    fn find(&self, space: u16, read: &Read<'_>) -> Option<u32> {
        let is_it = |&at: &u32| self.slab.entry(at).is(space, read.ident);
        self.places.find(read.hash, is_it).copied()
    }

    /// Enters a slot in the table.
    fn enter(&mut self, hash: u64, at: u32) {
        let policy = &self.policy;
        let hash_of = |&at: &u32| policy.hash(at);
        // Out of room, much of it for entries that are gone: the table would double for them, and here they come and
        // go all the time.
        let full = self.places.num_buckets() / 8 * 7;
        if self.places.len() == self.places.capacity() && self.places.len() < full / 4 * 3 {
            let slots = std::mem::replace(&mut self.places, HashTable::with_capacity(full));
            for slot in slots {
                self.places.insert_unique(policy.hash(slot), slot, hash_of);
            }
        }
        self.places.insert_unique(hash, at, hash_of);
    }

    fn remove_at(&mut self, at: u32) {
        self.policy.remove(&mut self.slab, at);
        self.release(at);
    }

    /// Gives a slot back that the policy has let go.
    fn release(&mut self, at: u32) {
        if let Ok(found) = self
            .places
            .find_entry(self.policy.hash(at), |&slot| slot == at)
        {
            found.remove();
        }
        if let Some(entry) = self.slab.0[at as usize].take() {
            let kept = &mut self.kept[usize::from(entry.keyspace())];
            kept.entries -= 1;
            kept.bytes -= entry.bytes() as u64;
            if entry.is_reply() {
                self.families.remove(at);
            }
        }
        self.free.push(at);
    }
}

#[cfg(test)]
#[path = "table_properties.rs"]
mod properties;
