//! What an upstream says of commands that the table does not have, modules' commands first of all: its reply to
//! `COMMAND`, in RESP2 or RESP3. An entry that makes no sense is left out; where it leaves something open, the answer
//! is the careful one.

use std::collections::HashMap;
use std::ops::Range;

use super::{Access, Begin, Find, Flags, Positions, Spec, takes};

mod reply;
#[cfg(test)]
mod tests;
mod vouched;

use reply::Item;

/// Commands that are taken in; what a server has beyond that stays unknown.
const COMMANDS: usize = 10_000;
/// Longest name, sub-command included.
const NAME: usize = 128;
/// Key specifications of one command.
const SPECS: usize = 32;

/// The commands of an upstream.
#[derive(Debug, Default)]
pub struct Learned {
    commands: HashMap<Box<[u8]>, Known>,
}

/// What an upstream says of one command.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// Number of arguments as in [`Row`](super::Row::arity).
    pub arity: i16,
    /// What it says of it, without [`Flags::RANDOM`]; of [`Flags::MAY_REPLICATE`] servers say nothing.
    pub flags: Flags,
    /// A module's: its specifications are made up of first, last and step, and call every key changed.
    module: bool,
    specs: Vec<Spec<Box<str>>>,
}

impl Learned {
    /// Takes in a whole reply; `None` if it is none, an error for instance.
    #[must_use]
    pub fn parse(reply: &[u8]) -> Option<Self> {
        let Item::List(entries) = reply::parse(reply)? else {
            return None;
        };
        let mut learned = Self::default();
        learned.take(&entries, true);
        Some(learned)
    }

    fn take(&mut self, entries: &[Item<'_>], with_subcommands: bool) {
        for entry in entries {
            let Item::List(fields) = entry else { continue };
            if let Some(Item::Text(name)) = fields.first()
                && name.len() <= NAME
                && self.commands.len() < COMMANDS
                && let Some(known) = Known::new(fields)
            {
                self.commands
                    .insert(name.to_ascii_lowercase().into(), known);
            }
            if let (true, Some(Item::List(subcommands))) = (with_subcommands, fields.get(9)) {
                self.take(subcommands, false);
            }
        }
    }

    /// How many commands and sub-commands there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is a command of this name, in lower case.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.commands.contains_key(name.as_bytes())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// What is known of a request's command, or of its sub-command where the command has such.
    #[must_use]
    pub fn of(&self, request: &[u8], args: &[Range<usize>]) -> Option<&Known> {
        let (command, with_sub) = self.look_up(request, args)?;
        Some(with_sub.unwrap_or(command))
    }

    /// Whether there is the sub-command that a request to a command with such names.
    #[must_use]
    pub fn has(&self, request: &[u8], args: &[Range<usize>]) -> bool {
        let found = self.look_up(request, args);
        found.is_some_and(|(_, with_sub)| with_sub.is_some())
    }

    fn look_up(&self, request: &[u8], args: &[Range<usize>]) -> Option<(&Known, Option<&Known>)> {
        let name = &request[args.first()?.clone()];
        let mut full = [0; NAME];
        let command = full.get_mut(..name.len())?;
        command.copy_from_slice(name);
        command.make_ascii_lowercase();
        let command = self.commands.get(&full[..name.len()])?;
        let with_sub = args.get(1).and_then(|sub| {
            let sub = &request[sub.clone()];
            let length = name.len() + 1 + sub.len();
            let place = full.get_mut(name.len()..length)?;
            place[0] = b'|';
            place[1..].copy_from_slice(sub);
            place.make_ascii_lowercase();
            self.commands.get(&full[..length])
        });
        Some((command, with_sub))
    }
}

impl Known {
    fn new(fields: &[Item<'_>]) -> Option<Self> {
        let [
            _,
            Item::Number(arity),
            Item::List(words),
            Item::Number(first),
            Item::Number(last),
            Item::Number(step),
            ..,
        ] = fields
        else {
            return None;
        };
        let mut flags = Flags::default();
        let (mut movable, mut module) = (false, false);
        for word in words {
            let Item::Text(word) = word else { continue };
            flags = flags.with(match *word {
                b"write" => Flags::WRITE,
                b"readonly" => Flags::READONLY,
                b"blocking" => Flags::BLOCKING,
                b"admin" => Flags::ADMIN,
                _ => Flags::default(),
            });
            movable |= *word == b"movablekeys";
            module |= *word == b"module";
        }
        let access = if flags.has(Flags::WRITE) {
            Access::Write
        } else {
            Access::Read
        };
        let mut specs = match fields.get(8) {
            Some(Item::List(specs)) if !specs.is_empty() => read_specs(specs),
            _ if *first > 0 && (*last < 0 || last >= first) => vec![Spec {
                begin: Begin::At(u16::try_from(*first).ok()?),
                find: Find::Range {
                    // From the first key on, where COMMAND counts from the name.
                    last: i16::try_from(if *last < 0 { *last } else { *last - *first }).ok()?,
                    step: u16::try_from(*step).ok()?,
                    limit: 0,
                },
                access,
            }],
            _ if *first != 0 => vec![unknown(access)],
            _ => Vec::new(),
        };
        let at_fixed_places =
            |spec: &Spec<_>| matches!((&spec.begin, spec.find), (Begin::At(_), Find::Range { .. }));
        if movable && specs.iter().all(at_fixed_places) {
            specs.push(unknown(access));
        }
        Some(Self {
            arity: i16::try_from(*arity).ok()?,
            flags,
            module,
            specs,
        })
    }

    /// Whether a request with this many arguments, the name included, has the right number.
    #[must_use]
    pub fn takes(&self, arguments: usize) -> bool {
        takes(self.arity, arguments)
    }

    /// Whether it surely changes no data. PFCOUNT is a read for the server and changes its keys.
    #[must_use]
    pub fn readonly(&self) -> bool {
        let changes = |spec: &Spec<_>| spec.access == Access::Write;
        self.flags.has(Flags::READONLY)
            && !self.flags.has(Flags::WRITE)
            && (self.module || !self.specs.iter().any(changes))
    }

    /// The positions of all keys that a request names; `None` where they cannot all be told.
    #[must_use]
    pub fn keys<'a>(
        &'a self,
        request: &'a [u8],
        args: &'a [Range<usize>],
    ) -> Option<Positions<'a, Box<str>>> {
        Positions::new(&self.specs, request, args, false)
    }

    /// The positions of the keys that a request may change; `None` where they cannot all be told. A command that is
    /// not [`Self::readonly`] and names no key to change may change any.
    #[must_use]
    pub fn written<'a>(
        &'a self,
        request: &'a [u8],
        args: &'a [Range<usize>],
    ) -> Option<Positions<'a, Box<str>>> {
        Positions::new(&self.specs, request, args, true)
    }
}

fn unknown(access: Access) -> Spec<Box<str>> {
    Spec {
        begin: Begin::Unknown,
        find: Find::Unknown,
        access,
    }
}

/// The specifications of a command; one that is not understood, or that says itself that it is incomplete, adds that
/// there are keys that nobody can tell.
fn read_specs(items: &[Item<'_>]) -> Vec<Spec<Box<str>>> {
    let mut specs = Vec::new();
    for item in items.iter().take(SPECS) {
        let words = match item.field("flags") {
            Some(Item::List(words)) => words.as_slice(),
            _ => &[],
        };
        let says = |flag: &[u8]| {
            words
                .iter()
                .any(|word| matches!(word, Item::Text(text) if *text == flag))
        };
        let access = if says(b"not_key") {
            Access::Channel
        } else if says(b"RO") {
            Access::Read
        } else {
            Access::Write
        };
        let begin = item.field("begin_search").and_then(begin);
        let find = item.field("find_keys").and_then(find);
        let incomplete = says(b"incomplete") || begin.is_none() || find.is_none();
        if let (Some(begin), Some(find)) = (begin, find) {
            specs.push(Spec {
                begin,
                find,
                access,
            });
        }
        if incomplete {
            specs.push(unknown(access));
        }
    }
    if items.len() > SPECS {
        specs.push(unknown(Access::Write));
    }
    specs
}

fn begin(item: &Item<'_>) -> Option<Begin<Box<str>>> {
    let spec = item.field("spec")?;
    match item.field("type")? {
        Item::Text(b"index") => Some(Begin::At(u16::try_from(spec.number("index")?).ok()?)),
        Item::Text(b"keyword") => {
            let Item::Text(word) = spec.field("keyword")? else {
                return None;
            };
            Some(Begin::Word {
                word: std::str::from_utf8(word.get(..NAME.min(word.len()))?)
                    .ok()?
                    .into(),
                from: i16::try_from(spec.number("startfrom")?).ok()?,
                options: &[],
                last: false,
            })
        }
        _ => None,
    }
}

fn find(item: &Item<'_>) -> Option<Find> {
    let spec = item.field("spec")?;
    let number = |name| u16::try_from(spec.number(name)?).ok();
    match item.field("type")? {
        Item::Text(b"range") => Some(Find::Range {
            last: i16::try_from(spec.number("lastkey")?).ok()?,
            step: number("keystep")?,
            limit: number("limit")?,
        }),
        Item::Text(b"keynum") => Some(Find::Count {
            number: number("keynumidx")?,
            first: number("firstkey")?,
            step: number("keystep")?,
        }),
        _ => None,
    }
}
