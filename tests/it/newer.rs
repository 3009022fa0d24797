//! With a Redis in which the fields of a hash have expiries of their own, which Debian's has not.

use std::thread;
use std::time::Duration;

use crate::coherence::rig::Rig;
use crate::support::client::{Client, Protocol};
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

fn rig() -> Rig {
    Rig::before(RedisServer::start_newer(&[]), |_| {})
}

/// Reads three times; how many of them were hits, and the last reply.
fn hits(rig: &Rig, session: &mut Client, read: &[&str]) -> (u64, Value) {
    let before = rig.near.hits();
    let reply = (0..3).map(|_| session.must(read)).last();
    (rig.near.hits() - before, reply.expect("three of them"))
}

const READS: [&[&str]; 5] = [
    &["HGET", "hash", "short"],
    &["HMGET", "hash", "long", "short"],
    &["HMGET", "hash", "short", "none"],
    &["HEXISTS", "hash", "short"],
    &["HSTRLEN", "hash", "short"],
];

fn make_hash(rig: &Rig, milliseconds: &str) {
    let mut direct = rig.server.client();
    direct.must(&["DEL", "hash"]);
    direct.must(&["HSET", "hash", "short", "a", "long", "b"]);
    direct.must(&["HPEXPIRE", "hash", milliseconds, "FIELDS", "1", "short"]);
    // What was pushed for that has come.
    rig.near.session().must(&["PING"]);
}

#[test]
#[ignore = "needs the newer Redis that make test has"]
fn fields_are_kept_no_longer_than_they_live() {
    let rig = rig();
    for protocol in [Protocol::Resp3, Protocol::Resp2] {
        let mut session = rig.session().speaking(protocol);
        let mut plain = rig.server.client().speaking(protocol);
        for read in READS {
            make_hash(&rig, "100000");
            let (found, reply) = hits(&rig, &mut session, read);
            assert!(found > 0, "{read:?} is kept");
            assert_eq!(reply, plain.must(read), "{read:?}");
            make_hash(&rig, "150");
            hits(&rig, &mut session, read);
            // The server removes fields also where it removes no keys, so what it says of that is held back.
            rig.relay.hold();
            thread::sleep(Duration::from_millis(160));
            let mark = rig.relay.mark();
            session.send(read);
            session.flush();
            let sent = || {
                rig.relay
                    .sent(mark, |command| command[0] == read[0].as_bytes())
            };
            while !session.has_reply(Duration::from_millis(1)) && !sent() {}
            rig.relay.release();
            assert_eq!(session.read(), plain.must(read), "{read:?}, later");
        }
    }
}

#[test]
#[ignore = "needs the newer Redis that make test has"]
fn a_field_that_ends_takes_no_other_along() {
    let rig = rig();
    make_hash(&rig, "120");
    let mut session = rig.session();
    hits(&rig, &mut session, &["HGET", "hash", "short"]);
    let (found, _) = hits(&rig, &mut session, &["HGET", "hash", "long"]);
    assert!(found > 0);
    thread::sleep(Duration::from_millis(130));
    assert_eq!(session.must(&["HGET", "hash", "short"]), Value::Nil);
    let (found, reply) = hits(&rig, &mut session, &["HGET", "hash", "long"]);
    // The server may have removed the field by now, and named the hash.
    assert_eq!((found >= 2, reply.text()), (true, Some("b")));
}

/// What hangs on all fields would have to hang on the times of all.
#[test]
#[ignore = "needs the newer Redis that make test has"]
fn whole_hashes_are_not_kept() {
    let rig = rig();
    make_hash(&rig, "100000");
    let mut session = rig.session();
    for read in [
        &["HGETALL", "hash"][..],
        &["HKEYS", "hash"],
        &["HVALS", "hash"],
        &["HLEN", "hash"],
    ] {
        assert_eq!(hits(&rig, &mut session, read).0, 0, "{read:?}");
    }
}

/// A user who may not ask for the times has no fields kept, and all else.
#[test]
#[ignore = "needs the newer Redis that make test has"]
fn without_the_right_to_ask_no_field_is_kept() {
    let rig = rig();
    let mut direct = rig.server.client();
    direct.must(&[
        "ACL", "SETUSER", "amy", "on", ">secret", "~*", "&*", "+@all", "-hpttl",
    ]);
    direct.must(&["SET", "ready", "ready:1"]);
    make_hash(&rig, "100000");
    let mut session = rig.near.session();
    session.must(&["AUTH", "amy", "secret"]);
    rig.hit(&mut session, "ready");
    assert_eq!(hits(&rig, &mut session, &["HGET", "hash", "short"]).0, 0);
    let (found, reply) = hits(&rig, &mut session, &["GET", "ready"]);
    assert_eq!((found, reply.text()), (3, Some("ready:1")), "nothing fell");
}
