//! Fills: a tracked read's replies on their way through, and what L1 makes of them. A fill stands only if the upstream
//! tracks the read, and no push has named one of its keys between the read's reply and the last deadline's.

use super::Reader;
use crate::l1::keyspace::Refusal;
use crate::l1::{End, Fill, Rule};
use crate::resp::downgrade::Shape;
use crate::resp::frame::{FrameWalker, Ignore, parse_integer};
use crate::upstream::connect::Parts;
use crate::upstream::{FillKeys, Filled};

/// Which reply of a fill comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// CACHING's.
    #[default]
    Tracking,
    /// The read's, which goes to the session.
    Read,
    /// A PTTL's.
    Deadline,
    /// HPTTL's.
    Fields,
}

/// The fill at the head of the stream.
#[derive(Debug, Default)]
pub(super) struct Filling {
    next: Next,
    /// It must not stand, and why.
    refused: Option<Refusal>,
    value: Vec<u8>,
    ttls: Vec<i64>,
    /// The same of its fields.
    fields: Vec<i64>,
}

/// A fill that was put in late; only where [`Rule::FillInReader`] is knocked out.
#[derive(Debug)]
pub(super) struct Late {
    key: Box<[u8]>,
    reply: Vec<u8>,
    sent: u64,
}

impl Filling {
    /// Whether the reply under way is CACHING's.
    pub(super) fn is_asking(&self) -> bool {
        self.next == Next::Tracking
    }

    /// Whether the reply under way is the read's.
    pub(super) fn is_reading(&self) -> bool {
        self.next == Next::Read
    }

    /// Whether the read's reply has come.
    pub(super) fn was_read(&self) -> bool {
        matches!(self.next, Next::Deadline | Next::Fields)
    }

    /// Whether the reply under way is that to a question of ours for an end, and to which.
    pub(super) fn is_timing(&self) -> Option<&'static str> {
        match self.next {
            Next::Deadline => Some("PTTL"),
            Next::Fields => Some("HPTTL"),
            Next::Tracking | Next::Read => None,
        }
    }

    /// It must not stand.
    pub(super) fn refuse(&mut self, why: Refusal) {
        self.refused.get_or_insert(why);
    }

    /// Takes a stretch of the read's reply; past `limit` bytes no more is kept, and it is too large.
    pub(super) fn collect(&mut self, bytes: &[u8], limit: usize) {
        if self.value.len() <= limit {
            self.value.extend_from_slice(bytes);
        } else {
            // A part must not be taken for the whole.
            self.refuse(Refusal::Large);
        }
    }

    /// A reply has ended; whether it was the last of the fill.
    pub(super) fn advance(&mut self, parts: &Parts, failed: bool, fill: &FillKeys) -> bool {
        match self.next {
            Next::Tracking if fill.held.is_some() => {
                if failed {
                    self.refuse(Refusal::Error);
                }
                return true;
            }
            Next::Tracking => {
                self.next = Next::Read;
                if parts.line != b"+OK\r\n" {
                    self.refuse(Refusal::Untracked);
                }
            }
            Next::Read => {
                self.next = Next::Deadline;
                if failed {
                    self.refuse(Refusal::Error);
                }
            }
            Next::Deadline => {
                let integer = parts.line.strip_prefix(b":");
                let ttl = integer.and_then(|n| parse_integer(n.trim_ascii_end()));
                if ttl.is_none() {
                    self.refuse(Refusal::Expiry);
                }
                self.ttls.push(ttl.unwrap_or(-2));
                if self.ttls.len() == fill.keys.len() && fill.fields > 0 {
                    self.next = Next::Fields;
                    return false;
                }
            }
            Next::Fields => {
                if parts.integers.len() != fill.fields {
                    self.refuse(Refusal::Expiry);
                }
                self.fields.extend_from_slice(&parts.integers);
                return true;
            }
        }
        self.ttls.len() >= fill.keys.len()
    }

    /// Has the first key's time be no longer than that of any field that was read; whether what was read of each agrees.
    fn bound_by_fields(&mut self) -> bool {
        let elements = match &*self.value {
            [b'*', ..] => split_array(&self.value).unwrap_or_default(),
            single => vec![single],
        };
        let nothing = |element: &&[u8]| matches!(*element, b"_\r\n" | b":0\r\n");
        let mut pairs = self.fields.iter().zip(&elements);
        let agree = elements.len() == self.fields.len()
            && pairs.all(|(&ttl, element)| ttl >= -1 || ttl == -2 && nothing(element));
        let ends = self.fields.iter().filter(|&&ttl| ttl >= 0);
        if let (Some(first), Some(&least)) = (self.ttls.first_mut(), ends.min()) {
            *first = if *first == -1 {
                least
            } else {
                least.min(*first)
            };
        }
        agree
    }
}

impl Reader {
    /// Puts what a fill has brought into L1.
    pub(super) fn fill(&mut self, fill: &FillKeys, mut filling: Filling, shape: Shape, sent: u64) {
        let keyspaces = self.l1.keyspaces();
        if fill.fields > 0 && filling.refused.is_none() && !filling.bound_by_fields() {
            filling.refuse(Refusal::Expiry);
        }
        if let Some(refusal) = filling.refused {
            let keyspace = fill.keys.first().map_or(0, |key| keyspaces.of(key));
            keyspaces.refuse(keyspace, refusal);
            return;
        }
        let keys: Vec<u64> = fill.keys.iter().map(|key| self.l1.hash(key)).collect();
        let whole = filling.value.as_slice();
        let end = match fill.held {
            Some(held) => End::Held(held),
            None => End::Ttls(&filling.ttls),
        };
        let first = &fill.keys[0];
        let put = |read, keys, reply, end, keyspace| {
            let fill = Fill {
                read,
                keys,
                reply,
                shape,
                sent,
                end,
                epoch: fill.epoch,
                keyspace,
            };
            self.l1.fill(&self.space, &fill);
        };
        match &fill.filled {
            Filled::Value if self.l1.knocked_out(Rule::FillInReader) => self.late.push(Late {
                key: first.clone(),
                reply: whole.to_vec(),
                sent,
            }),
            Filled::Value => put(self.l1.value(first), &keys, whole, end, keyspaces.of(first)),
            Filled::Reply { name, rest } => {
                let read = self.l1.reply(name, first, rest);
                put(read, &keys, whole, end, keyspaces.of(first));
            }
            Filled::Values => {
                let elements = split_array(whole).filter(|elements| elements.len() == keys.len());
                let each = elements.unwrap_or_default().into_iter().zip(&fill.keys);
                for (at, (reply, key)) in each.enumerate() {
                    let end = End::Ttls(filling.ttls.get(at..=at).unwrap_or_default());
                    let keyspace = keyspaces.of(key);
                    if keyspaces.policy(keyspace).cache {
                        put(self.l1.value(key), &keys[at..=at], reply, end, keyspace);
                    }
                }
            }
        }
    }

    /// Puts late fills in.
    pub(super) fn fill_late(&mut self) {
        for Late { key, reply, sent } in std::mem::take(&mut self.late) {
            let read = self.l1.value(&key);
            let fill = Fill {
                read,
                keys: &[read.key],
                reply: &reply,
                shape: Shape::Generic,
                sent,
                end: End::Ttls(&[if reply == b"_\r\n" { -2 } else { -1 }]),
                epoch: self.l1.epoch(),
                keyspace: 0,
            };
            self.l1.fill(&self.space, &fill);
        }
    }
}

/// The elements of an encoded array, if they are bulks and nulls.
fn split_array(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = &reply[reply.iter().position(|&b| b == b'\n')? + 1..];
    let mut elements = Vec::new();
    let mut walker = FrameWalker::default();
    while !rest.is_empty() {
        let step = walker.walk(rest, &mut Ignore).ok()?;
        if !step.done || !matches!(rest[0], b'$' | b'_') {
            return None;
        }
        let (element, behind) = rest.split_at(step.consumed);
        elements.push(element);
        rest = behind;
    }
    Some(elements)
}
