//! Serving stale: what was true when the upstream was lost, for as long as its key space says.
//!
//! ```text
//!            lost                            up again, or not to be trusted any more
//!   filled --------> frozen, as of its last ------------------------------------------> dropped
//!            |       proof of life
//!            | lost, with a closure or a script under way: dropped at once
//! ```
//!
//! A frozen space is never *served* as hits are: [`L1::serving`] says no, since its lane is not heard. A read that may be
//! answered stale asks [`L1::true_until`] for the last proof of life, and then looks up as usual. Drops by name, by hand
//! and of everything go through what is frozen as through the rest, so a write that went through this nearside is never
//! followed by what was there before it: named keys are dropped when it is sent. What is not known to be written is not
//! dropped by name, it closes L1 until markers have shown that the pushes for it were read; no marker reaches a lane that
//! is lost, and so a closure drops what is frozen, and what would be frozen during one is dropped.
//!
//! Before a lane is up again all of it is gone. A lane in the place of one that is late, and may hang for long, holds
//! the space of that one as [`Inherited`] until it is up itself.

use std::sync::Arc;

use crate::sync::atomic::Ordering;

use super::settings::Mode;
use super::{L1, Space};

/// The space of a lane whose place another has taken, for that one to serve stale out of. What is in it goes with this.
#[derive(Debug)]
pub struct Inherited {
    l1: Arc<L1>,
    space: Arc<Space>,
}

impl Inherited {
    /// The space.
    #[must_use]
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        if !self.l1.give_up(&self.space) {
            self.l1.no_longer_frozen(&self.space);
            self.l1.clear_space(&self.space);
        }
    }
}

impl L1 {
    /// Whether any key space serves stale.
    #[inline]
    #[must_use]
    pub fn serves_stale(&self) -> bool {
        self.keyspaces.stale().is_some()
    }

    /// The lane of `space` is lost, and may come back: what it holds is kept as it is, where a key space serves stale,
    /// and where no write is under way that may have changed any key of it.
    pub fn freeze(&self, space: &Arc<Space>) {
        let mut spaces = self.spaces.lock();
        if space.is_frozen() {
            return;
        }
        // Under the lock: a closure comes through the frozen spaces after it has been counted.
        let doubted = self.closed.load(Ordering::Acquire) > 0
            || self.barred.load(Ordering::Acquire) > 0
            || self.mode() != Mode::On
            || !space.is_tracked();
        if doubted || !self.serves_stale() || space.proof().is_none() {
            drop(spaces);
            return self.lane_lost(space);
        }
        space.freeze();
        spaces.frozen.push(Arc::clone(space));
        drop(spaces);
        // What is gathered now is no snapshot with what was gathered before.
        space.note_flush();
        self.moved_on();
    }

    /// The lane of `space` is about to be up again, or what is frozen of it is not to be trusted: that is dropped.
    pub fn thaw(&self, space: &Space) {
        if space.is_frozen() {
            self.lane_lost(space);
        }
    }

    /// Holds the space of a lane whose place another takes; `None` where none serves stale, or it has ended.
    #[must_use]
    pub fn inherit(self: &Arc<Self>, space: &Arc<Space>) -> Option<Inherited> {
        if !self.serves_stale() {
            return None;
        }
        let _spaces = self.spaces.lock();
        if space.holders.load(Ordering::Acquire) == 0 {
            return None;
        }
        space.holders.fetch_add(1, Ordering::AcqRel);
        Some(Inherited {
            l1: Arc::clone(self),
            space: Arc::clone(space),
        })
    }

    /// Until when what `space` holds was true for certain, in milliseconds of the boot clock, if it may be served stale
    /// at all: its lane's last proof of life.
    #[must_use]
    pub fn true_until(&self, space: &Space) -> Option<u64> {
        let open = self.closed.load(Ordering::Acquire) == 0 && self.mode() == Mode::On;
        (open && self.serves_stale() && space.is_tracked())
            .then(|| space.last_proof())
            .flatten()
    }

    /// Drops what is frozen of every lane.
    pub fn drop_frozen(&self) {
        if !self.serves_stale() {
            return;
        }
        let frozen = self.spaces.lock().frozen.clone();
        for space in frozen {
            self.thaw(&space);
        }
    }

    /// Nothing of `space` is frozen any more.
    pub(super) fn no_longer_frozen(&self, space: &Space) {
        if self.serves_stale() {
            let mut spaces = self.spaces.lock();
            spaces.frozen.retain(|other| other.id != space.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::l1::settings::Settings;
    use crate::l1::{End, Fill, Lookup};
    use crate::resp::downgrade::Shape;

    /// When the lane was heard last.
    const HEARD: u64 = 100;
    /// When what is put in ends.
    const END: u64 = 10_000;

    fn l1(serve_stale: Duration, workers: usize) -> Arc<L1> {
        let settings = Settings {
            serve_stale,
            ..Settings::default()
        };
        Arc::new(L1::new(settings, workers))
    }

    fn fill(l1: &L1, space: &Space, key: &[u8]) {
        let read = l1.value(key);
        let left = i64::try_from(END - HEARD).expect("a small number");
        let fill = Fill {
            read,
            keys: &[read.key],
            reply: b"$1\r\n1\r\n",
            shape: Shape::Generic,
            sent: HEARD,
            end: End::Ttls(&[left]),
            epoch: l1.epoch(),
            keyspace: 0,
        };
        assert!(l1.fill(space, &fill));
    }

    /// With two keys, of a lane that is up.
    fn filled(serve_stale: Duration) -> (Arc<L1>, Arc<Space>) {
        let l1 = l1(serve_stale, 2);
        let space = l1.add_space();
        space.prove(HEARD);
        for key in [b"x", b"y"] {
            fill(&l1, &space, key);
        }
        (l1, space)
    }

    fn frozen() -> (Arc<L1>, Arc<Space>) {
        let (l1, space) = filled(Duration::from_secs(30));
        l1.freeze(&space);
        assert!(held(&l1, &space, b"x") && held(&l1, &space, b"y"));
        (l1, space)
    }

    /// Whether a read of `key` could be answered out of the space.
    fn held(l1: &L1, space: &Space, key: &[u8]) -> bool {
        l1.true_until(space).is_some() && look(l1, space, key, HEARD + 1)
    }

    fn look(l1: &L1, space: &Space, key: &[u8], now: u64) -> bool {
        let found = l1.get(space, &l1.value(key), now, None, &mut Vec::new());
        matches!(found, Lookup::Hit { .. })
    }

    #[test]
    fn what_was_held_is_kept_as_of_the_last_proof_of_life_and_is_no_hit() {
        let (l1, space) = frozen();
        assert_eq!(l1.true_until(&space), Some(HEARD));
        assert!(!l1.serving(&space, HEARD + 1));
        assert!(look(&l1, &space, b"x", END - 1) && !look(&l1, &space, b"x", END));
        assert!(
            l1.held(&space, l1.hash(b"x"), b"x", HEARD + 1).is_none(),
            "the next connection does not track it"
        );
        l1.freeze(&space);
        assert_eq!(l1.true_until(&space), Some(HEARD), "once is enough");
    }

    #[test]
    fn nothing_is_kept_where_no_key_space_serves_stale_or_of_a_lane_that_has_brought_nothing() {
        let (l1, space) = filled(Duration::ZERO);
        l1.freeze(&space);
        assert!(!look(&l1, &space, b"x", HEARD + 1));
        let l1 = self::l1(Duration::from_secs(30), 1);
        let space = l1.add_space();
        l1.freeze(&space);
        assert_eq!(l1.true_until(&space), None);
    }

    #[test]
    fn what_may_have_been_written_unnamed_is_not_kept() {
        type Doubt = fn(&L1, &Space);
        let doubts: [Doubt; 4] = [
            |l1, _| l1.close(),
            |l1, _| l1.begin_write_of_any(),
            |l1, _| l1.switch(Mode::Shadow),
            |_, space| space.set_tracked(false),
        ];
        for (n, doubt) in doubts.into_iter().enumerate() {
            let (l1, space) = filled(Duration::from_secs(30));
            doubt(&l1, &space);
            l1.freeze(&space);
            assert!(!look(&l1, &space, b"x", HEARD + 1), "{n}: before");
            let (l1, space) = frozen();
            doubt(&l1, &space);
            assert!(!held(&l1, &space, b"x"), "{n}: behind");
        }
        let (l1, space) = frozen();
        l1.close();
        l1.open(1);
        assert!(!held(&l1, &space, b"x"), "the closure is over");
    }

    #[test]
    fn drops_by_name_and_of_everything_reach_it() {
        type Drop = fn(&L1);
        let by_name: [Drop; 4] = [
            |l1| l1.begin_write(l1.hash(b"x"), b"x"),
            |l1| l1.begin_write_of(l1.hash(b"x")),
            |l1| {
                l1.drop_by_hand(b"x");
            },
            // Another lane's push.
            |l1| l1.invalidate(&l1.add_space(), b"x"),
        ];
        for (n, drop) in by_name.into_iter().enumerate() {
            let (l1, space) = frozen();
            drop(&l1);
            assert!(!held(&l1, &space, b"x") && held(&l1, &space, b"y"), "{n}");
        }
        let whole: [Drop; 5] = [
            L1::begin_write_of_any,
            L1::clear_and_refuse_sent,
            |l1| {
                l1.clear_by_hand();
            },
            |l1| l1.flush(&l1.add_space()),
            L1::drop_frozen,
        ];
        for (n, drop) in whole.into_iter().enumerate() {
            let (l1, space) = frozen();
            drop(&l1);
            assert!(!held(&l1, &space, b"x") && !held(&l1, &space, b"y"), "{n}");
        }
    }

    #[test]
    fn it_is_gone_when_the_lane_is_up_again() {
        let (l1, space) = frozen();
        let drops = l1.drops();
        l1.thaw(&space);
        assert_eq!(l1.true_until(&space), None);
        assert!(!look(&l1, &space, b"x", HEARD + 1));
        assert_ne!(l1.drops(), drops, "what was gathered is no snapshot");
        space.prove(HEARD + 5);
        fill(&l1, &space, b"x");
        l1.thaw(&space);
        assert!(look(&l1, &space, b"x", HEARD + 6), "what is new stays");
    }

    #[test]
    fn a_lane_in_the_place_of_another_holds_its_space_until_it_lets_go() {
        let (l1, space) = filled(Duration::from_secs(30));
        let inherited = l1.inherit(&space).expect("it serves stale");
        assert!(held(&l1, inherited.space(), b"x"), "the other still hangs");
        l1.remove_space(&space);
        assert!(held(&l1, inherited.space(), b"x"), "the other has ended");
        let ids: Vec<u16> = (0..10).map(|_| l1.add_space().id).collect();
        assert!(!ids.contains(&space.id), "it still has its number");
        drop(inherited);
        assert!(!held(&l1, &space, b"x") && l1.size().0 == 0);
        assert!(l1.inherit(&space).is_none(), "it has ended");

        // The other way round.
        let (l1, space) = filled(Duration::from_secs(30));
        drop(l1.inherit(&space));
        assert!(!held(&l1, &space, b"x"), "the one in its place is up");
        fill(&l1, &space, b"x");
        l1.remove_space(&space);
        assert_eq!(l1.size().0, 0);
    }
}
