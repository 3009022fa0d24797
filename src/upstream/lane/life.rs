//! The life of a lane's task: it connects, drives the connection, and connects again, until nobody needs it.
//!
//! ```text
//!   Connecting --handshake--> Up --lost, role changed--> Connecting
//!       | failed: wait with jitter                          (L1 dropped, what was sent is answered with an error)
//!       v                                                   a retired or unused lane closes instead
//!     Down --wait over--> Connecting        Refused: the upstream does not let us in as a lane;
//!                                           sessions use own connections, and it is tried again now and then
//! ```

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Lane, NO_REPLY, Standing, may_have_been};
use crate::l1::Settling;
use crate::telemetry::clock::{millis, now_ms};
use crate::upstream::breaker::Kind;
use crate::upstream::connect::{ConnectError, LaneConnection, open_lane};
use crate::upstream::driver::Driver;
use crate::upstream::reader::{LaneEnd, Reader, Surroundings};
use crate::upstream::settings::{Credentials, Retry};
use crate::upstream::{Attempt, refuse};

/// How long until a lane that was refused is tried again.
const REFUSED_RETRY: Duration = Duration::from_secs(5);
/// The longest that the first attempt to connect again waits, and any.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl Lane {
    /// Connects, drives, and connects again, until it is no longer needed.
    pub async fn run(self: Arc<Self>) {
        self.live().await;
        self.drop_inherited();
        self.lanes.l1().remove_space(&self.space);
        self.lanes.ended();
    }

    async fn live(self: &Arc<Self>) {
        let mut wait = FIRST_WAIT;
        loop {
            if self.is_over() {
                self.stand(Standing::Closed);
                self.fail_queued(&self.lanes.error("the lane was given up"));
                return;
            }
            let node = self.lanes.node();
            if node.is_cut() {
                // Nobody waits for an attempt that is not made.
                self.go_down(ConnectError::Cut.reason());
                let _ = timeout(Duration::from_secs(1), node.closed()).await;
                if !node.is_cut() {
                    // This attempt is worth waiting for.
                    self.stand(Standing::Connecting);
                }
                continue;
            }
            self.lanes.read_files();
            // Before they are read: who is let in meanwhile is not locked out by the older ones.
            let times = self.lanes.accepts.times(&self.key.identity);
            let credentials = self.lanes.credentials(&self.key.identity);
            let opened = self.open(credentials.as_ref()).await;
            node.attempted(opened.as_ref().map(|_| ()));
            match opened {
                Ok(connection) => {
                    wait = FIRST_WAIT;
                    if self.locks_out(times) {
                        self.locked_out.store(0, Ordering::Release);
                    }
                    if self.drive(connection).await == LaneEnd::Finished {
                        return;
                    }
                }
                Err(ConnectError::Refused(reason)) => {
                    if is_of_the_user(&reason) {
                        self.locked_out.store(times, Ordering::Release);
                        if self.lanes.accepts.times(&self.key.identity) > times {
                            // Let in during the attempt: what is queued waits for one with what was taken then.
                            continue;
                        }
                    }
                    self.refuse(&reason);
                    let _ = timeout(REFUSED_RETRY, self.let_in.notified()).await;
                }
                Err(ConnectError::Cut) => {}
                Err(ConnectError::Unreachable(reason, _) | ConnectError::Busy(reason)) => {
                    self.go_down(&reason);
                    sleep(self.jittered(wait)).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    /// Connects. What is queued meanwhile waits no longer than a reply may take.
    async fn open(
        &self,
        credentials: Option<&Credentials>,
    ) -> Result<LaneConnection, ConnectError> {
        let limit = self.lanes.settings().request_timeout;
        let look = (limit / 4).clamp(Duration::from_millis(5), Duration::from_millis(250));
        let opening = open_lane(&self.lanes, credentials, self.key.db);
        tokio::pin!(opening);
        loop {
            tokio::select! {
                opened = &mut opening => return opened,
                () = sleep(look) => {}
            }
            if self.is_queue_late(now_ms()) {
                self.go_down("no connection within request_timeout");
            }
        }
    }

    fn is_queue_late(&self, now: u64) -> bool {
        let queue = self.queue.lock();
        let Some(oldest) = queue.pending.front() else {
            return false;
        };
        let limit = millis(self.lanes.settings().request_timeout);
        let waits = now.saturating_sub(oldest.sent()) > limit;
        let session = oldest.session.as_ref();
        let session = session.filter(|_| oldest.terms.attempt == Attempt::Second);
        waits || session.is_some_and(|session| now > session.lock().due)
    }

    /// Whether nobody needs it any more.
    fn is_over(&self) -> bool {
        self.is_retired() || self.is_unused() && self.lanes.withdraw(self)
    }

    /// Any time up to `most`, so that many that lost the same node do not come back at the same moment.
    fn jittered(&self, most: Duration) -> Duration {
        // The hash of the time is random enough for it.
        let share = self.lanes.l1().hash(&now_ms().to_le_bytes()) % 1000;
        let share = u32::try_from(share).unwrap_or_default() + 1;
        (most * share / 1000).max(Duration::from_millis(1))
    }

    fn stand(&self, standing: Standing) -> Standing {
        let mut queue = self.queue.lock();
        let awaiting = std::mem::take(&mut queue.awaiting);
        let before = std::mem::replace(&mut queue.standing, standing);
        drop(queue);
        for session in awaiting.iter().filter_map(Weak::upgrade) {
            session.wake();
        }
        before
    }

    fn refuse(&self, reason: &str) {
        let address = &self.lanes.endpoint().address;
        let was = self.stand(Standing::Refused {
            reason: reason.to_owned(),
        });
        if !matches!(was, Standing::Refused { .. }) {
            tracing::warn!(upstream = %address, reason, "no lane: L1 is off, each session gets a connection of its own");
        }
        self.refused.store(true, Ordering::Release);
        self.drop_stale();
        self.fail_queued(&self.lanes.error(reason));
    }

    fn go_down(&self, reason: &str) {
        let was = self.stand(Standing::Down {
            reason: reason.to_owned(),
        });
        if !matches!(was, Standing::Down { reason: before } if before == reason) {
            let address = &self.lanes.endpoint().address;
            tracing::warn!(upstream = %address, reason, "the upstream is not reachable");
        }
        self.fail_queued(&self.lanes.error(reason));
    }

    fn fail_queued(&self, error: &str) {
        let pending = {
            let mut queue = self.queue.lock();
            queue.out.clear();
            self.backlog.store(0, Ordering::Relaxed);
            std::mem::take(&mut queue.pending)
        };
        refuse(self.lanes.l1(), pending.into_each(), error);
    }

    async fn drive(self: &Arc<Self>, connection: LaneConnection) -> LaneEnd {
        let LaneConnection {
            stream,
            hello,
            untracked,
            may_select,
            generation,
        } = connection;
        let (lanes, l1) = (&self.lanes, self.lanes.l1());
        let address = &lanes.endpoint().address;
        tracing::info!(upstream = %address, db = self.key.db, server = hello.server, version = hello.version, role = hello.role, "lane up");
        // While nobody asks for L1 nothing is amiss.
        if let Some(reason) = untracked.as_ref().filter(|_| l1.is_announced_to()) {
            tracing::warn!(upstream = %address, reason, "L1 is off: the upstream does not track for us");
        }
        self.may_select.store(may_select, Ordering::Release);
        self.space.set_tracked(untracked.is_none());
        let surroundings = Surroundings {
            l1: Arc::clone(l1),
            space: Arc::clone(&self.space),
            large: Arc::clone(&lanes.large),
            buffers: Arc::clone(&lanes.buffers),
            flights: Arc::clone(&self.flights),
            output_limit: lanes.settings().output_limit,
            large_reply: lanes.settings().large_reply,
            slow_after: lanes.node().slow_after(),
            telemetry: Arc::clone(lanes.telemetry()),
        };
        let reader = Reader::new(surroundings, hello.role.clone());
        // Nothing from before is seen by anyone who sees this lane.
        self.drop_stale();
        // Before anything is sent: whoever then sees a write acknowledged also sees this lane.
        lanes.went_up(self, hello);
        self.stand(Standing::Up);
        // Only now: until then what is sent here would be refused.
        self.refused.store(false, Ordering::Release);
        let mut driver = Driver::new(self, stream, reader, generation);
        let end = poll_fn(|cx| driver.poll(cx)).await;
        driver.tell_outstanding(0);
        // First of all: a marker skips a lane that is not up, because nothing is put into its part of L1, and what is
        // kept of that, to be served stale, has none of the keys of a write that is on its way.
        if driver.reader.awaits_script() {
            l1.lane_lost(&self.space);
        } else {
            l1.freeze(&self.space);
        }
        if end != LaneEnd::Finished {
            self.stand(Standing::Connecting);
        }
        lanes.went_down(self);
        self.set_overdue(false);
        if end != LaneEnd::Finished {
            self.mourn(&mut driver.reader, &end);
        }
        end
    }

    /// The connection is lost: tells everybody who waits for something.
    fn mourn(self: &Arc<Self>, reader: &mut Reader, end: &LaneEnd) {
        let (lanes, address) = (&self.lanes, &self.lanes.endpoint().address);
        let (reason, told) = match end {
            LaneEnd::TimedOut => (NO_REPLY, NO_REPLY),
            LaneEnd::Lost(reason) => (reason.as_str(), "connection lost before the reply"),
            LaneEnd::RoleChanged | LaneEnd::Finished => (
                "it is no longer the server that it was",
                "connection lost before the reply",
            ),
        };
        tracing::warn!(upstream = %address, reason, "lane lost");
        lanes.node().lost();
        if !reader.pending.is_empty() {
            match end {
                LaneEnd::TimedOut => lanes.node().failed(Kind::Timeout),
                LaneEnd::Lost(_) => lanes.node().failed(Kind::Lost),
                LaneEnd::RoleChanged | LaneEnd::Finished => {}
            }
        }
        let error = lanes.node().error(&may_have_been(told));
        let limit = millis(lanes.settings().request_timeout);
        let again = match lanes.settings().retry {
            Retry::Reads => Some(now_ms().saturating_sub(limit)),
            Retry::Never => None,
        };
        let unsettled = reader.fail(&error, again);
        self.flights.forget_ended();
        lanes.settle_beside(&Settling::new(lanes.l1(), unsettled), self);
    }
}

/// Whether the upstream refuses this user, and not just a lane.
fn is_of_the_user(reason: &str) -> bool {
    let words = ["WRONGPASS", "NOAUTH", "ERR invalid password"];
    words.iter().any(|word| reason.starts_with(word))
}
