//! Where a key space says write-through, a write of ours leaves its key in L1.

use nearside::l1::settings::{Keyspace, Settings, WritePolicy};

use super::rig::{QUIET, Rig};
use crate::support::eventually;

fn settings(settings: &mut nearside::config::Settings) {
    settings.l1.max_staleness = QUIET;
    let through = Keyspace {
        name: "through".into(),
        pattern: b"through:*".to_vec(),
        write_policy: WritePolicy::WriteThrough,
        ..Settings::default().default_keyspace()
    };
    settings.l1.keyspaces.push(through);
}

#[test]
fn a_write_leaves_its_key_in_l1() {
    let rig = Rig::new(settings);
    let mut session = rig.session();
    for (write, value) in [
        (&["SET", "through:k", "1"][..], "1"),
        (&["INCR", "through:k"], "2"),
        (&["APPEND", "through:k", "0"], "20"),
        (&["SETEX", "through:k", "100", "x"], "x"),
    ] {
        let fills = rig.near.running().fills();
        session.must(write);
        eventually("the fill", || {
            (rig.near.running().fills() > fills).then_some(())
        });
        let (hits, mark) = (rig.near.hits(), rig.relay.mark());
        assert_eq!(session.must(&["GET", "through:k"]).text(), Some(value));
        assert_eq!(rig.near.hits(), hits + 1, "{write:?}");
        assert!(!rig.relay.sent_read(mark, "through:k"));
    }
    // Elsewhere it does not.
    let fills = rig.near.running().fills();
    session.must(&["SET", "other", "1"]);
    session.must(&["ECHO", "behind"]);
    assert_eq!(rig.near.running().fills(), fills);
    // Nor where the key is not in the share that is cached.
    let switch = rig.near.running().switch();
    switch.set(None, Some(0)).expect("nobody needs a restart");
    let mark = rig.relay.mark();
    session.must(&["SET", "through:k", "1"]);
    session.must(&["ECHO", "behind"]);
    assert!(!rig.relay.sent_read(mark, "through:k"));
}

/// Whatever is written in between by others, and however the writes follow each other, L1 ends with the truth.
#[test]
fn pipelined_writes_and_others_leave_the_truth() {
    let rig = Rig::new(settings);
    let (mut session, mut direct) = (rig.session(), rig.server.client());
    for n in 0..300 {
        for i in 0..5 {
            session.send(&["SET", "through:k", &format!("{n}.{i}")]);
        }
        session.send(&["GET", "through:k"]);
        session.flush();
        for _ in 0..5 {
            assert!(!session.read().is_error());
        }
        let own = session.read();
        assert_eq!(own.text(), Some(format!("{n}.4").as_str()));
        direct.must(&["SET", "through:k", &format!("direct {n}")]);
        eventually("the other's write", || {
            let seen = session.must(&["GET", "through:k"]);
            (seen.text() == Some(format!("direct {n}").as_str())).then_some(())
        });
    }
}
