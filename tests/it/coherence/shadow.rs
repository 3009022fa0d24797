//! Shadow mode: the upstream answers every read, and what L1 would have said is compared with that and counted.

use nearside::l1::settings::Mode;
use nearside::l1::{Rule, RuleSet};

use super::rig::Rig;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::resp::Value;

fn rig(adjust: impl FnOnce(&mut nearside::config::Settings)) -> Rig {
    Rig::new(|settings| {
        settings.l1.mode = Mode::Shadow;
        adjust(settings);
    })
}

/// Reads until `key` is in L1, as a prediction shows.
fn warm(rig: &Rig, session: &mut Client, read: &[&str]) {
    eventually("a prediction", || {
        let before: u64 = rig.near.running().shadow().iter().sum();
        session.must(read);
        let after: u64 = rig.near.running().shadow().iter().sum();
        (after > before).then_some(())
    });
}

#[test]
fn the_upstream_answers_and_what_is_right_counts_as_the_same() {
    let rig = rig(|_| {});
    let mut session = rig.near.session();
    rig.put("k", 1);
    rig.put("l", 1);
    rig.server.client().must(&["HSET", "h", "f", "v"]);
    for read in [
        &["GET", "k"][..],
        &["GET", "none"],
        &["HGET", "h", "f"],
        &["MGET", "k"],
        &["MGET", "k", "l"],
    ] {
        warm(&rig, &mut session, read);
        let [same, moved, different] = rig.near.running().shadow();
        let mark = rig.relay.mark();
        session.must(read);
        assert!(
            rig.relay
                .sent(mark, |command| command[0] == read[0].as_bytes()),
            "{read:?} is sent"
        );
        assert_eq!(
            rig.near.running().shadow(),
            [same + 1, moved, different],
            "{read:?}"
        );
    }
    assert_eq!(rig.near.hits(), 0);
}

/// What is answered is the upstream's even where L1 is wrong, here because a push was thrown away.
#[test]
fn a_planted_error_counts_as_different_and_nobody_sees_it() {
    let rig = rig(|settings| settings.l1.knocked_out = RuleSet::only(Rule::NullPush));
    let mut session = rig.near.session();
    rig.put("k", 1);
    warm(&rig, &mut session, &["GET", "k"]);
    let [same, ..] = rig.near.running().shadow();
    rig.server.client().must(&["FLUSHALL"]);
    assert_eq!(session.must(&["GET", "k"]), Value::Nil);
    assert_eq!(rig.near.running().shadow(), [same, 0, 1]);
}

#[test]
fn another_answer_with_a_push_on_the_way_counts_as_moved() {
    let rig = rig(|_| {});
    let mut session = rig.near.session();
    rig.put("k", 1);
    warm(&rig, &mut session, &["GET", "k"]);
    let [same, ..] = rig.near.running().shadow();
    rig.relay.stall();
    let mark = rig.relay.mark();
    session.send(&["GET", "k"]);
    session.flush();
    rig.relay.await_read(mark, "k");
    rig.put("k", 2);
    rig.relay.unstall();
    assert_eq!(session.read().text(), Some("k:2"));
    assert_eq!(rig.near.running().shadow(), [same, 1, 0]);
}

/// A key that ends while its read is on its way is no error of L1's.
#[test]
fn a_key_that_ends_on_the_way_counts_as_moved() {
    let rig = rig(|_| {});
    let mut session = rig.near.session();
    rig.server.client().must(&["SET", "k", "k:1", "PX", "400"]);
    warm(&rig, &mut session, &["GET", "k"]);
    let [same, ..] = rig.near.running().shadow();
    rig.relay.stall();
    let mark = rig.relay.mark();
    session.send(&["GET", "k"]);
    session.flush();
    rig.relay.await_read(mark, "k");
    eventually("the end of its time", || {
        (rig.server.client().must(&["PTTL", "k"]) == Value::Int(-2)).then_some(())
    });
    rig.relay.unstall();
    assert_eq!(session.read(), Value::Nil);
    let [now_same, moved, different] = rig.near.running().shadow();
    assert_eq!((now_same, different), (same, 0));
    assert_eq!(moved, 1);
}
