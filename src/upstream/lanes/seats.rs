//! Seats on lanes: who sits where, and which lanes there are to sit on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;

use super::Lanes;
use crate::telemetry::clock::now_ms;
use crate::upstream::identity::LaneKey;
use crate::upstream::lane::Lane;

/// A session's place on a lane.
#[derive(Debug)]
pub struct Seat {
    lane: Arc<Lane>,
}

impl Seat {
    fn take(lane: &Arc<Lane>) -> Self {
        lane.seats.fetch_add(1, Ordering::AcqRel);
        Self {
            lane: Arc::clone(lane),
        }
    }
}

impl std::ops::Deref for Seat {
    type Target = Arc<Lane>;

    fn deref(&self) -> &Self::Target {
        &self.lane
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.lane.left_at.store(now_ms(), Ordering::Release);
        self.lane.seats.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The lanes that are open.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) current: HashMap<LaneKey, Arc<Lane>>,
    /// Lanes that have not ended, retired ones included.
    pub(super) alive: usize,
    /// It was said that there is room for no further one.
    pub(super) full: bool,
}

impl Lanes {
    /// A seat on the lane of `key`, opened now where there is none; `None` where `max_lanes` are open.
    #[must_use]
    pub fn seat(self: &Arc<Self>, key: &LaneKey, on: &Handle) -> Option<Seat> {
        let mut registry = self.registry.lock();
        if let Some(lane) = registry.current.get(key) {
            return Some(Seat::take(lane));
        }
        let lane = self.open(&mut registry, key, on, None)?;
        Some(Seat::take(&lane))
    }

    /// A seat on the lane of `key`, if it is up.
    #[must_use]
    pub fn seat_if_up(&self, key: &LaneKey) -> Option<Seat> {
        let registry = self.registry.lock();
        let lane = registry.current.get(key).filter(|lane| lane.is_up())?;
        Some(Seat::take(lane))
    }

    /// A seat on the lane of `key` if it is up; where there is none, it is opened now if there is room.
    #[must_use]
    pub fn seat_once_up(self: &Arc<Self>, key: &LaneKey, on: &Handle) -> Option<Seat> {
        let mut registry = self.registry.lock();
        let Some(lane) = registry.current.get(key) else {
            self.open(&mut registry, key, on, None);
            return None;
        };
        lane.is_up().then(|| Seat::take(lane))
    }

    /// Whether the user of `key` is known to be let into that database by SELECT.
    #[must_use]
    pub fn may_select(&self, key: &LaneKey) -> bool {
        let registry = self.registry.lock();
        let lane = registry.current.get(key);
        lane.is_some_and(|lane| lane.may_select())
    }

    /// A seat on the lane that has taken, or now takes, the place of the one held.
    #[must_use]
    pub fn fresh(self: &Arc<Self>, held: &Seat, on: &Handle) -> Option<Seat> {
        let mut registry = self.registry.lock();
        let key = held.key();
        match registry.current.get(key) {
            Some(lane) if !Arc::ptr_eq(lane, held) => Some(Seat::take(lane)),
            _ => {
                let lane = self.open(&mut registry, key, on, Some(held))?;
                held.retire();
                Some(Seat::take(&lane))
            }
        }
    }

    fn open(
        self: &Arc<Self>,
        registry: &mut Registry,
        key: &LaneKey,
        on: &Handle,
        before: Option<&Lane>,
    ) -> Option<Arc<Lane>> {
        if registry.alive >= self.settings.max_lanes {
            // Asked for again with each batch; said once, until one could be opened again.
            if !std::mem::replace(&mut registry.full, true) {
                tracing::warn!(max_lanes = self.settings.max_lanes, "no further lane");
            }
            return None;
        }
        self.watch(on);
        registry.alive += 1;
        registry.full = false;
        let lane = Arc::new(Lane::new(key.clone(), Arc::clone(self)));
        if let Some(before) = before {
            lane.succeed(before);
        }
        registry.current.insert(key.clone(), Arc::clone(&lane));
        on.spawn(Arc::clone(&lane).run());
        Some(lane)
    }

    /// Takes a lane without seats out of its place, so that nobody takes one any more; whether it had none.
    pub(in crate::upstream) fn withdraw(&self, lane: &Lane) -> bool {
        let mut registry = self.registry.lock();
        if lane.seats.load(Ordering::Acquire) > 0 {
            return false;
        }
        let key = lane.key();
        if let Some(current) = registry.current.get(key)
            && std::ptr::eq(&raw const **current, lane)
        {
            registry.current.remove(key);
        }
        true
    }
}
