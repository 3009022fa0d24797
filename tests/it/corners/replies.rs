//! Every command gets its own reply, in its place, and no other.

use std::time::Duration;

use crate::coherence::rig::Rig;
use crate::support::client::{Client, Protocol};
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

/// Sends all commands in one write and reads as many replies as `count`.
fn pipeline(client: &mut Client, commands: &[&[&str]], count: usize) -> Vec<Value> {
    for command in commands {
        client.send(command);
    }
    client.flush();
    (0..count).map(|_| client.read()).collect()
}

/// A reply that ends its lane reaches its client, and so do the replies that arrived together with it.
#[test]
fn a_reply_that_ends_its_lane_is_handed_over() {
    let rig = Rig::new(|_| {});
    let (mut reader, mut writer) = (rig.session(), rig.session());
    // Nobody listens there; what matters is that it refuses writes.
    rig.server.client().must(&["REPLICAOF", "127.0.0.1", "1"]);
    rig.relay.hold();
    reader.send(&["GET", "k"]);
    reader.flush();
    rig.relay
        .await_held("the read's reply", |frames| !frames.is_empty());
    writer.send(&["SET", "k", "1"]);
    writer.flush();
    rig.relay.await_held("the write's reply", |frames| {
        frames
            .iter()
            .any(|frame| matches!(&frame.value, Value::Error(text) if text.starts_with("READONLY")))
    });
    rig.relay.release();
    assert_eq!(reader.read(), Value::Nil);
    assert!(matches!(writer.read(), Value::Error(text) if text.starts_with("READONLY")));
}

/// CLIENT REPLY in any order does what it does at the server.
#[test]
fn client_reply_silences_what_the_server_would() {
    let on: &[&str] = &["CLIENT", "REPLY", "ON"];
    let off: &[&str] = &["CLIENT", "REPLY", "OFF"];
    let skip: &[&str] = &["CLIENT", "REPLY", "SKIP"];
    let ping: &[&str] = &["PING"];
    let sequences: [&[&[&str]]; 14] = [
        &[skip, ping, ping],
        &[skip, skip, ping, ping],
        &[skip, off, ping, on, ping],
        &[skip, on, ping],
        &[off, skip, ping, ping, on, ping],
        &[off, &["RESET"], ping],
        &[skip, &["RESET"], ping],
        &[skip, &["EVAL", "return 1", "0"], ping],
        &[off, &["EVAL", "return 1", "0"], &["RESET"], ping],
        &[
            skip,
            &["SET", "a", "1"],
            &["MULTI"],
            &["GET", "a"],
            &["EXEC"],
        ],
        &[skip, &["MULTI"], &["GET", "a"], &["EXEC"]],
        &[skip, &["CLIENT", "REPLY", "NONE"], ping],
        &[skip, &["GET", "ready"], &["GET", "ready"]],
        &[off, &["GET", "ready"], on, &["GET", "ready"]],
    ];
    let rig = Rig::new(|_| {});
    for sequence in sequences {
        let [mut near, mut direct] = [rig.session(), rig.server.client()];
        let all = |client: &mut Client| {
            for command in sequence {
                client.send(command);
            }
            client.send(&["ECHO", "the end"]);
            client.flush();
            let mut replies = Vec::new();
            while replies.last().and_then(Value::text) != Some("the end") {
                replies.push(client.read());
            }
            replies
        };
        assert_eq!(all(&mut near), all(&mut direct), "{sequence:?}");
    }
}

/// One skipped reply is that of the large request, not of the one behind it as well.
#[test]
fn a_skipped_reply_to_a_large_request_is_one_reply() {
    let rig = Rig::new(|_| {});
    let mut session = rig.session();
    let large = "x".repeat(5 << 20);
    session.send(&["CLIENT", "REPLY", "SKIP"]);
    session.send(&["SET", "large", &large]);
    session.send(&["STRLEN", "large"]);
    session.flush();
    assert_eq!(session.read(), Value::Int(5 << 20));
}

/// A read that is repeated over an own connection, its reply being too large for the lane, is answered before what was
/// sent behind it, also where its client was too slow to see that coming.
#[test]
fn a_repeated_read_keeps_its_place() {
    let rig = Rig::new(|settings| {
        settings.lane.lane_stall_limit = Duration::ZERO;
        settings.lane.output_limit = 256 << 20;
    });
    let mut direct = rig.server.client();
    let (medium, large) = (900 << 10, 2 << 20);
    direct.must(&["SETRANGE", "medium", &(medium - 1).to_string(), "x"]);
    direct.must(&["SETRANGE", "large", &(large - 1).to_string(), "x"]);
    let (mut slow, mut other) = (rig.near.session(), rig.near.session());
    let before = 60;
    for _ in 0..before {
        slow.send(&["GETRANGE", "medium", "0", "-1"]);
    }
    slow.send(&["GET", "large"]);
    let mark = rig.relay.mark();
    slow.flush();
    rig.relay.await_read(mark, "large");
    // Its reply comes behind all of those, so that the lane has seen them when it is here.
    other.must(&["PING"]);
    slow.send(&["SET", "large", "small"]);
    slow.flush();
    other.must(&["PING"]);
    let length = |value: Value| match value {
        Value::Bulk(bytes) => bytes.len(),
        other => panic!("{other:?}"),
    };
    for _ in 0..before {
        assert_eq!(length(slow.read()), medium);
    }
    assert_eq!(
        length(slow.read()),
        large,
        "what it was when it was asked for"
    );
    assert_eq!(slow.read().text(), Some("OK"));
}

/// What a RESP3 client reads while it is subscribed is a reply, whatever it looks like.
#[test]
fn a_list_that_looks_like_a_message_is_a_reply() {
    let rig = Rig::new(|_| {});
    for first in ["message", "subscribe", "pmessage", "unsubscribe"] {
        let mut session = rig.near.session().speaking(Protocol::Resp3);
        session.send(&["SUBSCRIBE", "news"]);
        session.flush();
        session.read_push();
        let values = [first, "news", "1"];
        session.must(&["DEL", "list"]);
        session.must(&["RPUSH", "list", values[0], values[1], values[2]]);
        let reply = session.call(&["LRANGE", "list", "0", "-1"]);
        let texts: Vec<_> = reply.elements().iter().map(Value::text).collect();
        assert_eq!(texts, values.map(Some));
        // Silences nothing and waits for nothing that is still owed.
        let replies = pipeline(
            &mut session,
            &[
                &["CLIENT", "REPLY", "SKIP"],
                &["EVAL", "return 1", "0"],
                &["ECHO", "next"],
            ],
            1,
        );
        assert_eq!(replies[0].text(), Some("next"), "{first}");
    }
}

/// A client that breaks the protocol is told so and cut off, subscribed or not.
#[test]
fn a_subscriber_that_breaks_the_protocol_is_told() {
    let server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |_| {});
    let said = |mut client: Client| {
        client.must(&["SUBSCRIBE", "news"]);
        client.send_raw(b"*x\r\n");
        client.flush();
        (client.read(), client.try_read().expect_err("an end").kind())
    };
    assert_eq!(said(near.session()), said(server.client()));
}
