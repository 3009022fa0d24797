//! Orders of replies and pushes that a real server rarely shows, by an upstream that sends each when the test says.

mod broken;
mod pushes;
mod replies;
mod silence;
mod writes;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nearside::config::Settings;
use nearside::upstream::settings::Retry;

use super::rig::QUIET;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::resp::Value;
use crate::support::scripted::{Scripted, usual};

/// What says that everything is void.
const NULL_PUSH: &[u8] = b">2\r\n$10\r\ninvalidate\r\n_\r\n";

/// What says that these keys have changed.
fn push(keys: &[&str]) -> Vec<u8> {
    let each = keys
        .iter()
        .map(|key| format!("${}\r\n{key}\r\n", key.len()));
    let keys = format!("*{}\r\n{}", keys.len(), each.collect::<String>());
    format!(">2\r\n$10\r\ninvalidate\r\n{keys}").into_bytes()
}

/// A cacheable read, and its keys.
#[derive(Debug, Clone, Copy)]
struct Case {
    read: &'static [&'static str],
    keys: &'static [&'static str],
}

const GET: Case = Case {
    read: &["GET", "k"],
    keys: &["k"],
};
const HGET: Case = Case {
    read: &["HGET", "k", "f"],
    keys: &["k"],
};
const MGET: Case = Case {
    read: &["MGET", "k", "l"],
    keys: &["k", "l"],
};
const SUNION: Case = Case {
    read: &["SUNION", "k", "l"],
    keys: &["k", "l"],
};
/// A reply of more bytes than are read at a time.
const LRANGE: Case = Case {
    read: &["LRANGE", "k", "0", "-1"],
    keys: &["k"],
};
const CASES: [Case; 4] = [GET, HGET, MGET, SUNION];

fn bulk(n: u64) -> String {
    let text = n.to_string();
    format!("${}\r\n{text}\r\n", text.len())
}

/// An upstream where every key has the same version, nearside in front of it, and the number of the lane's connection.
struct Stage {
    near: Nearside,
    upstream: Scripted,
    version: Arc<AtomicU64>,
    lane: usize,
}

impl Stage {
    /// Nothing is sent on the lane but what the test has sent there, unless `adjust` says otherwise.
    fn new(adjust: impl FnOnce(&mut Settings)) -> Self {
        let version = Arc::new(AtomicU64::new(1));
        let current = Arc::clone(&version);
        let queueing: Mutex<BTreeSet<usize>> = Mutex::default();
        let upstream = Scripted::start(move |number, command| {
            let n = current.load(Ordering::SeqCst);
            let mut queueing = queueing.lock().expect("unpoisoned");
            Some(match command {
                // What a test answers itself.
                ["EXEC"] | ["EVAL", ..] => {
                    queueing.remove(&number);
                    current.fetch_add(1, Ordering::SeqCst);
                    Vec::new()
                }
                _ if queueing.contains(&number) => b"+QUEUED\r\n".to_vec(),
                ["MULTI"] => {
                    queueing.insert(number);
                    b"+OK\r\n".to_vec()
                }
                // One that knows commands and has no HPTTL among them keeps hashes whole.
                ["COMMAND"] => {
                    b"*1\r\n*7\r\n$3\r\nget\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n"
                        .to_vec()
                }
                ["GET" | "HGET", ..] => bulk(n).into_bytes(),
                ["MGET", keys @ ..] => {
                    format!("*{}\r\n{}", keys.len(), bulk(n).repeat(keys.len())).into_bytes()
                }
                ["SUNION", ..] => format!("~1\r\n{}", bulk(n)).into_bytes(),
                ["LRANGE", ..] => {
                    format!("*9000\r\n{}", format!("$8\r\n{n:08}\r\n").repeat(9000)).into_bytes()
                }
                ["SET", ..] => {
                    current.fetch_add(1, Ordering::SeqCst);
                    b"+OK\r\n".to_vec()
                }
                _ => usual(command),
            })
        });
        let near = Nearside::start(upstream.addr(), |settings| {
            settings.l1.max_staleness = QUIET;
            settings.lane.lane_overdue = QUIET;
            settings.lane.request_timeout = QUIET;
            // What is lost is to be seen.
            settings.lane.retry = Retry::Never;
            settings.lane.breaker.failure_threshold = u32::MAX;
            settings.lane.breaker.minimum_calls = u32::MAX;
            adjust(settings);
        });
        let mut stage = Self {
            near,
            upstream,
            version,
            lane: 0,
        };
        stage.await_lane(0, 1);
        stage
    }

    /// Waits until a lane is up that is not one of the first `before`, as one of so many.
    fn await_lane(&mut self, before: usize, up: usize) {
        let tracking = ["CLIENT", "TRACKING"];
        self.lane = self.upstream.await_command(&tracking, before);
        let all_up = || (self.near.running().lanes_up() == up).then_some(());
        eventually("the lane", all_up);
    }

    /// How many lanes there have been.
    fn lanes(&self) -> usize {
        self.upstream.count(&["CLIENT", "TRACKING"])
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Somebody has written every key; no push tells of it yet.
    fn write_elsewhere(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// A session, with nothing in L1.
    fn session(&self) -> Client {
        let mut session = self.near.session();
        self.clear(&mut session);
        session
    }

    /// Empties L1.
    fn clear(&self, session: &mut Client) {
        self.upstream.send(self.lane, NULL_PUSH);
        session.must(&["PING"]);
        assert_eq!(self.near.running().l1_entries(), []);
    }

    /// Sends the read of a case as a fill, whose answers are held: that of CACHING, the read's, and one PTTL's for each key.
    fn begin(&self, session: &mut Client, case: Case) -> Vec<Vec<u8>> {
        self.upstream.hold(self.lane);
        session.send(case.read);
        session.flush();
        let answers = (0..2 + case.keys.len()).map(|_| self.upstream.take(self.lane));
        answers.collect()
    }

    /// Lets the lane flow again, and waits until all that was sent on it has been taken in.
    fn end(&self, session: &mut Client) {
        self.upstream.release(self.lane);
        session.must(&["PING"]);
    }

    /// Reads again: whether that went upstream, and what it showed.
    fn again(&self, session: &mut Client, case: Case) -> (bool, Value) {
        let before = self.upstream.count(&case.read[..1]);
        let reply = session.call(case.read);
        session.must(&["PING"]);
        (self.upstream.count(&case.read[..1]) > before, reply)
    }
}

/// The version that a reply shows, which is the same in all its elements.
fn shown(reply: &Value) -> Option<u64> {
    let one = |value: &Value| value.text()?.parse().ok();
    let Some(first) = reply.elements().first() else {
        return one(reply);
    };
    let all = reply
        .elements()
        .iter()
        .all(|value| one(value) == one(first));
    all.then(|| one(first)).flatten()
}
