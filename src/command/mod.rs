//! The command table: what a command means. Data; everything that asks about a command asks here.
//!
//! Names, arity, flags and key specifications are those of Redis's and Valkey's own command documentation, and a test
//! compares them with a running server's `COMMAND`. The class says where nearside sends a command and what it may
//! change, the shape how its reply differs in RESP2, and [`Cache`] whether L1 may hold its reply. Sub-commands have
//! rows of their own. A command that is not in the table goes over the session's own connection, and [`learned`]
//! tells what the upstream says of it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use crate::resp::downgrade::Shape;
use crate::telemetry::durations::Label;

mod blocks;
mod index;
mod keys;
pub mod learned;
mod recent;
mod table;
pub mod told;

pub use blocks::Blocks;
pub use index::find;
pub use keys::{Access, Begin, Find, Positions, Spec};
pub use recent::Recent;

/// Where a command goes and what it may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// GET: answered from L1.
    Get,
    /// MGET: answered from L1, key by key.
    Mget,
    /// By the lane; changes no key.
    LaneRead,
    /// By the lane; changes the keys that it names.
    LaneWrite,
    /// By the lane; changes keys that it does not name (FLUSHALL).
    LaneUnknown,
    /// Over an own connection; changes no key.
    OwnRead,
    /// Over an own connection; changes the keys that it names.
    OwnWrite,
    /// Over an own connection; may change keys that it does not name.
    OwnUnknown,
    /// SWAPDB: changes everything and pushes nothing.
    Swapdb,
    /// MULTI.
    Multi,
    /// EXEC.
    Exec,
    /// DISCARD.
    Discard,
    /// WATCH.
    Watch,
    /// UNWATCH.
    Unwatch,
    /// The SUBSCRIBE family.
    Subscribe,
    /// The UNSUBSCRIBE family.
    Unsubscribe,
    /// MONITOR, SYNC, PSYNC: from then on the connection's bytes are passed as they are.
    Raw,
    /// SELECT.
    Select,
    /// AUTH.
    Auth,
    /// HELLO.
    Hello,
    /// RESET.
    Reset,
    /// QUIT.
    Quit,
    /// CLIENT.
    Client,
    /// WAIT and WAITAOF: count the writes of their connection.
    Wait,
    /// NEARSIDE: nearside's own, answered here.
    Nearside,
}

impl Class {
    /// Whether it goes by the lane, where the session is not bound to an own connection.
    #[must_use]
    pub fn is_lane(self) -> bool {
        matches!(
            self,
            Self::Get | Self::Mget | Self::LaneRead | Self::LaneWrite | Self::LaneUnknown
        )
    }
}

/// Whether L1 may hold a command's reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// No: it writes, is random, depends on time, waits, or reads what it does not name.
    Never,
    /// Under every key that it names.
    Keyed,
}

/// What Redis says of a command in one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    /// It may change data.
    pub const WRITE: Self = Self(1);
    /// It only reads data.
    pub const READONLY: Self = Self(2);
    /// It may wait for another client.
    pub const BLOCKING: Self = Self(4);
    /// It may be replicated although it is no write.
    pub const MAY_REPLICATE: Self = Self(8);
    /// It administers the server.
    pub const ADMIN: Self = Self(16);
    /// The same arguments over the same data may get another reply.
    pub const RANDOM: Self = Self(32);

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Without `flags`.
    #[must_use]
    pub const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

/// One command or sub-command.
#[derive(Debug)]
pub struct Row {
    /// Name in upper case; a sub-command's is `CONTAINER|NAME`, as Redis writes it.
    pub name: &'static str,
    /// Number of arguments, the name and a sub-command's included; negative for a minimum.
    pub arity: i16,
    /// What Redis says of it.
    pub flags: Flags,
    /// Where its keys are.
    pub specs: &'static [Spec],
    /// Route and effect.
    pub class: Class,
    /// Whether L1 may hold its reply.
    pub cache: Cache,
    shape: Shape,
    /// The number of arguments from which on `shape` holds; with fewer it is generic.
    shape_from: u8,
    subs: &'static [Row],
    /// With this word among its arguments the command is another one.
    word: Option<(&'static str, &'static Row)>,
    /// What it is known by where durations are recorded: of its name, and of no other row's.
    pub label: Label,
}

impl Row {
    /// Whether a request with this many arguments, the name included, has the right number.
    #[must_use]
    pub fn takes(&self, arguments: usize) -> bool {
        takes(self.arity, arguments)
    }

    /// How the RESP2 reply to a request with this many arguments, the name included, differs.
    #[must_use]
    pub fn shape(&self, arguments: usize) -> Shape {
        if arguments >= usize::from(self.shape_from) {
            self.shape
        } else {
            Shape::Generic
        }
    }

    /// Whether it may wait for another client, and so goes nowhere but over an own connection.
    #[must_use]
    pub fn blocking(&self) -> bool {
        self.flags.has(Flags::BLOCKING) && !self.class.is_lane()
    }

    /// How long it may wait for something to happen, by its own arguments.
    #[must_use]
    pub fn blocks(&self, request: &[u8], args: &[Range<usize>]) -> Blocks {
        if self.blocking() || self.class == Class::Wait {
            blocks::of(self.name, request, args)
        } else {
            Blocks::Not
        }
    }

    /// The positions of all keys that a request names; `None` where they cannot all be told (a malformed number of
    /// keys, a pattern of SORT).
    #[must_use]
    pub fn keys<'a>(&self, request: &'a [u8], args: &'a [Range<usize>]) -> Option<Positions<'a>> {
        Positions::new(self.specs, request, args, false)
    }

    /// The positions of the keys that a request may change; `None` where they cannot all be told. What a command
    /// changes without naming it is in its class.
    #[must_use]
    pub fn written<'a>(
        &self,
        request: &'a [u8],
        args: &'a [Range<usize>],
    ) -> Option<Positions<'a>> {
        Positions::new(self.specs, request, args, true)
    }

    /// Whether a request of so many arguments may also change keys of another database.
    #[must_use]
    pub fn reaches_elsewhere(&self, args: usize) -> bool {
        self.name == "MOVE" || self.name == "COPY" && args > 3
    }

    /// The positions of the fields that a request of so many arguments reads, where it reads nothing else of its hash.
    #[must_use]
    pub fn fields(&self, args: usize) -> Option<Range<usize>> {
        match self.name {
            "HGET" | "HEXISTS" | "HSTRLEN" if args == 3 => Some(2..3),
            "HMGET" if args > 2 => Some(2..args),
            _ => None,
        }
    }

    /// Whether what it reads is a hash, whose fields may have expiries of their own.
    #[must_use]
    pub fn reads_hash(&self) -> bool {
        self.name.starts_with('H') && self.flags.has(Flags::READONLY)
    }

    /// Whether every request of its name is one of it, whatever its other arguments are.
    fn is_told_by_name(&self) -> bool {
        self.subs.is_empty() && self.word.is_none()
    }

    /// Its sub-commands.
    #[must_use]
    pub fn subcommands(&self) -> &'static [Row] {
        self.subs
    }

    /// What it is with a certain word among its arguments.
    #[must_use]
    pub fn with_word(&self) -> Option<(&'static str, &'static Row)> {
        self.word
    }
}

fn takes(arity: i16, arguments: usize) -> bool {
    let wanted = usize::from(arity.unsigned_abs());
    if arity < 0 {
        arguments >= wanted
    } else {
        arguments == wanted
    }
}

/// The row of a request: its command's, its sub-command's, or that of XREAD with BLOCK. `None` for a command or
/// sub-command that the table does not have, which may do anything.
#[must_use]
pub fn of(request: &[u8], args: &[Range<usize>]) -> Option<&'static Row> {
    let row = find(&request[args.first()?.clone()])?;
    narrowed(row, request, args)
}

/// What a request of this name is by its other arguments.
fn narrowed(row: &'static Row, request: &[u8], args: &[Range<usize>]) -> Option<&'static Row> {
    if let Some((word, other)) = row.word {
        let has = |arg: &Range<usize>| request[arg.clone()].eq_ignore_ascii_case(word.as_bytes());
        return Some(if args[1..].iter().any(has) {
            other
        } else {
            row
        });
    }
    let (false, Some(sub)) = (row.subs.is_empty(), args.get(1)) else {
        return Some(row);
    };
    let sub = &request[sub.clone()];
    let behind = row.name.len() + 1;
    row.subs
        .iter()
        .find(|row| row.name.as_bytes()[behind..].eq_ignore_ascii_case(sub))
        // Nobody else has further ones of it.
        .or((row.class == Class::Nearside).then_some(row))
}

/// Every command's row, without the sub-commands.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    table::GROUPS.iter().copied().flatten()
}

/// Every row, those of sub-commands and of commands with a certain word included.
pub fn all_rows() -> impl Iterator<Item = &'static Row> {
    rows().flat_map(|row| {
        let word = row.word.map(|(_, row)| row);
        [row].into_iter().chain(row.subs).chain(word)
    })
}

/// GET's label.
pub const GET: Label = table::label("GET");

/// The row that has this label; `None` for [`Label::OTHER`].
#[must_use]
pub fn by_label(label: Label) -> Option<&'static Row> {
    static ROWS: LazyLock<HashMap<Label, &Row>> =
        LazyLock::new(|| all_rows().map(|row| (row.label, row)).collect());
    ROWS.get(&label).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_label_of_its_own() {
        for row in all_rows() {
            assert_ne!(row.label, Label::OTHER);
            let others = all_rows().filter(|other| other.label == row.label);
            for other in others {
                assert_eq!(row.name, other.name, "give SEED another value");
            }
            assert_eq!(by_label(row.label).map(|row| row.name), Some(row.name));
        }
    }
}
