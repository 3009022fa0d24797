//! Lanes that come, go, or are not let in.

use std::cell::Cell;
use std::time::Duration;

use crate::coherence::promise::{Promise, version};
use crate::coherence::rig::{QUIET, Rig};
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::relay::Relay;
use crate::support::resp::Value;

/// Where losing the lane opens the circuit, commands do not wait for the next attempt.
#[test]
fn an_open_circuit_answers_although_the_lane_was_up_a_moment_ago() {
    let rig = Rig::new(|settings| settings.lane.breaker.failure_threshold = 1);
    let mut session = rig.session();
    rig.relay.hold();
    session.send(&["INCR", "n"]);
    session.flush();
    rig.relay
        .await_held("the reply", |frames| !frames.is_empty());
    rig.relay.kill_lane();
    assert!(session.read().is_error(), "it may have been carried out");
    let reply = session.call(&["INCR", "n"]);
    assert!(
        matches!(&reply, Value::Error(text) if text.contains("circuit open")),
        "{reply:?}"
    );
}

/// What a lane answered that was left is not older than what the lane in its place has answered to others of the same
/// identity, hits that waited for their turn included.
#[test]
fn a_lane_that_was_left_serves_nothing_old() {
    let rig = Rig::new(|settings| settings.lane.lane_overdue = Duration::from_millis(50));
    rig.warm("k");
    let (mut stuck, mut behind, mut other) = (rig.session(), rig.session(), rig.session());
    rig.relay.hold_only(0);
    stuck.send(&["INCR", "n"]);
    stuck.send(&["GET", "k"]);
    stuck.flush();
    rig.relay
        .await_held("the first reply", |frames| frames.len() == 1);
    // Keeps the lane from ending with the first reply.
    behind.send(&["INCR", "n"]);
    behind.flush();
    rig.relay
        .await_held("the second reply", |frames| frames.len() == 2);
    rig.put("k", 2);
    rig.held_push();
    eventually("a fresh lane", || {
        other.call(&["GET", "k"]);
        (rig.relay.lanes() == 2).then_some(())
    });
    let seen = version("k", &other.call(&["GET", "k"])).expect("a version");
    assert_eq!(seen, 2);
    rig.relay.pass_while(|frame| frame.value == Value::Int(1));
    assert_eq!(stuck.read(), Value::Int(1));
    // Answered from memory now, or from the lane when it goes on.
    rig.relay.release();
    let seen = version("k", &stuck.read()).expect("a version");
    assert_eq!(Promise::MonotonicKeys.at_least("k", seen, 2), Ok(()));
}

/// What an own connection has said fences its session, which costs nothing; a write has a marker on every other lane
/// that may hold a push for it back.
#[test]
fn markers_go_where_a_write_may_reach() {
    let rig = Rig::new(|_| {});
    let (mut session, mut other) = (rig.session(), rig.session());
    other.must(&["SELECT", "1"]);
    eventually("a second lane", || {
        let mark = rig.relay.mark();
        other.must(&["DBSIZE"]);
        rig.relay
            .sent(mark, |command| command[0] == b"DBSIZE")
            .then_some(())
    });
    let mut markers = |command: &[&str]| {
        let mark = rig.relay.mark();
        session.must(command);
        // On each lane behind the markers, since L1 never answers it.
        session.must(&["DBSIZE"]);
        other.must(&["DBSIZE"]);
        let count = Cell::new(0);
        rig.relay.sent(mark, |command| {
            count.set(count.get() + u32::from(command[0] == b"PING"));
            false
        });
        count.get()
    };
    // Connected by now, and in the pool.
    markers(&["CLIENT", "LIST"]);
    assert_eq!(markers(&["CLIENT", "LIST"]), 0);
    assert_eq!(markers(&["SET", "k", "1"]), 0, "of another database");
    assert_eq!(markers(&["COPY", "k", "j", "DB", "1"]), 1);
    assert_eq!(markers(&["FLUSHDB"]), 1);
    assert_eq!(
        markers(&["EVAL", "return 1", "0"]),
        2,
        "it may have written"
    );
}

/// A user whom the upstream no longer lets in is cut off, as the server would do, and nobody else.
#[test]
fn sessions_of_a_user_that_is_gone_are_closed() {
    let server = RedisServer::start(&[]);
    let relay = Relay::start(server.addr());
    let near = Nearside::start(relay.addr(), |settings| settings.l1.max_staleness = QUIET);
    let mut direct = server.client();
    direct.must(&[
        "ACL", "SETUSER", "amy", "on", ">secret", "~*", "&*", "+@all",
    ]);
    let (mut amy, mut other) = (near.session(), near.session());
    amy.must(&["AUTH", "amy", "secret"]);
    amy.must(&["SET", "k", "1"]);
    direct.must(&["ACL", "DELUSER", "amy"]);
    eventually("the end of her session", || {
        amy.send(&["GET", "k"]);
        let ended = amy.try_flush().is_err() || amy.try_read().is_err();
        ended.then_some(())
    });
    assert_eq!(other.call(&["GET", "k"]).text(), Some("1"));
    // Back with another password, whoever gives that one is let in at once.
    direct.must(&["ACL", "SETUSER", "amy", "on", ">new", "~*", "&*", "+@all"]);
    let mut amy = near.session();
    amy.must(&["AUTH", "amy", "new"]);
    assert_eq!(amy.call(&["GET", "k"]).text(), Some("1"));
}
