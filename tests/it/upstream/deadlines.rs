//! Requests that get no reply in time.

use std::time::{Duration, Instant};

use super::{NEVER, Stage, eventually, is_unavailable};
use nearside::upstream::settings::Settings;

const LATE: &str = "no reply within request_timeout";

fn brief(settings: &mut Settings) {
    settings.request_timeout = Duration::from_millis(300);
    settings.lane_overdue = NEVER;
}

/// While the upstream's pushes keep coming the lane is alive; its requests are given up all the same, and replies that
/// come late are nobody's.
#[test]
fn a_lane_that_brings_pushes_and_no_replies() {
    let stage = Stage::new(|settings| brief(&mut settings.lane));
    let push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nx\r\n";
    stage.upstream.hold(stage.lane);
    let mut session = stage.near.session();
    session.send(&["SET", "k", "1"]);
    session.send(&["GET", "k"]);
    session.flush();
    stage.upstream.await_command(&["GET", "k"], 0);
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            while !over.load(std::sync::atomic::Ordering::SeqCst)
                && began.elapsed() < Duration::from_secs(30)
            {
                stage.upstream.send(stage.lane, push);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        for _ in 0..2 {
            let reply = session.read();
            assert!(is_unavailable(&reply, LATE), "{reply:?}");
        }
        over.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert_eq!(stage.upstream.count(&["SET"]), 1, "no write is sent again");
    session.must(&["GET", "other"]);
}

/// The lane hangs and another takes its place; who hangs on the old one is told.
#[test]
fn a_lane_that_is_silent() {
    let stage = Stage::new(|settings| {
        brief(&mut settings.lane);
        settings.lane.lane_overdue = Duration::from_millis(50);
    });
    stage.upstream.hold(stage.lane);
    let mut session = stage.near.session();
    session.send(&["GET", "k"]);
    session.flush();
    stage.upstream.await_command(&["GET", "k"], 0);
    let mut other = stage.near.session();
    eventually("a lane in its place", || {
        let reply = other.call(&["GET", "other"]);
        (reply.text() == Some("v")).then_some(())
    });
    let reply = session.read();
    assert!(is_unavailable(&reply, LATE), "{reply:?}");
    assert_eq!(stage.upstream.count(&["GET", "k"]), 1, "its time is over");
    session.must(&["GET", "other"]);
}

#[test]
fn a_lane_that_is_not_there_yet() {
    let stage = Stage::new(|settings| brief(&mut settings.lane));
    let mut session = stage.near.session();
    stage.upstream.hold(stage.lane);
    session.send(&["GET", "k"]);
    session.flush();
    stage.upstream.await_command(&["GET", "k"], 0);
    stage.gate.shut();
    stage.lose();
    let mut other = stage.near.session();
    let reply = other.call(&["SET", "k", "1"]);
    assert!(is_unavailable(&reply, "no connection within"), "{reply:?}");
    // It was to be sent again.
    let reply = session.read();
    assert!(is_unavailable(&reply, "no connection within"), "{reply:?}");
    stage.gate.open();
    stage.await_lane();
    assert_eq!(stage.upstream.count(&["SET"]), 0);
    other.must(&["SET", "k", "1"]);
}

#[test]
fn an_own_connection() {
    for (command, states) in [
        (&["WATCH", "k"][..], true),
        (&["BLPOP", "k", "0.1"], false),
        (&["CONFIG", "GET", "x"], false),
    ] {
        let stage = Stage::new(|settings| {
            brief(&mut settings.lane);
            settings.lane.long_request_timeout = Duration::from_millis(400);
        });
        let mut session = stage.near.session();
        session.call(&["CONFIG", "GET", "first"]);
        let own = stage.upstream.await_command(&["CONFIG"], 0);
        stage.upstream.hold(own);
        let reply = session.call(command);
        assert!(is_unavailable(&reply, LATE), "{command:?}: {reply:?}");
        let next = session.try_call(&["GET", "other"]);
        assert_eq!(next.is_err(), states, "{command:?}: {next:?}");
    }
}

/// One that may block for ever is waited for.
#[test]
fn not_what_blocks() {
    let stage = Stage::new(|settings| brief(&mut settings.lane));
    let mut session = stage.near.session();
    session.call(&["CONFIG", "GET", "first"]);
    let own = stage.upstream.await_command(&["CONFIG"], 0);
    stage.upstream.hold(own);
    session.send(&["BLPOP", "k", "0"]);
    session.flush();
    stage.upstream.await_command(&["BLPOP"], 0);
    assert!(!session.has_reply(Duration::from_millis(900)));
    stage.upstream.send(own, b"*2\r\n$1\r\nk\r\n$1\r\nx\r\n");
    assert!(!session.read().is_error());
}
