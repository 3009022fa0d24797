//! The stage of a scripted interleaving: a server, a relay on the way to it, and nearside.

use std::thread;
use std::time::{Duration, Instant};

use nearside::config::Settings;

use super::promise::{Checked, Promise, value, version};
use crate::support::client::Client;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::relay::{Frame, Relay};
use crate::support::resp::Value;
use crate::support::{PATIENCE, eventually};

/// Ends in this order: nearside, the relay, the server.
pub struct Rig {
    pub near: Nearside,
    pub relay: Relay,
    pub server: RedisServer,
}

/// No sign of life is sent within a scenario, so that what is held is what the scenario did.
pub const QUIET: Duration = Duration::from_secs(60);

impl Rig {
    /// With active expiry off and `max_staleness` so long that it plays no part, unless `adjust` says otherwise.
    pub fn new(adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::before(RedisServer::start(&[]), adjust)
    }

    /// The same with this server.
    pub fn before(server: RedisServer, adjust: impl FnOnce(&mut Settings)) -> Self {
        server.client().must(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let relay = Relay::start(server.addr());
        let near = Nearside::start(relay.addr(), |settings| {
            settings.l1.max_staleness = QUIET;
            // A lane that is held is not taken for one that is late.
            settings.lane.lane_overdue = QUIET;
            settings.lane.handshake_timeout = QUIET;
            settings.lane.request_timeout = QUIET;
            adjust(settings);
        });
        eventually("the lane", || near.running().lane_is_up().then_some(()));
        Self {
            near,
            relay,
            server,
        }
    }

    /// A session that is being served from L1, as its hit on a key of its own has shown.
    pub fn session(&self) -> Client {
        let mut session = self.near.session();
        self.server.client().must(&["SETNX", "ready", "ready:1"]);
        self.hit(&mut session, "ready");
        session
    }

    /// Reads `key` until a read was a hit. The lane flows freely: what was written before is known to L1 by then, since
    /// its pushes come before the lane's next reply.
    pub fn hit(&self, session: &mut Client, key: &str) -> Value {
        self.near.session().call(&["PING"]);
        eventually(&format!("a hit on {key}"), || {
            let before = self.near.hits();
            let reply = session.call(&["GET", key]);
            (self.near.hits() > before).then_some(reply)
        })
    }

    /// Writes a version straight to the server.
    pub fn put(&self, key: &str, n: u64) {
        self.server.client().must(&["SET", key, &value(key, n)]);
    }

    /// Writes version 1 of `key` straight to the server and gets it into L1.
    pub fn warm(&self, key: &str) {
        self.put(key, 1);
        let reply = self.hit(&mut self.near.session(), key);
        assert_eq!(version(key, &reply), Ok(1), "the lane flows freely");
    }

    /// Sends a read on a lane that is held or stalled; lets the lane go when a read of one of its keys is seen on it, or
    /// when the reply is there without. So a hit is caught as such, and a read that waits for the lane gets its reply.
    pub fn race(&self, session: &mut Client, command: &[&str]) -> Value {
        let mark = self.relay.mark();
        let deadline = Instant::now() + PATIENCE;
        session.send(command);
        session.flush();
        // Of an MGET those keys alone may be sent for that are missing.
        let sent = || {
            command[1..]
                .iter()
                .any(|key| self.relay.sent_read(mark, key))
        };
        while !session.has_reply(Duration::from_millis(1)) && !sent() {
            assert!(
                Instant::now() < deadline,
                "{command:?} is neither answered nor sent"
            );
        }
        self.relay.unstall();
        self.relay.release();
        session.read()
    }

    /// [`race`](Self::race) with a GET.
    pub fn racing_get(&self, session: &mut Client, key: &str) -> Value {
        self.race(session, &["GET", key])
    }

    /// [`racing_get`](Self::racing_get), and its version is at least `least`.
    pub fn racing_check(
        &self,
        session: &mut Client,
        key: &str,
        promise: Promise,
        least: u64,
    ) -> Checked {
        let reply = self.racing_get(session, key);
        promise.at_least(key, version(key, &reply)?, least)
    }

    /// Sends a tracked GET of `key` and waits until all its replies are held.
    pub fn held_fill(&self, session: &mut Client, key: &str) {
        session.send(&["GET", key]);
        session.flush();
        self.relay.await_held("a fill's replies", |frames| {
            let value = frames.iter().position(|frame| {
                frame.value == Value::Nil
                    || frame.value.text().is_some_and(|text| text.starts_with(key))
            });
            value.is_some_and(|at| {
                matches!(frames.get(at + 1).map(|f| &f.value), Some(Value::Int(_)))
            })
        });
    }

    /// Waits until a push is held.
    pub fn held_push(&self) {
        self.relay
            .await_held("a push", |frames| frames.iter().any(is_push));
    }

    /// Reads the acknowledgement of a write while the lane is held, letting through what precedes the first push, and
    /// pushes only where the reply is behind them.
    pub fn acknowledged(&self, session: &mut Client) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.relay.pass_while(|frame| !frame.is_push());
            if session.has_reply(Duration::from_millis(20)) {
                return session.read();
            }
            assert!(Instant::now() < deadline, "the write is not acknowledged");
            let mut passed = false;
            self.relay
                .pass_while(|frame| frame.is_push() && !std::mem::replace(&mut passed, true));
        }
    }

    /// Once `bound` has passed since `written`, all of it with a live lane and hits, `key` may not be older than `least`.
    pub fn visible_within(
        &self,
        bound: Duration,
        written: Instant,
        key: &str,
        least: u64,
    ) -> Checked {
        let (mut reader, mut other) = (self.near.session(), self.near.session());
        while written.elapsed() <= bound {
            // Keeps the lane's proof of life young, so that L1 is being served throughout.
            other.call(&["SET", "elsewhere", "1"]);
            thread::sleep(bound / 50);
        }
        other.must(&["SET", "elsewhere", "1"]);
        for _ in 0..3 {
            let got = version(key, &reader.call(&["GET", key]))?;
            Promise::BoundedStaleness.at_least(key, got, least)?;
        }
        Ok(())
    }
}

/// Whether a frame is a push.
pub fn is_push(frame: &Frame) -> bool {
    frame.is_push()
}
