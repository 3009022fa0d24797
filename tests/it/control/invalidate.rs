//! What was dropped by hand is read from the upstream again, in every space, and nothing that was on its way outlives it.

use super::{hits, number, warm};
use crate::coherence::rig::Rig;
use crate::support::eventually;
use crate::support::resp::Value;

const READS: [&[&str]; 4] = [
    &["GET", "user:1"],
    &["HGET", "user:2", "f"],
    &["SINTER", "set:a", "set:b"],
    &["GET", "other"],
];

fn filled() -> Rig {
    let rig = Rig::new(|_| {});
    let mut server = rig.server.client();
    server.must(&["SET", "user:1", "1"]);
    server.must(&["HSET", "user:2", "f", "2"]);
    server.must(&["SADD", "set:a", "x"]);
    server.must(&["SADD", "set:b", "x"]);
    server.must(&["SET", "other", "3"]);
    rig
}

#[test]
fn each_form_drops_what_it_names_and_nothing_else() {
    let rig = filled();
    let mut session = rig.session();
    for (form, misses) in [
        (&["KEY", "user:1"][..], &[true, false, false, false][..]),
        (&["KEY", "user:2", "user:1"], &[true, true, false, false]),
        (&["KEY", "set:b"], &[false, false, true, false]),
        (&["KEY", "nosuch"], &[false; 4]),
        (&["PATTERN", "user:*"], &[true, true, false, false]),
        (&["PATTERN", "set:b"], &[false, false, true, false]),
        (&["PATTERN", "oth??", "*:[12]"], &[true, true, false, true]),
        (&["PATTERN", "user"], &[false; 4]),
        (&["ALL"], &[true; 4]),
    ] {
        for read in READS {
            warm(&rig, &mut session, read);
        }
        let command = [&["NEARSIDE", "INVALIDATE"][..], form].concat();
        let reply = session.call(&command);
        assert!(matches!(reply, Value::Int(_)), "{form:?} got {reply:?}");
        let missed: Vec<bool> = READS
            .iter()
            .map(|read| !hits(&rig, &mut session, read))
            .collect();
        assert_eq!(missed, misses, "{form:?}");
    }
}

#[test]
fn the_answer_counts_entries_and_so_do_the_statistics() {
    let rig = filled();
    let mut session = rig.session();
    for read in READS {
        warm(&rig, &mut session, read);
    }
    warm(&rig, &mut session, &["HLEN", "user:2"]);
    let mut call = |words: &[&str]| session.call(&[&["NEARSIDE", "INVALIDATE"], words].concat());
    assert_eq!(call(&["KEY", "user:2"]), Value::Int(2));
    assert_eq!(call(&["PATTERN", "user:*"]), Value::Int(1));
    assert_eq!(call(&["PATTERN", "user:*"]), Value::Int(0));
    // `ready`, `other`, and the intersection.
    assert_eq!(call(&["ALL"]), Value::Int(3));
    let stats = session.call(&["NEARSIDE", "STATS"]);
    assert_eq!(number(&stats, &["invalidations", "by_hand"]), 6);
    assert_eq!(number(&stats, &["entries"]), 0);
    assert_eq!(number(&stats, &["bytes"]), 0);
}

#[test]
fn every_database_and_user_is_concerned() {
    let rig = filled();
    let mut server = rig.server.client();
    server.must(&["ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all"]);
    server.must(&["SELECT", "1"]);
    server.must(&["SET", "user:1", "in 1"]);
    let (mut here, mut there, mut theirs) = (rig.session(), rig.near.session(), rig.near.session());
    there.must(&["SELECT", "1"]);
    theirs.must(&["AUTH", "u", "p"]);
    for form in [&["KEY", "user:1"][..], &["PATTERN", "*:1"], &["ALL"]] {
        for session in [&mut here, &mut there, &mut theirs] {
            warm(&rig, session, &["GET", "user:1"]);
        }
        here.must(&[&["NEARSIDE", "INVALIDATE"][..], form].concat());
        for session in [&mut here, &mut there, &mut theirs] {
            assert!(!hits(&rig, session, &["GET", "user:1"]), "{form:?}");
        }
    }
}

/// A tracked fill whose replies are on the lane when its key is dropped by hand.
#[test]
fn a_fill_on_its_way_does_not_survive() {
    for (form, survives) in [
        (&["KEY", "k"][..], false),
        (&["PATTERN", "k*"], false),
        (&["ALL"], false),
        (&["KEY", "another"], true),
    ] {
        let rig = Rig::new(|_| {});
        rig.put("k", 1);
        let (mut reader, mut other) = (rig.session(), rig.near.session());
        rig.relay.hold();
        rig.held_fill(&mut reader, "k");
        let decided = rig.near.fills_decided();
        other.must(&[&["NEARSIDE", "INVALIDATE"][..], form].concat());
        rig.relay.release();
        reader.read();
        eventually("the fill's end", || {
            (rig.near.fills_decided() > decided).then_some(())
        });
        let held = rig.near.running().l1_entries();
        let held = held
            .iter()
            .any(|(request, _)| request.ends_with(b"\r\nk\r\n"));
        assert_eq!(held, survives, "{form:?}");
        let stats = other.call(&["NEARSIDE", "STATS"]);
        let by_hand = number(&stats, &["refused", "by_hand"]);
        assert_eq!(by_hand, i64::from(form == ["KEY", "k"]), "{form:?}");
    }
}

/// A plain read of another field of a key that was held, on the lane when the key is dropped by hand.
#[test]
fn a_plain_fill_on_its_way_does_not_survive() {
    let rig = filled();
    let (mut reader, mut other) = (rig.session(), rig.near.session());
    warm(&rig, &mut reader, &["HGET", "user:2", "f"]);
    rig.relay.hold();
    let decided = rig.near.fills_decided();
    reader.send(&["HLEN", "user:2"]);
    reader.flush();
    rig.relay
        .await_held("its reply", |frames| !frames.is_empty());
    other.must(&["NEARSIDE", "INVALIDATE", "KEY", "user:2"]);
    rig.relay.release();
    assert_eq!(reader.read(), Value::Int(1));
    eventually("the fill's end", || {
        (rig.near.fills_decided() > decided).then_some(())
    });
    assert!(!hits(&rig, &mut other, &["HLEN", "user:2"]));
}

/// Nor is it shared with a session that asks after the invalidation was answered.
#[test]
fn a_read_on_its_way_is_not_shared() {
    for form in [&["KEY", "k"][..], &["PATTERN", "k"], &["ALL"]] {
        let rig = Rig::new(|_| {});
        rig.put("k", 1);
        let (mut reader, mut other) = (rig.session(), rig.session());
        rig.relay.hold();
        rig.held_fill(&mut reader, "k");
        other.must(&[&["NEARSIDE", "INVALIDATE"][..], form].concat());
        let mark = rig.relay.mark();
        other.send(&["GET", "k"]);
        other.flush();
        rig.relay.await_read(mark, "k");
        rig.relay.release();
        assert_eq!((reader.read(), other.read()).0, Value::Bulk(b"k:1".into()));
    }
}
