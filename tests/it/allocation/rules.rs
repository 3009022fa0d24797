//! One rule of the ledger each.

use nearside::allocation::ledger::call::{Acquire, Call, PutPool, Want};
use nearside::allocation::ledger::reply::{Outcome, Reason, Standing};

use super::rig::{
    Caller, TTL, cancel, hello, keyed, ledger, load, names, put, release, renew, request, resize,
    waiting,
};
use crate::support::eventually;
use crate::support::redis::RedisServer;

#[test]
fn what_is_there_is_promised_once() {
    let (_server, mut caller) = ledger(3);
    let first = caller.granted(request("l1", "p", 2));
    let Outcome::Exhausted(refused) = caller.ask(&Call::Acquire(request("l2", "p", 2))) else {
        panic!("more than there is");
    };
    assert_eq!(
        (refused.capacity, refused.used, refused.never),
        (3, 2, false)
    );
    assert_eq!(refused.next_expiry, Some(first.expires));
    let second = caller.granted(request("l3", "p", 1));
    assert!(second.fence > first.fence);
    let Outcome::Exhausted(refused) = caller.ask(&Call::Acquire(request("l4", "p", 4))) else {
        panic!("more than there is");
    };
    assert!(refused.never);
    assert!(matches!(
        caller.ask(&release("l1", None)),
        Outcome::Released { .. }
    ));
    caller.granted(request("l5", "p", 2));
    assert_eq!(caller.used("p"), 3);
    caller.assert_sound();
}

#[test]
fn all_or_nothing() {
    let (_server, mut caller) = ledger(3);
    caller.put("q", 1);
    let both = |id: &str, p: u64, q: u64| {
        let mut both = request(id, "p", p);
        both.wants.extend(request(id, "q", q).wants);
        both
    };
    caller.granted(both("l1", 1, 1));
    let refused = caller.ask(&Call::Acquire(both("l2", 1, 1)));
    assert!(
        matches!(&refused, Outcome::Exhausted(e) if e.resource == "pool:q"),
        "{refused:?}"
    );
    assert_eq!((caller.used("p"), caller.used("q")), (1, 1));
}

#[test]
fn asked_again_it_is_the_same_lease() {
    let (_server, mut caller) = ledger(3);
    let first = caller.granted(request("l1", "p", 1));
    let again = caller.ask(&Call::Acquire(request("l1", "p", 1)));
    assert_eq!(
        again,
        Outcome::Granted {
            lease: first,
            again: true
        }
    );
    assert_eq!(caller.used("p"), 1);
}

#[test]
fn what_expires_comes_back() {
    let (_server, mut caller) = ledger(1);
    let short = Acquire {
        ttl: 20,
        ..request("l1", "p", 1)
    };
    let lease = caller.granted(short);
    eventually("the expiry", || {
        let got = caller.ask(&Call::Acquire(request("l2", "p", 1)));
        matches!(got, Outcome::Granted { .. }).then_some(())
    });
    let renewed = caller.ask(&renew("l1", Some(lease.fence)));
    assert_eq!(
        renewed,
        Outcome::Ended {
            reason: Reason::Expired
        }
    );
    caller.assert_sound();
}

#[test]
fn renewal_ends_with_the_lifetime_and_needs_the_fence() {
    let (_server, mut caller) = ledger(1);
    let bounded = Acquire {
        lifetime: Some(TTL + 500),
        ..request("l1", "p", 1)
    };
    let lease = caller.granted(bounded);
    assert!(matches!(
        caller.ask(&renew("l1", Some(lease.fence - 1))),
        Outcome::Fenced { .. }
    ));
    assert!(matches!(caller.ask(&renew("l9", None)), Outcome::Unknown));
    let later = eventually("the lifetime's end", || {
        match caller.ask(&renew("l1", Some(lease.fence))) {
            Outcome::Granted { lease, .. } => (Some(lease.expires) == lease.hard).then_some(lease),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(later.fence, lease.fence);
}

#[test]
fn a_key_is_one_lease_and_then_none() {
    let (server, mut caller) = ledger(3);
    let mut other = Caller::new(server.addr(), "main", "b", 0);
    let first = caller.granted(keyed("l1", "p", 1, "k", "d1"));
    let again = other.granted(keyed("l2", "p", 1, "k", "d1"));
    assert_eq!(first.id, again.id);
    assert_eq!(
        other.ask(&Call::Acquire(keyed("l3", "p", 2, "k", "d2"))),
        Outcome::KeyReused
    );
    assert_eq!(caller.used("p"), 1);
    caller.ask(&release("l1", None));
    let gone = Outcome::Ended {
        reason: Reason::Released,
    };
    assert_eq!(
        other.ask(&Call::Acquire(keyed("l4", "p", 1, "k", "d1"))),
        gone
    );
    // Once that is forgotten the key is as good as new.
    let brief = Acquire {
        retention: 20,
        ..keyed("l5", "p", 1, "k2", "d1")
    };
    caller.granted(brief);
    caller.ask(&release("l5", None));
    eventually("the key again", || {
        let got = caller.ask(&Call::Acquire(keyed("l6", "p", 1, "k2", "d1")));
        matches!(got, Outcome::Granted { .. }).then_some(())
    });
    caller.assert_sound();
}

#[test]
fn a_key_that_waits_is_in_progress() {
    let (_server, mut caller) = ledger(1);
    caller.granted(request("l1", "p", 1));
    let wait = |id: &str| Acquire {
        waits: true,
        ..keyed(id, "p", 1, "k", "d")
    };
    assert!(matches!(
        caller.ask(&Call::Acquire(wait("w1"))),
        Outcome::Queued { .. }
    ));
    assert_eq!(caller.ask(&Call::Acquire(wait("w2"))), Outcome::InProgress);
    assert!(matches!(
        caller.ask(&cancel("w1")),
        Outcome::Released { lease: None }
    ));
    assert!(matches!(
        caller.ask(&Call::Acquire(wait("w3"))),
        Outcome::Queued { .. }
    ));
    // What is still on its way is refused.
    let late = caller.ask(&Call::Acquire(wait("w1")));
    assert!(matches!(late, Outcome::InProgress), "{late:?}");
    let late = caller.ask(&Call::Acquire(Acquire {
        key: None,
        ..wait("w1")
    }));
    assert_eq!(
        late,
        Outcome::Ended {
            reason: Reason::Cancelled
        }
    );
    caller.assert_sound();
}

#[test]
fn a_shrunk_pool_grants_nothing_and_breaks_nothing() {
    let (_server, mut caller) = ledger(4);
    let lease = caller.granted(request("l1", "p", 3));
    caller.put("p", 2);
    assert!(matches!(
        caller.ask(&Call::Acquire(request("l2", "p", 1))),
        Outcome::Exhausted(_)
    ));
    assert!(matches!(
        caller.ask(&renew("l1", Some(lease.fence))),
        Outcome::Granted { .. }
    ));
    let audit = caller.audit();
    assert_eq!(
        (audit.wrong.len(), audit.over),
        (0, vec!["pool:p".to_owned()])
    );
    // Less is right, though it is still more than there is.
    assert!(matches!(
        caller.ask(&resize("l1", lease.fence, "c1", 1)),
        Outcome::Granted { .. }
    ));
    caller.granted(request("l3", "p", 1));
    caller.assert_sound();
}

#[test]
fn a_resize_is_all_or_nothing_and_done_once() {
    let (_server, mut caller) = ledger(4);
    let lease = caller.granted(request("l1", "p", 2));
    caller.granted(request("l2", "p", 1));
    assert!(matches!(
        caller.ask(&resize("l1", lease.fence, "c1", 4)),
        Outcome::Exhausted(_)
    ));
    assert_eq!(caller.used("p"), 3);
    let Outcome::Granted { lease: grown, .. } = caller.ask(&resize("l1", lease.fence, "c2", 3))
    else {
        panic!("there is enough");
    };
    assert!(grown.fence > lease.fence);
    let again = caller.ask(&resize("l1", lease.fence, "c2", 3));
    assert_eq!(
        again,
        Outcome::Granted {
            lease: grown,
            again: true
        }
    );
    assert!(matches!(
        caller.ask(&resize("l1", lease.fence, "c3", 1)),
        Outcome::Fenced { .. }
    ));
    assert_eq!(caller.used("p"), 4);
    caller.assert_sound();
}

#[test]
fn pools_of_nodes_and_pods_are_counted_apart() {
    let (server, mut a) = ledger(1);
    for (name, scope) in [("n", "node"), ("o", "pod")] {
        a.ask(&Call::PutPool(PutPool {
            name: name.to_owned(),
            capacity: 1,
            scope,
        }));
    }
    let mut same_node = Caller::new(server.addr(), "main", "b", 0);
    let mut other_node = Caller::new(server.addr(), "main", "c", 0);
    other_node.place.node = Some("node-2".to_owned());
    a.granted(request("n1", "n", 1));
    assert!(matches!(
        same_node.ask(&Call::Acquire(request("n2", "n", 1))),
        Outcome::Exhausted(_)
    ));
    other_node.granted(request("n3", "n", 1));
    other_node.place.node = None;
    let nowhere = other_node.ask(&Call::Acquire(request("n4", "n", 1)));
    assert_eq!(
        nowhere,
        Outcome::UnknownNode {
            resource: "pool:n".to_owned()
        }
    );
    a.granted(request("o1", "o", 1));
    same_node.granted(request("o2", "o", 1));
    let own = |id: &str| Acquire {
        wants: vec![Want {
            resource: "cpu".to_owned(),
            amount: 800,
            capacity: Some(1000),
        }],
        ..request(id, "p", 1)
    };
    a.granted(own("c1"));
    assert!(matches!(
        a.ask(&Call::Acquire(own("c2"))),
        Outcome::Exhausted(_)
    ));
    same_node.granted(own("c3"));
    // A scope stays while anybody counts in it.
    let moved = Call::PutPool(PutPool {
        name: "n".to_owned(),
        capacity: 1,
        scope: "cluster",
    });
    assert_eq!(a.ask(&moved), Outcome::InUse);
    assert_eq!(
        a.ask(&Call::DeletePool {
            name: "n".to_owned()
        }),
        Outcome::InUse
    );
    a.ask(&release("n1", None));
    a.ask(&release("n3", None));
    assert_eq!(
        a.ask(&Call::DeletePool {
            name: "n".to_owned()
        }),
        Outcome::Deleted
    );
    let unknown = Outcome::UnknownPool {
        resource: "pool:n".to_owned(),
    };
    assert_eq!(a.ask(&Call::Acquire(request("n5", "n", 1))), unknown);
    a.assert_sound();
}

#[test]
fn a_new_ledger_pauses_and_so_does_one_that_was_lost() {
    let server = RedisServer::start(&[]);
    load(server.addr());
    let mut caller = Caller::new(server.addr(), "main", "a", 100);
    // Somebody may remember the pool.
    let unknown = caller.ask(&Call::Acquire(waiting("l0", 1)));
    assert_eq!(unknown, Outcome::Recovering);
    caller.put("p", 1);
    assert_eq!(
        caller.ask(&Call::Acquire(request("l1", "p", 1))),
        Outcome::Recovering
    );
    let lease = eventually("the pause's end", || {
        match caller.ask(&Call::Acquire(request("l1", "p", 1))) {
            Outcome::Granted { lease, .. } => Some(lease),
            _ => None,
        }
    });
    let pools = match caller.ask(&Call::Pools {}) {
        Outcome::Pools { pools } => pools,
        other => panic!("{other:?}"),
    };
    let epoch = caller.seen.epoch;
    server.client().must(&["FLUSHALL"]);
    let mut other = Caller::new(server.addr(), "main", "b", 100);
    other.put("p", 1);
    assert!(other.seen.epoch > epoch);
    assert_eq!(
        other.ask(&Call::Acquire(request("l2", "p", 1))),
        Outcome::Recovering
    );
    let version = pools[0].version;
    let asserted = caller.ask(&Call::Reassert {
        leases: vec![lease.clone()],
        pools: vec![nearside::allocation::ledger::call::RememberedPool {
            name: "p".to_owned(),
            capacity: 7,
            scope: "cluster".to_owned(),
            version,
        }],
    });
    let Outcome::Asserted { leases } = asserted else {
        panic!("{asserted:?}")
    };
    assert_eq!(leases[0].standing, Standing::Restored);
    // The newer pool stays. Nothing is left when the pause is over, and fences go on.
    eventually("the pause's end", || {
        let got = other.ask(&Call::Acquire(request("l3", "p", 1)));
        matches!(got, Outcome::Exhausted(_)).then_some(())
    });
    other.ask(&release("l1", Some(lease.fence)));
    let next = other.granted(request("l4", "p", 1));
    assert!(next.fence > lease.fence);
    // Who comes after the window has to fit.
    let late = nearside::allocation::ledger::reply::Lease {
        id: "l5".to_owned(),
        ..lease
    };
    let asserted = caller.ask(&Call::Reassert {
        leases: vec![late],
        pools: vec![],
    });
    let Outcome::Asserted { leases } = asserted else {
        panic!("{asserted:?}")
    };
    assert_eq!(
        leases[0].standing,
        Standing::Ended {
            reason: Reason::Lost
        }
    );
    caller.assert_sound();
}

#[test]
fn a_ledger_that_is_behind_what_was_seen_pauses() {
    let (server, mut caller) = ledger(1);
    caller.place.window = 60_000;
    caller.granted(request("l1", "p", 1));
    let epoch = caller.seen.epoch;
    caller.seen.seq += 5;
    let reply = caller.reply(&Call::Acquire(request("l2", "p", 1)));
    assert_eq!(reply.outcome, Outcome::Recovering);
    assert!(reply.epoch > epoch && reply.pause > 50_000);
    // Once for each loss.
    let again = caller.reply(&hello());
    assert_eq!(again.epoch, reply.epoch);
    let mut other = Caller::new(server.addr(), "main", "b", 60_000);
    other.seen.epoch = epoch;
    assert_eq!(other.reply(&hello()).epoch, reply.epoch);
    // An epoch that is yet to come is one that was lost.
    other.seen.epoch = reply.epoch + 1;
    assert!(other.reply(&hello()).epoch > reply.epoch + 1);
}

#[test]
fn another_server_begins_a_pause() {
    let (server, mut caller) = ledger(1);
    caller.place.window = 60_000;
    let before = caller.reply(&hello());
    assert_eq!(before.pause, 0);
    server
        .client()
        .must(&["HSET", "{nearside:main}:meta", "run", "another"]);
    let after = caller.reply(&hello());
    assert!(after.epoch > before.epoch && after.pause > 50_000);
    assert_eq!(caller.reply(&hello()).epoch, after.epoch);
}

#[test]
fn a_hello_tells_what_is_promised_of_accounts() {
    let (_server, mut caller) = ledger(3);
    caller.granted(request("l1", "p", 2));
    let accounts = ["pool:q", "pool:p"].map(str::to_owned).to_vec();
    let Outcome::Hello(told) = caller.ask(&Call::Hello { accounts }) else {
        panic!("no hello")
    };
    assert_eq!((told.used, told.leases, told.waiting), (vec![0, 2], 1, 0));
}

#[test]
fn without_memory_only_grants_are_refused() {
    let (server, mut caller) = ledger(2);
    let lease = caller.granted(request("l1", "p", 1));
    server.client().must(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = caller.raw(&Call::Acquire(request("l2", "p", 1)));
    assert!(
        refused.is_error() && format!("{refused:?}").contains("OOM"),
        "{refused:?}"
    );
    assert!(matches!(
        caller.ask(&renew("l1", Some(lease.fence))),
        Outcome::Granted { .. }
    ));
    assert!(matches!(
        caller.ask(&release("l1", Some(lease.fence))),
        Outcome::Released { .. }
    ));
    let Outcome::Hello(hello) = caller.ask(&hello()) else {
        panic!("no hello")
    };
    assert_eq!(
        (hello.maxmemory, hello.policy.as_deref()),
        (Some(1), Some("noeviction"))
    );
    caller.assert_sound();
}

#[test]
fn scripts_do_the_same() {
    let (server, mut caller) = ledger(2);
    let mut scripted = Caller::new(server.addr(), "main", "b", 0);
    for flags in [true, false] {
        scripted.scripts = Some(flags);
        let lease = scripted.granted(request("l1", "p", 1));
        assert_eq!(caller.used("p"), 1);
        scripted.ask(&release("l1", Some(lease.fence)));
        scripted.ask(&cancel("l2"));
        assert_eq!(scripted.used("p"), 0);
        scripted.assert_sound();
        server.client().must(&["FLUSHALL"]);
        caller.put("p", 2);
    }
    scripted.scripts = Some(true);
    caller.granted(request("l3", "p", 1));
    server.client().must(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(scripted.raw(&put("q", 1)).is_error());
    assert!(matches!(
        scripted.ask(&release("l3", None)),
        Outcome::Released { .. }
    ));
}

#[test]
fn the_library_is_what_it_says() {
    let (server, _caller) = ledger(1);
    let listed = server.client().must(&["FUNCTION", "LIST"]);
    let text = format!("{listed:?}");
    for name in names() {
        let seen = format!("{:?}", name.as_bytes());
        assert!(
            text.contains(&seen) || text.contains(&name),
            "{name}: {text}"
        );
    }
}
