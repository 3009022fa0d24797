//! The rows, in groups by what they are about, and the words that they are written with.

use super::{Access, Begin, Cache, Class, Find, Flags, Row, Spec};
use crate::resp::downgrade::Shape;
use crate::telemetry::durations::Label;

mod collections;
mod generic;
mod server;
mod session;
mod sorted;
mod streams;
mod strings;

/// Every row.
pub static GROUPS: [&[Row]; 7] = [
    strings::ROWS,
    generic::ROWS,
    collections::ROWS,
    sorted::ROWS,
    streams::ROWS,
    session::ROWS,
    server::ROWS,
];

/// A row. The flags are letters: `w`rite, `r`ead-only, `b`locking, may re`p`licate, `a`dmin, ra`n`dom.
const fn row(
    name: &'static str,
    arity: i16,
    flags: &str,
    specs: &'static [Spec],
    class: Class,
) -> Row {
    Row {
        name,
        arity,
        flags: parse_flags(flags),
        specs,
        class,
        cache: Cache::Never,
        shape: Shape::Generic,
        shape_from: 0,
        subs: &[],
        word: None,
        label: label(name),
    }
}

/// A hash of 16 bits, and never [`Label::OTHER`]: that no two names share one is tested.
#[expect(clippy::cast_possible_truncation, reason = "16 bits of it are wanted")]
pub(super) const fn label(name: &str) -> Label {
    let name = name.as_bytes();
    let (mut hash, mut at) = (SEED, 0);
    while at < name.len() {
        hash = (hash ^ name[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    Label((hash >> 40) as u16)
}

/// With which no two names get the same label.
const SEED: u64 = 2;

impl Row {
    /// L1 may hold its reply.
    const fn cached(self) -> Self {
        Self {
            cache: Cache::Keyed,
            ..self
        }
    }

    const fn shaped(self, shape: Shape) -> Self {
        self.shaped_from(0, shape)
    }

    /// Of this shape with so many arguments or more.
    const fn shaped_from(self, arguments: u8, shape: Shape) -> Self {
        Self {
            shape,
            shape_from: arguments,
            ..self
        }
    }

    const fn subs(self, subs: &'static [Self]) -> Self {
        Self { subs, ..self }
    }

    const fn word(self, word: &'static str, other: &'static Self) -> Self {
        Self {
            word: Some((word, other)),
            ..self
        }
    }
}

const fn parse_flags(letters: &str) -> Flags {
    let letters = letters.as_bytes();
    let mut flags = Flags(0);
    let mut at = 0;
    while at < letters.len() {
        flags = flags.with(match letters[at] {
            b'w' => Flags::WRITE,
            b'r' => Flags::READONLY,
            b'b' => Flags::BLOCKING,
            b'p' => Flags::MAY_REPLICATE,
            b'a' => Flags::ADMIN,
            b'n' => Flags::RANDOM,
            _ => panic!("no such flag"),
        });
        at += 1;
    }
    flags
}

/// One key at this position.
const fn key(at: u16, access: Access) -> Spec {
    keys(at, 0, 1, access)
}

/// Keys from this position on.
const fn keys(at: u16, last: i16, step: u16, access: Access) -> Spec {
    Spec {
        begin: Begin::At(at),
        find: Find::Range {
            last,
            step,
            limit: 0,
        },
        access,
    }
}

/// A number of keys at this position, and the keys behind it.
const fn counted(at: u16, access: Access) -> Spec {
    Spec {
        begin: Begin::At(at),
        find: Find::Count {
            number: 0,
            first: 1,
            step: 1,
        },
        access,
    }
}

/// The key behind the last such option.
const fn option(
    word: &'static str,
    from: i16,
    options: &'static [(&'static str, u8)],
    access: Access,
) -> Spec {
    Spec {
        begin: Begin::Word {
            word,
            from,
            options,
            last: true,
        },
        find: Find::Range {
            last: 0,
            step: 1,
            limit: 0,
        },
        access,
    }
}

const NONE: &[Spec] = &[];
/// The first argument, read.
const R1: &[Spec] = &[key(1, Access::Read)];
/// The first argument, written.
const W1: &[Spec] = &[key(1, Access::Write)];
/// The second argument, read.
const R2: &[Spec] = &[key(2, Access::Read)];
/// The second argument, written.
const W2: &[Spec] = &[key(2, Access::Write)];
/// The first two arguments, written.
const W1_W2: &[Spec] = &[key(1, Access::Write), key(2, Access::Write)];
/// The first argument, written from the second.
const W1_R2: &[Spec] = &[key(1, Access::Write), key(2, Access::Read)];
/// All arguments, read.
const R_ALL: &[Spec] = &[keys(1, -1, 1, Access::Read)];
/// All arguments, written.
const W_ALL: &[Spec] = &[keys(1, -1, 1, Access::Write)];
/// All arguments but the last, written.
const W_BUT_LAST: &[Spec] = &[keys(1, -2, 1, Access::Write)];
/// The first argument, written from all others.
const W1_R_REST: &[Spec] = &[key(1, Access::Write), keys(2, -1, 1, Access::Read)];
/// A number and so many keys, read.
const R_COUNTED: &[Spec] = &[counted(1, Access::Read)];
/// A number and so many keys, written.
const W_COUNTED: &[Spec] = &[counted(1, Access::Write)];
/// The same behind one more argument, read.
const R_COUNTED_2: &[Spec] = &[counted(2, Access::Read)];
/// The same behind one more argument, written.
const W_COUNTED_2: &[Spec] = &[counted(2, Access::Write)];
/// The first argument, written from a number of others.
const W1_R_COUNTED: &[Spec] = &[key(1, Access::Write), counted(2, Access::Read)];
