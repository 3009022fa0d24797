//! What is refused before anything is sent: too much is in flight, or the circuit is open.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nearside::upstream::breaker::Forced;

use super::{Stage, eventually, is_unavailable};
use crate::support::nearside::Nearside;
use crate::support::resp::Value;
use crate::support::scripted::{Scripted, usual};

#[test]
fn too_much_in_flight_on_a_lane() {
    overload(|settings| settings.max_lane_in_flight = 4);
}

#[test]
fn too_much_in_flight_in_all() {
    overload(|settings| settings.max_in_flight = 4);
}

fn overload(adjust: impl FnOnce(&mut nearside::upstream::settings::Settings)) {
    let stage = Stage::new(|settings| {
        settings.lane.lane_overdue = super::NEVER;
        settings.lane.request_timeout = super::NEVER;
        adjust(&mut settings.lane);
    });
    stage.upstream.hold(stage.lane);
    let mut session = stage.near.session();
    for n in 0..4 {
        session.send(&["GET", &format!("k{n}")]);
        session.flush();
        stage.upstream.await_command(&["GET", &format!("k{n}")], 0);
    }
    eventually("all are counted", || {
        (stage.near.running().node().in_flight() >= 4).then_some(())
    });
    let mut other = stage.near.session();
    let overloaded = Value::Error("UNAVAILABLE overloaded".into());
    assert_eq!(other.call(&["SET", "x", "1"]), overloaded, "at once");
    // This one has replies to come, and gets its error behind them.
    session.send(&["SET", "x", "1"]);
    session.send(&["PING"]);
    session.flush();
    eventually("both were refused", || {
        (stage.near.running().node().overloads() >= 2).then_some(())
    });
    stage.upstream.release(stage.lane);
    for _ in 0..4 {
        assert_eq!(session.read(), Value::Bulk(b"v".to_vec()));
    }
    assert_eq!(session.read(), overloaded);
    let last = session.read();
    assert!(
        last == overloaded || last.text() == Some("PONG"),
        "{last:?}"
    );
    assert_eq!(stage.upstream.count(&["SET"]), 0);
    other.must(&["SET", "x", "1"]);
}

/// A lane is up, an own connection is open, and nothing goes there.
#[test]
fn nothing_goes_through_an_open_circuit() {
    let stage = Stage::new(|_| {});
    let mut session = stage.near.session();
    let mut inside = stage.near.session();
    inside.must(&["MULTI"]);
    let mut waiting = stage.near.session();
    stage.upstream.hold(stage.lane);
    waiting.send(&["GET", "k"]);
    waiting.flush();
    stage.upstream.await_command(&["GET", "k"], 0);
    stage.near.running().node().force(Some(Forced::Open));
    let before = stage.upstream.commands().len();
    for command in [
        &["GET", "x"][..],
        &["SET", "x", "1"],
        &["CONFIG", "GET", "x"],
        &["WATCH", "x"],
    ] {
        let mut session = stage.near.session();
        let reply = session.call(command);
        assert!(
            is_unavailable(&reply, "forced open"),
            "{command:?}: {reply:?}"
        );
    }
    let reply = inside.call(&["SET", "x", "1"]);
    assert!(is_unavailable(&reply, "forced open"), "{reply:?}");
    let next = inside.try_call(&["EXEC"]);
    assert!(
        next.is_err(),
        "what EXEC would carry out lacks a command: {next:?}"
    );
    waiting.send(&["SET", "x", "1"]);
    waiting.flush();
    assert_eq!(stage.upstream.commands().len(), before);
    stage.upstream.release(stage.lane);
    let sent_before = waiting.read();
    assert_eq!(sent_before, Value::Bulk(b"v".to_vec()));
    let reply = waiting.read();
    assert!(is_unavailable(&reply, "forced open"), "{reply:?}");
    stage.near.running().node().force(None);
    eventually("one probe brings it back", || {
        (!session.call(&["GET", "x"]).is_error()).then_some(())
    });
    assert_eq!(stage.upstream.count(&["PING"]), 1);
    assert_eq!(stage.upstream.count(&["SET"]), 0);
}

/// All lanes are lost at once: they come back one after another.
#[test]
fn one_handshake_of_a_lane_at_a_time_after_a_loss() {
    #[derive(Default)]
    struct Seen {
        under_way: BTreeSet<usize>,
        most: usize,
    }
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let counted = Arc::clone(&seen);
    let upstream = Scripted::start(move |connection, command| {
        let mut seen = counted.lock().expect("unpoisoned");
        match command {
            ["HELLO", "3", ..] => {
                seen.under_way.insert(connection);
                seen.most = seen.most.max(seen.under_way.len());
                drop(seen);
                // Time for the others to begin theirs, where nothing holds them back.
                thread::sleep(Duration::from_millis(20));
            }
            ["CLIENT", "TRACKING", ..] => {
                seen.under_way.remove(&connection);
            }
            _ => {}
        }
        Some(usual(command))
    });
    let near = Nearside::start(upstream.addr(), |_| {});
    let mut sessions: Vec<_> = (0..6).map(|_| near.session()).collect();
    for (db, session) in sessions.iter_mut().enumerate() {
        session.must(&["SELECT", &db.to_string()]);
    }
    let all = || (near.running().lanes_up() == 6).then_some(());
    eventually("six lanes", all);
    *seen.lock().expect("unpoisoned") = Seen::default();
    upstream.cut();
    eventually("no lane", || {
        (seen.lock().expect("unpoisoned").most > 0).then_some(())
    });
    eventually("six lanes again", all);
    assert_eq!(seen.lock().expect("unpoisoned").most, 1);
}
