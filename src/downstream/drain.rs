//! How the client side ends, and who may hurry it.
//!
//! ```text
//!   Serving --first signal, POST /v1/quit--> WaitClients --the last client is gone, time is up, asked again--> AtOnce --> Now
//!      \                                                                                                       ^     ^
//!       \------- the same, where at-once was asked for -------------------------------------------------------/      |
//!                                                                    time is up, or a further signal ---------------/
//! ```
//!
//! Stages only go forward. A *signal* after the first one hurries on to the next stage: who sends SIGTERM twice, or
//! presses Ctrl-C again, wants it sooner. A request over HTTP never does more than it says, since it may be sent twice.
//!
//! - **`WaitClients`** serves as before, new connections too; readiness alone is false. It ends when nobody has been
//!   connected for a second. Not at once: kubelet ends a native sidecar after the application, when there is nobody,
//!   and then a second is not missed; but elsewhere, between two connections of a client that opens one for each
//!   command or has just lost one, there is nobody either. A connection that came and went meanwhile starts it anew.
//! - **`AtOnce`** takes no new connection. A session ends when what it has sent is answered and no transaction is begun on
//!   it (a WATCH begins one, since what was read behind it is for that transaction). Where bytes are passed through
//!   unseen nobody knows of transactions, and the upstream discards the one that is open. Subscriptions are owed
//!   nothing and end; a blocked BLPOP was sent and is owed its reply, so it has until the deadline, and then its upstream
//!   connection is closed with it. To give it up sooner would spare seconds, at the risk that an element that is popped just
//!   then reaches nobody.
//! - **`Now`** cuts off who is left.
//!
//! `drain_timeout` bounds it all: waiting for clients leaves the last fifth of it, 5 s at most, to the
//! sessions that are still there then, so that they do not lose what they have under way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::settings::Drain;
use super::{Downstream, Worker};

/// How long nobody has to be connected before no client is waited for any more.
const LINGER: Duration = Duration::from_secs(1);
/// The most of `drain_timeout` that is kept for sessions to finish.
const FINISHING: Duration = Duration::from_secs(5);
/// How often clients are counted while they are waited for.
const COUNTED: Duration = Duration::from_millis(20);
/// How often sessions are asked to end.
const ASKED: Duration = Duration::from_millis(5);

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// Not asked for.
    #[default]
    Serving,
    /// Serving until the last client has left.
    WaitClients,
    /// Every session finishes what it has sent.
    AtOnce,
    /// Whoever is left is cut off.
    Now,
}

impl From<Drain> for Stage {
    fn from(drain: Drain) -> Self {
        match drain {
            Drain::AtOnce => Self::AtOnce,
            Drain::WaitClients => Self::WaitClients,
        }
    }
}

#[derive(Debug, Default)]
struct Order {
    stage: Stage,
    /// A signal has asked for it.
    signalled: bool,
}

/// What asks for the end, and shows how far it is. See the module's header.
#[derive(Debug, Default)]
pub struct Ending {
    order: Mutex<Order>,
    moved: Condvar,
}

impl Ending {
    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.order.lock().stage
    }

    /// Asks for a drain of this kind at least; how far the end is now.
    pub fn ask(&self, drain: Drain) -> Stage {
        self.go(&mut self.order.lock(), drain.into())
    }

    /// A signal has come: the first one asks for a drain of this kind, each further one for the next stage.
    pub fn signal(&self, drain: Drain) -> Stage {
        let mut order = self.order.lock();
        let first = !std::mem::replace(&mut order.signalled, true);
        let stage = match order.stage {
            _ if first => drain.into(),
            Stage::Serving | Stage::WaitClients => Stage::AtOnce,
            Stage::AtOnce | Stage::Now => Stage::Now,
        };
        self.go(&mut order, stage)
    }

    fn go(&self, order: &mut Order, stage: Stage) -> Stage {
        if stage > order.stage {
            order.stage = stage;
            self.moved.notify_all();
        }
        order.stage
    }

    /// Waits until the end is asked for.
    pub fn wait(&self) {
        let mut order = self.order.lock();
        self.moved
            .wait_while(&mut order, |order| order.stage == Stage::Serving);
    }

    /// Waits until it is beyond `stage`, for `most` at most; whether it is.
    fn comes_beyond(&self, stage: Stage, most: Duration) -> bool {
        let mut order = self.order.lock();
        self.moved
            .wait_while_for(&mut order, |order| order.stage <= stage, most);
        order.stage > stage
    }
}

impl Downstream {
    /// What ends it.
    #[must_use]
    pub fn ending(&self) -> Arc<Ending> {
        Arc::clone(&self.ending)
    }

    /// Ends in the way that was asked for, or else at once, within `timeout`. How many sessions were cut off.
    #[must_use]
    pub fn drain(mut self, timeout: Duration) -> usize {
        let begun = Instant::now();
        self.await_clients(begun + timeout.saturating_sub(FINISHING.min(timeout / 5)));
        self.ending.ask(Drain::AtOnce);
        self.shared.draining.store(true, Ordering::Release);
        self.close.send_replace(true);
        self.acceptor.take();
        let deadline = begun + timeout;
        loop {
            let left = self.clients();
            if left == 0
                || Instant::now() >= deadline
                || self.ending.comes_beyond(Stage::AtOnce, Duration::ZERO)
            {
                self.workers.clear();
                return left;
            }
            self.shared.sessions.wake_all();
            self.ending.comes_beyond(Stage::AtOnce, ASKED);
        }
    }

    /// Waits until nobody is connected any more, while that is what the stage asks for.
    fn await_clients(&self, until: Instant) {
        let mut begun = self.shared.sessions.begun();
        let mut nobody_since = Instant::now();
        while self.ending.stage() == Stage::WaitClients {
            let (now, clients) = (Instant::now(), self.clients());
            let newest = self.shared.sessions.begun();
            if clients > 0 || newest != begun {
                (begun, nobody_since) = (newest, now);
            }
            if now >= until {
                tracing::info!(clients, "clients are not waited for any longer");
                return;
            }
            if now.duration_since(nobody_since) >= LINGER {
                tracing::info!("the last client has left");
                return;
            }
            self.ending.comes_beyond(Stage::WaitClients, COUNTED);
        }
    }

    /// Connections that were accepted and have not ended, sessions that have not begun included.
    fn clients(&self) -> usize {
        self.workers.iter().map(Worker::clients).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_after_the_first_hurries() {
        let ending = Ending::default();
        let stages = [(); 4].map(|()| ending.signal(Drain::WaitClients));
        let right = [Stage::WaitClients, Stage::AtOnce, Stage::Now, Stage::Now];
        assert_eq!(stages, right);
        let ending = Ending::default();
        let stages = [(); 2].map(|()| ending.signal(Drain::AtOnce));
        assert_eq!(stages, [Stage::AtOnce, Stage::Now]);
    }

    #[test]
    fn a_request_does_what_it_says_and_no_more() {
        let ending = Ending::default();
        assert_eq!(ending.ask(Drain::WaitClients), Stage::WaitClients);
        assert_eq!(ending.ask(Drain::WaitClients), Stage::WaitClients);
        // The pod's end after its program's own request for it.
        assert_eq!(ending.signal(Drain::WaitClients), Stage::WaitClients);
        assert_eq!(ending.ask(Drain::AtOnce), Stage::AtOnce);
        assert_eq!(ending.ask(Drain::WaitClients), Stage::AtOnce);
        assert_eq!(ending.signal(Drain::WaitClients), Stage::Now);
    }
}
