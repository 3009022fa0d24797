//! Audits are noticed by nobody but the upstream, and there as reads alone.

use std::time::Duration;

use nearside::l1::settings::Mode;
use nearside::upstream::breaker::Forced;

use super::{hit, rig, verdicts};
use crate::coherence::rig::QUIET;
use crate::support::client::Protocol;
use crate::support::eventually;
use crate::support::resp::Value;

/// Calls of each command, by the server's own count.
fn calls(rig: &crate::coherence::rig::Rig) -> Vec<(String, u64)> {
    let reply = rig.server.client().must(&["INFO", "commandstats"]);
    let text = reply.text().expect("a text");
    let rows = text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next()?.parse().ok()?;
        // The tests' own.
        (name != "info").then(|| (name.to_owned(), calls))
    });
    rows.collect()
}

#[test]
fn the_upstream_gets_one_plain_read_for_each_and_nothing_else() {
    let rig = rig(|settings| settings.l1.max_staleness = QUIET);
    let mut session = rig.near.session();
    rig.put("k", 1);
    rig.server.client().must(&["HSET", "h", "f", "v"]);
    hit(&rig, &mut session, &["GET", "k"]);
    hit(&rig, &mut session, &["HGETALL", "h"]);
    let [same, ..] = verdicts(&rig.near);
    rig.server.client().must(&["CONFIG", "RESETSTAT"]);
    for _ in 0..10 {
        session.must(&["GET", "k"]);
    }
    for _ in 0..5 {
        session.must(&["HGETALL", "h"]);
    }
    for _ in 0..3 {
        session.send(&["GET", "k"]);
    }
    session.flush();
    for _ in 0..3 {
        assert_eq!(session.read().text(), Some("k:1"));
    }
    assert_eq!(verdicts(&rig.near), [same + 18, 0, 0, 0]);
    let mut counted = calls(&rig);
    counted.retain(|(name, _)| name != "config|resetstat");
    counted.sort();
    assert_eq!(counted, [("get".to_owned(), 13), ("hgetall".to_owned(), 5)]);
}

#[test]
fn pipelines_and_client_reply_are_as_without() {
    let rig = rig(|_| {});
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut session = rig.near.session().speaking(protocol);
        session.must(&["SET", "k", "k:1"]);
        hit(&rig, &mut session, &["GET", "k"]);
        let pipeline = [
            &["GET", "k"][..],
            &["SET", "k", "k:2"],
            &["GET", "k"],
            &["CLIENT", "REPLY", "SKIP"],
            &["GET", "k"],
            &["MULTI"],
            &["GET", "k"],
            &["EXEC"],
            &["CLIENT", "REPLY", "OFF"],
            &["GET", "k"],
            &["SET", "k", "k:3"],
            &["GET", "k"],
            &["CLIENT", "REPLY", "ON"],
            &["GET", "k"],
            &["PING"],
        ];
        for command in pipeline {
            session.send(command);
        }
        session.flush();
        let texts: Vec<String> = (0..8).map(|_| format!("{:?}", session.read())).collect();
        for (at, part) in ["k:1", "OK", "k:2", "OK", "QUEUED", "k:2", "OK", "k:3"]
            .iter()
            .enumerate()
        {
            let said = &texts[at];
            let bytes = format!("{:?}", part.as_bytes());
            let bytes = bytes.trim_matches(['[', ']']);
            assert!(
                said.contains(part) || said.contains(bytes),
                "{at}: {texts:?}"
            );
        }
        assert_eq!(session.read(), Value::Simple("PONG".into()));
        assert_eq!(verdicts(&rig.near)[2], 0);
    }
}

#[test]
fn one_whose_lane_is_lost_is_unanswered_and_does_no_harm() {
    let rig = rig(|settings| settings.l1.max_staleness = QUIET);
    let mut session = rig.near.session();
    rig.put("k", 1);
    hit(&rig, &mut session, &["GET", "k"]);
    let [same, ..] = verdicts(&rig.near);
    rig.relay.stall();
    let mark = rig.relay.mark();
    assert_eq!(session.must(&["GET", "k"]).text(), Some("k:1"));
    rig.relay.await_read(mark, "k");
    rig.relay.kill_lane();
    rig.relay.unstall();
    assert_eq!(verdicts(&rig.near), [same, 0, 0, 1]);
    eventually("service", || {
        (!session.call(&["GET", "k"]).is_error()).then_some(())
    });
    hit(&rig, &mut session, &["GET", "k"]);
    let [now, explained, incoherent, unanswered] = verdicts(&rig.near);
    assert!(now > same);
    assert_eq!((explained, incoherent, unanswered), (0, 0, 1));
}

/// Nobody is kept waiting by it, and the lane ends as it would for any command that is not answered.
#[test]
fn one_whose_upstream_hangs_is_unanswered_and_does_no_harm() {
    let rig = rig(|settings| {
        settings.l1.max_staleness = QUIET;
        settings.lane.request_timeout = Duration::from_millis(300);
        settings.lane.handshake_timeout = Duration::from_millis(300);
    });
    let mut session = rig.near.session();
    rig.put("k", 1);
    hit(&rig, &mut session, &["GET", "k"]);
    let [same, ..] = verdicts(&rig.near);
    rig.server.freeze();
    for _ in 0..100 {
        assert_eq!(session.must(&["GET", "k"]).text(), Some("k:1"));
    }
    let [now, explained, incoherent, unanswered] = verdicts(&rig.near);
    assert_eq!((now, explained, incoherent), (same, 0, 0));
    assert!(unanswered > 0);
    rig.server.thaw();
    eventually("service", || {
        (!session.call(&["GET", "k"]).is_error()).then_some(())
    });
}

#[test]
fn nothing_is_audited_while_the_circuit_is_not_closed() {
    let rig = rig(|settings| settings.l1.max_staleness = QUIET);
    let mut session = rig.near.session();
    rig.put("k", 1);
    hit(&rig, &mut session, &["GET", "k"]);
    let before = verdicts(&rig.near);
    rig.near.running().node().force(Some(Forced::Open));
    let mark = rig.relay.mark();
    for _ in 0..20 {
        assert_eq!(session.must(&["GET", "k"]).text(), Some("k:1"));
    }
    assert_eq!(verdicts(&rig.near), before);
    rig.near.running().node().force(None);
    assert!(!rig.relay.sent_read(mark, "k"));
}

/// A change between the hit and the audit's read is explained by the push that came before the reply.
#[test]
fn what_changes_on_the_way_is_explained() {
    let rig = rig(|settings| settings.l1.max_staleness = QUIET);
    let mut session = rig.near.session();
    rig.put("k", 1);
    hit(&rig, &mut session, &["GET", "k"]);
    let [same, ..] = verdicts(&rig.near);
    rig.relay.stall();
    let mark = rig.relay.mark();
    assert_eq!(session.must(&["GET", "k"]).text(), Some("k:1"));
    rig.relay.await_read(mark, "k");
    rig.put("k", 2);
    rig.relay.unstall();
    assert_eq!(verdicts(&rig.near), [same, 1, 0, 0]);
}

/// A key that ends while the audit's read is on its way is no error of L1's. That read is the first to find it ended, so
/// the push for it comes behind the reply.
#[test]
fn a_key_that_ends_on_the_way_is_explained() {
    let rig = rig(|settings| settings.l1.max_staleness = QUIET);
    let mut direct = rig.server.client();
    let mut session = rig.near.session();
    direct.must(&["SET", "k", "k:1", "PX", "900"]);
    let mut time = || match direct.must(&["TIME"]).elements() {
        [seconds, micros] => {
            let number = |part: &Value| part.text().and_then(|text| text.parse::<u64>().ok());
            let [seconds, micros] = [number(seconds), number(micros)];
            seconds.expect("seconds") * 1000 + micros.expect("microseconds") / 1000
        }
        other => panic!("no time: {other:?}"),
    };
    let set = time();
    hit(&rig, &mut session, &["GET", "k"]);
    let [same, ..] = verdicts(&rig.near);
    rig.relay.stall();
    let (mark, hits) = (rig.relay.mark(), rig.near.hits());
    session.send(&["GET", "k"]);
    session.flush();
    rig.relay.await_read(mark, "k");
    eventually("the end of its time", || (time() > set + 900).then_some(()));
    rig.relay.unstall();
    session.read();
    // On a slow machine it has ended before it was read.
    let hit = rig.near.hits() - hits;
    assert_eq!(verdicts(&rig.near), [same, hit, 0, 0]);
}

#[test]
fn the_shadow_is_not_audited() {
    let rig = rig(|settings| settings.l1.mode = Mode::Shadow);
    let mut session = rig.near.session();
    rig.put("k", 1);
    for _ in 0..20 {
        session.must(&["GET", "k"]);
    }
    assert_eq!(verdicts(&rig.near), [0; 4]);
}

/// What is served stale is known to be old.
#[test]
fn what_is_served_stale_is_not_audited() {
    let rig = rig(|settings| settings.l1.serve_stale = QUIET);
    let mut session = rig.near.session();
    rig.put("k", 1);
    hit(&rig, &mut session, &["GET", "k"]);
    let before = verdicts(&rig.near);
    rig.relay.stall();
    rig.server.freeze();
    rig.relay.kill_lane();
    eventually("a stale read", || {
        session.call(&["GET", "k"]);
        (rig.near.running().stale_served() > 0).then_some(())
    });
    assert_eq!(verdicts(&rig.near)[..3], before[..3]);
    rig.server.thaw();
}
