//! Finding a row by name: a hash table that is built when nearside is compiled. A name is looked up by its first and last
//! eight bytes, in upper case, which are the whole of most names.

use super::Row;
use super::table::GROUPS;

/// A power of two, and four times the rows there are, so that few names meet.
const SLOTS: usize = 1024;

static INDEX: [Option<(Ends, &Row)>; SLOTS] = build();

/// How a name begins and ends, in upper case, and how long it is. Names of at most [`Ends::WHOLE`] bytes with the same ends
/// are the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    head: u64,
    tail: u64,
    length: usize,
}

impl Ends {
    const WHOLE: usize = 16;

    const fn of(name: &[u8]) -> Self {
        let (head, tail) = match name {
            [] => (0, 0),
            [only] => (*only as u64, 0),
            [first, second] => (*first as u64, *second as u64),
            [first, second, third] => (*first as u64, (*second as u64) << 8 | *third as u64),
            _ => match (name.first_chunk(), name.last_chunk()) {
                (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
                _ => (half(name.first_chunk()), half(name.last_chunk())),
            },
        };
        Self {
            head: upper(head),
            tail: upper(tail),
            length: name.len(),
        }
    }

    const fn slot(self) -> usize {
        let mixed = (self.head ^ self.tail.rotate_left(29)).wrapping_add(self.length as u64);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % SLOTS
    }
}

/// Eight bytes with those in upper case that are small letters.
const fn upper(bytes: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    // The high bit of each byte says whether that is at least `a`, and whether it is more than `z`.
    let low = bytes & !HIGH;
    let from_a = low + (0x80 - b'a' as u64) * ONES;
    let beyond_z = low + (0x7f - b'z' as u64) * ONES;
    let small = from_a & !beyond_z & !bytes & HIGH;
    bytes - (small >> 2)
}

/// The row of the command called `name`, in any case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Row> {
    let ends = Ends::of(name);
    let mut slot = ends.slot();
    while let Some((found, row)) = INDEX[slot] {
        let same = || row.name.as_bytes().eq_ignore_ascii_case(name);
        if found == ends && (name.len() <= Ends::WHOLE || same()) {
            return Some(row);
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

const fn half(bytes: Option<&[u8; 4]>) -> u64 {
    match bytes {
        Some(bytes) => u32::from_le_bytes(*bytes) as u64,
        None => 0,
    }
}

#[expect(
    clippy::large_stack_arrays,
    reason = "on the compiler's stack, not on ours"
)]
const fn build() -> [Option<(Ends, &'static Row)>; SLOTS] {
    let mut index = [None; SLOTS];
    let mut group = 0;
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            let found = &GROUPS[group][row];
            let ends = Ends::of(found.name.as_bytes());
            let mut at = ends.slot();
            while index[at].is_some() {
                at = (at + 1) % SLOTS;
            }
            index[at] = Some((ends, found));
            row += 1;
        }
        group += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::upper;

    /// Byte by byte, whatever stands beside it.
    #[test]
    fn only_small_letters_change() {
        for byte in 0..=u8::MAX {
            for beside in [0, b'a', b'z', 0x7f, 0x80, 0xff] {
                let bytes = [beside, byte, beside, beside, byte, byte, beside, byte];
                let expected = bytes.map(|byte| byte.to_ascii_uppercase());
                assert_eq!(upper(u64::from_le_bytes(bytes)).to_le_bytes(), expected);
            }
        }
    }
}
