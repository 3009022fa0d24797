//! The part of L1 that one lane fills: whose entries they are, and whether that lane is heard.

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::sync::Mutex;

/// Pushes that a space remembers.
const REMEMBERED: usize = 1024;

/// See the module's header. An entry is found only by who holds the space that filled it, so two identities or
/// databases never share one; a drop by name goes through all spaces.
#[derive(Debug)]
pub struct Space {
    pub(super) id: u16,
    /// Send time of the newest answered command of the lane, plus one; 0 while the lane is not up.
    proof: AtomicU64,
    /// What that was when its lane was lost, while what it holds is kept for that time; else 0.
    frozen: AtomicU64,
    /// Its lane, until that has ended, and lanes that serve stale out of it; changed under the lock of the spaces.
    pub(super) holders: AtomicU32,
    used: AtomicBool,
    served: AtomicBool,
    /// The server tracks what the lane reads.
    tracked: AtomicBool,
    /// The user may not ask how long the fields of a hash live.
    timeless: AtomicBool,
    pushed: Mutex<PushLog>,
}

/// The hashes that the newest pushes named.
#[derive(Debug)]
struct PushLog {
    ring: Vec<u64>,
    /// Pushes ever.
    count: u64,
    /// Nothing is known of pushes before this one.
    known_from: u64,
}

impl Space {
    pub(super) fn new(id: u16) -> Self {
        Self {
            id,
            proof: AtomicU64::new(0),
            frozen: AtomicU64::new(0),
            holders: AtomicU32::new(1),
            used: AtomicBool::new(false),
            served: AtomicBool::new(false),
            tracked: AtomicBool::new(true),
            timeless: AtomicBool::new(false),
            pushed: Mutex::new(PushLog {
                ring: Vec::new(),
                count: 0,
                known_from: 0,
            }),
        }
    }

    /// A lane command sent at `sent` (milliseconds of the boot clock) was answered.
    pub fn prove(&self, sent: u64) {
        self.proof.fetch_max(sent + 1, Ordering::AcqRel);
    }

    /// Send time of the newest answered command, if the lane is up.
    #[must_use]
    pub fn proof(&self) -> Option<u64> {
        self.proof.load(Ordering::Acquire).checked_sub(1)
    }

    /// Its lane is not up, and nothing of it is kept.
    pub(super) fn silence(&self) {
        self.proof.store(0, Ordering::Release);
        self.frozen.store(0, Ordering::Release);
    }

    /// Its lane is not up; what it holds is kept, and was true at the last proof of life.
    pub(super) fn freeze(&self) {
        let proof = self.proof.swap(0, Ordering::AcqRel);
        self.frozen.store(proof, Ordering::Release);
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire) > 0
    }

    /// Until when all that it holds was true for certain: the last proof of life, also of a lane that was lost since.
    pub(super) fn last_proof(&self) -> Option<u64> {
        let frozen = self.frozen.load(Ordering::Acquire);
        frozen.checked_sub(1).or_else(|| self.proof())
    }

    /// Says whether the server tracks what the lane reads; where it does not, there are neither fills nor hits.
    pub fn set_tracked(&self, tracked: bool) {
        self.tracked.store(tracked, Ordering::Release);
    }

    /// Whether the server tracks what the lane reads.
    #[must_use]
    pub fn is_tracked(&self) -> bool {
        self.tracked.load(Ordering::Acquire)
    }

    /// Nobody is told here how long fields of a hash live, so no more fills ask for it.
    pub fn refuse_field_ttls(&self) {
        self.timeless.store(true, Ordering::Release);
    }

    /// Whether the lane may ask how long fields of a hash live, as far as is known.
    #[must_use]
    pub fn tells_field_ttls(&self) -> bool {
        !self.timeless.load(Ordering::Acquire)
    }

    /// Hits were served.
    pub fn note_use(&self) {
        // Most often they are set, and then the line stays clean.
        for noted in [&self.used, &self.served] {
            if !noted.load(Ordering::Relaxed) {
                noted.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Whether hits were served since the last call.
    #[must_use]
    pub fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// The same for whoever tells the upstream of what was served.
    #[must_use]
    pub fn take_served(&self) -> bool {
        self.served.swap(false, Ordering::Relaxed)
    }

    pub(super) fn note_push(&self, hash: u64) {
        let mut log = self.pushed.lock();
        if log.ring.is_empty() {
            log.ring = vec![0; REMEMBERED];
        }
        let at = slot(log.count);
        log.ring[at] = hash;
        log.count += 1;
        log.known_from = log
            .known_from
            .max(log.count.saturating_sub(REMEMBERED as u64));
    }

    pub(super) fn note_flush(&self) {
        let mut log = self.pushed.lock();
        log.count += 1;
        log.known_from = log.count;
    }

    /// How many pushes the lane has brought.
    #[must_use]
    pub fn push_count(&self) -> u64 {
        self.pushed.lock().count
    }

    /// Whether a push between two counts named one of these hashes, or may have.
    #[must_use]
    pub fn pushed_between(&self, from: u64, to: u64, hashes: &[u64]) -> bool {
        let log = self.pushed.lock();
        from < to
            && (from < log.known_from || (from..to).any(|n| hashes.contains(&log.ring[slot(n)])))
    }
}

fn slot(n: u64) -> usize {
    usize::try_from(n % REMEMBERED as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::l1::settings::Settings;
    use crate::l1::{End, Fill, L1, Lookup};
    use crate::resp::downgrade::Shape;

    /// What is gathered from a space whose lane is lost in between is no snapshot: what comes next may be newer.
    #[test]
    fn a_lost_lane_moves_the_counts_by_which_a_snapshot_is_known() {
        let l1 = L1::new(Settings::default(), 1);
        let space = l1.add_space();
        let (pushes, all) = (space.push_count(), l1.drops());
        l1.lane_lost(&space);
        assert_ne!(l1.drops(), all);
        assert!(space.pushed_between(pushes, space.push_count(), &[1]));
        let all = l1.drops();
        l1.clear_space(&space);
        assert_ne!(l1.drops(), all);
    }

    /// Whoever still looks up in a space that has ended finds nothing of the one that came after it.
    #[test]
    fn a_space_that_has_ended_is_not_the_next_one() {
        let l1 = L1::new(Settings::default(), 1);
        let ended = l1.add_space();
        l1.remove_space(&ended);
        let next = l1.add_space();
        let read = l1.value(b"k");
        let fill = Fill {
            read,
            keys: &[read.key],
            reply: b"$1\r\n1\r\n",
            shape: Shape::Generic,
            sent: 1,
            end: End::Ttls(&[-1]),
            epoch: l1.epoch(),
            keyspace: 0,
        };
        assert!(l1.fill(&next, &fill));
        let look = |space| l1.get(space, &read, 2, None, &mut Vec::new());
        assert!(matches!(look(&next), Lookup::Hit { .. }));
        assert!(matches!(look(&ended), Lookup::Miss(_)));
    }
}
