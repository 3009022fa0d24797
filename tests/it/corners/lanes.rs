//! Lanes that come, go, or are not let in.

use std::time::Duration;

use crate::coherence::promise::{Promise, version};
use crate::coherence::rig::{QUIET, Rig, is_push};
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
