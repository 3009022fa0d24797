//! Fills: a tracked read's replies on their way through, and what L1 makes of them. A fill stands only if the upstream
//! tracks the read, and no push has named one of its keys between the read's reply and the last deadline's.

use super::Reader;
use crate::l1::{Fill, Rule};
use crate::resp::frame::{FrameWalker, Ignore, parse_integer};
use crate::upstream::FillKeys;
use crate::upstream::connect::Parts;

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
}

/// The fill at the head of the stream.
#[derive(Debug, Default)]
pub(super) struct Filling {
    next: Next,
    poisoned: bool,
    value: Vec<u8>,
    ttls: Vec<Option<i64>>,
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
        self.next == Next::Deadline
    }

    /// It must not stand.
    pub(super) fn poison(&mut self) {
        self.poisoned = true;
    }

    /// Takes a stretch of the read's reply, of which no more than `limit` bytes and a stretch are kept.
    pub(super) fn collect(&mut self, bytes: &[u8], limit: usize) {
        if self.value.len() <= limit {
            self.value.extend_from_slice(bytes);
        }
    }

    /// A reply has ended; whether it was the last of a fill with so many keys.
    pub(super) fn advance(&mut self, parts: &Parts, failed: bool, keys: usize) -> bool {
        match self.next {
            Next::Tracking => {
                self.next = Next::Read;
                self.poisoned = parts.line != b"+OK\r\n";
            }
            Next::Read => {
                self.next = Next::Deadline;
                self.poisoned |= failed;
            }
            Next::Deadline => {
                let integer = parts.line.strip_prefix(b":");
                let ttl = integer.and_then(|n| parse_integer(n.trim_ascii_end()));
                self.ttls.push(ttl);
            }
        }
        self.ttls.len() >= keys
    }
}

impl Reader {
    /// Puts what a fill has brought into L1.
    pub(super) fn fill(&mut self, keys: &FillKeys, filling: &Filling, sent: u64) {
        if filling.poisoned {
            self.l1.refuse();
            return;
        }
        let elements = if keys.array {
            split_array(&filling.value)
        } else {
            Some(vec![filling.value.as_slice()])
        };
        let Some(elements) = elements.filter(|elements| elements.len() == keys.keys.len()) else {
            self.l1.refuse();
            return;
        };
        for ((key, reply), ttl) in keys.keys.iter().zip(elements).zip(&filling.ttls) {
            match ttl {
                Some(_) if self.l1.knocked_out(Rule::FillInReader) => self.late.push(Late {
                    key: key.clone(),
                    reply: reply.to_vec(),
                    sent,
                }),
                Some(pttl) => {
                    let fill = Fill {
                        key,
                        reply,
                        sent,
                        pttl: *pttl,
                        epoch: keys.epoch,
                    };
                    self.l1.fill(&self.space, &fill);
                }
                None => {
                    self.l1.refuse();
                }
            }
        }
    }

    /// Puts late fills in.
    pub(super) fn fill_late(&mut self) {
        for Late { key, reply, sent } in std::mem::take(&mut self.late) {
            let epoch = self.l1.epoch();
            let fill = Fill {
                key: &key,
                reply: &reply,
                sent,
                pttl: -1,
                epoch,
            };
            self.l1.fill(&self.space, &fill);
        }
    }
}

/// The elements of an encoded array of bulks and nulls.
fn split_array(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = &reply[reply.iter().position(|&b| b == b'\n')? + 1..];
    let mut elements = Vec::new();
    let mut walker = FrameWalker::default();
    while !rest.is_empty() {
        let step = walker.walk(rest, &mut Ignore).ok()?;
        if !step.done {
            return None;
        }
        let (element, behind) = rest.split_at(step.consumed);
        elements.push(element);
        rest = behind;
    }
    Some(elements)
}
