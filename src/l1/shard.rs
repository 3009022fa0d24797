//! One shard: a hash table over a slab of entries, their eviction policy, and the counts of writes in flight.

use hashbrown::HashTable;

use super::admission::Admission;
use super::policy::{Mark, Node, Policy, Slots};

/// Accounted beside an entry's own bytes: its slab slot and the policy's node; the policy's sketch and the admission
/// window at their fullest; its table slot at the table's usual load, and the allocator's rounding of its one allocation.
pub const ENTRY_OVERHEAD: usize =
    std::mem::size_of::<Option<Entry>>() + std::mem::size_of::<Node>() + 8 + 4 + 24;

/// Stripes of the in-flight counts in one shard.
const STRIPES: usize = 4096;

/// A key with its reply.
#[derive(Debug)]
pub struct Entry {
    /// The key, then the encoded reply.
    data: Box<[u8]>,
    /// In milliseconds of the boot clock; the entry is gone from then on.
    deadline: u64,
    key_len: u32,
    /// Whose it is; see [`super::Space`].
    space: u16,
    mark: Mark,
}

// A look-up reads one entry's cache line, and a hit writes to no other.
const _: () = assert!(std::mem::size_of::<Option<Entry>>() == 32);

impl Entry {
    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.data[..self.key_len as usize]
    }

    /// The encoded reply.
    pub fn reply(&self) -> &[u8] {
        &self.data[self.key_len as usize..]
    }

    /// When it ends, in milliseconds of the boot clock.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    fn bytes(&self) -> usize {
        self.data.len() + ENTRY_OVERHEAD
    }
}

/// The entries, by slot.
#[derive(Debug, Default)]
struct Slab(Vec<Option<Entry>>);

impl Slab {
    fn entry(&self, at: u32) -> &Entry {
        self.0[at as usize]
            .as_ref()
            .expect("table and policy name only slots in use")
    }

    fn entry_mut(&mut self, at: u32) -> &mut Entry {
        self.0[at as usize]
            .as_mut()
            .expect("table and policy name only slots in use")
    }
}

impl Slots for Slab {
    fn weight(&self, slot: u32) -> usize {
        self.entry(slot).bytes()
    }

    fn mark(&mut self, slot: u32) -> &mut Mark {
        &mut self.entry_mut(slot).mark
    }
}

/// See the module's header.
#[derive(Debug)]
pub struct Shard {
    table: HashTable<u32>,
    slab: Slab,
    free: Vec<u32>,
    policy: Policy,
    in_flight: Box<[u32]>,
    admission: Admission,
}

fn stripe(hash: u64) -> usize {
    usize::try_from(hash >> 40).unwrap_or_default() % STRIPES
}

impl Shard {
    pub fn new(max_bytes: usize) -> Self {
        Self {
            table: HashTable::new(),
            slab: Slab::default(),
            free: Vec::new(),
            policy: Policy::new(max_bytes),
            in_flight: vec![0; STRIPES].into_boxed_slice(),
            admission: Admission::default(),
        }
    }

    pub fn bytes(&self) -> usize {
        self.policy.weight()
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.slab.0.iter().flatten()
    }

    /// The live entry of `key` in `space`. The policy is told of the read, whether it hits or not.
    pub fn get(&mut self, space: u16, hash: u64, key: &[u8], now: u64) -> Option<&Entry> {
        if self.policy.samples(hash) {
            self.sampled_read(space, hash, key);
        }
        let Some(at) = self.find(space, hash, key) else {
            self.policy.miss(hash);
            return None;
        };
        if self.slab.entry(at).deadline <= now {
            self.remove_at(at);
            self.policy.miss(hash);
            return None;
        }
        let entry = self.slab.entry_mut(at);
        entry.mark.hit();
        Some(entry)
    }

    // Out of the way of all other reads.
    #[cold]
    #[inline(never)]
    fn sampled_read(&mut self, space: u16, hash: u64, key: &[u8]) {
        let at = self.find(space, hash, key);
        let weight = at.map(|at| self.slab.weight(at));
        self.policy.sampled_read(hash, weight);
    }

    /// Puts a reply in, in the place of any other of its key and space, and evicts down to the bound. The evicted are counted.
    pub fn insert(
        &mut self,
        space: u16,
        hash: u64,
        key: &[u8],
        reply: &[u8],
        deadline: u64,
    ) -> u64 {
        if let Some(at) = self.find(space, hash, key) {
            self.remove_at(at);
        }
        let mut data = Vec::with_capacity(key.len() + reply.len());
        data.extend_from_slice(key);
        data.extend_from_slice(reply);
        let entry = Entry {
            data: data.into_boxed_slice(),
            deadline,
            key_len: u32::try_from(key.len()).expect("a request's argument is at most 512 MiB"),
            space,
            mark: Mark::default(),
        };
        let bytes = entry.bytes();
        if bytes > self.policy.capacity() {
            return 0;
        }
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
        self.policy.insert(&mut self.slab, at, hash);
        self.enter(hash, at);
        evicted
    }

    /// Drops the entries of `key` in every space.
    pub fn remove(&mut self, hash: u64, key: &[u8]) {
        self.policy.invalidate(hash);
        while let Some(&at) = self
            .table
            .find(hash, |&at| self.slab.entry(at).key() == key)
        {
            self.remove_at(at);
        }
    }

    /// Drops every entry of a space.
    pub fn remove_space(&mut self, space: u16) {
        for at in 0..self.slab.0.len() {
            if self.slab.0[at]
                .as_ref()
                .is_some_and(|entry| entry.space == space)
            {
                self.remove_at(
                    u32::try_from(at).expect("memory bounds the entries far below 2^32"),
                );
            }
        }
        if self.table.is_empty() {
            self.clear();
        }
    }

    /// Drops every entry of this hash.
    pub fn remove_hash(&mut self, hash: u64) {
        self.policy.invalidate(hash);
        while let Some(&at) = self.table.find(hash, |&at| self.policy.hash(at) == hash) {
            self.remove_at(at);
        }
    }

    /// Drops every entry and gives their memory back.
    pub fn clear(&mut self) {
        self.table = HashTable::new();
        self.slab = Slab::default();
        self.free = Vec::new();
        self.policy.clear();
    }

    pub fn begin_write(&mut self, hash: u64) {
        self.in_flight[stripe(hash)] += 1;
    }

    pub fn end_write(&mut self, hash: u64) {
        let count = &mut self.in_flight[stripe(hash)];
        debug_assert!(*count > 0, "every end of a write follows its beginning");
        *count = count.saturating_sub(1);
    }

    pub fn write_in_flight(&self, hash: u64) -> bool {
        self.in_flight[stripe(hash)] > 0
    }

    /// Whether a missed key was read before within the window, which is as many keys as the shard holds; notes this read.
    pub fn admits(&mut self, hash: u64) -> bool {
        self.admission.admits(hash, self.table.len())
    }

    fn find(&self, space: u16, hash: u64, key: &[u8]) -> Option<u32> {
        let is_it = |entry: &Entry| entry.space == space && entry.key() == key;
        self.table
            .find(hash, |&at| is_it(self.slab.entry(at)))
            .copied()
    }

    /// Enters a slot in the table.
    fn enter(&mut self, hash: u64, at: u32) {
        let policy = &self.policy;
        let hash_of = |&at: &u32| policy.hash(at);
        // Out of room, much of it for entries that are gone: the table would double for them, and here they come and
        // go all the time.
        let full = self.table.num_buckets() / 8 * 7;
        if self.table.len() == self.table.capacity() && self.table.len() < full / 4 * 3 {
            let slots = std::mem::replace(&mut self.table, HashTable::with_capacity(full));
            for slot in slots {
                self.table.insert_unique(policy.hash(slot), slot, hash_of);
            }
        }
        self.table.insert_unique(hash, at, hash_of);
    }

    fn remove_at(&mut self, at: u32) {
        self.policy.remove(&mut self.slab, at);
        self.release(at);
    }

    /// Gives a slot back that the policy has let go.
    fn release(&mut self, at: u32) {
        if let Ok(found) = self
            .table
            .find_entry(self.policy.hash(at), |&slot| slot == at)
        {
            found.remove();
        }
        self.slab.0[at as usize] = None;
        self.free.push(at);
    }
}

#[cfg(test)]
#[path = "shard_properties.rs"]
mod properties;
