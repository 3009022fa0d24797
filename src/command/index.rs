//! Finding a row by name: a hash table that is built when nearside is compiled. A look-up reads at most the first and
//! the last eight bytes of the name, in any case, and then compares.

use super::Row;
use super::table::GROUPS;

/// A power of two, and four times the rows there are, so that few names meet.
const SLOTS: usize = 1024;

static INDEX: [Option<&Row>; SLOTS] = build();

/// The row of the command called `name`, in any case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Row> {
    let mut slot = slot(name);
    while let Some(row) = INDEX[slot] {
        if row.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(row);
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

const fn slot(name: &[u8]) -> usize {
    // Without this bit a letter is the same in both cases.
    const FOLD: u64 = 0xdfdf_dfdf_dfdf_dfdf;
    let (head, tail) = match name {
        [] => (0, 0),
        [only] => (*only as u64, 0),
        [first, second, .., last] if name.len() < 4 => {
            (*first as u64, (*second as u64) << 8 | *last as u64)
        }
        [first, second] => (*first as u64, *second as u64),
        _ => match (name.first_chunk(), name.last_chunk()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => (half(name.first_chunk()), half(name.last_chunk())),
        },
    };
    let mixed = ((head & FOLD) ^ (tail & FOLD).rotate_left(29)) + name.len() as u64;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % SLOTS
}

const fn half(bytes: Option<&[u8; 4]>) -> u64 {
    match bytes {
        Some(bytes) => u32::from_le_bytes(*bytes) as u64,
        None => 0,
    }
}

const fn build() -> [Option<&'static Row>; SLOTS] {
    let mut index = [None; SLOTS];
    let mut group = 0;
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            let found = &GROUPS[group][row];
            let mut at = slot(found.name.as_bytes());
            while index[at].is_some() {
                at = (at + 1) % SLOTS;
            }
            index[at] = Some(found);
            row += 1;
        }
        group += 1;
    }
    index
}
