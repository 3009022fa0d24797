//! The queue: whose turn it is, and that everybody's comes.

use std::thread::sleep;
use std::time::Duration;

use nearside::allocation::ledger::call::{Acquire, Call};
use nearside::allocation::ledger::reply::Outcome;

use super::rig::{Caller, ledger, release, request, waiting};
use crate::support::eventually;

/// Microseconds of head start for a point of priority.
const POINT: u64 = 100_000;
/// Microseconds for which the place is kept of whoever asks no more.
const SILENCE: u64 = 2_000_000;

fn with_priority(id: &str, priority: u64) -> Acquire {
    Acquire {
        priority,
        ..waiting(id, 1)
    }
}

/// Since when it waits.
fn queued(caller: &mut Caller, request: Acquire) -> u64 {
    match caller.ask(&Call::Acquire(request)) {
        Outcome::Queued { arrived } => arrived.expect("its arrival"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_large_request_is_not_overtaken() {
    let (_server, mut caller) = ledger(4);
    caller.granted(request("l1", "p", 2));
    caller.granted(request("l2", "p", 1));
    assert!(matches!(
        caller.ask(&Call::Acquire(waiting("large", 4))),
        Outcome::Queued { .. }
    ));
    // One is free, and the large one is before whoever asks for it.
    assert!(matches!(
        caller.ask(&Call::Acquire(request("l3", "p", 1))),
        Outcome::Exhausted(_)
    ));
    assert!(matches!(
        caller.ask(&Call::Acquire(waiting("small", 1))),
        Outcome::Queued { .. }
    ));
    caller.ask(&release("l1", None));
    assert!(matches!(
        caller.ask(&Call::Acquire(waiting("small", 1))),
        Outcome::Queued { .. }
    ));
    caller.ask(&release("l2", None));
    caller.granted(waiting("large", 4));
    caller.ask(&release("large", None));
    caller.granted(waiting("small", 1));
    caller.assert_sound();
}

#[test]
fn priority_goes_first_and_age_counts() {
    let (_server, mut caller) = ledger(1);
    caller.granted(request("l1", "p", 1));
    let with = |id: &str, priority| Acquire {
        priority,
        ..waiting(id, 1)
    };
    for (id, priority) in [("low", 0), ("high", 1000)] {
        caller.ask(&Call::Acquire(with(id, priority)));
    }
    caller.ask(&release("l1", None));
    assert!(matches!(
        caller.ask(&Call::Acquire(with("low", 0))),
        Outcome::Queued { .. }
    ));
    caller.granted(with("high", 1000));
    // A point is a tenth of a second: who has waited for longer than that is before who has a point more.
    sleep(Duration::from_millis(150));
    caller.ask(&Call::Acquire(with("low", 0)));
    assert!(matches!(
        caller.ask(&Call::Acquire(with("new", 1))),
        Outcome::Queued { .. }
    ));
    caller.ask(&release("high", None));
    assert!(matches!(
        caller.ask(&Call::Acquire(with("new", 1))),
        Outcome::Queued { .. }
    ));
    caller.granted(with("low", 0));
}

#[test]
fn a_stream_of_small_requests_does_not_starve_a_large_one() {
    const CAPACITY: u64 = 6;
    let (_server, mut caller) = ledger(CAPACITY);
    for number in 0..CAPACITY {
        caller.granted(request(&format!("small{number}"), "p", 1));
    }
    queued(&mut caller, waiting("large", CAPACITY));
    // Whenever one is given back, others ask for it, first of all and with and without patience.
    for number in 0..CAPACITY {
        caller.ask(&release(&format!("small{number}"), None));
        for late in 0..=number {
            queued(&mut caller, waiting(&format!("late{late}"), 1));
        }
        let greedy = caller.ask(&Call::Acquire(request("greedy", "p", 1)));
        assert!(matches!(greedy, Outcome::Exhausted(_)), "{greedy:?}");
        if number + 1 < CAPACITY {
            queued(&mut caller, waiting("large", CAPACITY));
        }
    }
    caller.granted(waiting("large", CAPACITY));
    caller.ask(&release("large", None));
    for late in 0..CAPACITY {
        caller.granted(waiting(&format!("late{late}"), 1));
    }
    caller.assert_sound();
}

#[test]
fn a_lease_that_grows_does_not_overtake_either() {
    let (_server, mut caller) = ledger(3);
    let lease = caller.granted(request("l1", "p", 1));
    caller.granted(request("l2", "p", 1));
    queued(&mut caller, waiting("large", 3));
    let grown = caller.ask(&super::rig::resize("l1", lease.fence, "c1", 2));
    assert!(matches!(grown, Outcome::Exhausted(_)), "{grown:?}");
}

#[test]
fn a_stream_of_higher_priority_delays_by_its_head_start_at_most() {
    const POINTS: u64 = 4;
    let (_server, mut caller) = ledger(1);
    caller.granted(request("held", "p", 1));
    let arrived = queued(&mut caller, with_priority("low", 0));
    let mut holder = "held".to_owned();
    let mut overtook = 0;
    // There is always one of the higher priority that waits, and it is asked for after the low one.
    for number in 0.. {
        let high = format!("high{number}");
        let came = queued(&mut caller, with_priority(&high, POINTS));
        caller.ask(&release(&holder, None));
        match caller.ask(&Call::Acquire(with_priority("low", 0))) {
            Outcome::Granted { .. } => {
                assert!(came >= arrived + POINTS * POINT, "{high} was before it");
                break;
            }
            Outcome::Queued { .. } => {
                assert!(came <= arrived + POINTS * POINT, "{high} was after it");
                overtook += 1;
            }
            other => panic!("{other:?}"),
        }
        caller.granted(with_priority(&high, POINTS));
        holder = high;
        sleep(Duration::from_millis(5));
    }
    assert!(overtook > 0, "priority counts for nothing");
    caller.assert_sound();
}

#[test]
fn a_place_is_kept_for_no_longer_than_it_is_asked_for() {
    let (_server, mut caller) = ledger(1);
    caller.granted(request("held", "p", 1));
    let silent = queued(&mut caller, waiting("silent", 1));
    caller.ask(&release("held", None));
    eventually("its turn", || {
        let reply = caller.reply(&Call::Acquire(waiting("next", 1)));
        match reply.outcome {
            Outcome::Granted { .. } => {
                assert!(reply.now / 1000 >= (silent + SILENCE) / 1000);
                Some(())
            }
            Outcome::Queued { .. } => {
                assert!(reply.now / 1000 < (silent + SILENCE) / 1000);
                None
            }
            other => panic!("{other:?}"),
        }
    });
    caller.assert_sound();
}

#[test]
fn who_was_silent_comes_back_to_its_place() {
    let (_server, mut caller) = ledger(1);
    caller.granted(request("held", "p", 1));
    let arrived = queued(&mut caller, waiting("first", 1));
    queued(&mut caller, waiting("second", 1));
    // Its place was lost, by silence or with the ledger's data: it says since when it has waited.
    caller.ask(&super::rig::cancel("first"));
    let again = Acquire {
        arrived: Some(arrived),
        ..waiting("again", 1)
    };
    assert_eq!(queued(&mut caller, again.clone()), arrived);
    caller.ask(&release("held", None));
    queued(&mut caller, waiting("second", 1));
    caller.granted(again);
}
