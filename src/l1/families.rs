//! Which replies hang on a key: what is dropped with it beside its value. A list through the table's slots for each key
//! that has any; nothing at all where only values are held.

use hashbrown::HashTable;

const NONE: u32 = u32::MAX;

/// A slot's place among those of its key.
#[derive(Debug, Clone, Copy)]
struct Kin {
    key: u64,
    next: u32,
    previous: u32,
}

#[derive(Debug, Clone, Copy)]
struct Family {
    key: u64,
    first: u32,
}

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Families {
    /// By the numbers of the table's slots.
    kin: Vec<Kin>,
    heads: HashTable<Family>,
}

impl Families {
    /// What a reply takes here.
    pub const BYTES: usize = std::mem::size_of::<Kin>() + std::mem::size_of::<Family>() * 2;

    /// The first of a key's replies.
    pub fn first(&self, key: u64) -> Option<u32> {
        if self.heads.is_empty() {
            return None;
        }
        let family = self.heads.find(key, |family| family.key == key)?;
        Some(family.first)
    }

    /// The one behind it.
    pub fn next(&self, slot: u32) -> Option<u32> {
        let next = self.kin[slot as usize].next;
        (next != NONE).then_some(next)
    }

    pub fn add(&mut self, key: u64, slot: u32) {
        let alone = Kin {
            key,
            next: NONE,
            previous: NONE,
        };
        if self.kin.len() <= slot as usize {
            self.kin.resize(slot as usize + 1, alone);
        }
        self.kin[slot as usize] = alone;
        if let Some(family) = self.heads.find_mut(key, |family| family.key == key) {
            self.kin[slot as usize].next = family.first;
            self.kin[family.first as usize].previous = slot;
            family.first = slot;
        } else {
            self.heads
                .insert_unique(key, Family { key, first: slot }, |family| family.key);
        }
    }

    pub fn remove(&mut self, slot: u32) {
        let Kin {
            key,
            next,
            previous,
        } = self.kin[slot as usize];
        if next != NONE {
            self.kin[next as usize].previous = previous;
        }
        if previous != NONE {
            self.kin[previous as usize].next = next;
        } else if let Ok(mut head) = self.heads.find_entry(key, |family| family.key == key) {
            if next == NONE {
                head.remove();
            } else {
                head.get_mut().first = next;
            }
        }
    }
}
