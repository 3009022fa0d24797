//! What is written before the loss, about that time, and while what was held is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{LONG, OLD, Stage, get, is_unavailable, old};
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::scripted::{Scripted, usual};

/// A write that was refused has changed nothing; one that may have been carried out may have changed what it names.
#[test]
fn writes() {
    let mut stage = Stage::new(LONG, |_| {});
    let mut session = stage.near.session();
    stage.hold(&mut session, &["kept:1", "kept:2"]);
    stage.server.freeze();
    let mut writer = stage.near.session();
    writer.send(&["SET", "kept:2", "new"]);
    writer.flush();
    eventually("the write on its way", || {
        let held = stage.near.running().l1_entries();
        (held.len() == 1).then_some(())
    });
    stage.kill(&mut session);
    assert!(is_unavailable(&writer.read()));
    for session in [&mut session, &mut writer] {
        assert_eq!(get(session, "kept:2"), None);
        assert!(old(session, "kept:1"));
        for write in [
            &["SET", "kept:1", "new"][..],
            &["FLUSHALL"],
            &["EVAL", "return redis.call('SET', 'kept:1', 'new')", "0"],
            &["BLPOP", "kept:1", "0"],
        ] {
            let reply = session.call(write);
            assert!(is_unavailable(&reply), "{write:?} got {reply:?}");
        }
        session.send(&["MULTI"]);
        session.send(&["SET", "kept:1", "new"]);
        session.send(&["EXEC"]);
        session.flush();
        for _ in 0..3 {
            assert!(is_unavailable(&session.read()));
        }
        assert!(old(session, "kept:1"));
    }
}

/// What scripts write is not known: with one under way when the upstream was lost nothing of before is served.
#[test]
fn scripts_under_way() {
    for by_lane in [false, true] {
        let mut stage = Stage::new(LONG, |settings| {
            settings.proxy.scripts_by_lane = by_lane;
        });
        let mut session = stage.near.session();
        stage.hold(&mut session, &["kept:1"]);
        let mut writer = stage.near.session();
        // So that its connection is there.
        writer.must(&["EVAL", "return 1", "0"]);
        stage.warm(&mut session, "kept:1");
        writer.send(&["EVAL", "while true do end", "0"]);
        writer.flush();
        eventually("the script's start", || {
            let reply = stage.server.client().call(&["PING"]);
            reply.is_error().then_some(())
        });
        stage.server.kill();
        // It may have been carried out: an error, or the end of the connection.
        writer.try_read().ok();
        assert_eq!(get(&mut session, "kept:1"), None, "by lane: {by_lane}");
    }
}

/// Those that were answered are in what is held.
#[test]
fn scripts_that_were_answered() {
    let mut stage = Stage::new(LONG, |_| {});
    let mut session = stage.near.session();
    stage.hold(&mut session, &["kept:1", "kept:2"]);
    let script = "return redis.call('SET', 'kept:1', 'new')";
    stage.near.session().must(&["EVAL", script, "0"]);
    stage.warm(&mut session, "kept:2");
    stage.kill(&mut session);
    assert_ne!(get(&mut session, "kept:1").as_deref(), Some(OLD));
    assert!(old(&mut session, "kept:2"));
}

/// A client that was told something over a connection of its own is not shown what may be older; others are.
#[test]
fn who_was_told_something_newer() {
    let mut stage = Stage::new(LONG, |settings| settings.l1.max_staleness = LONG);
    let [mut told, mut other] = [(); 2].map(|()| stage.near.session());
    stage.hold(&mut other, &["kept:1"]);
    told.must(&["BLPOP", "nothing", "0.01"]);
    stage.kill(&mut other);
    assert_eq!(get(&mut told, "kept:1"), None);
    assert!(old(&mut other, "kept:1"));
}

/// One that waits on a connection of its own has been told nothing.
#[test]
fn who_is_blocked_when_it_is_lost() {
    let mut stage = Stage::new(LONG, |_| {});
    let mut session = stage.near.session();
    stage.hold(&mut session, &["kept:1"]);
    let mut blocked = stage.near.session();
    blocked.send(&["BLPOP", "nothing", "0"]);
    blocked.flush();
    eventually("it to block", || {
        let info = stage.server.client().must(&["INFO", "clients"]);
        let blocks = info.text().expect("a text").contains("blocked_clients:1\r");
        blocks.then_some(())
    });
    stage.kill(&mut session);
    blocked.try_read().ok();
    assert!(old(&mut session, "kept:1"));
}

/// Before an upstream that is reached over connections which are there, and over no new lane.
struct Halved {
    // Dropped before the upstream is.
    near: Nearside,
    upstream: Scripted,
    shut: Arc<AtomicBool>,
}

impl Halved {
    fn new(scripts_by_lane: bool) -> Self {
        let shut: Arc<AtomicBool> = Arc::default();
        let is_shut = Arc::clone(&shut);
        let upstream = Scripted::start(move |_, command| {
            let opens = command[0] == "HELLO" && command.len() > 1;
            if opens && is_shut.load(Ordering::SeqCst) {
                return None;
            }
            Some(match command[0] {
                "EVAL" => b"+OK\r\n".to_vec(),
                _ => usual(command),
            })
        });
        let near = Nearside::start(upstream.addr(), |settings| {
            settings.downstream.workers = 1;
            settings.lane.breaker.failure_threshold = u32::MAX;
            settings.lane.breaker.minimum_calls = u32::MAX;
            settings.proxy.scripts_by_lane = scripts_by_lane;
            settings.l1.serve_stale = LONG;
        });
        Self {
            near,
            upstream,
            shut,
        }
    }

    /// Has a key held, and then the lane lost that brought it. The session is served what was held.
    fn lose_lane(&self, session: &mut Client) {
        session.must(&["GET", "k"]);
        let lane = self.upstream.await_command(&["GET", "k"], 0);
        // Later than all that the session was told before.
        thread::sleep(Duration::from_millis(2));
        session.must(&["GET", "other"]);
        // Not before the answer to PTTL, which comes behind the value.
        eventually("it to be held", || {
            let held = self.near.running().l1_entries();
            let is_other = |request: &[u8]| request.ends_with(b"\r\nother\r\n");
            held.iter()
                .any(|(request, _)| is_other(request))
                .then_some(())
        });
        self.shut.store(true, Ordering::SeqCst);
        self.upstream.cut_one(lane);
        eventually("the loss", || {
            is_unavailable(&session.call(&["GET", "unknown"])).then_some(())
        });
        assert_eq!(get(session, "k").as_deref(), Some("v"));
    }
}

#[test]
fn a_script_that_is_answered_while_a_lane_is_lost() {
    let stage = Halved::new(false);
    let [mut session, mut writer] = [(); 2].map(|()| stage.near.session());
    writer.must(&["EVAL", "return 1", "0"]);
    stage.lose_lane(&mut session);
    writer.must(&["EVAL", "return redis.call('SET', 'k', 'new')", "0"]);
    assert_eq!(get(&mut session, "k"), None);
}

#[test]
fn a_script_that_is_answered_by_a_lane_while_another_is_lost() {
    let stage = Halved::new(true);
    let [mut session, mut writer] = [(); 2].map(|()| stage.near.session());
    writer.must(&["GET", "before"]);
    session.must(&["SELECT", "1"]);
    eventually("its lane", || {
        (stage.near.running().lanes_up() == 2).then_some(())
    });
    stage.lose_lane(&mut session);
    writer.must(&[
        "EVAL",
        "redis.call('SELECT', 1) redis.call('SET', 'k', 'new')",
        "0",
    ]);
    assert_eq!(get(&mut session, "k"), None);
}

#[test]
fn a_write_by_a_lane_while_another_is_lost() {
    let stage = Halved::new(false);
    let [mut session, mut writer] = [(); 2].map(|()| stage.near.session());
    writer.must(&["GET", "before"]);
    session.must(&["SELECT", "1"]);
    eventually("its lane", || {
        (stage.near.running().lanes_up() == 2).then_some(())
    });
    stage.lose_lane(&mut session);
    writer.must(&["GET", "k"]);
    writer.call(&["COPY", "before", "k", "DB", "1"]);
    assert_eq!(get(&mut session, "k"), None);
    assert_eq!(get(&mut session, "other").as_deref(), Some("v"));
}
