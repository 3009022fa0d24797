//! Finding a row by name: a hash table that is built when nearside is compiled. A look-up reads at most the first and
//! the last eight bytes of the name, in any case, and then compares.

use super::Row;
use super::table::GROUPS;

/// A power of two, and four times the rows there are, so that few names meet.
const SLOTS: usize = 1024;

/// A row's group and its number in it, counted from 1; 0 for none.
static INDEX: [u16; SLOTS] = build();

/// The row of the command called `name`, in any case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Row> {
    let mut slot = slot(name);
    loop {
        let entry = INDEX[slot];
        if entry == 0 {
            return None;
        }
        let row = &GROUPS[usize::from(entry >> 8)][usize::from(entry & 0xff) - 1];
        if row.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(row);
        }
        slot = (slot + 1) % SLOTS;
    }
}

const fn slot(name: &[u8]) -> usize {
    // Without this bit a letter is the same in both cases.
    const FOLD: u64 = 0xdfdf_dfdf_dfdf_dfdf;
    let (head, tail) = if let (Some(head), Some(tail)) = (name.first_chunk(), name.last_chunk()) {
        (u64::from_le_bytes(*head), u64::from_le_bytes(*tail))
    } else if let (Some(head), Some(tail)) = (name.first_chunk(), name.last_chunk()) {
        (
            u32::from_le_bytes(*head) as u64,
            u32::from_le_bytes(*tail) as u64,
        )
    } else if let [first, .., last] = name {
        (*first as u64, (name[1] as u64) << 8 | *last as u64)
    } else {
        (name.len() as u64, 0)
    };
    let mixed = ((head & FOLD) ^ (tail & FOLD).rotate_left(29)) + name.len() as u64;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % SLOTS
}

const fn build() -> [u16; SLOTS] {
    let mut index = [0; SLOTS];
    let mut group = 0;
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            assert!(row < 0xff, "more rows in a group than the index can count");
            let mut at = slot(GROUPS[group][row].name.as_bytes());
            while index[at] != 0 {
                at = (at + 1) % SLOTS;
            }
            index[at] = (group as u16) << 8 | (row as u16 + 1);
            row += 1;
        }
        group += 1;
    }
    index
}
