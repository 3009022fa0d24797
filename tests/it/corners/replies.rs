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
