//! A cacheable read in hand: its request, its keys, and how L1 knows it.

use std::ops::Range;

use crate::command::Row;
use crate::l1::{L1, Read};
use crate::resp::downgrade::Shape;
use crate::resp::encode;

/// What kind of reply a cacheable read asks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// GET's.
    Value,
    /// MGET's.
    Values,
    /// Another command's.
    Reply(&'static Row),
}

/// A cacheable read in hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) request: &'a [u8],
    pub(super) args: &'a [Range<usize>],
    pub(super) wanted: Wanted,
    /// Its first key; none where its keys cannot be told.
    pub(super) key: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    #[inline]
    pub(super) fn new(wanted: Wanted, request: &'a [u8], args: &'a [Range<usize>]) -> Self {
        let at = match wanted {
            Wanted::Value | Wanted::Values => Some(1),
            Wanted::Reply(row) => row.keys(request, args).and_then(|mut keys| keys.next()),
        };
        let key = at.and_then(|at| args.get(at));
        Self {
            request,
            args,
            wanted,
            key: key.map(|key| &request[key.clone()]),
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self.wanted {
            Wanted::Value | Wanted::Values => Shape::Generic,
            Wanted::Reply(row) => row.shape(self.args.len()),
        }
    }

    /// The keys; none where they cannot be told.
    pub(super) fn keys(&self) -> Vec<&'a [u8]> {
        match self.wanted {
            Wanted::Value | Wanted::Values => {
                let keys = self.args[1..].iter();
                keys.map(|key| &self.request[key.clone()]).collect()
            }
            Wanted::Reply(row) => row
                .keys(self.request, self.args)
                .map_or_else(Vec::new, |keys| {
                    keys.map(|at| &self.request[self.args[at].clone()])
                        .collect()
                }),
        }
    }

    /// What L1 knows it by, or, of several values, the first; none where its keys cannot be told.
    #[inline]
    pub(super) fn first_read(&self, l1: &L1) -> Option<Read<'a>> {
        let key = self.key?;
        Some(match self.wanted {
            Wanted::Value | Wanted::Values => l1.value(key),
            Wanted::Reply(row) => l1.reply(row.name, key, self.rest()),
        })
    }

    /// Whether it is of a single key.
    pub(super) fn names_one_key(&self) -> bool {
        let Wanted::Reply(row) = self.wanted else {
            return matches!(self.wanted, Wanted::Value);
        };
        let keys = row.keys(self.request, self.args);
        keys.is_some_and(|mut keys| keys.next().is_some() && keys.next().is_none())
    }

    /// What stands behind the command's name.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.request[self.args[0].end..]
    }

    /// The hash of its key, to be remembered where the reply is large; none of several values.
    pub(super) fn large(&self, first: Option<Read<'_>>) -> Option<u64> {
        let single = !matches!(self.wanted, Wanted::Values);
        first.filter(|_| single).map(|read| read.key)
    }

    /// Asks how long the fields that it reads live, which are its last arguments.
    pub(super) fn ask_for_fields(&self, out: &mut Vec<u8>, fields: usize) {
        let at = self.args.len() - fields;
        let number = fields.to_string();
        let mut words: Vec<&[u8]> = vec![b"HPTTL", &self.request[self.args[1].clone()], b"FIELDS"];
        words.push(number.as_bytes());
        words.extend(
            self.args[at..]
                .iter()
                .map(|field| &self.request[field.clone()]),
        );
        encode::request(out, &words);
    }
}
