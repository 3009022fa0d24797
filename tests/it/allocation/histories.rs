//! Many nearsides at once: what they were told is what one ledger, asked one after the other, would have said.

use std::net::SocketAddr;
use std::thread;

use nearside::allocation::ledger::call::{Acquire, Call};
use nearside::allocation::ledger::library;
use nearside::allocation::ledger::reply::{Outcome, Reason};

use super::linear::{Did, Recorder, timed};
use super::rig::{Caller, planted, release, renew, request};
use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::rng::Rng;

const CAPACITY: u64 = 4;

fn works(addr: SocketAddr, number: u64, recorder: &Recorder) {
    let mut caller = Caller::new(addr, "main", &format!("n{number}"), 0);
    let mut rng = Rng::new(number);
    let mut calls = Vec::new();
    let mut held: Vec<(String, u64)> = Vec::new();
    for step in 0..60 {
        if !held.is_empty() && rng.one_in(2) {
            let (id, amount) = held.swap_remove(rng.below(held.len()));
            calls.push(timed(|| match caller.ask(&release(&id, None)) {
                Outcome::Released { .. } => Did::Released { amount },
                other => panic!("{other:?}"),
            }));
            continue;
        }
        let amount = 1 + u64::try_from(rng.below(3)).expect("small");
        let id = format!("{number}-{step}");
        let call = timed(
            || match caller.ask(&Call::Acquire(request(&id, "p", amount))) {
                Outcome::Granted { lease, .. } => Did::Granted {
                    amount,
                    fence: lease.fence,
                },
                Outcome::Exhausted(_) => Did::Refused { amount },
                other => panic!("{other:?}"),
            },
        );
        if matches!(call.did, Did::Granted { .. }) {
            held.push((id, amount));
        }
        calls.push(call);
    }
    recorder.add(calls);
}

/// Six at once, with this library; whether it was all in order.
fn run(library: &str) -> bool {
    let server = RedisServer::start(&[]);
    server.client().must(&["FUNCTION", "LOAD", library]);
    Caller::new(server.addr(), "main", "a", 0).put("p", CAPACITY);
    let (addr, recorder) = (server.addr(), Recorder::default());
    thread::scope(|scope| {
        for number in 0..6 {
            let recorder = &recorder;
            scope.spawn(move || works(addr, number, recorder));
        }
    });
    recorder.history().is_linearizable(CAPACITY)
}

#[test]
fn what_many_are_told_is_in_some_order() {
    assert!(run(&library::text()));
}

#[test]
fn a_planted_double_grant_is_found() {
    let rule = "want.amount > mine and promised - mine";
    assert!(!run(&planted(
        rule,
        "want.amount > mine and promised - 1 - mine"
    )));
}

#[test]
fn a_planted_fence_that_goes_back_is_found() {
    assert!(!run(&planted("math.max(c.fence + 1, c.us)", "c.us % 1000")));
}

#[test]
fn a_planted_loss_of_what_comes_back_is_found() {
    let rule = "    add(c.used, want.account, -want.amount)\n";
    assert!(!run(&planted(rule, "")));
}

/// How long a lease was there for certain: from when it was granted to when it was renewed last, by the ledger's clock.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: u64,
    to: u64,
    amount: u64,
}

/// What one that crowds in saw: what it held for certain, and how often it was asked to leave and did not.
#[derive(Debug, Default)]
struct Crowd {
    spans: Vec<Span>,
    preempted: u32,
}

/// Asks for room, by turns as one that may be asked to leave and as one that others are asked to leave for, and renews what it
/// has for as long as it is let.
fn crowds_in(addr: SocketAddr, number: u64) -> Crowd {
    let mut caller = Caller::new(addr, "main", &format!("n{number}"), 0);
    caller.place.grace = 3;
    caller.place.cap = 500_000;
    let mut rng = Rng::new(number);
    let mut crowd = Crowd::default();
    for step in 0..24 {
        let urgent = rng.one_in(3);
        let amount = 1 + u64::try_from(rng.below(2)).expect("small");
        let asked = Acquire {
            waits: true,
            preemptible: !urgent,
            priority: if urgent { 100 } else { 0 },
            ..request(&format!("{number}-{step}"), "p", amount)
        };
        let (lease, from) = eventually("its turn", || {
            let reply = caller.reply(&Call::Acquire(asked.clone()));
            match reply.outcome {
                Outcome::Granted { lease, .. } => Some((lease, reply.now)),
                Outcome::Queued { .. } => None,
                other => panic!("{other:?}"),
            }
        });
        let mut to = from;
        for _ in 0..30 {
            let reply = caller.reply(&renew(&lease.id, Some(lease.fence)));
            match reply.outcome {
                Outcome::Granted { .. } => to = reply.now,
                Outcome::Ended { reason } => {
                    crowd.preempted += u32::from(reason == Reason::Preempted);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        caller.ask(&release(&lease.id, None));
        crowd.spans.push(Span { from, to, amount });
    }
    crowd
}

/// Six at once, with this library: the most that was held at once for certain, and how many had to leave.
fn crowd(library: &str) -> (u64, u32) {
    let server = RedisServer::start(&[]);
    server.client().must(&["FUNCTION", "LOAD", library]);
    let addr = server.addr();
    let mut caller = Caller::new(addr, "main", "a", 0);
    caller.put("p", CAPACITY);
    let crowds: Vec<Crowd> = thread::scope(|scope| {
        let each = (0..6).map(|number| scope.spawn(move || crowds_in(addr, number)));
        let each: Vec<_> = each.collect();
        let joined = each.into_iter().map(|one| one.join().expect("no panic"));
        joined.collect()
    });
    let spans: Vec<Span> = crowds
        .iter()
        .flat_map(|crowd| crowd.spans.clone())
        .collect();
    let held_at = |at: u64| -> u64 {
        let there = spans
            .iter()
            .filter(|span| (span.from..span.to).contains(&at));
        there.map(|span| span.amount).sum()
    };
    let most = spans.iter().map(|span| held_at(span.from)).max();
    assert_eq!(caller.used("p"), 0);
    assert!(caller.audit().wrong.is_empty());
    let preempted = crowds.iter().map(|crowd| crowd.preempted).sum();
    (most.unwrap_or(0), preempted)
}

#[test]
fn preemption_promises_nothing_twice() {
    let (most, preempted) = crowd(&library::text());
    assert!(most <= CAPACITY, "{most} of {CAPACITY}");
    assert!(preempted > 0, "nobody had to leave");
}

#[test]
fn a_planted_grant_of_what_is_only_coming_is_found() {
    let rule = "local promised = counted(c.used, want.account)\n    local mine";
    let early = "local promised = counted(c.used, want.account) - counted(c.leaving, want.account)\n    local mine";
    let (most, _) = crowd(&planted(rule, early));
    assert!(most > CAPACITY, "{most} of {CAPACITY}");
}
