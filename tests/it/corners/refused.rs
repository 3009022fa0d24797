//! Commands that decide what those behind them mean, where the connection that they need cannot be had: what is behind
//! them is not carried out as something else.

use std::time::Duration;

use crate::coherence::rig::Rig;
use crate::support::client::Protocol;
use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

const DECIDE: [&[&str]; 4] = [
    &["MULTI"],
    &["WATCH", "watched"],
    &["SELECT", "1"],
    &["AUTH", "amy", "secret"],
];

/// A handshake takes too long now; the lane is past its own.
fn stick(server: &RedisServer, seconds: &str) {
    let mut direct = server.client();
    direct.send(&["DEBUG", "SLEEP", seconds]);
    direct.flush();
    eventually("a stuck server", || {
        let mut other = server.client();
        other.send(&["PING"]);
        other.flush();
        (!other.has_reply(Duration::from_millis(20))).then_some(())
    });
}

fn rig(failure_threshold: u32) -> Rig {
    let rig = Rig::new(|settings| {
        settings.lane.handshake_timeout = Duration::from_millis(200);
        settings.lane.breaker.failure_threshold = failure_threshold;
    });
    let command = ["ACL", "SETUSER", "amy", "on", ">secret", "~*", "+@all"];
    rig.server.client().must(&command);
    rig
}

/// The circuit is open, and the lane is up all the same: it would carry out what comes behind.
#[test]
fn nothing_is_carried_out_behind_what_an_open_circuit_refuses() {
    let rig = rig(1);
    let mut sessions: Vec<_> = DECIDE.iter().map(|_| rig.near.session()).collect();
    let mut prober = rig.near.session().speaking(Protocol::Resp3);
    stick(&rig.server, "1");
    let reply = prober.call(&["EVAL", "return 1", "0"]);
    assert!(
        matches!(&reply, Value::Error(text) if text.contains("circuit open")),
        "{reply:?}"
    );
    for (session, command) in sessions.iter_mut().zip(DECIDE) {
        session.send(command);
        session.send(&["SET", command[0], "1"]);
        session.flush();
    }
    let mut refused = Vec::new();
    for (session, command) in sessions.iter_mut().zip(DECIDE) {
        // On a machine that stood still the circuit may have closed meanwhile.
        if session.read().is_error() {
            assert!(session.try_read().is_err(), "{command:?} ends its session");
            refused.push(command[0]);
        }
    }
    eventually("the circuit closes by itself", || {
        (!prober.call(&["PING"]).is_error()).then_some(())
    });
    for key in refused {
        let exists = rig.server.client().call(&["EXISTS", key]);
        assert_eq!(exists, Value::Int(0), "the SET behind {key}");
    }
}

/// The same where the attempt to connect is made, and fails.
#[test]
fn nothing_is_carried_out_behind_what_a_failed_connection_takes_along() {
    let rig = rig(100);
    let mut sessions: Vec<_> = DECIDE
        .iter()
        .map(|_| rig.near.session().speaking(Protocol::Resp3))
        .collect();
    stick(&rig.server, "1");
    for (session, command) in sessions.iter_mut().zip(DECIDE) {
        session.send(command);
        session.send(&["SET", "k", "1"]);
        session.flush();
    }
    for (session, command) in sessions.iter_mut().zip(DECIDE) {
        assert!(session.read().is_error(), "{command:?}");
        // What was sent to the connection gets an error each; what waited for it is not taken any more.
        while let Ok(reply) = session.try_read() {
            assert!(reply.is_error(), "{command:?}: {reply:?}");
        }
    }
    rig.near.session().must(&["PING"]);
    assert_eq!(rig.server.client().call(&["EXISTS", "k"]), Value::Int(0));
}
