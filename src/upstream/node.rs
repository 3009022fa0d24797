//! One upstream node, as everything that is connected to it shares it: the circuit [breaker](super::breaker), the bound on what is in
//! flight, the order of handshakes, the budget of retries, and whether it still is the server that it was.
//!
//! ```text
//!  lanes, own connections --outcomes--> breaker --cut?--> sessions: refused before anything is sent
//!                                          |  ^
//!                                     open |  | its outcome
//!                                          v  |
//!                                        the watch: one PING at a time, over a connection of its own
//! ```
//!
//! Replies are counted by batches into two atomics, which the watch and every failure hand to the breaker; so a reply
//! costs no lock. Locks: the breaker's, for one step.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::sleep;

use super::breaker::{Admission, Breaker, Cause, Forced, Kind, Position, Snapshot, Transition};
use super::budget::Budget;
use super::connect::ConnectError;
use super::settings::{Address, Settings};
use super::stream::OwnCount;
use crate::telemetry::clock::{millis, now_ms};

/// Handshakes of a kind at a time with a node that is well.
const HANDSHAKES: u32 = 16;
/// For so long after a loss there is one of a kind at a time, in milliseconds.
const TROUBLED: u64 = 5000;
/// How often what was counted is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What wants to connect.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    /// A lane.
    Lane,
    /// A session's own connection.
    Own,
}

/// See the module's header.
#[derive(Debug)]
pub struct Node {
    address: Address,
    breaker: Mutex<Breaker>,
    /// How often it went where, and why.
    transitions: Mutex<HashMap<(Position, Cause), u64>>,
    prefix: String,
    /// Nothing is to be sent there.
    cut: AtomicBool,
    /// It was cut, or is so no more.
    turned: Notify,
    replied: AtomicU32,
    slow: AtomicU32,
    /// A reply that took longer is slow, in milliseconds; 0 for none.
    slow_after: u64,
    in_flight: AtomicUsize,
    max_in_flight: usize,
    overloads: AtomicU64,
    /// The turns of lanes, and those of own connections: a client does not wait for a lane that hangs.
    turns: [Semaphore; 2],
    /// When something was last lost, in milliseconds of the boot clock; 0 for never.
    troubled: AtomicU64,
    /// Counts the times that the node was left for another that answers to its name.
    generation: AtomicU64,
    was_primary: AtomicBool,
    /// What may be sent again.
    pub retries: Budget,
    /// Sessions' own connections there.
    pub own: Arc<OwnCount>,
}

impl Node {
    /// A node that nothing is known of.
    #[must_use]
    pub fn new(address: Address, settings: &Settings) -> Self {
        let slow_after = settings.breaker.slow_call_duration;
        let slow_after = slow_after.map_or(0, |limit| millis(limit).max(1));
        Self {
            address,
            prefix: settings.breaker.error_prefix.clone(),
            breaker: Mutex::new(Breaker::new(settings.breaker.clone())),
            transitions: Mutex::default(),
            cut: AtomicBool::new(false),
            turned: Notify::new(),
            replied: AtomicU32::new(0),
            slow: AtomicU32::new(0),
            slow_after,
            in_flight: AtomicUsize::new(0),
            max_in_flight: settings.max_in_flight,
            overloads: AtomicU64::new(0),
            turns: [(); 2].map(|()| Semaphore::new(HANDSHAKES as usize)),
            troubled: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            was_primary: AtomicBool::new(false),
            retries: Budget::default(),
            own: Arc::default(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the circuit is open, half-open or forced open: nothing is to be sent there.
    #[inline]
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Where the breaker stands.
    #[must_use]
    pub fn position(&self) -> Position {
        self.breaker.lock().position()
    }

    /// All that an operator would want to know of the breaker.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.drain();
        self.breaker.lock().snapshot(now_ms())
    }

    /// How often the breaker went where, and why: all of [`Transition::STEPS`], in that order.
    #[must_use]
    pub fn transitions(&self) -> [(Position, Cause, u64); Transition::STEPS.len()] {
        let transitions = self.transitions.lock();
        Transition::STEPS.map(|step| {
            let count = transitions.get(&step).copied().unwrap_or_default();
            (step.0, step.1, count)
        })
    }

    /// An operator's order to the breaker; `None` leaves it to itself.
    pub fn force(&self, forced: Option<Forced>) {
        self.act(|breaker, now| breaker.force(forced, now));
    }

    /// The error for what is not sent because the circuit is open, if it is.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        if !self.is_cut() {
            return None;
        }
        let breaker = self.breaker.lock();
        let (position, left) = (breaker.position(), breaker.opens_in(now_ms()));
        drop(breaker);
        let (prefix, address) = (&self.prefix, &self.address);
        Some(match position {
            Position::ForcedOpen => {
                format!("{prefix} upstream {address}: circuit forced open by an operator")
            }
            Position::Closed | Position::ForcedClosed => return None,
            Position::Open | Position::HalfOpen => {
                let left = left.unwrap_or(0).div_ceil(1000);
                format!("{prefix} upstream {address}: circuit open, next attempt in {left}s")
            }
        })
    }

    /// An error that says why something cannot be had there.
    #[must_use]
    pub fn error(&self, reason: &str) -> String {
        format!("{} upstream {}: {reason}", self.prefix, self.address)
    }

    /// The error for what goes beyond the bounds on what is in flight.
    #[must_use]
    pub fn overloaded(&self) -> String {
        format!("{} overloaded", self.prefix)
    }

    /// So many replies have come, `slow` of them late; errors count as well.
    #[inline]
    pub fn replied(&self, replies: u32, slow: u32) {
        self.replied.fetch_add(replies, Ordering::Relaxed);
        if slow > 0 {
            self.slow.fetch_add(slow, Ordering::Relaxed);
        }
    }

    /// A reply that took longer than so many milliseconds is a slow one; 0 where none is.
    #[must_use]
    pub fn slow_after(&self) -> u64 {
        self.slow_after
    }

    /// A connection was lost, if only an idle one: others may be about to come back as well.
    pub(super) fn lost(&self) {
        self.troubled.store(now_ms(), Ordering::Relaxed);
    }

    /// Something has failed that speaks against the node.
    pub fn failed(&self, kind: Kind) {
        self.drain();
        if kind != Kind::Loading {
            self.lost();
        }
        self.act(|breaker, now| breaker.failed(now, kind));
    }

    /// An attempt to connect has ended: what the node refuses speaks for it.
    pub fn attempted(&self, outcome: Result<(), &ConnectError>) {
        match outcome {
            Ok(()) | Err(ConnectError::Refused(_)) => self.replied(1, 0),
            Err(ConnectError::Unreachable(_, kind)) => self.failed(*kind),
            // It says nothing of the node, or was not made.
            Err(ConnectError::Busy(_) | ConnectError::Cut) => {}
        }
    }

    fn drain(&self) {
        let replied = self.replied.swap(0, Ordering::Relaxed);
        let slow = self.slow.swap(0, Ordering::Relaxed);
        if replied > 0 {
            self.retries.note(replied, now_ms());
            self.act(|breaker, now| breaker.record(now, replied, slow.min(replied)));
        }
    }

    fn act(&self, step: impl FnOnce(&mut Breaker, u64) -> Option<Transition>) {
        let mut breaker = self.breaker.lock();
        if let Some(transition) = step(&mut breaker, now_ms()) {
            self.moved(breaker, transition);
        }
    }

    /// Whether a probe is due; its outcome has to be told.
    fn admits_probe(&self) -> bool {
        let mut breaker = self.breaker.lock();
        match breaker.admit(now_ms()) {
            Admission::Probe(Some(transition)) => self.moved(breaker, transition),
            Admission::Probe(None) => {}
            Admission::Call | Admission::Refused => return false,
        }
        true
    }

    fn moved(&self, breaker: MutexGuard<'_, Breaker>, transition: Transition) {
        // Under the lock, so that the last transition decides.
        self.cut.store(!breaker.is_closed(), Ordering::Release);
        let next = breaker.opens_in(now_ms());
        drop(breaker);
        let Transition {
            from, to, cause, ..
        } = transition;
        *self.transitions.lock().entry((to, cause)).or_default() += 1;
        let (upstream, from, to, cause) =
            (&self.address, from.as_str(), to.as_str(), cause.as_str());
        tracing::warn!(%upstream, from, to, cause, next_attempt_ms = next, "circuit breaker");
        self.turned.notify_waiters();
    }

    /// So many more requests are in flight.
    pub(super) fn took(&self, requests: usize) {
        self.in_flight.fetch_add(requests, Ordering::Relaxed);
    }

    /// So many are so no more.
    pub(super) fn gave_back(&self, requests: usize) {
        self.in_flight.fetch_sub(requests, Ordering::Relaxed);
    }

    /// A client was told that too much is in flight.
    pub(super) fn note_overload(&self) {
        self.overloads.fetch_add(1, Ordering::Relaxed);
    }

    /// How often clients were told that too much is in flight.
    #[must_use]
    pub fn overloads(&self) -> u64 {
        self.overloads.load(Ordering::Relaxed)
    }

    /// Requests in flight on all lanes.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether no more should be sent, with so many in queues that are not counted yet.
    pub(super) fn is_full(&self, queued: usize) -> bool {
        self.in_flight() + queued >= self.max_in_flight
    }

    /// Waits for the turn to connect: a few of a kind at a time, and one after another while the node is in trouble.
    ///
    /// # Errors
    /// [`ConnectError::Cut`] where the circuit is open by then.
    pub(super) async fn turn(&self, of: Turn) -> Result<SemaphorePermit<'_>, ConnectError> {
        let troubled = self.troubled.load(Ordering::Relaxed);
        let careful = troubled > 0 && now_ms().saturating_sub(troubled) < TROUBLED;
        let permit = self.turns[of as usize].acquire_many(if careful { HANDSHAKES } else { 1 });
        tokio::pin!(permit);
        loop {
            let turned = self.turned.notified();
            if self.is_cut() {
                return Err(ConnectError::Cut);
            }
            tokio::select! {
                permit = &mut permit => return Ok(permit.expect("it is never closed")),
                () = turned => {}
            }
        }
    }

    /// Waits until the circuit is not open.
    pub(super) async fn closed(&self) {
        loop {
            let turned = self.turned.notified();
            if !self.is_cut() {
                return;
            }
            turned.await;
        }
    }

    /// Counts the times that the node was left for another that answers to its name.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// It said what it is.
    pub(super) fn has_role(&self, role: &str) {
        if role == "master" {
            self.was_primary.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the node should take writes, since it did before.
    #[must_use]
    pub fn was_primary(&self) -> bool {
        self.was_primary.load(Ordering::Relaxed)
    }

    /// A connection of this generation found that the node is no longer what it was: all others leave it, too. Whether
    /// that was news.
    pub(super) fn left(&self, generation: u64) -> bool {
        let exchange = self.generation.compare_exchange(
            generation,
            generation + 1,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        exchange.is_ok()
    }

    /// Watches the breaker for as long as somebody else holds the node: hands it what was counted, and probes when it
    /// is time, by `probe`.
    pub(super) async fn watch<P, F>(self: Arc<Self>, mut probe: P)
    where
        P: FnMut() -> F + Send,
        F: Future<Output = Result<(), Kind>> + Send,
    {
        let node = Arc::downgrade(&self);
        drop(self);
        while let Some(node) = node.upgrade() {
            node.drain();
            if node.is_cut() && node.admits_probe() {
                let mut probing = Probing {
                    node: &node,
                    told: false,
                };
                let outcome = probe().await;
                probing.told = true;
                node.act(|breaker, now| breaker.probed(now, outcome));
                continue;
            }
            let left = node.breaker.lock().opens_in(now_ms());
            let left = left.map_or(LOOK, |left| Duration::from_millis(left.max(1)).min(LOOK));
            drop(node);
            sleep(left).await;
        }
    }
}

/// A probe under way: given back untold where its task ends.
struct Probing<'a> {
    node: &'a Node,
    told: bool,
}

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.node.breaker.lock().probe_abandoned();
        }
    }
}
