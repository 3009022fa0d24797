//! A lane: the shared connection of one identity and database, as sessions see it. The life of its task is in `life`.
//!
//! While a first attempt to connect is under way commands are queued; while it is known to be down they are answered at once.
//! Reader and writer are one task: DESIGN's pair of tasks was measured at the same speed and would need
//! the pending queue to be shared between them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use atomic_waker::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::flights::{Flights, Join};
use super::identity::LaneKey;
use super::lanes::Lanes;
use super::mailbox::Mailbox;
use super::pending::refuse_in_turn;
use super::{Awaited, Op, Pending, refuse};
use crate::l1::{Inherited, Reach, Read, Settling, Space};
use crate::telemetry::clock::{millis, now_ms};

mod audit;
mod life;

/// A command that any user may send and that any server answers, if only with an error.
pub const MARKER: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// Why a reply is waited for no longer.
pub const NO_REPLY: &str = "no reply within request_timeout";

/// What a client is told of a command that was sent and not answered.
#[must_use]
pub fn may_have_been(reason: &str) -> String {
    format!("{reason}, the command may have been carried out")
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Connecting,
    Up,
    Down { reason: String },
    Refused { reason: String },
    Closed,
}

#[derive(Debug)]
struct Queue {
    standing: Standing,
    out: Vec<u8>,
    pending: Awaited,
    woken: bool,
    /// Sessions whose own connections serve them until it is up.
    awaiting: Vec<Weak<Mailbox>>,
}

/// The lane has ended; what was to be sent is still the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// What became of commands that were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// They are queued, in order.
    Queued,
    /// Nothing is sent: each is answered with an error.
    Refused,
}

/// See the module's header.
#[derive(Debug)]
pub struct Lane {
    key: LaneKey,
    lanes: Arc<Lanes>,
    space: Arc<Space>,
    /// What the lane held whose place it has taken, until it is up itself.
    before: Mutex<Option<Inherited>>,
    flights: Arc<Flights>,
    queue: Mutex<Queue>,
    /// Bytes in the queue.
    backlog: AtomicUsize,
    /// It was added to more than once.
    several: AtomicBool,
    /// Replies to come for what has left the queue.
    outstanding: AtomicUsize,
    pub(super) waker: AtomicWaker,
    pub(super) seats: AtomicUsize,
    /// When the last seat was given up, in milliseconds of the boot clock.
    pub(super) left_at: AtomicU64,
    retired: AtomicBool,
    overdue: AtomicBool,
    quiet: AtomicBool,
    refused: AtomicBool,
    /// A refusal was for the user's sake: whoever was let in no later than this time is let in no more.
    locked_out: AtomicU64,
    /// The user was let in anew: no need to wait with the next attempt.
    let_in: Notify,
    /// The user had the right to SELECT when the lane was last connected.
    may_select: AtomicBool,
}

impl Lane {
    /// A lane that [`Self::run`] will drive.
    #[must_use]
    pub fn new(key: LaneKey, lanes: Arc<Lanes>) -> Self {
        let queue = Queue {
            standing: Standing::Connecting,
            out: Vec::new(),
            pending: Awaited::default(),
            woken: false,
            awaiting: Vec::new(),
        };
        Self {
            key,
            space: lanes.l1().add_space(),
            before: Mutex::new(None),
            flights: Arc::default(),
            lanes,
            queue: Mutex::new(queue),
            backlog: AtomicUsize::new(0),
            several: AtomicBool::new(false),
            outstanding: AtomicUsize::new(0),
            waker: AtomicWaker::new(),
            seats: AtomicUsize::new(0),
            left_at: AtomicU64::new(now_ms()),
            retired: AtomicBool::new(false),
            overdue: AtomicBool::new(false),
            quiet: AtomicBool::new(true),
            refused: AtomicBool::new(false),
            locked_out: AtomicU64::new(0),
            let_in: Notify::new(),
            may_select: AtomicBool::new(false),
        }
    }

    /// Whose it is, and in which database.
    #[must_use]
    pub fn key(&self) -> &LaneKey {
        &self.key
    }

    /// Whether it is one of those.
    pub(super) fn is_in(&self, reach: Reach) -> bool {
        matches!(reach, Reach::All) || reach == Reach::Database(self.key.db)
    }

    /// The lanes that it belongs to.
    #[must_use]
    pub fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    /// The reads under way on it that sessions may share.
    #[must_use]
    pub fn flights(&self) -> &Flights {
        &self.flights
    }

    /// The part of L1 that it fills.
    #[must_use]
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// Whether it is connected.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.queue.lock().standing == Standing::Up
    }

    /// The space out of which reads may be served stale, while the upstream is lost to it or its circuit is open.
    #[must_use]
    pub fn stale(&self) -> Option<Arc<Space>> {
        let lost = match self.queue.lock().standing {
            Standing::Connecting | Standing::Down { .. } => true,
            Standing::Up => self.lanes.node().is_cut(),
            // What its user may read is not known, or it has ended.
            Standing::Refused { .. } | Standing::Closed => false,
        };
        // What another lane has taken the place of is that one's to serve.
        if !lost || self.is_retired() {
            return None;
        }
        let before = self.before.lock();
        let space = before.as_ref().map_or(&self.space, Inherited::space);
        Some(Arc::clone(space))
    }

    /// Drops what would be served stale.
    pub fn drop_stale(&self) {
        self.drop_inherited();
        self.lanes.l1().thaw(&self.space);
    }

    fn drop_inherited(&self) {
        // Not under the lock: it takes those of L1.
        let before = self.before.lock().take();
        drop(before);
    }

    /// Takes the place of `late`, and what that one has held, until it is up itself.
    pub(super) fn succeed(&self, late: &Self) {
        let older = late.before.lock().take();
        let held = older.or_else(|| self.lanes.l1().inherit(&late.space));
        *self.before.lock() = held;
    }

    /// Whether the upstream does not let us in as a lane, so that sessions need own connections.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// Whether somebody whom the upstream let in at this one of [`super::identity::Accepts::times`] is let in no more:
    /// the user is gone, or its password is no longer right. Who was let in since then stays.
    #[must_use]
    pub fn locks_out(&self, let_in: u64) -> bool {
        self.locked_out.load(Ordering::Acquire) >= let_in
    }

    /// Whether its user may SELECT its database.
    #[must_use]
    pub fn may_select(&self) -> bool {
        self.may_select.load(Ordering::Acquire)
    }

    /// The upstream has let the user in after all: the next attempt will be with what it took, and at once.
    pub fn let_in(&self) {
        if self.locked_out.load(Ordering::Acquire) > 0 && !self.is_up() {
            self.let_in.notify_one();
        }
    }

    /// Whether sessions with nothing outstanding on it should take a seat on a fresh one.
    #[inline]
    #[must_use]
    pub fn wants_leaving(&self) -> bool {
        self.overdue.load(Ordering::Relaxed) || self.retired.load(Ordering::Relaxed)
    }

    /// Whether nothing is queued or outstanding on it: a command sent now is answered as soon as the server does.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Acquire) && self.queue.lock().pending.is_empty()
    }

    /// Bytes that wait until the upstream has taken those before them.
    #[inline]
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.backlog.load(Ordering::Relaxed)
    }

    /// Whether the queue was added to more than once, as where several sessions are at work.
    pub(super) fn is_shared(&self) -> bool {
        self.several.load(Ordering::Relaxed)
    }

    pub(super) fn set_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::Release);
    }

    /// Whether another lane has taken its place.
    #[inline]
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Another lane has taken its place: it ends when nothing is outstanding on it.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Its oldest reply is late, or is so no more.
    pub(super) fn set_overdue(&self, overdue: bool) {
        self.overdue.store(overdue, Ordering::Relaxed);
    }

    /// Whether no session has used it for `lane_idle`; the lane of clients without AUTH and SELECT stays.
    pub(super) fn is_unused(&self) -> bool {
        let idle = millis(self.lanes.settings().lane_idle);
        self.seats.load(Ordering::Acquire) == 0
            && self.key != self.lanes.base()
            && now_ms().saturating_sub(self.left_at.load(Ordering::Acquire)) >= idle
    }

    /// The error for commands that cannot be sent now, if they cannot: circuit open or connection down.
    #[must_use]
    pub fn unavailable(&self) -> Option<String> {
        let queue = self.queue.lock();
        match &queue.standing {
            Standing::Down { reason } => Some(self.lanes.error(reason)),
            _ => None,
        }
    }

    /// The error that commands would be refused with for the upstream's sake, if they were submitted now.
    #[must_use]
    pub fn turns_away(&self) -> Option<String> {
        self.unavailable().or_else(|| self.lanes.node().refusal())
    }

    /// Queues commands of one session in order: their bytes, and what is to be done with their replies. Where the lane is
    /// down, its circuit open or too much in flight, each is answered with an error; at once, or, if it comes `behind` replies
    /// to come, in its turn. Both are taken out; the buffers stay the caller's.
    ///
    /// # Errors
    /// [`Closed`], and nothing is taken.
    pub fn submit(
        &self,
        bytes: &mut Vec<u8>,
        pending: &mut Vec<Pending>,
        behind: bool,
    ) -> Result<Submitted, Closed> {
        let mut queue = self.queue.lock();
        let (error, in_turn) = match &queue.standing {
            Standing::Connecting | Standing::Up => {
                let Some(error) = self.bar(&queue) else {
                    queue.out.append(bytes);
                    queue.pending.extend(pending.drain(..));
                    self.backlog.store(queue.out.len(), Ordering::Relaxed);
                    self.wake(queue);
                    return Ok(Submitted::Queued);
                };
                (error, behind)
            }
            Standing::Closed => return Err(Closed),
            // By now everything that was sent has been answered.
            Standing::Down { reason } | Standing::Refused { reason } => {
                (self.lanes.error(reason), false)
            }
        };
        bytes.clear();
        if in_turn {
            refuse_in_turn(self.lanes.l1(), pending, &error);
            queue.pending.extend(pending.drain(..));
            self.wake(queue);
        } else {
            drop(queue);
            refuse(self.lanes.l1(), pending.drain(..), &error);
        }
        Ok(Submitted::Refused)
    }

    /// Why nothing more is to be sent now, if so.
    fn bar(&self, queue: &Queue) -> Option<String> {
        let (node, settings) = (self.lanes.node(), self.lanes.settings());
        let queued = queue.pending.commands();
        if node.is_cut() {
            node.refusal()
        } else if node.is_full(queued)
            || queued + self.outstanding.load(Ordering::Relaxed) >= settings.max_lane_in_flight
        {
            node.note_overload();
            Some(node.overloaded())
        } else {
            None
        }
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        let wake = !std::mem::replace(&mut queue.woken, true);
        if !wake {
            self.several.store(true, Ordering::Relaxed);
        }
        drop(queue);
        if wake {
            self.waker.wake();
        }
    }

    /// Queues commands of our own, where the lane is up; whatever its circuit and its load are.
    pub(super) fn queue_ours(&self, bytes: &[u8], pending: impl Iterator<Item = Pending>) {
        let mut queue = self.queue.lock();
        if queue.standing == Standing::Up {
            queue.out.extend_from_slice(bytes);
            queue.pending.extend(pending);
            self.wake(queue);
        }
    }

    /// Takes part in a read that has not been sent yet, because the lane is still being connected: what it will bring is
    /// newer than anything that the session knows.
    #[must_use]
    pub fn join_unsent(&self, read: &Read<'_>, join: &Join<'_>) -> bool {
        // Held, so that the read is not sent meanwhile.
        let queue = self.queue.lock();
        queue.standing == Standing::Connecting && self.flights.join(self.lanes.l1(), read, join)
    }

    /// Sends a marker that holds `settling` and, when it is answered, lifts a fence of `session`. Where the lane is not
    /// up, both are so at once.
    pub(super) fn mark(&self, settling: Option<Arc<Settling>>, session: Option<Arc<Mailbox>>) {
        let mut queue = self.queue.lock();
        if queue.standing == Standing::Up {
            queue.out.extend_from_slice(MARKER);
            let op = Op::Marker(settling);
            queue.pending.push(Pending::ours(session, now_ms(), op));
            self.wake(queue);
            return;
        }
        drop(queue);
        if let Some(session) = session {
            session.lock().fences += 1;
            session.wake();
        }
    }

    /// Wakes a session when the lane is up.
    pub fn call_when_up(&self, session: &Arc<Mailbox>) {
        let mut queue = self.queue.lock();
        if queue.standing == Standing::Connecting {
            queue.awaiting.push(Arc::downgrade(session));
        }
    }

    /// Takes out what is queued.
    pub(super) fn take_queued(&self, out: &mut Vec<u8>, pending: &mut Awaited) -> bool {
        let mut queue = self.queue.lock();
        queue.woken = false;
        self.several.store(false, Ordering::Relaxed);
        if queue.pending.is_empty() {
            return false;
        }
        std::mem::swap(&mut queue.out, out);
        self.backlog.store(queue.out.len(), Ordering::Relaxed);
        pending.append(&mut queue.pending);
        true
    }

    /// So many replies are to come, and so many were before.
    pub(super) fn set_outstanding(&self, replies: usize, before: usize) {
        self.outstanding.store(replies, Ordering::Relaxed);
        let node = self.lanes.node();
        if replies > before {
            node.took(replies - before);
        } else {
            node.gave_back(before - replies);
        }
    }

    /// Closes it if nothing is queued; whether it is closed now.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut queue = self.queue.lock();
        if queue.pending.is_empty() {
            queue.standing = Standing::Closed;
        }
        queue.standing == Standing::Closed
    }
}
