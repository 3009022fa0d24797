//! An entry: a reply with what it answers, in one allocation, and what a look-up has to know of it in half a cache line.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::by_hand::Known;
use super::families::Families;
use super::generations::Generations;
use super::policy::{Mark, Node, Slots};
use super::read::{Ident, Read};
use crate::resp::encode;
use crate::resp::frame::parse_integer;

/// Accounted beside an entry's own bytes: its slab slot and the policy's node; the policy's sketch and the admission
/// window at their fullest; its table slot at the table's usual load, and the allocator's rounding of its one allocation.
pub const ENTRY_OVERHEAD: usize =
    std::mem::size_of::<Option<Entry>>() + std::mem::size_of::<Node>() + 8 + 4 + 24;

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
    mark: Mark,
}

// A look-up reads one entry's cache line, and a hit writes to no other.
const _: () = assert!(std::mem::size_of::<Option<Entry>>() == 32);

/// What else there is to know of an entry, in bits.
#[derive(Debug, Default)]
struct Traits(AtomicU8);

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

    fn has(&self, bits: u8) -> bool {
        self.0.load(Relaxed) & bits != 0
    }

    /// Most hits change nothing any more, and then nothing is written.
    fn hit(&self) {
        let full = Self::READ | Self::HITS;
        let mut bits = self.0.load(Relaxed);
        if bits & full != full {
            bits |= Self::READ;
            if bits & Self::HITS != Self::HITS {
                bits += 1;
            }
            self.0.store(bits, Relaxed);
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
    /// `None` if what it answers takes more than an entry has room for.
    pub fn entry(&self) -> Option<Entry> {
        let ident_len = u16::try_from(self.read.ident.len()).ok()?;
        let joint = u16::try_from(self.joint.len()).ok()?;
        let mut traits = Traits::default();
        let room = self.read.ident.len() + 2 + self.joint.len() * JOINT_BYTES + self.reply.len();
        let mut data = Vec::with_capacity(if joint > 0 { room } else { room - 2 });
        self.read.ident.write(&mut data);
        if joint > 0 {
            *traits.0.get_mut() |= Traits::JOINT;
            data.extend_from_slice(&joint.to_le_bytes());
            for (hash, generation) in self.joint {
                data.extend_from_slice(&hash.to_le_bytes());
                data.extend_from_slice(&generation.to_le_bytes());
            }
        }
        data.extend_from_slice(self.reply);
        if let Ident::Reply { .. } = self.read.ident {
            *traits.0.get_mut() |= Traits::REPLY;
        }
        if self.same_in_both {
            *traits.0.get_mut() |= Traits::SAME;
        }
        Some(Entry {
            data: data.into_boxed_slice(),
            deadline: self.deadline,
            ident_len,
            space: self.space,
            keyspace: self.keyspace,
            traits,
            mark: Mark::default(),
        })
    }
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

    /// Whose it is.
    pub fn space(&self) -> u16 {
        self.space
    }

    /// It was read.
    #[inline]
    pub fn hit(&self) {
        self.mark.hit();
        self.traits.hit();
    }

    /// The hits since its fill, as far as they are counted.
    pub fn hits(&self) -> u8 {
        self.traits.0.load(Relaxed) & Traits::HITS
    }

    /// Whether it was read since this was last asked.
    pub fn take_read(&mut self) -> bool {
        let read = self.traits.has(Traits::READ);
        *self.traits.0.get_mut() &= !Traits::READ;
        read
    }

    /// Whether it hangs on further keys.
    pub fn is_joint(&self) -> bool {
        self.traits.has(Traits::JOINT)
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

    /// Whether it answers this in this space.
    pub fn is(&self, space: u16, ident: Ident<'_>) -> bool {
        let is_reply = matches!(ident, Ident::Reply { .. });
        self.space == space && self.is_reply() == is_reply && ident.is(self.ident())
    }

    /// What it answers, for who can read requests.
    pub fn known(&self) -> Known {
        if self.is_reply() {
            Known::Reply(self.request())
        } else {
            Known::Value(self.ident().to_vec())
        }
    }

    /// Reads a byte of each of the first lines of its data.
    pub fn load(&self) -> u8 {
        const LINE: usize = 64;
        const LINES: usize = 4;
        let lines = self.data.iter().step_by(LINE).take(LINES);
        lines.fold(0, |loaded, byte| loaded ^ byte)
    }

    /// What would be asked for it.
    pub fn request(&self) -> Vec<u8> {
        let ident = self.ident();
        let mut request = Vec::new();
        if !self.is_reply() {
            encode::request(&mut request, &[b"GET", ident]);
            return request;
        }
        let name = ident.iter().position(|&b| b == b'\r');
        let (name, rest) = ident.split_at(name.unwrap_or(ident.len()));
        let arguments = 1 + arguments(rest).unwrap_or_default();
        encode::header(&mut request, b'*', arguments);
        encode::header(&mut request, b'$', name.len() as u64);
        request.extend_from_slice(name);
        request.extend_from_slice(rest);
        request
    }

    /// What it counts for.
    pub fn bytes(&self) -> usize {
        let family = if self.is_reply() { Families::BYTES } else { 0 };
        self.data.len() + ENTRY_OVERHEAD + family
    }
}

/// How many arguments there are behind a command's name: each has a header line, and a body that may hold anything.
fn arguments(rest: &[u8]) -> Option<u64> {
    let (mut at, mut arguments) = (2, 0);
    while at < rest.len() {
        let line = rest[at..].iter().position(|&b| b == b'\r')?;
        let length = parse_integer(&rest[at + 1..at + line])?;
        at += line + 2 + usize::try_from(length).ok()? + 2;
        arguments += 1;
    }
    Some(arguments)
}

/// The entries, by slot.
#[derive(Debug, Default)]
pub struct Slab(pub Vec<Option<Entry>>);

impl Slab {
    pub fn entry(&self, at: u32) -> &Entry {
        self.0[at as usize]
            .as_ref()
            .expect("table and policy name only slots in use")
    }

    pub fn entry_mut(&mut self, at: u32) -> &mut Entry {
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
