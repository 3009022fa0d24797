//! A receiver that is slow, gone, or refuses: the data path goes on, and every operation is counted.

use std::time::Duration;

use nearside::telemetry::traces::settings::{Protocol, Settings};
use nearside::telemetry::traces::tally::Reason;

use super::{BOTH, Told, operations};
use crate::support::eventually;
use crate::support::otlp::{Answer, Receiver};

/// Nobody may have to wait for it.
const SHORT: Duration = Duration::from_millis(100);

#[test]
fn a_slow_receiver_costs_what_has_no_room() {
    for protocol in BOTH {
        let receiver = Receiver::start(protocol);
        let settings = Settings {
            queue_size: 100,
            ..Told::settings(&receiver, protocol)
        };
        let mut told = Told::start(&settings);
        receiver.close();
        told.note(1, 1);
        eventually("a request", || {
            (receiver.received().requests == 1).then_some(())
        });
        // It answers nothing before all of these are noted: that they are shows that nobody waited for it.
        told.note(3, 1000);
        let tally = told.traces().tally();
        assert_eq!(tally.sampled(), 3001);
        assert_eq!(tally.dropped(Reason::QueueFull), 2900);
        assert_eq!((tally.exported(), told.traces().waiting()), (0, 100));
        receiver.open();
        told.settle();
        assert_eq!(tally.exported(), 101);
        told.note(1, 50);
        told.end();
        assert_eq!(told.traces().tally().exported(), 151);
        assert_eq!(operations(&receiver.received()), 151);
    }
}

#[test]
fn a_receiver_that_is_gone_and_comes_back() {
    for protocol in BOTH {
        let receiver = Receiver::start(protocol);
        let settings = Settings {
            timeout: SHORT,
            ..Told::settings(&receiver, protocol)
        };
        let mut told = Told::start(&settings);
        told.note(1, 10);
        told.settle();
        assert_eq!(told.traces().tally().exported(), 10);
        let addr = receiver.addr;
        drop(receiver);
        told.note(2, 500);
        told.settle();
        let tally = told.traces().tally();
        assert_eq!(tally.dropped(Reason::Unreachable), 1000);
        let receiver = eventually("the same port", || Receiver::start_on(protocol, addr).ok());
        told.note(1, 20);
        told.settle();
        assert_eq!(operations(&receiver.received()), 20);
        told.end();
    }
}

#[test]
fn what_may_be_tried_again_is() {
    for protocol in BOTH {
        let receiver = Receiver::start(protocol);
        receiver.answer(&[Answer::Later, Answer::Later]);
        let mut told = Told::start(&Told::settings(&receiver, protocol));
        told.note(1, 10);
        told.settle();
        let got = receiver.received();
        assert_eq!((got.requests, operations(&got)), (3, 10));
        told.end();
        assert_eq!(told.traces().tally().exported(), 10);
    }
}

#[test]
fn what_may_not_is_dropped_and_the_next_goes_on() {
    for protocol in BOTH {
        let receiver = Receiver::start(protocol);
        receiver.answer(&[Answer::Never]);
        let mut told = Told::start(&Told::settings(&receiver, protocol));
        told.note(1, 1);
        told.settle();
        assert_eq!(told.traces().tally().dropped(Reason::Refused), 1);
        told.note(1, 10);
        told.end();
        let got = receiver.received();
        assert_eq!((got.requests, operations(&got)), (2, 10));
    }
}

#[test]
fn a_part_that_is_refused_is_counted() {
    for protocol in BOTH {
        let receiver = Receiver::start(protocol);
        let settings = Settings {
            // One request each.
            export_interval: Duration::from_secs(600),
            ..Told::settings(&receiver, protocol)
        };
        for (rejected, lost) in [(15, 10), (3, 2), (0, 0)] {
            receiver.answer(&[Answer::Partly(rejected)]);
            let mut told = Told::start(&settings);
            told.note(1, 10);
            told.end();
            let tally = told.traces().tally();
            assert_eq!(tally.dropped(Reason::Rejected), lost);
            assert_eq!(tally.exported(), 10 - lost);
            assert_eq!(tally.rejected_spans(), u64::try_from(rejected).unwrap());
        }
    }
}

#[test]
fn a_full_batch_does_not_wait_for_its_interval() {
    let receiver = Receiver::start(Protocol::Grpc);
    let settings = Settings {
        export_interval: Duration::from_secs(600),
        ..Told::settings(&receiver, Protocol::Grpc)
    };
    let mut told = Told::start(&settings);
    told.note(1, 2048);
    told.settle();
    assert_eq!(told.traces().tally().exported(), 2048);
    told.note(1, 1);
    told.end();
    assert_eq!(operations(&receiver.received()), 2049);
}

#[test]
fn the_end_is_not_held_up_by_a_receiver_that_says_nothing() {
    let receiver = Receiver::start(Protocol::Http);
    let mut told = Told::start(&Settings {
        timeout: Duration::from_secs(24 * 60 * 60),
        ..Told::settings(&receiver, Protocol::Http)
    });
    receiver.close();
    told.note(1, 10);
    eventually("a request", || {
        (receiver.received().requests == 1).then_some(())
    });
    told.note(1, 10);
    told.end();
    let tally = told.traces().tally();
    assert_eq!((tally.dropped(Reason::Shutdown), tally.exported()), (20, 0));
    // Whoever is late is counted too.
    told.note(1, 1);
    assert_eq!(told.traces().tally().dropped(Reason::Shutdown), 21);
}
