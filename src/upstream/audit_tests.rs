use std::sync::Arc;

use super::*;
use crate::l1::settings::Settings as L1Settings;
use crate::l1::{End, Fill, Space};
use crate::resp::downgrade::Shape;

const BOUND: u64 = 300;
const HIT: u64 = 10;
const ENDS: u64 = 30_000;

struct Stage {
    l1: L1,
    space: Arc<Space>,
    auditor: Arc<Auditor>,
}

impl Stage {
    fn new() -> Self {
        let l1 = L1::new(L1Settings::default(), 1);
        let space = l1.add_space();
        let stage = Self {
            l1,
            space,
            auditor: Arc::new(Auditor::new(Settings::default())),
        };
        let read = stage.l1.value(b"k");
        let fill = Fill {
            read,
            keys: &[read.key],
            reply: b"$1\r\n1\r\n",
            shape: Shape::Generic,
            sent: 0,
            end: End::Ttls(&[30_000]),
            epoch: stage.l1.epoch(),
            keyspace: 0,
        };
        assert!(stage.l1.fill(&stage.space, &fill));
        stage
    }

    fn audit(&self) -> Audit {
        let read = self.l1.value(b"k");
        let claim = self.l1.claim(&self.space, &read, &[read.key], HIT);
        let claim = claim.expect("it is held");
        Audit::new(&self.auditor, "GET", &[b"k"], Arrays::Ordered, claim, HIT)
    }

    fn counts(&self) -> [u64; 4] {
        Outcome::ALL.map(|outcome| self.auditor.count(outcome))
    }

    fn holds_it(&self) -> bool {
        self.l1
            .holds(&self.space, &self.l1.value(b"k"), HIT)
            .is_ok()
    }
}

#[test]
fn the_reply_and_what_came_before_it_decide() {
    type Before = fn(&Stage);
    let nothing: Before = |_| {};
    let push: Before = |stage| stage.l1.invalidate(&stage.space, b"k");
    let other: Before = |stage| stage.l1.invalidate(&stage.space, b"other");
    let late = ENDS - BOUND;
    for (reply, before, at, outcome) in [
        (&b"$1\r\n1\r\n"[..], nothing, 20, Some(Outcome::Same)),
        (b"$1\r\n1\r\n", push, 20, Some(Outcome::Same)),
        (b"$1\r\n2\r\n", push, 20, Some(Outcome::Explained)),
        (b"_\r\n", nothing, late, Some(Outcome::Explained)),
        (b"_\r\n", nothing, late - 1, None),
        (b"$1\r\n2\r\n", nothing, 20, None),
        (b"$1\r\n2\r\n", other, 20, None),
        (b"-WRONGTYPE Operation\r\n", nothing, 20, None),
        (
            b"-WRONGTYPE Operation\r\n",
            push,
            20,
            Some(Outcome::Explained),
        ),
        (
            b"-LOADING Redis\r\n",
            nothing,
            20,
            Some(Outcome::Unanswered),
        ),
        (b"!5\r\nERR x\r\n", nothing, 20, Some(Outcome::Unanswered)),
    ] {
        for parts in [1, 2, reply.len()] {
            let stage = Stage::new();
            let mut audit = stage.audit();
            before(&stage);
            for part in reply.chunks(reply.len().div_ceil(parts)) {
                audit.hear(part);
            }
            let shown = reply.escape_ascii();
            assert_eq!(audit.answered(&stage.l1, at, BOUND), outcome, "{shown}");
            if outcome.is_none() {
                assert!(!stage.holds_it(), "{shown} drops it");
            }
            drop(audit);
            let ended = outcome.unwrap_or(Outcome::Unanswered) as usize;
            let mut counts = [0; 4];
            counts[ended] = 1;
            assert_eq!(stage.counts(), counts, "{shown}");
            assert_eq!(stage.auditor.held.load(Ordering::Relaxed), 0);
        }
    }
}

#[test]
fn of_a_longer_reply_no_more_is_kept_than_it_takes_to_know_it() {
    let stage = Stage::new();
    let mut audit = stage.audit();
    let half = vec![b'x'; 500_000];
    for part in [&b"$1000000\r\n"[..], &half, &half, b"\r\n"] {
        audit.hear(part);
    }
    assert!(audit.heard.len() <= 64);
    assert_eq!(audit.answered(&stage.l1, 20, BOUND), None);
}

#[test]
fn what_does_not_come_by_the_lane_may_explain_it_later() {
    for swapped in [true, false] {
        let stage = Stage::new();
        let mut audit = stage.audit();
        audit.hear(b"_\r\n");
        assert_eq!(audit.answered(&stage.l1, 20, BOUND), None);
        // A push is too late to explain a reply that came before it.
        stage.l1.invalidate(&stage.space, b"k");
        if swapped {
            stage.l1.clear_and_refuse_sent();
        }
        audit.judge(&stage.l1, 20 + BOUND);
        let (explained, incoherent) = (u64::from(swapped), u64::from(!swapped));
        assert_eq!(stage.counts(), [0, explained, incoherent, 0]);
        let total = stage
            .l1
            .keyspaces()
            .total(|one| one.incoherent.load(Ordering::Relaxed));
        assert_eq!(total, incoherent);
    }
}

#[test]
fn an_audit_that_gets_no_reply_is_unanswered() {
    let stage = Stage::new();
    drop(stage.audit());
    assert_eq!(stage.counts(), [0, 0, 0, 1]);
}

#[test]
fn no_more_are_sent_in_a_second_than_may_be() {
    let auditor = Auditor::new(Settings {
        sample: ALL,
        max_per_second: 50,
    });
    let sent = (0..10_000u64).filter(|now| auditor.admits(*now)).count();
    assert!((500..=510).contains(&sent), "{sent}");
    auditor.set(Settings {
        sample: ALL,
        max_per_second: 0,
    });
    assert!(!auditor.admits(20_000));
}

#[test]
fn the_log_is_not_flooded() {
    let auditor = Auditor::new(Settings::default());
    let lines: Vec<Option<u64>> = (5000..7000)
        .step_by(500)
        .map(|now| auditor.logs(now))
        .collect();
    assert_eq!(lines, [Some(0), None, Some(1), None]);
}
