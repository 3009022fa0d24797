//! One shard: a hash table over a slab of entries, in SIEVE's order, and its admission window.

use std::collections::HashSet;

use hashbrown::HashTable;

use super::earnings::Earnings;
use super::families::Families;
use super::generations::Generations;
use super::read::{Ident, Read};

/// Accounted beside an entry's own bytes: its two slab slots, its table slot at the table's usual load, and the
/// allocator's rounding of its one allocation.
pub const ENTRY_OVERHEAD: usize =
    std::mem::size_of::<Option<Entry>>() + std::mem::size_of::<Place>() + 24;

/// Stripes of the in-flight counts in one shard.
const STRIPES: usize = 4096;
const NONE: u32 = u32::MAX;

/// A reply, and what it answers.
#[derive(Debug)]
pub struct Entry {
    /// What was asked, the other keys that it hangs on, then the encoded reply.
    data: Box<[u8]>,
    /// In milliseconds of the boot clock; the entry is gone from then on.
    deadline: u64,
    ident_len: u16,
    /// Whose it is; see [`super::Space`].
    space: u16,
    keyspace: u8,
    traits: Traits,
    visited: bool,
}

// A look-up reads one entry's cache line, and nothing of its place in the list.
const _: () = assert!(std::mem::size_of::<Option<Entry>>() == 32);

/// What else there is to know of an entry, in bits.
#[derive(Debug, Clone, Copy, Default)]
struct Traits(u8);

impl Traits {
    /// The hits since its fill, up to this many.
    const HITS: u8 = 7;
    /// A command's reply, not a key's value.
    const REPLY: u8 = 8;
    /// It hangs on further keys.
    const JOINT: u8 = 16;
    /// Its bytes are the same in both protocols.
    const SAME: u8 = 32;
    /// It was read since the upstream last heard of that.
    const READ: u8 = 64;

    fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    fn hit(&mut self) {
        self.0 |= Self::READ;
        if self.0 & Self::HITS != Self::HITS {
            self.0 += 1;
        }
    }
}

/// A further key that a reply hangs on, and how often that one had been dropped when it was filled.
type Joint = (u64, u32);
const JOINT_BYTES: usize = 12;

/// What goes in.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    pub space: u16,
    pub read: &'a Read<'a>,
    pub reply: &'a [u8],
    pub joint: &'a [Joint],
    pub same_in_both: bool,
    pub deadline: u64,
    pub keyspace: u8,
}

impl New<'_> {
    fn entry(&self) -> Option<Entry> {
        let ident_len = u16::try_from(self.read.ident.len()).ok()?;
        let joint = u16::try_from(self.joint.len()).ok()?;
        let mut traits = Traits::default();
        let room = self.read.ident.len() + 2 + self.joint.len() * JOINT_BYTES + self.reply.len();
        let mut data = Vec::with_capacity(if joint > 0 { room } else { room - 2 });
        self.read.ident.write(&mut data);
        if joint > 0 {
            traits.0 |= Traits::JOINT;
            data.extend_from_slice(&joint.to_le_bytes());
            for (hash, generation) in self.joint {
                data.extend_from_slice(&hash.to_le_bytes());
                data.extend_from_slice(&generation.to_le_bytes());
            }
        }
        data.extend_from_slice(self.reply);
        if let Ident::Reply { .. } = self.read.ident {
            traits.0 |= Traits::REPLY;
        }
        if self.same_in_both {
            traits.0 |= Traits::SAME;
        }
        Some(Entry {
            data: data.into_boxed_slice(),
            deadline: self.deadline,
            ident_len,
            space: self.space,
            keyspace: self.keyspace,
            traits,
            visited: false,
        })
    }
}

/// Where an entry stands: in the table by its hash, in the list between its neighbours.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    newer: u32,
    older: u32,
}

impl Entry {
    /// What it answers: a key, or a command's name and the request behind it.
    pub fn ident(&self) -> &[u8] {
        &self.data[..usize::from(self.ident_len)]
    }

    /// Whether it is a command's reply; otherwise it is a key's value.
    pub fn is_reply(&self) -> bool {
        self.traits.has(Traits::REPLY)
    }

    /// Whether its bytes are the same in both protocols.
    pub fn is_same_in_both(&self) -> bool {
        self.traits.has(Traits::SAME)
    }

    /// The encoded reply.
    pub fn reply(&self) -> &[u8] {
        &self.data[usize::from(self.ident_len) + self.joint_bytes()..]
    }

    /// When it ends, in milliseconds of the boot clock.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// The number of its key space.
    pub fn keyspace(&self) -> u8 {
        self.keyspace
    }

    fn joint_bytes(&self) -> usize {
        if !self.traits.has(Traits::JOINT) {
            return 0;
        }
        let at = usize::from(self.ident_len);
        2 + usize::from(u16::from_le_bytes([self.data[at], self.data[at + 1]])) * JOINT_BYTES
    }

    /// Whether none of its further keys was dropped since its fill.
    pub fn is_joint_true(&self, generations: &Generations) -> bool {
        let from = usize::from(self.ident_len);
        let joint = &self.data[from..from + self.joint_bytes()];
        joint
            .get(2..)
            .unwrap_or_default()
            .chunks_exact(JOINT_BYTES)
            .all(|one| {
                let (hash, generation) = one.split_at(8);
                let hash = u64::from_le_bytes(hash.try_into().expect("eight bytes"));
                let generation = u32::from_le_bytes(generation.try_into().expect("four bytes"));
                generations.of_key(hash) == generation
            })
    }

    fn is(&self, space: u16, ident: Ident<'_>) -> bool {
        let is_reply = matches!(ident, Ident::Reply { .. });
        self.space == space && self.is_reply() == is_reply && ident.is(self.ident())
    }

    fn bytes(&self) -> usize {
        let family = if self.is_reply() { Families::BYTES } else { 0 };
        self.data.len() + ENTRY_OVERHEAD + family
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
    families: Families,
    earnings: Earnings,
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
            families: Families::default(),
            earnings: Earnings::default(),
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

    /// The live entry of a read in `space`; marks it as used.
    #[inline]
    pub fn get(
        &mut self,
        space: u16,
        read: &Read<'_>,
        now: u64,
        generations: &Generations,
    ) -> Option<&Entry> {
        let at = self.find(space, read)?;
        let entry = self.entry(at);
        let joint = entry.traits.has(Traits::JOINT);
        if entry.deadline <= now || joint && !entry.is_joint_true(generations) {
            self.remove_at(at);
            return None;
        }
        let entry = self.entry_mut(at);
        entry.visited = true;
        entry.traits.hit();
        Some(entry)
    }

    /// Until when the key of this hash is known to live, if something of it is held in `space`: its value, or a reply.
    pub fn known_until(&self, space: u16, hash: u64, key: &[u8], now: u64) -> Option<u64> {
        let value = Read {
            key: hash,
            hash,
            ident: Ident::Value(key),
        };
        let mut at = self
            .find(space, &value)
            .or_else(|| self.families.first(hash));
        while let Some(slot) = at {
            let entry = self.entry(slot);
            if entry.space == space && entry.deadline > now {
                return Some(entry.deadline);
            }
            at = if entry.is_reply() {
                self.families.next(slot)
            } else {
                self.families.first(hash)
            };
        }
        None
    }

    /// Puts a reply in, in the place of any other of its read and space, and evicts down to the bound. The evicted are
    /// counted; `None` if it is too large to go in at all.
    pub fn insert(&mut self, new: &New<'_>) -> Option<u64> {
        if let Some(at) = self.find(new.space, new.read) {
            self.remove_at(at);
        }
        let hash = new.read.hash;
        let entry = new.entry()?;
        let bytes = entry.bytes();
        if bytes > self.max_bytes {
            return None;
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
        if self.entry(at).is_reply() {
            self.families.add(new.read.key, at);
        }
        Some(evicted)
    }

    /// Drops what hangs on `key` in every space.
    pub fn remove(&mut self, hash: u64, key: &[u8]) {
        let is_it = |entry: &Entry| !entry.is_reply() && entry.ident() == key;
        while let Some(&at) = self.table.find(hash, |&at| is_it(self.entry(at))) {
            self.drop_at(hash, at);
        }
        self.remove_family(hash);
    }

    /// Drops the replies that hang on the key of this hash.
    fn remove_family(&mut self, hash: u64) {
        while let Some(at) = self.families.first(hash) {
            self.drop_at(hash, at);
        }
    }

    /// Ends what was filled under a key, and settles its account.
    fn drop_at(&mut self, key: u64, at: u32) {
        self.earnings
            .settle(key, self.entry(at).traits.0 & Traits::HITS);
        self.remove_at(at);
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

    /// Drops what hangs on any key of this hash.
    pub fn remove_hash(&mut self, hash: u64) {
        while let Some(&at) = self
            .table
            .find(hash, |&at| self.places[at as usize].hash == hash)
        {
            self.drop_at(hash, at);
        }
        self.remove_family(hash);
    }

    /// Drops every entry and gives their memory back.
    pub fn clear(&mut self) {
        self.table = HashTable::new();
        self.slab = Vec::new();
        self.places = Vec::new();
        self.free = Vec::new();
        self.families = Families::default();
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

    /// Whether fills of this key earn what they cost.
    pub fn pays(&mut self, key: u64) -> bool {
        self.earnings.allow(key)
    }

    /// Whether a missed read came before within the window, which is as many reads as the shard holds; notes this one.
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

    fn find(&self, space: u16, read: &Read<'_>) -> Option<u32> {
        let is_it = |&at: &u32| self.entry(at).is(space, read.ident);
        self.table.find(read.hash, is_it).copied()
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
        if entry.is_reply() {
            self.families.remove(at);
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
