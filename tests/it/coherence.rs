//! Each rule of the coherence protocol, by an interleaving in which it decides: with the rule the promise holds,
//! with the rule knocked out that promise is seen to break.

use std::thread;
use std::time::{Duration, Instant};

use nearside::l1::{Rule, RuleSet};

use crate::support::client::Client;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::relay::Relay;
use crate::support::{eventually, resp::Value};

/// How long a reply that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(150);

struct Stage {
    direct: Client,
    nearside: Nearside,
    relay: Relay,
    _server: RedisServer,
}

/// The promise that broke, and how.
type Broken = Result<(), String>;

impl Stage {
    fn set(rules: RuleSet, max_staleness: Duration, workers: usize) -> Self {
        let server = RedisServer::start(&[]);
        let relay = Relay::start(server.addr());
        let nearside = Nearside::start(relay.addr(), |settings| {
            settings.l1.max_staleness = max_staleness;
            settings.l1.knocked_out = rules;
            settings.downstream.workers = workers;
        });
        eventually("the lane", || nearside.running().lane_is_up().then_some(()));
        let mut direct = server.client();
        direct.must(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        Self {
            direct,
            nearside,
            relay,
            _server: server,
        }
    }

    /// A session for which `key` holds 1 and is in L1, proven by a hit.
    fn warm(&mut self, key: &str) -> Client {
        self.direct.must(&["SET", key, "1"]);
        let mut session = self.nearside.session();
        eventually("a hit", || {
            let before = self.nearside.hits();
            assert_eq!(session.call(&["GET", key]).text(), Some("1"));
            (self.nearside.hits() > before).then_some(())
        });
        session
    }

    /// GET on a lane that is held: it may not be answered before the release, and then with `expected`.
    fn get_behind_hold(
        &self,
        session: &mut Client,
        key: &str,
        expected: &str,
        promise: &str,
    ) -> Broken {
        session.send(&["GET", key]);
        session.flush();
        if !session.has_reply(SILENCE) {
            self.relay.release();
        }
        let got = session.read();
        self.relay.release();
        if got.text() == Some(expected) {
            Ok(())
        } else {
            Err(format!(
                "{promise}: key {key} got {got:?} expected {expected}"
            ))
        }
    }
}

const LONG: Duration = Duration::from_secs(60);

fn blpop(rules: RuleSet, workers: usize) -> Broken {
    let mut stage = Stage::set(rules, LONG, workers);
    let mut session = stage.warm("k");
    stage.relay.hold();
    stage.direct.must(&["SET", "k", "2"]);
    stage.direct.must(&["LPUSH", "q", "x"]);
    session.must(&["BLPOP", "q", "5"]);
    stage.get_behind_hold(&mut session, "k", "2", "causality")
}

/// A tracked read is under way with the old value when EXEC writes the new one and is acknowledged.
fn exec_overtakes_fill(rules: RuleSet, workers: usize) -> Broken {
    let mut stage = Stage::set(rules, LONG, workers);
    stage.direct.must(&["SET", "k", "1"]);
    let (mut reader, mut writer, mut third) = (
        stage.nearside.session(),
        stage.nearside.session(),
        stage.nearside.session(),
    );
    third.must(&["PING"]);
    stage.relay.hold();
    reader.send(&["GET", "k"]);
    reader.flush();
    let old = stage.relay.held();
    for command in [&["MULTI"][..], &["SET", "k", "2"], &["EXEC"]] {
        writer.must(command);
    }
    stage.relay.pass(old);
    assert_eq!(reader.read().text(), Some("1"), "read before the write");
    stage.get_behind_hold(&mut third, "k", "2", "own writes")
}

fn script_of_undeclared_keys(rules: RuleSet, workers: usize) -> Broken {
    let mut stage = Stage::set(rules, LONG, workers);
    let mut session = stage.warm("k");
    let mut writer = stage.nearside.session();
    stage.relay.hold();
    writer.must(&["EVAL", "return redis.call('SET', 'k', '2')", "0"]);
    stage.get_behind_hold(&mut session, "k", "2", "own writes")
}

fn expiry(rules: RuleSet, workers: usize) -> Broken {
    let mut stage = Stage::set(rules, LONG, workers);
    let mut session = stage.nearside.session();
    stage.direct.must(&["SET", "k", "1", "PX", "100"]);
    let acknowledged = Instant::now();
    session.call(&["GET", "k"]);
    session.call(&["GET", "k"]);
    thread::sleep(Duration::from_millis(102).saturating_sub(acknowledged.elapsed()));
    match session.call(&["GET", "k"]) {
        Value::Nil => Ok(()),
        got => Err(format!("expiry: key k got {got:?} after its end")),
    }
}

fn flush_elsewhere(rules: RuleSet, workers: usize) -> Broken {
    let mut stage = Stage::set(rules, Duration::from_millis(200), workers);
    let mut session = stage.warm("k");
    stage.direct.must(&["FLUSHALL"]);
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        if session.call(&["GET", "k"]) == Value::Nil {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err("bounded staleness: key k outlived FLUSHALL by ten times max_staleness".into())
}

fn silent_lane(rules: RuleSet, workers: usize) -> Broken {
    let mut stage = Stage::set(rules, Duration::from_millis(200), workers);
    let mut session = stage.warm("k");
    stage.relay.hold();
    stage.direct.must(&["SET", "k", "2"]);
    thread::sleep(Duration::from_millis(300));
    stage.get_behind_hold(&mut session, "k", "2", "bounded staleness")
}

fn lane_lost(rules: RuleSet, workers: usize) -> Broken {
    let mut stage = Stage::set(rules, LONG, workers);
    let mut session = stage.warm("k");
    stage.relay.cut();
    eventually("the loss of the lane", || {
        (!stage.nearside.running().lane_is_up()).then_some(())
    });
    stage.direct.must(&["SET", "k", "2"]);
    match session.call(&["GET", "k"]) {
        Value::Error(text) if text.starts_with("UNAVAILABLE") => Ok(()),
        got => Err(format!(
            "bounded staleness: key k got {got:?} though the lane is lost"
        )),
    }
}

/// `b` is written, then `a`; the push for `b` is still under way when `a` (a miss) and `b` (a hit) are read.
fn new_a_old_b(rules: RuleSet, workers: usize) -> Broken {
    let mut stage = Stage::set(rules, LONG, workers);
    let mut session = stage.warm("b");
    stage.relay.hold();
    stage.direct.must(&["SET", "b", "2"]);
    stage.direct.must(&["SET", "a", "2"]);
    session.send(&["GET", "a"]);
    session.send(&["GET", "b"]);
    session.flush();
    stage.relay.held();
    thread::sleep(Duration::from_millis(30));
    stage.relay.release();
    let (a, b) = (session.read(), session.read());
    if (a.text(), b.text()) == (Some("2"), Some("2")) {
        Ok(())
    } else {
        Err(format!("order: a {a:?} b {b:?}"))
    }
}

fn read_before_own_write(rules: RuleSet, workers: usize) -> Broken {
    let mut stage = Stage::set(rules, LONG, workers);
    let mut session = stage.warm("b");
    session.send(&["GET", "a"]);
    session.send(&["GET", "b"]);
    session.send(&["SET", "b", "2"]);
    session.flush();
    let replies = [session.read(), session.read(), session.read()];
    if replies[1].text() == Some("1") {
        Ok(())
    } else {
        Err(format!("order: GET b before SET b 2 in {replies:?}"))
    }
}

type Scenario = fn(RuleSet, usize) -> Broken;

const SCENARIOS: [(Rule, &str, Scenario); 10] = [
    (Rule::Fence, "causality", blpop),
    (Rule::InFlight, "own writes", exec_overtakes_fill),
    (Rule::Marker, "own writes", exec_overtakes_fill),
    (Rule::Closure, "own writes", script_of_undeclared_keys),
    (Rule::Pttl, "expiry", expiry),
    (Rule::NullPush, "bounded staleness", flush_elsewhere),
    (Rule::MaxStaleness, "bounded staleness", silent_lane),
    (Rule::LaneLoss, "bounded staleness", lane_lost),
    (Rule::WaitingHit, "order", new_a_old_b),
    (Rule::WaitAtTail, "order", read_before_own_write),
];

#[test]
fn every_rule_keeps_its_promise() {
    for workers in [1, 2] {
        for (rule, _, scenario) in SCENARIOS {
            if let Err(broken) = scenario(RuleSet::none(), workers) {
                panic!("{workers} workers, the scenario of {rule:?}: {broken}");
            }
        }
    }
}

#[test]
fn every_rule_knocked_out_is_caught_by_the_promise_it_keeps() {
    for (rule, promise, scenario) in SCENARIOS {
        match scenario(RuleSet::only(rule), 1) {
            Err(broken) if broken.starts_with(promise) => {
                println!("rule {rule:?}: caught by {broken}");
            }
            other => panic!("rule {rule:?} knocked out, expected {promise} to break: {other:?}"),
        }
    }
}
