//! What L1 claims of a read at some moment, kept until the upstream has been asked as well: an audit's one side.
//!
//! What is kept with the reply is where everything stood that could take it back: the numbers of its keys, which any drop of
//! them moves on, and the epoch, which moves on for what is learned otherwise than by the lane. They are taken *before* the
//! look-up: a drop in between explains more than it has to, and none explains less.

use crate::sync::atomic::Ordering;

use super::generations::Generation;
use super::read::Read;
use super::{L1, Space};

/// See the module's header.
#[derive(Debug)]
pub struct Claim {
    /// The encoded reply.
    pub reply: Vec<u8>,
    /// It is true until this time, in milliseconds of the boot clock, or a drop.
    pub until: u64,
    /// The number of its key space.
    pub keyspace: u8,
    /// Hashes of its keys, and where each stood.
    keys: Box<[(u64, Generation)]>,
    epoch: u64,
}

impl L1 {
    /// What would be answered to a read of the keys with these hashes at `now`; `None` on a miss. It is no read of the
    /// entry: neither its policy nor its counts hear of it.
    #[must_use]
    pub fn claim(&self, space: &Space, read: &Read<'_>, keys: &[u64], now: u64) -> Option<Claim> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let keys = keys.iter().map(|&key| (key, self.generations.of(key)));
        let keys = keys.collect();
        let table = self.table.read();
        let entry = table.peek(space.id, read, now, &self.generations)?;
        Some(Claim {
            reply: entry.reply().to_vec(),
            until: entry.deadline(),
            keyspace: entry.keyspace(),
            keys,
            epoch,
        })
    }

    /// Whether one of a claim's keys was dropped since, by whatever it was.
    #[must_use]
    pub fn has_withdrawn(&self, claim: &Claim) -> bool {
        let mut keys = claim.keys.iter();
        keys.any(|&(key, stood)| self.generations.of(key) != stood)
    }

    /// Whether everything sent before it has become void since, as by a SWAPDB.
    #[must_use]
    pub fn has_voided(&self, claim: &Claim) -> bool {
        self.epoch.load(Ordering::Acquire) != claim.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l1::settings::Settings;
    use crate::l1::{End, Fill};
    use crate::resp::downgrade::Shape;

    fn fill(l1: &L1, space: &Space, key: &[u8], reply: &[u8]) {
        let read = l1.value(key);
        let fill = Fill {
            read,
            keys: &[read.key],
            reply,
            shape: Shape::Generic,
            sent: 1,
            end: End::Ttls(&[100]),
            epoch: l1.epoch(),
            keyspace: 0,
        };
        assert!(l1.fill(space, &fill));
    }

    fn claim(l1: &L1, space: &Space, key: &[u8]) -> Option<Claim> {
        let read = l1.value(key);
        l1.claim(space, &read, &[read.key], 2)
    }

    #[test]
    fn whatever_drops_a_key_withdraws_what_was_claimed_of_it() {
        type Drop = fn(&L1, &Space);
        let drops: [(&str, Drop); 7] = [
            ("push", |l1, space| l1.invalidate(space, b"k")),
            ("write", |l1, _| l1.begin_write(l1.hash(b"k"), b"k")),
            ("by hand", |l1, _| {
                l1.drop_by_hand(b"k");
            }),
            ("null push", |l1, space| l1.flush(space)),
            ("write of any key", |l1, _| l1.begin_write_of_any()),
            ("lost lane", |l1, space| l1.lane_lost(space)),
            ("SWAPDB", |l1, _| l1.clear_and_refuse_sent()),
        ];
        for workers in [1, 4] {
            for (name, drop) in drops {
                let l1 = L1::new(Settings::default(), workers);
                let space = l1.add_space();
                fill(&l1, &space, b"k", b"$1\r\n1\r\n");
                fill(&l1, &space, b"other", b"$1\r\n1\r\n");
                let held = claim(&l1, &space, b"k").expect("it is held");
                assert_eq!(
                    (held.reply.as_slice(), held.until),
                    (&b"$1\r\n1\r\n"[..], 101)
                );
                l1.invalidate(&space, b"other");
                fill(&l1, &space, b"k", b"$1\r\n2\r\n");
                assert!(!l1.has_withdrawn(&held) && !l1.has_voided(&held));
                drop(&l1, &space);
                assert!(l1.has_withdrawn(&held), "{name}");
                assert_eq!(l1.has_voided(&held), name == "SWAPDB", "{name}");
                assert!(claim(&l1, &space, b"k").is_none(), "{name}");
            }
        }
    }

    #[test]
    fn what_has_ended_is_not_claimed() {
        let l1 = L1::new(Settings::default(), 1);
        let space = l1.add_space();
        fill(&l1, &space, b"k", b"$1\r\n1\r\n");
        let read = l1.value(b"k");
        assert!(l1.claim(&space, &read, &[read.key], 100).is_some());
        assert!(l1.claim(&space, &read, &[read.key], 101).is_none());
    }
}
