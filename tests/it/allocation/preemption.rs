//! Who is asked to leave for whom, when, and what becomes of it.

use std::thread;
use std::time::Duration;

use nearside::allocation::ledger::call::{Acquire, Call};
use nearside::allocation::ledger::reply::{Lease, Outcome, Reason, Standing};
use serde_json::{Value, json};

use super::api::{Answer, Port, if_match, part};
use super::rig::{Caller, cancel, ledger, release, renew, request, resize, waiting};
use crate::support::eventually;
use crate::support::redis::RedisServer;

/// A lease that may be asked to leave.
fn preemptible(id: &str, amount: u64, priority: u64) -> Acquire {
    Acquire {
        preemptible: true,
        priority,
        ..request(id, "p", amount)
    }
}

/// A request that waits, with this priority.
fn urgent(id: &str, amount: u64, priority: u64) -> Acquire {
    Acquire {
        priority,
        ..waiting(id, amount)
    }
}

fn queued(caller: &mut Caller, request: Acquire) {
    let outcome = caller.ask(&Call::Acquire(request));
    assert!(matches!(outcome, Outcome::Queued { .. }), "{outcome:?}");
}

fn get(caller: &mut Caller, id: &str) -> Lease {
    match caller.ask(&Call::Get { id: id.to_owned() }) {
        Outcome::Granted { lease, .. } => lease,
        other => panic!("{id} is no lease but {other:?}"),
    }
}

/// Which of these were asked to leave.
fn asked<'a>(caller: &mut Caller, ids: &[&'a str]) -> Vec<&'a str> {
    let mut asked = ids.to_vec();
    asked.retain(|id| get(caller, id).preempt.is_some());
    asked
}

#[test]
fn the_lowest_and_then_the_newest_is_asked_to_leave() {
    let (_server, mut caller) = ledger(6);
    for (id, priority) in [
        ("old", 1),
        ("new", 1),
        ("equal", 100),
        ("middle", 2),
        ("high", 200),
    ] {
        caller.granted(preemptible(id, 1, priority));
    }
    caller.granted(Acquire {
        priority: 0,
        ..request("stays", "p", 1)
    });
    let ids = ["old", "new", "equal", "middle", "high", "stays"];
    queued(&mut caller, urgent("w1", 1, 100));
    assert_eq!(asked(&mut caller, &ids), ["new"]);
    // Room that is coming is not asked for twice, and who comes later needs more.
    queued(&mut caller, urgent("w1", 1, 100));
    assert_eq!(asked(&mut caller, &ids), ["new"]);
    queued(&mut caller, urgent("w2", 2, 100));
    assert_eq!(asked(&mut caller, &ids), ["old", "new", "middle"]);
    caller.assert_sound();
    // Whoever leaves before it must makes room at once.
    let new = get(&mut caller, "new");
    caller.ask(&release("new", Some(new.fence)));
    caller.granted(urgent("w1", 1, 100));
    queued(&mut caller, urgent("w2", 2, 100));
    caller.assert_sound();
}

#[test]
fn no_more_are_asked_than_need_be() {
    let (_server, mut caller) = ledger(5);
    caller.granted(preemptible("large", 4, 1));
    caller.granted(preemptible("small", 1, 1));
    // The small one is the newer, but alone it is not enough, and with the large one it is not needed.
    queued(&mut caller, urgent("w", 3, 100));
    assert_eq!(asked(&mut caller, &["large", "small"]), ["large"]);
}

#[test]
fn nothing_is_given_before_it_was_given_back() {
    let (_server, mut caller) = ledger(1);
    caller.place.grace = 500;
    let lease = caller.granted(preemptible("l", 1, 1));
    queued(&mut caller, urgent("w", 1, 100));
    let marked = get(&mut caller, "l");
    let ends = marked.preempt.expect("asked to leave");
    assert_eq!((marked.expires, marked.fence), (ends, lease.fence));
    // A renewal does not put it off.
    if let Outcome::Granted { lease, .. } = caller.ask(&renew("l", Some(lease.fence))) {
        assert_eq!((lease.expires, lease.preempt), (ends, Some(ends)));
    }
    let next = eventually("its turn", || {
        let reply = caller.reply(&Call::Acquire(urgent("w", 1, 100)));
        match reply.outcome {
            Outcome::Granted { lease, .. } => Some(lease),
            Outcome::Queued { .. } => {
                assert!(reply.now / 1000 < ends, "the grace is over");
                None
            }
            other => panic!("{other:?}"),
        }
    });
    assert!(next.granted >= ends);
    assert_eq!(
        caller.ask(&renew("l", Some(lease.fence))),
        Outcome::Ended {
            reason: Reason::Preempted
        }
    );
    caller.assert_sound();
}

#[test]
fn who_is_not_renewed_expires_and_who_has_a_lifetime_ends_with_it() {
    let (_server, mut caller) = ledger(2);
    caller.granted(Acquire {
        ttl: 100,
        ..preemptible("silent", 1, 1)
    });
    caller.granted(Acquire {
        ttl: 100,
        lifetime: Some(100),
        ..preemptible("bounded", 1, 1)
    });
    eventually("both ends", || {
        let got = caller.ask(&Call::Acquire(urgent("w", 2, 100)));
        matches!(got, Outcome::Granted { .. }).then_some(())
    });
    for (id, reason) in [("silent", Reason::Expired), ("bounded", Reason::Lifetime)] {
        let got = caller.ask(&Call::Get { id: id.to_owned() });
        assert_eq!(got, Outcome::Ended { reason });
    }
}

#[test]
fn nobody_is_asked_for_nothing() {
    let (_server, mut caller) = ledger(3);
    caller.put("q", 1);
    caller.granted(preemptible("l1", 1, 50));
    caller.granted(preemptible("l2", 1, 50));
    caller.granted(request("l3", "p", 1));
    caller.granted(request("l4", "q", 1));
    let mut both = urgent("both", 1, 100);
    both.wants.extend(request("both", "q", 1).wants);
    for request in [
        // One that does not wait, one that is no higher, one for more than would leave, one that lacks something else.
        preemptible("now", 1, 100),
        urgent("equal", 1, 50),
        urgent("much", 3, 100),
        both,
    ] {
        let id = request.id.clone();
        caller.ask(&Call::Acquire(request));
        assert!(asked(&mut caller, &["l1", "l2"]).is_empty(), "{id}");
        caller.ask(&cancel(&id));
    }
    // Two would leave, and who was there long before would take one of them.
    let before = Acquire {
        arrived: Some(1),
        ..urgent("before", 1, 20)
    };
    queued(&mut caller, before);
    queued(&mut caller, urgent("two", 2, 100));
    assert!(asked(&mut caller, &["l1", "l2"]).is_empty());
    caller.ask(&cancel("two"));
    queued(&mut caller, urgent("one", 1, 100));
    assert_eq!(asked(&mut caller, &["l1", "l2"]), ["l1", "l2"]);
}

#[test]
fn no_more_leave_at_once_than_the_cap_allows() {
    let (_server, mut caller) = ledger(8);
    let ids = ["l1", "l2", "l3", "l4", "l5", "l6", "l7", "l8"];
    for id in ids {
        caller.granted(preemptible(id, 1, 1));
    }
    caller.place.cap = 0;
    queued(&mut caller, urgent("w", 5, 100));
    assert!(asked(&mut caller, &ids).is_empty());
    caller.place.cap = 250_000;
    for wave in [["l7", "l8"], ["l5", "l6"]] {
        for _ in 0..2 {
            queued(&mut caller, urgent("w", 5, 100));
        }
        let live: Vec<&str> = ids.into_iter().filter(|id| *id <= wave[1]).collect();
        assert_eq!(asked(&mut caller, &live), wave);
        for id in wave {
            caller.ask(&release(id, None));
        }
    }
    queued(&mut caller, urgent("w", 5, 100));
    assert_eq!(asked(&mut caller, &["l1", "l2", "l3", "l4"]), ["l4"]);
    caller.ask(&release("l4", None));
    caller.granted(urgent("w", 5, 100));
    caller.assert_sound();
}

#[test]
fn one_lease_may_always_leave() {
    let (_server, mut caller) = ledger(4);
    caller.place.cap = 1;
    caller.granted(preemptible("l1", 2, 1));
    caller.granted(preemptible("l2", 2, 1));
    queued(&mut caller, urgent("w", 4, 100));
    assert_eq!(asked(&mut caller, &["l1", "l2"]), ["l2"]);
}

#[test]
fn the_cap_counts_in_whatever_pool_they_hold() {
    let (_server, mut caller) = ledger(4);
    caller.put("q", 4);
    caller.place.cap = 500_000;
    let both = |id: &str, q| {
        let mut both = preemptible(id, 1, 1);
        both.wants.extend(request(id, "q", q).wants);
        both
    };
    caller.granted(both("l1", 1));
    caller.granted(both("l2", 2));
    caller.granted(request("l3", "p", 2));
    queued(&mut caller, urgent("w", 2, 100));
    assert_eq!(asked(&mut caller, &["l1", "l2"]), ["l2"]);
}

#[test]
fn who_is_asked_to_leave_may_only_shrink() {
    let (_server, mut caller) = ledger(4);
    let lease = caller.granted(preemptible("l1", 2, 1));
    caller.granted(preemptible("l2", 1, 2));
    queued(&mut caller, urgent("w", 3, 100));
    assert_eq!(asked(&mut caller, &["l1", "l2"]), ["l1"]);
    let Outcome::Preempting { lease: same } = caller.ask(&resize("l1", lease.fence, "c1", 3))
    else {
        panic!("it grew");
    };
    assert_eq!(same.fence, lease.fence);
    let ends = same.preempt;
    let Outcome::Granted { lease: less, .. } = caller.ask(&resize("l1", lease.fence, "c2", 1))
    else {
        panic!("less is right");
    };
    assert_eq!((less.preempt, less.expires), (ends, same.expires));
    caller.assert_sound();
    // What it gave back is there and what it holds is coming: that is enough, until somebody takes it.
    queued(&mut caller, urgent("w", 3, 100));
    assert!(asked(&mut caller, &["l2"]).is_empty());
    caller.granted(urgent("taken", 1, 200));
    queued(&mut caller, urgent("w", 3, 100));
    assert_eq!(asked(&mut caller, &["l2"]), ["l2"]);
    caller.ask(&release("l1", None));
    queued(&mut caller, urgent("w", 3, 100));
    caller.ask(&release("l2", None));
    caller.granted(urgent("w", 3, 100));
    caller.assert_sound();
}

#[test]
fn who_was_asked_leaves_though_nobody_waits_any_more() {
    let (_server, mut caller) = ledger(1);
    caller.granted(preemptible("l", 1, 1));
    queued(&mut caller, urgent("w", 1, 100));
    caller.ask(&cancel("w"));
    assert_eq!(asked(&mut caller, &["l"]), ["l"]);
    caller.assert_sound();
}

#[test]
fn a_lease_that_was_asked_to_leave_comes_back_so() {
    let (server, mut caller) = ledger(1);
    let before = caller.granted(preemptible("l", 1, 1));
    queued(&mut caller, urgent("w", 1, 100));
    let after = get(&mut caller, "l");
    let mut assert_again = |lease: &Lease| {
        let asserted = caller.ask(&Call::Reassert {
            leases: vec![lease.clone()],
            pools: vec![],
        });
        let Outcome::Asserted { leases } = asserted else {
            panic!("{asserted:?}");
        };
        caller.assert_sound();
        (leases[0].standing, get(&mut caller, "l"))
    };
    server.client().must(&["FLUSHALL"]);
    let mut other = Caller::new(server.addr(), "main", "b", 0);
    other.put("p", 1);
    // One nearside has not heard of it, another one has.
    assert_eq!(assert_again(&before), (Standing::Restored, before.clone()));
    assert_eq!(assert_again(&after), (Standing::Held, after.clone()));
    assert_eq!(assert_again(&before), (Standing::Held, after.clone()));
    server.client().must(&["FLUSHALL"]);
    other.put("p", 1);
    assert_eq!(assert_again(&after), (Standing::Restored, after));
}

#[test]
fn a_holder_is_told_over_the_side_port() {
    let server = RedisServer::start(&[]);
    let port = Port::start(server.addr(), "a", |settings| {
        settings.allocation.preemption.grace = Duration::from_millis(400);
    });
    port.put("p", 1);
    let body = |more: Value| {
        let mut body = part(1);
        let more = more.as_object().expect("members").clone();
        body.as_object_mut().expect("members").extend(more);
        body
    };
    let lease = port.acquire(&body(json!({ "preemptible": true, "priority": 1 })));
    let state = |answer: &Answer| {
        let [state, at, may] =
            ["state", "preempt_at", "preemptible"].map(|name| &answer.body[name]);
        (state.clone(), at.is_null(), may.clone())
    };
    assert_eq!(state(&lease), (json!("active"), true, json!(true)));
    let path = format!("/v1/allocations/{}", lease.id());
    let own = if_match(&lease.fence());
    thread::scope(|scope| {
        let waits = scope.spawn(|| port.acquire(&body(json!({ "priority": 2 }))));
        let renew = || port.ask("POST", &format!("{path}/renew"), &own, &Value::Null);
        let told = eventually("the news", || {
            let renewed = renew();
            assert_eq!(renewed.status, 200, "{renewed:?}");
            (renewed.body["state"] == "preempting").then_some(renewed)
        });
        assert_eq!(state(&told), (json!("preempting"), false, json!(true)));
        assert_eq!(told.body["preempt_at"], told.body["expires_at"]);
        let listed = port.ask("GET", "/v1/allocations", "", &Value::Null);
        assert_eq!(listed.body["allocations"][0]["state"], "preempting");
        let more = json!({ "resources": [{ "type": "pool:p", "amount": 2 }] });
        let grown = port.ask("PATCH", &path, &own, &more);
        assert_eq!((grown.status, grown.kind()), (409, "preempting"));
        // It does not leave.
        let gone = eventually("its end", || {
            let renewed = renew();
            (renewed.status != 200).then_some(renewed)
        });
        assert_eq!(
            (gone.status, &gone.body["reason"]),
            (410, &json!("preempted"))
        );
        let got = waits.join().expect("an answer");
        assert_eq!(got.status, 201, "{got:?}");
        assert_eq!(state(&got), (json!("active"), true, json!(false)));
    });
}
