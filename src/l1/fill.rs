//! Fills: what the lane's reader brings, and whether it may be put in.

use crate::sync::atomic::Ordering;

use super::by_hand::Epoch;
use super::entry::New;
use super::generations::Generation;
use super::keyspace::Refusal;
use super::read::{Ident, Read};
use super::settings::Keyspace;
use super::store::{L1, downgrade};
use super::{Rule, Space};
use crate::resp::downgrade::Shape;

/// A reply to be put in, with what decides whether it may be.
#[derive(Debug, Clone, Copy)]
pub struct Fill<'a> {
    /// What it answers.
    pub read: Read<'a>,
    /// Hashes of all keys that were read, the read's own first.
    pub keys: &'a [u64],
    /// The encoded reply, as the lane brought it.
    pub reply: &'a [u8],
    /// How it differs in RESP2.
    pub shape: Shape,
    /// When the read was sent, in milliseconds of the boot clock.
    pub sent: u64,
    /// How long it is true.
    pub end: End<'a>,
    /// [`L1::epoch`] when the read was sent.
    pub epoch: Epoch,
    /// The number of its key space.
    pub keyspace: u8,
}

/// What is known of the time for which a reply is true.
#[derive(Debug, Clone, Copy)]
pub enum End<'a> {
    /// PTTL's replies, one for each key: -1 no expiry, -2 no such key.
    Ttls(&'a [i64]),
    /// The read was a plain one, of a key that was held at the time.
    Held(Held),
}

/// A key of which something is held, and which the server therefore tracks for as long as nothing drops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub(super) until: u64,
    pub(super) generation: Generation,
}

impl L1 {
    /// Puts a reply in, unless its key is not in the share that is cached, a write of one of its keys is in flight, the
    /// upstream's word on their expiry disagrees with it, or it was sent too long ago. Whether it was put in.
    pub fn fill(&self, space: &Space, fill: &Fill<'_>) -> bool {
        // An MGET's keys are read together, whichever of them are in the share.
        if !self.samples(fill.read.key) {
            return false;
        }
        let refused = match self.try_fill(space, fill) {
            Ok(()) => {
                let counters = self.keyspaces.counters(fill.keyspace);
                counters.fills.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            Err(refused) => refused,
        };
        self.keyspaces.refuse(fill.keyspace, refused);
        false
    }

    fn try_fill(&self, space: &Space, fill: &Fill<'_>) -> Result<(), Refusal> {
        let policy = self.keyspaces.policy(fill.keyspace);
        let deadline = self.deadline(fill, policy)?;
        if fill.reply.len() > policy.max_entry_bytes {
            return Err(Refusal::Large);
        }
        let first = fill.read.key;
        // Before it is seen whether a write of theirs is in flight: one that begins later moves them on.
        let others = fill.keys.iter().filter(|&&hash| hash != first);
        let joint: Vec<(u64, u32)> = others
            .map(|&hash| (hash, self.generations.of_key(hash)))
            .collect();
        let in_flight = |hash: u64| self.in_flight.has(hash) && !self.knocked_out(Rule::InFlight);
        if joint.iter().any(|&(hash, _)| in_flight(hash)) {
            return Err(Refusal::Written);
        }
        let same_in_both = is_same_in_both(fill.reply, fill.shape);
        let mut table = self.table.write();
        // Under the lock: a drop of everything raises the epoch first and then takes the lock.
        if fill.epoch.all != self.epoch.load(Ordering::Acquire) {
            return Err(Refusal::Pushed);
        }
        if self.by_hand.named_since(fill.epoch.by_hand, fill.keys) {
            return Err(Refusal::ByHand);
        }
        if self.barred.load(Ordering::Acquire) > 0 || in_flight(first) {
            table.settle_refused(first);
            return Err(Refusal::Written);
        }
        if let End::Held(held) = fill.end
            && held.generation != self.generations.of(first)
            && !self.knocked_out(Rule::Held)
        {
            return Err(Refusal::Pushed);
        }
        let new = New {
            space: space.id,
            read: &fill.read,
            reply: fill.reply,
            joint: &joint,
            same_in_both,
            deadline,
            keyspace: fill.keyspace,
        };
        let evicted = table.insert(&new).ok_or(Refusal::Large)?;
        drop(table);
        self.counters
            .evictions
            .fetch_add(evicted, Ordering::Relaxed);
        Ok(())
    }

    /// Until when a fill is true.
    fn deadline(&self, fill: &Fill<'_>, policy: &Keyspace) -> Result<u64, Refusal> {
        let longest = u64::try_from(policy.entry_max_ttl.as_millis()).unwrap_or(u64::MAX / 2);
        let cap = fill.sent + longest;
        let ttls = match fill.end {
            End::Held(held) => return Ok(cap.min(held.until)),
            End::Ttls(_) if self.knocked_out(Rule::Pttl) => return Ok(cap),
            End::Ttls(ttls) => ttls,
        };
        if ttls.len() != fill.keys.len() {
            return Err(Refusal::Expiry);
        }
        let nothing = match fill.read.ident {
            Ident::Value(_) => fill.reply == b"_\r\n",
            Ident::Reply { .. } => is_nothing(fill.reply),
        };
        if nothing && !policy.negative && ttls.contains(&-2) {
            return Err(Refusal::Negative);
        }
        let one = |&ttl: &i64| match ttl {
            // What is said of a key that is not there is what would be said of none.
            -2 if nothing => Some(cap),
            -1 => Some(cap),
            ttl if ttl >= 0 => Some(cap.min(fill.sent + ttl.unsigned_abs())),
            _ => None,
        };
        // A key that a value was read from is there, and one that none was read from is not.
        if let (Ident::Value(_), [ttl]) = (fill.read.ident, ttls)
            && nothing != (*ttl == -2)
        {
            return Err(Refusal::Expiry);
        }
        let each: Option<Vec<u64>> = ttls.iter().map(one).collect();
        let first = each.and_then(|each| each.into_iter().min());
        first.ok_or(Refusal::Expiry)
    }
}

fn is_same_in_both(reply: &[u8], shape: Shape) -> bool {
    match reply.first() {
        Some(b'$' | b':' | b'+') => true,
        Some(b'*') => {
            let mut out = Vec::with_capacity(reply.len());
            downgrade(reply, shape, &mut out);
            out == reply
        }
        _ => false,
    }
}

/// Whether a reply is what commands say of a key that is not there: null, 0, empty, `none`, and arrays of these.
fn is_nothing(reply: &[u8]) -> bool {
    let mut lines = reply.split(|&b| b == b'\n');
    lines.next_back();
    lines.all(|line| {
        matches!(
            line,
            b"_\r" | b":0\r" | b"$0\r" | b"\r" | b"+none\r" | b"%0\r" | b"~0\r" | b"#f\r"
        ) || line.first() == Some(&b'*')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l1::settings::{Admit, Settings};

    /// Reads of a key that clients write all the time, each behind a write on its own lane and overtaken by the next: but for
    /// a few they go as they are.
    #[test]
    fn a_key_whose_fills_are_overtaken_by_writes_is_rarely_filled() {
        let settings = Settings {
            admit: Admit::SecondRead,
            ..Settings::default()
        };
        let l1 = L1::new(settings, 1);
        let space = l1.add_space();
        let (read, policy) = (l1.value(b"k"), l1.keyspaces.policy(0));
        let mut tracked = 0;
        for now in 0..640 {
            l1.begin_lane_write(&space, read.key, b"k");
            if l1.admits(&space, &read, policy) {
                tracked += 1;
                let fill = Fill {
                    read,
                    keys: &[read.key],
                    reply: b"$1\r\nv\r\n",
                    shape: Shape::Generic,
                    sent: now,
                    end: End::Ttls(&[-1]),
                    epoch: l1.epoch(),
                    keyspace: 0,
                };
                l1.begin_lane_write(&space, read.key, b"k");
                assert!(!l1.fill(&space, &fill));
                l1.end_write(read.key);
            }
            l1.end_write(read.key);
        }
        assert!((2..=15).contains(&tracked), "{tracked} of 640");
    }
}
