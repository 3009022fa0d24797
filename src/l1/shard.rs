//! One shard: a hash table over a slab of entries, in SIEVE's order, and its admission window.

use std::collections::HashSet;

use hashbrown::HashTable;

/// Accounted beside an entry's own bytes: its two slab slots, its table slot at the table's usual load, and the
/// allocator's rounding of its one allocation.
pub const ENTRY_OVERHEAD: usize =
    std::mem::size_of::<Option<Entry>>() + std::mem::size_of::<Place>() + 24;

/// Stripes of the in-flight counts in one shard.
const STRIPES: usize = 4096;
const NONE: u32 = u32::MAX;

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
    visited: bool,
}

// A look-up reads one entry's cache line, and nothing of its place in the list.
const _: () = assert!(std::mem::size_of::<Option<Entry>>() == 32);

/// Where an entry stands: in the table by its hash, in the list between its neighbours.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    newer: u32,
    older: u32,
}

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

/// See the module's header.
#[derive(Debug)]
pub struct Shard {
    table: HashTable<u32>,
    slab: Vec<Option<Entry>>,
    /// By the same numbers as the slab.
    places: Vec<Place>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    hand: u32,
    bytes: usize,
    max_bytes: usize,
    in_flight: Box<[u32]>,
    seen: HashSet<u64, foldhash::fast::FixedState>,
    seen_before: HashSet<u64, foldhash::fast::FixedState>,
}

fn stripe(hash: u64) -> usize {
    usize::try_from(hash >> 40).unwrap_or_default() % STRIPES
}

impl Shard {
    pub fn new(max_bytes: usize) -> Self {
        Self {
            table: HashTable::new(),
            slab: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            hand: NONE,
            bytes: 0,
            max_bytes,
            in_flight: vec![0; STRIPES].into_boxed_slice(),
            seen: HashSet::default(),
            seen_before: HashSet::default(),
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.slab.iter().flatten()
    }

    /// The live entry of `key` in `space`; marks it as used.
    pub fn get(&mut self, space: u16, hash: u64, key: &[u8], now: u64) -> Option<&Entry> {
        let at = self.find(space, hash, key)?;
        if self.entry(at).deadline <= now {
            self.remove_at(at);
            return None;
        }
        let entry = self.entry_mut(at);
        entry.visited = true;
        Some(entry)
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
            visited: false,
        };
        let bytes = entry.bytes();
        if bytes > self.max_bytes {
            return 0;
        }
        let mut evicted = 0;
        while self.bytes + bytes > self.max_bytes && self.evict() {
            evicted += 1;
        }
        self.bytes += bytes;
        let place = Place {
            hash,
            newer: NONE,
            older: self.newest,
        };
        let at = if let Some(at) = self.free.pop() {
            self.slab[at as usize] = Some(entry);
            self.places[at as usize] = place;
            at
        } else {
            self.slab.push(Some(entry));
            self.places.push(place);
            u32::try_from(self.slab.len() - 1).expect("memory bounds the entries far below 2^32")
        };
        if self.newest != NONE {
            self.places[self.newest as usize].newer = at;
        }
        self.newest = at;
        if self.oldest == NONE {
            self.oldest = at;
        }
        let places = &self.places;
        self.table
            .insert_unique(hash, at, |&at| places[at as usize].hash);
        evicted
    }

    /// Drops the entries of `key` in every space.
    pub fn remove(&mut self, hash: u64, key: &[u8]) {
        while let Some(&at) = self.table.find(hash, |&at| self.entry(at).key() == key) {
            self.remove_at(at);
        }
    }

    /// Drops every entry of a space.
    pub fn remove_space(&mut self, space: u16) {
        for at in 0..self.slab.len() {
            if self.slab[at]
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
        while let Some(&at) = self
            .table
            .find(hash, |&at| self.places[at as usize].hash == hash)
        {
            self.remove_at(at);
        }
    }

    /// Drops every entry and gives their memory back.
    pub fn clear(&mut self) {
        self.table = HashTable::new();
        self.slab = Vec::new();
        self.places = Vec::new();
        self.free = Vec::new();
        (self.newest, self.oldest, self.hand) = (NONE, NONE, NONE);
        self.bytes = 0;
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
        if self.seen.contains(&hash) || self.seen_before.contains(&hash) {
            return true;
        }
        if self.seen.len() >= self.table.len().max(1024) {
            self.seen_before = std::mem::take(&mut self.seen);
        }
        self.seen.insert(hash);
        false
    }

    fn find(&self, space: u16, hash: u64, key: &[u8]) -> Option<u32> {
        let is_it = |entry: &Entry| entry.space == space && entry.key() == key;
        self.table.find(hash, |&at| is_it(self.entry(at))).copied()
    }

    fn entry(&self, at: u32) -> &Entry {
        self.slab[at as usize]
            .as_ref()
            .expect("table and list name only slots in use")
    }

    fn entry_mut(&mut self, at: u32) -> &mut Entry {
        self.slab[at as usize]
            .as_mut()
            .expect("table and list name only slots in use")
    }

    fn remove_at(&mut self, at: u32) {
        let entry = self.slab[at as usize]
            .take()
            .expect("table and list name only slots in use");
        let Place { hash, newer, older } = self.places[at as usize];
        if let Ok(found) = self.table.find_entry(hash, |&slot| slot == at) {
            found.remove();
        }
        self.free.push(at);
        self.bytes -= entry.bytes();
        if self.hand == at {
            self.hand = newer;
        }
        if newer == NONE {
            self.newest = older;
        } else {
            self.places[newer as usize].older = older;
        }
        if older == NONE {
            self.oldest = newer;
        } else {
            self.places[older as usize].newer = newer;
        }
    }

    /// Evicts one entry: the hand goes from the oldest on, forgives what was used since it last came by.
    fn evict(&mut self) -> bool {
        let mut at = if self.hand == NONE {
            self.oldest
        } else {
            self.hand
        };
        if at == NONE {
            return false;
        }
        while self.entry(at).visited {
            self.entry_mut(at).visited = false;
            let newer = self.places[at as usize].newer;
            at = if newer == NONE { self.oldest } else { newer };
        }
        self.hand = at;
        self.remove_at(at);
        true
    }
}
