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
