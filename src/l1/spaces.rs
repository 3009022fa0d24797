//! Which spaces there are. Each begins with its lane and ends with it, or with the lane in its place that serves stale
//! out of it, whichever is later.

use std::collections::HashSet;
use std::sync::Arc;

use crate::sync::atomic::Ordering;

use super::{L1, Space};

/// The live spaces.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    live: HashSet<u16>,
    /// Where the search for a free number begins: one that was given back is taken again as late as possible, since a
    /// session may be about to look up in a space whose lane has just ended.
    next: u16,
    /// Those that are frozen.
    pub frozen: Vec<Arc<Space>>,
}

impl L1 {
    /// A space of its own for a lane, empty.
    ///
    /// # Panics
    /// Above 65,535 live spaces, far beyond what `max_lanes` lets through.
    #[must_use]
    pub fn add_space(&self) -> Arc<Space> {
        let mut spaces = self.spaces.lock();
        let from = spaces.next;
        let id = (0..=u16::MAX)
            .map(|n| from.wrapping_add(n))
            .find(|id| !spaces.live.contains(id))
            .expect("max_lanes bounds the spaces");
        spaces.live.insert(id);
        spaces.next = id.wrapping_add(1);
        Arc::new(Space::new(id))
    }

    /// The lane of a space has ended for good: what is in it is dropped, or frozen where a lane in its place serves
    /// stale out of it.
    pub fn remove_space(&self, space: &Arc<Space>) {
        if !self.give_up(space) {
            self.freeze(space);
        }
    }

    /// One holder less; whether that was the last one, and the space has ended.
    pub(super) fn give_up(&self, space: &Space) -> bool {
        let last = {
            let _spaces = self.spaces.lock();
            space.holders.fetch_sub(1, Ordering::AcqRel) == 1
        };
        if last {
            self.lane_lost(space);
            self.spaces.lock().live.remove(&space.id);
        }
        last
    }
}
