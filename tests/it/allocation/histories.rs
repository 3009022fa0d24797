//! Many nearsides at once: what they were told is what one ledger, asked one after the other, would have said.

use std::net::SocketAddr;
use std::thread;

use nearside::allocation::ledger::call::Call;
use nearside::allocation::ledger::library;
use nearside::allocation::ledger::reply::Outcome;

use super::linear::{Did, Recorder, timed};
use super::rig::{Caller, planted, release, request};
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
