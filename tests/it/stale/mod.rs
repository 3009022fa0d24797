//! What is served while the upstream is lost: entries that were true then, where their key space says so, for so long.

mod writes;

use std::thread;
use std::time::{Duration, Instant};

use nearside::config::Settings;
use nearside::l1::settings::{Keyspace, Settings as L1Settings};
use nearside::upstream::breaker::Forced;

use crate::coherence::rig::Rig;
use crate::control::field;
use crate::control::http::{ask, exchange};
use crate::support::client::{Client, Protocol};
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
/// A value that was held, and what it is after the loss.
const OLD: &str = "old";

/// Keys `kept:*` may be served stale for so long.
fn kept(l1: &L1Settings, serve_stale: Duration) -> Keyspace {
    Keyspace {
        name: "kept".to_owned(),
        pattern: b"kept:*".to_vec(),
        serve_stale,
        ..l1.default_keyspace()
    }
}

struct Stage {
    // Dropped before the server is.
    near: Nearside,
    server: RedisServer,
}

impl Stage {
    fn new(serve_stale: Duration, adjust: impl FnOnce(&mut Settings)) -> Self {
        let server = RedisServer::start(&[]);
        let near = Nearside::start(server.addr(), |settings| {
            settings.lane.breaker.recovery_timeout = Duration::from_millis(300);
            settings.l1.entry_max_ttl = LONG;
            settings.l1.keyspaces = vec![kept(&settings.l1, serve_stale)];
            adjust(settings);
        });
        Self { near, server }
    }

    /// Writes keys and has them held.
    fn hold(&self, session: &mut Client, keys: &[&str]) {
        for key in keys {
            self.server.client().must(&["SET", key, OLD]);
            self.warm(session, key);
        }
        // What it was told before, over a connection of its own, is older than what the lane has shown.
        thread::sleep(Duration::from_millis(2));
        session.must(&["PING"]);
    }

    fn warm(&self, session: &mut Client, key: &str) {
        eventually("a hit", || {
            let before = self.near.hits();
            session.must(&["GET", key]);
            (self.near.hits() > before).then_some(())
        });
    }

    fn served(&self) -> u64 {
        self.near.running().stale_served()
    }

    /// Kills the server, and waits until nearside knows.
    fn kill(&mut self, session: &mut Client) {
        self.server.kill();
        eventually("the loss", || {
            is_unavailable(&session.call(&["GET", "unknown"])).then_some(())
        });
        assert!(!self.near.running().lane_is_up());
    }
}

fn is_unavailable(reply: &Value) -> bool {
    matches!(reply, Value::Error(text) if text.starts_with("UNAVAILABLE "))
}

fn get(session: &mut Client, key: &str) -> Option<String> {
    match session.call(&["GET", key]) {
        error if is_unavailable(&error) => None,
        Value::Nil => Some(String::new()),
        value => Some(value.text().expect("a text").to_owned()),
    }
}

fn old(session: &mut Client, key: &str) -> bool {
    get(session, key).as_deref() == Some(OLD)
}

#[test]
fn what_was_held_is_served_where_its_key_space_says_so_and_gone_when_the_upstream_is_back() {
    for workers in [1, 2] {
        let mut stage = Stage::new(LONG, |settings| settings.downstream.workers = workers);
        let mut sessions: Vec<Client> = (0..4).map(|_| stage.near.session()).collect();
        let keys = ["kept:1", "kept:2", "else"];
        stage.hold(&mut sessions[0], &keys);
        stage.kill(&mut sessions[0]);
        let (hits, served) = (stage.near.hits(), stage.served());
        sessions.push(stage.near.session().speaking(Protocol::Resp2));
        for session in &mut sessions {
            assert!(old(session, "kept:1") && old(session, "kept:2"));
            assert_eq!(get(session, "else"), None, "its key space says nothing");
            assert_eq!(get(session, "kept:3"), None, "it was not held");
            let both = session.call(&["MGET", "kept:1", "kept:2"]);
            let both = both.elements();
            assert!(both.len() == 2 && both.iter().all(|one| one.text() == Some(OLD)));
            for other in ["else", "kept:3"] {
                let reply = session.call(&["MGET", "kept:1", other]);
                assert!(is_unavailable(&reply), "{reply:?}");
            }
            let reply = session.call(&["STRLEN", "kept:1"]);
            assert!(is_unavailable(&reply), "{reply:?}");
        }
        assert_eq!(stage.near.hits(), hits, "they are none");
        assert_eq!(stage.served() - served, 3 * 5);

        // Empty as it is, whoever has seen that it is back sees nothing of before.
        stage.server.restart();
        thread::scope(|scope| {
            for session in &mut sessions {
                scope.spawn(|| {
                    let mut back = false;
                    eventually("the upstream", || {
                        back |= !is_unavailable(&session.call(&["GET", "unknown"]));
                        let now = get(session, "kept:1");
                        assert!(!back || now.as_deref() != Some(OLD), "{workers} workers");
                        (now.as_deref() == Some("")).then_some(())
                    });
                    assert_eq!(get(session, "kept:2").as_deref(), Some(""));
                    assert_eq!(get(session, "kept:1").as_deref(), Some(""));
                });
            }
        });
    }
}

/// While the server is stopped, what is asked for is answered, if late at first; when it goes on, from there.
#[test]
fn a_server_that_hangs() {
    let stage = Stage::new(LONG, |settings| settings.downstream.workers = 2);
    let mut sessions: Vec<Client> = (0..3).map(|_| stage.near.session()).collect();
    stage.hold(&mut sessions[0], &["kept:1"]);
    let served = stage.served();
    stage.server.freeze();
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(4) {
        for session in &mut sessions {
            assert!(old(session, "kept:1"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!(stage.served() > served);
    stage.server.thaw();
    stage.server.client().must(&["SET", "kept:1", "new"]);
    for session in &mut sessions {
        eventually("the new value", || {
            (get(session, "kept:1").as_deref() == Some("new")).then_some(())
        });
    }
    let served = stage.served();
    for session in &mut sessions {
        for _ in 0..50 {
            assert_eq!(get(session, "kept:1").as_deref(), Some("new"));
        }
    }
    assert_eq!(stage.served(), served);
}

/// A lane in the place of a late one serves what that one holds, before its clients have waited for long.
#[test]
fn from_behind_a_lane_that_is_late() {
    let stage = Stage::new(LONG, |settings| {
        settings.lane.request_timeout = LONG;
        settings.lane.handshake_timeout = LONG;
        settings.l1.max_staleness = Duration::from_millis(100);
    });
    let mut session = stage.near.session();
    stage.hold(&mut session, &["kept:1"]);
    stage.server.freeze();
    // It hangs, and its lane with it.
    let mut waiting = stage.near.session();
    waiting.send(&["SET", "other", "1"]);
    waiting.flush();
    let served = stage.served();
    let mut others: Vec<Client> = Vec::new();
    eventually("an answer of before", || {
        // What has been asked too early waits too.
        let mut other = stage.near.session();
        other.send(&["GET", "kept:1"]);
        other.flush();
        let answered = other.has_reply(Duration::from_millis(100));
        others.push(other);
        (answered && stage.served() > served).then_some(())
    });
    stage.server.thaw();
    waiting.read();
    for other in &mut others {
        assert_eq!(other.read().text(), Some(OLD));
    }
    stage.server.client().must(&["SET", "kept:1", "new"]);
    eventually("the new value", || {
        (get(&mut session, "kept:1").as_deref() == Some("new")).then_some(())
    });
}

/// Reads that were lost with their lane are answered as those that come behind them, however many there are.
#[test]
fn reads_under_way() {
    let mut stage = Stage::new(LONG, |settings| {
        settings.lane.lane_overdue = LONG;
        settings.lane.request_timeout = LONG;
        settings.l1.max_staleness = Duration::from_millis(50);
    });
    let mut sessions: Vec<Client> = (0..50).map(|_| stage.near.session()).collect();
    stage.hold(&mut sessions[0], &["kept:1"]);
    stage.server.freeze();
    for session in &mut sessions {
        eventually("the end of hits", || {
            session.send(&["GET", "kept:1"]);
            session.flush();
            if session.has_reply(Duration::from_millis(50)) {
                assert_eq!(session.read().text(), Some(OLD));
                return None;
            }
            Some(())
        });
    }
    assert_eq!(stage.served(), 0);
    stage.server.kill();
    for session in &mut sessions {
        assert_eq!(session.read().text(), Some(OLD));
    }
    assert_eq!(stage.served(), 50);
}

/// Neither longer than its key space says nor past its own end.
#[test]
fn for_no_longer_than_it_may_be() {
    let limit = Duration::from_millis(1500);
    let mut stage = Stage::new(limit, |_| {});
    let mut session = stage.near.session();
    stage.hold(&mut session, &["kept:1"]);
    stage.kill(&mut session);
    let known = Instant::now();
    let mut last = None;
    eventually("the end", || {
        let asked = Instant::now();
        let served = old(&mut session, "kept:1");
        last = if served { Some(asked) } else { last };
        (!served).then_some(())
    });
    let last = last.expect("it was served at all");
    assert!(last <= known + limit + Duration::from_millis(5));

    let mut stage = Stage::new(LONG, |_| {});
    let mut session = stage.near.session();
    stage.hold(&mut session, &["kept:1"]);
    let mut direct = stage.server.client();
    direct.must(&["SET", "kept:2", OLD, "PX", "3000"]);
    let written = Instant::now();
    stage.warm(&mut session, "kept:2");
    stage.kill(&mut session);
    assert!(old(&mut session, "kept:2"));
    eventually("the end of the one", || {
        let asked = Instant::now();
        let served = old(&mut session, "kept:2");
        assert!(!served || asked <= written + Duration::from_millis(3005));
        (!served).then_some(())
    });
    assert!(old(&mut session, "kept:1"), "the other lives on");
}

/// What nobody has read for a while was true a moment ago all the same.
#[test]
fn age_counts_from_the_last_sign_of_life_and_there_are_such() {
    let limit = Duration::from_secs(2);
    let mut stage = Stage::new(limit, |_| {});
    let mut session = stage.near.session();
    stage.hold(&mut session, &["kept:1"]);
    thread::sleep(2 * limit);
    stage.kill(&mut session);
    assert!(old(&mut session, "kept:1"));
}

#[test]
fn by_hand() {
    let mut stage = Stage::new(LONG, |_| {});
    let mut session = stage.near.session();
    stage.hold(&mut session, &["kept:1", "kept:2", "kept:3"]);
    stage.kill(&mut session);
    for (target, gone) in [
        (&["KEY", "kept:1"][..], "kept:1"),
        (&["PATTERN", "*:2"], "kept:2"),
        (&["ALL"], "kept:3"),
    ] {
        assert!(old(&mut session, gone));
        let command = [&["NEARSIDE", "INVALIDATE"], target].concat();
        assert_eq!(session.call(&command), Value::Int(1));
        assert_eq!(get(&mut session, gone), None);
    }
}

/// The lane is up, and nothing is sent there: pushes still come, and age counts as ever.
#[test]
fn a_circuit_forced_open() {
    let stage = Stage::new(LONG, |settings| {
        settings.l1.max_staleness = Duration::from_millis(300);
    });
    let mut session = stage.near.session();
    stage.hold(&mut session, &["kept:1", "kept:2", "else"]);
    stage.near.running().node().force(Some(Forced::Open));
    let served = stage.served();
    eventually("the end of hits", || {
        assert!(old(&mut session, "kept:1") && old(&mut session, "kept:2"));
        (stage.served() > served).then_some(())
    });
    assert_eq!(get(&mut session, "else"), None);
    assert!(is_unavailable(&session.call(&["SET", "kept:1", "new"])));
    assert!(old(&mut session, "kept:1"));
    assert!(stage.near.running().lane_is_up());
    stage.server.client().must(&["SET", "kept:2", "new"]);
    eventually("the push", || {
        get(&mut session, "kept:2").is_none().then_some(())
    });
    stage.near.running().node().force(None);
    eventually("the new value", || {
        (get(&mut session, "kept:2").as_deref() == Some("new")).then_some(())
    });
    let served = stage.served();
    assert!(old(&mut session, "kept:1"));
    assert_eq!(stage.served(), served);
}

#[test]
fn in_the_shadow_and_switched_off() {
    use nearside::l1::settings::Mode;
    for mode in [Mode::Shadow, Mode::Off] {
        let mut stage = Stage::new(LONG, |_| {});
        let mut session = stage.near.session();
        stage.hold(&mut session, &["kept:1"]);
        stage.kill(&mut session);
        assert!(old(&mut session, "kept:1"));
        let switch = stage.near.running().switch();
        switch.set(Some(mode), None).expect("it may be switched");
        assert_eq!(get(&mut session, "kept:1"), None, "{mode:?}");
        switch.set(Some(Mode::On), None).expect("and back");
        assert_eq!(get(&mut session, "kept:1"), None, "{mode:?}");
    }
}

#[test]
fn it_is_counted_and_told() {
    let mut stage = Stage::new(LONG, |settings| {
        settings.admin.http = Some(([127, 0, 0, 1], 0).into());
    });
    let mut session = stage.near.session().speaking(Protocol::Resp3);
    stage.hold(&mut session, &["kept:1"]);
    let told = |session: &mut Client| {
        let stats = session.must(&["NEARSIDE", "STATS"]);
        let paths = [&["stale"][..], &["keyspaces", "kept", "stale"]];
        let counts = paths.map(|path| field(&stats, path).clone());
        (counts, field(&stats, &["stale_service"]).clone())
    };
    let pair = |name: &str, value: Value| (Value::Bulk(name.into()), value);
    let no = Value::Map(vec![pair("possible", Value::Bulk(b"no".to_vec()))]);
    assert_eq!(told(&mut session), ([Value::Int(0), Value::Int(0)], no));
    stage.kill(&mut session);
    assert!(old(&mut session, "kept:1"));
    let (counts, service) = told(&mut session);
    assert_eq!(counts, [Value::Int(1), Value::Int(1)]);
    let yes = pair("possible", Value::Bulk(b"yes".to_vec()));
    let age = field(&service, &["age_ms"]);
    assert!(matches!(age, Value::Int(0..)), "{service:?}");
    assert_eq!(service, Value::Map(vec![yes, pair("age_ms", age.clone())]));
    let http = stage.near.running().http().expect("a side port");
    let (_, metrics) = exchange(http, "GET", "/metrics", "");
    for line in [
        "nearside_cache_stale_served_total{cache_type=\"kept\"} 1\n",
        "nearside_cache_stale_served_total{cache_type=\"default\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let stats = ask(http, "GET", "/v1/cache/stats", "").body;
    assert_eq!(stats["stale_service"]["possible"], "yes");
    assert_eq!(stats["keyspaces"]["kept"]["stale"], 1);
}

/// How old that is which would be served is known although nobody reads, however far `max_staleness` reaches.
#[test]
fn signs_of_life_are_asked_for_where_stale_may_be_served() {
    for (serve_stale, asks) in [(Duration::from_secs(2), true), (Duration::ZERO, false)] {
        let rig =
            Rig::new(|settings| settings.l1.keyspaces = vec![kept(&settings.l1, serve_stale)]);
        rig.near.session().must(&["PING"]);
        let mark = rig.relay.mark();
        let asked = || {
            rig.relay
                .sent(mark, |command| command.len() == 1 && command[0] == b"HELLO")
        };
        if asks {
            eventually("a sign of life asked for", || asked().then_some(()));
        } else {
            thread::sleep(Duration::from_millis(1500));
            assert!(!asked());
        }
    }
}
