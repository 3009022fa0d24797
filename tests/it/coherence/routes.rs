//! Where a session's connection state and its route meet: RESET, CLIENT REPLY, HELLO.

use std::time::Duration;

use super::promise::{Promise, value, version};
use super::rig::Rig;
use crate::support::client::{Client, Protocol};
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

/// Commands behind RESET in one pipeline find a fresh connection, and what they set up there holds.
#[test]
fn reset_in_a_pipeline_keeps_what_comes_behind_it() {
    let rig = Rig::new(|_| {});
    let mut session = rig.session();
    session.must(&["SELECT", "1"]);
    for command in [&["RESET"][..], &["SELECT", "1"], &["PING"]] {
        session.send(command);
    }
    session.flush();
    assert_eq!(session.read().text(), Some("RESET"));
    assert_eq!(session.read().text(), Some("OK"));
    assert_eq!(session.read().text(), Some("PONG"));
    session.must(&["SET", "k", "1"]);
    let mut direct = rig.server.client();
    assert_eq!(direct.call(&["GET", "k"]), Value::Nil, "in database 0");
    direct.must(&["SELECT", "1"]);
    assert_eq!(
        direct.call(&["GET", "k"]).text(),
        Some("1"),
        "in database 1"
    );
}

/// A reply that comes some time after RESET's does come.
#[test]
fn reset_in_a_pipeline_loses_no_reply() {
    let rig = Rig::new(|_| {});
    let mut session = rig.session();
    session.must(&["SELECT", "1"]);
    for command in [&["RESET"][..], &["BLPOP", "none", "0.3"], &["PING"]] {
        session.send(command);
    }
    session.flush();
    assert_eq!(session.read().text(), Some("RESET"));
    assert_eq!(session.read(), Value::Nil);
    assert_eq!(session.read().text(), Some("PONG"));
}

/// RESET goes back to RESP2, on the session's own connection as well.
#[test]
fn reset_goes_back_to_resp2_on_every_route() {
    let rig = Rig::new(|_| {});
    let mut session = rig.near.session().speaking(Protocol::Resp3);
    session.must(&["EVAL", "return 1", "0"]);
    session.must(&["RESET"]);
    session.send(&["SUBSCRIBE", "news"]);
    session.flush();
    assert!(
        session.has_reply(Duration::from_secs(5)),
        "an array, not a push"
    );
    assert_eq!(session.read().elements().len(), 3);
}

/// A write is acknowledged to a client that has used CLIENT REPLY as to any other.
#[test]
fn own_writes_hold_after_client_reply() {
    // Each with the number of replies that the commands before the last one get.
    let ways: [(&[&[&str]], usize); 3] = [
        (&[&["CLIENT", "REPLY", "ON"], &["SET", "k", "k:2"]], 1),
        (
            &[
                &["CLIENT", "REPLY", "SKIP"],
                &["SET", "k", "k:2"],
                &["PING"],
            ],
            0,
        ),
        (
            &[
                &["CLIENT", "REPLY", "OFF"],
                &["SET", "k", "k:2"],
                &["CLIENT", "REPLY", "ON"],
            ],
            0,
        ),
    ];
    for (commands, replies) in ways {
        let rig = Rig::new(|_| {});
        rig.warm("k");
        let (mut writer, mut other) = (rig.session(), rig.session());
        rig.relay.hold();
        for command in commands {
            writer.send(command);
        }
        writer.flush();
        for _ in 0..=replies {
            rig.acknowledged(&mut writer);
        }
        if let Err(violation) = rig.racing_check(&mut other, "k", Promise::OwnWrites, 2) {
            panic!("{commands:?}: {violation}");
        }
    }
}

/// A name that was set while the session was on its own connection is its name afterwards.
#[test]
fn a_name_survives_a_change_of_route() {
    let rig = Rig::new(|_| {});
    let mut session = rig.session();
    session.must(&["WATCH", "k"]);
    session.must(&["CLIENT", "SETNAME", "somebody"]);
    session.must(&["UNWATCH"]);
    assert_eq!(
        session.call(&["CLIENT", "GETNAME"]).text(),
        Some("somebody")
    );
}

/// A client that says HELLO before nearside has reached its upstream is served from L1 once it has.
#[test]
fn an_early_hello_does_not_cost_the_cache() {
    let server = RedisServer::start(&[]);
    server.client().must(&["SET", "k", &value("k", 1)]);
    let mut busy = server.client();
    busy.send(&["DEBUG", "SLEEP", "0.5"]);
    busy.flush();
    let near = Nearside::start(server.addr(), |_| {});
    let mut session: Client = near.session().speaking(Protocol::Resp3);
    busy.read();
    let first_hit = crate::support::eventually("a hit", || {
        let before = near.hits();
        let reply = session.call(&["GET", "k"]);
        (near.hits() > before).then_some(reply)
    });
    assert_eq!(version("k", &first_hit), Ok(1));
}
