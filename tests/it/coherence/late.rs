//! A lane whose replies are late is left: nobody waits behind them who need not.

use std::time::Duration;

use super::promise::{Promise, version};
use super::rig::Rig;
use crate::support::eventually;
use crate::support::resp::Value;

/// Lanes that the server knows.
fn lanes(rig: &Rig) -> usize {
    let list = rig.server.client().call(&["CLIENT", "LIST"]);
    let list = list.text().expect("a list").to_owned();
    list.matches("name=nearside-lane").count()
}

#[test]
fn sessions_with_nothing_outstanding_go_to_a_fresh_lane() {
    for workers in [1, 2] {
        let rig = Rig::new(|settings| {
            settings.lane.lane_overdue = Duration::from_millis(50);
            settings.downstream.workers = workers;
        });
        rig.warm("k");
        let (mut stuck, mut other) = (rig.session(), rig.session());
        rig.relay.hold_only(0);
        stuck.send(&["INCR", "n"]);
        stuck.send(&["GET", "k"]);
        stuck.flush();
        eventually("the write on the server", || {
            (rig.server.client().call(&["GET", "n"]).text() == Some("1")).then_some(())
        });
        rig.put("k", 2);
        rig.held_push();
        eventually("a fresh lane", || {
            other.call(&["GET", "k"]);
            (rig.relay.lanes() == 2).then_some(())
        });
        let seen = version("k", &other.call(&["GET", "k"])).expect("a version");
        assert_eq!(
            Promise::MonotonicKeys.at_least("k", seen, 2),
            Ok(()),
            "nothing old on a fresh lane"
        );
        assert_eq!(other.call(&["INCR", "m"]), Value::Int(1));
        assert!(!stuck.has_reply(Duration::ZERO), "its reply is still held");
        rig.relay.release();
        assert_eq!(stuck.read(), Value::Int(1), "carried out once");
        assert!(version("k", &stuck.read()).is_ok(), "in its place");
        let seen = version("k", &stuck.call(&["GET", "k"])).expect("a version");
        assert_eq!(Promise::MonotonicKeys.at_least("k", seen, 2), Ok(()));
        eventually("the old lane's end", || (lanes(&rig) == 1).then_some(()));
        assert_eq!(rig.server.client().call(&["GET", "n"]).text(), Some("1"));
    }
}

#[test]
fn a_key_with_a_large_reply_is_read_apart_from_then_on() {
    let rig = Rig::new(|settings| settings.lane.large_reply = 256 << 10);
    let size = 3 << 20;
    let large = |rig: &Rig| {
        let end = (size - 1).to_string();
        rig.server.client().must(&["DEL", "large"]);
        rig.server.client().must(&["SETRANGE", "large", &end, "x"]);
    };
    large(&rig);
    let mut session = rig.session();
    let is_large = |reply: Value| matches!(reply, Value::Bulk(bytes) if bytes.len() == size);
    assert!(is_large(session.call(&["GET", "large"])));
    let mark = rig.relay.mark();
    assert!(is_large(session.call(&["GET", "large"])));
    assert!(!rig.relay.sent_read(mark, "large"), "not by the lane");
    // The same for another command, which is relayed the first time.
    let range = &["GETRANGE", "large", "0", "-1"];
    assert!(is_large(session.call(range)));
    let by_lane = |mark| rig.relay.sent(mark, |command| command[0] == b"GETRANGE");
    assert!(!by_lane(mark), "not by the lane");
    // Once it is small it comes back: one read apart, then by the lane.
    rig.put("large", 1);
    assert_eq!(version("large", &session.call(&["GET", "large"])), Ok(1));
    assert!(!rig.relay.sent_read(mark, "large"));
    assert_eq!(version("large", &session.call(&["GET", "large"])), Ok(1));
    assert!(rig.relay.sent_read(mark, "large"), "by the lane again");
}
