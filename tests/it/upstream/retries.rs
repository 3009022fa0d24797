//! Reads that were in flight on a lane that was lost.

use super::{Stage, eventually, is_unavailable};
use nearside::upstream::settings::Retry;

use crate::support::client::{Client, Protocol};
use crate::support::resp::Value;

const LOST: &str = "connection lost before the reply";

/// Sends a command whose reply is kept back, and waits until it is there.
fn ask(stage: &Stage, session: &mut Client, command: &[&str]) {
    let before = stage.upstream.count(command);
    session.send(command);
    session.flush();
    stage.upstream.await_command(command, before);
}

#[test]
fn a_read_is_sent_again_once_and_answered() {
    for (command, value) in [
        (&["GET", "k"][..], Value::Bulk(b"v".to_vec())),
        (&["STRLEN", "k"], Value::Int(1)),
    ] {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let stage = Stage::new(|_| {});
            let mut session = stage.near.session().speaking(protocol);
            stage.upstream.hold(stage.lane);
            ask(&stage, &mut session, command);
            stage.lose();
            assert_eq!(session.read(), value, "{command:?}");
            assert_eq!(stage.upstream.count(command), 2);
            session.must(&["GET", "other"]);
        }
    }
}

#[test]
fn never_where_the_operator_said_so() {
    let stage = Stage::new(|settings| settings.lane.retry = Retry::Never);
    let mut session = stage.near.session();
    stage.upstream.hold(stage.lane);
    ask(&stage, &mut session, &["GET", "k"]);
    stage.lose();
    let reply = session.read();
    assert!(is_unavailable(&reply, LOST), "{reply:?}");
    stage.await_lane();
    assert_eq!(stage.upstream.count(&["GET", "k"]), 1);
}

#[test]
fn only_the_last_and_only_reads() {
    let stage = Stage::new(|_| {});
    let mut session = stage.near.session();
    stage.upstream.hold(stage.lane);
    for command in [
        &["GET", "a"][..],
        &["GET", "b"],
        &["SET", "c", "1"],
        &["GET", "d"],
    ] {
        ask(&stage, &mut session, command);
    }
    let mut writer = stage.near.session();
    ask(&stage, &mut writer, &["SET", "w", "1"]);
    let mut publisher = stage.near.session();
    ask(&stage, &mut publisher, &["PUBLISH", "c", "m"]);
    stage.lose();
    for _ in 0..3 {
        let reply = session.read();
        assert!(is_unavailable(&reply, LOST), "{reply:?}");
    }
    assert_eq!(session.read().text(), Some("v"));
    for session in [&mut writer, &mut publisher] {
        let reply = session.read();
        assert!(is_unavailable(&reply, LOST), "{reply:?}");
    }
    let counts = [
        &["GET", "a"][..],
        &["GET", "b"],
        &["SET"],
        &["PUBLISH"],
        &["GET", "d"],
    ]
    .map(|command| stage.upstream.count(command));
    assert_eq!(counts, [1, 1, 2, 1, 2]);
}

/// What its client sends while the lane is away comes behind it.
#[test]
fn before_what_comes_behind_it() {
    let stage = Stage::new(|_| {});
    let mut session = stage.near.session();
    stage.upstream.hold(stage.lane);
    ask(&stage, &mut session, &["GET", "k"]);
    stage.gate.shut();
    stage.lose();
    session.send(&["SET", "k", "1"]);
    session.send(&["GET", "k"]);
    session.flush();
    // Another's command is in the queue behind those.
    let mut other = stage.near.session();
    other.send(&["SET", "other", "1"]);
    other.flush();
    stage.gate.open();
    assert_eq!(session.read().text(), Some("v"));
    assert_eq!(session.read().text(), Some("OK"));
    assert_eq!(session.read().text(), Some("v"));
    other.read();
    let commands = stage.upstream.commands();
    let of_k: Vec<&str> = commands
        .iter()
        .filter(|(lane, words)| {
            *lane != stage.lane && words.get(1).is_some_and(|key| key == "k") && words[0] != "PTTL"
        })
        .map(|(_, words)| words[0].as_str())
        .collect();
    assert_eq!(of_k, ["GET", "SET", "GET"]);
}

#[test]
fn not_a_second_time() {
    let stage = Stage::new(|_| {});
    let mut session = stage.near.session();
    // What this is answered with is the end of the connection.
    let reply = session.call(&["GET", "lost"]);
    assert!(is_unavailable(&reply, LOST), "{reply:?}");
    session.must(&["GET", "other"]);
    assert_eq!(stage.upstream.count(&["GET", "lost"]), 2);
}

/// Many that shared one read share the second, too.
#[test]
fn one_for_all_who_shared_it() {
    let stage = Stage::new(|_| {});
    let mut sessions: Vec<Client> = (0..20).map(|_| stage.near.session()).collect();
    stage.upstream.hold(stage.lane);
    ask(&stage, &mut sessions[0], &["GET", "k"]);
    for session in &mut sessions[1..] {
        session.send(&["GET", "k"]);
        session.flush();
        // Handled: the lane answers only what comes next, and on the same thread.
    }
    eventually("all have missed", || {
        let stats = stage.near.running();
        (stats.misses() >= 21).then_some(())
    });
    assert_eq!(stage.upstream.count(&["GET", "k"]), 1, "they share it");
    stage.gate.shut();
    stage.lose();
    eventually("all have asked again", || {
        let retries = &stage.near.running().node().retries;
        (retries.counts().0 + retries.shared() == 20).then_some(())
    });
    stage.gate.open();
    for session in &mut sessions {
        assert_eq!(session.read().text(), Some("v"));
    }
    assert_eq!(stage.upstream.count(&["GET", "k"]), 2);
}

/// An outage is not amplified: with hardly any requests before, no more than a few.
#[test]
fn no_more_than_a_fifth_of_what_was_answered_lately() {
    let stage = Stage::new(|_| {});
    let mut sessions: Vec<Client> = (0..30).map(|_| stage.near.session()).collect();
    stage.upstream.hold(stage.lane);
    for (n, session) in sessions.iter_mut().enumerate() {
        ask(&stage, session, &["GET", &format!("k{n}")]);
    }
    stage.lose();
    let answered = sessions
        .iter_mut()
        .map(Client::read)
        .filter(|reply| reply.text() == Some("v"))
        .count();
    assert_eq!(answered, 10);
    assert_eq!(stage.near.running().node().retries.counts(), (10, 20));
}
