//! Key spaces at work: each has its own policy, and the first that matches a key is its own.

use std::time::Duration;

use nearside::l1::settings::{Keyspace, Settings};

use crate::support::client::Client;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

fn start(server: &RedisServer, keyspaces: impl FnOnce(&Settings) -> Vec<Keyspace>) -> Nearside {
    Nearside::start(server.addr(), |settings| {
        settings.l1.max_entry_bytes = 64;
        settings.l1.max_staleness = Duration::from_secs(60);
        settings.l1.keyspaces = keyspaces(&settings.l1);
    })
}

fn named(settings: &Settings, name: &str, pattern: &str) -> Keyspace {
    Keyspace {
        name: name.to_owned(),
        pattern: pattern.as_bytes().to_vec(),
        ..settings.default_keyspace()
    }
}

/// How many of three reads of `key` were hits; the fill of one is decided before the next.
fn hits(near: &Nearside, session: &mut Client, key: &str) -> (u64, Value) {
    let before = near.hits();
    let mut reply = Value::Nil;
    for _ in 0..3 {
        reply = session.must(&["GET", key]);
        session.must(&["PING"]);
    }
    (near.hits() - before, reply)
}

#[test]
fn the_first_that_matches_decides() {
    let server = RedisServer::start(&[]);
    let near = start(&server, |l1| {
        let narrow = Keyspace {
            cache: false,
            ..named(l1, "never", "a:never:*")
        };
        let wide = Keyspace {
            negative: false,
            ..named(l1, "wide", "a:*")
        };
        vec![narrow, wide]
    });
    let mut session = near.session();
    for key in ["a:never:1", "a:1", "b"] {
        server.client().must(&["SET", key, "v"]);
    }
    assert_eq!(hits(&near, &mut session, "a:never:1").0, 0);
    assert_eq!(hits(&near, &mut session, "a:1").0, 2);
    assert_eq!(hits(&near, &mut session, "b").0, 2);
    // That there is no such key is kept in one and not in the other.
    assert_eq!(hits(&near, &mut session, "a:none"), (0, Value::Nil));
    assert_eq!(hits(&near, &mut session, "none"), (2, Value::Nil));
}

/// Replies that come in many stretches are kept whole, however small those of other key spaces have to be.
#[test]
fn large_entries_of_one_key_space() {
    let server = RedisServer::start(&[]);
    let near = start(&server, |l1| {
        vec![Keyspace {
            max_entry_bytes: 1 << 20,
            ..named(l1, "large", "large:*")
        }]
    });
    let mut session = near.session();
    let value = "0123456789".repeat(60_000);
    for key in ["large:1", "small:1"] {
        server.client().must(&["SET", key, &value]);
    }
    let (kept, reply) = hits(&near, &mut session, "large:1");
    assert_eq!(kept, 2);
    assert_eq!(reply.text(), Some(value.as_str()));
    let (kept, reply) = hits(&near, &mut session, "small:1");
    assert_eq!(kept, 0);
    assert_eq!(reply.text(), Some(value.as_str()));
}

#[test]
fn an_entry_ends_with_its_key_spaces_longest_life() {
    let server = RedisServer::start(&[]);
    let near = start(&server, |l1| {
        vec![Keyspace {
            entry_max_ttl: Duration::from_millis(1),
            ..named(l1, "short", "short:*")
        }]
    });
    let mut session = near.session();
    server.client().must(&["SET", "short:1", "v"]);
    server.client().must(&["SET", "long:1", "v"]);
    session.must(&["GET", "short:1"]);
    session.must(&["GET", "long:1"]);
    std::thread::sleep(Duration::from_millis(5));
    let before = near.hits();
    session.must(&["GET", "short:1"]);
    assert_eq!(near.hits(), before);
    session.must(&["GET", "long:1"]);
    assert_eq!(near.hits(), before + 1);
}
