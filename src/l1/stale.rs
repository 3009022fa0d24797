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
