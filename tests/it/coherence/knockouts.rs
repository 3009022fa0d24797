//! Every rule is needed: with it the scenario keeps the promise, with it knocked out the scenario breaks it.

use nearside::l1::{Rule, RuleSet};

use super::promise::{Checked, Promise};
use super::rig::{QUIET, Rig};
use super::scenarios::{self as s, BOUND};

struct Case {
    rule: Rule,
    promise: Promise,
    /// `max_staleness` plays a part.
    bounded: bool,
    name: &'static str,
    run: fn(&Rig) -> Checked,
}

const fn case(rule: Rule, promise: Promise, name: &'static str, run: fn(&Rig) -> Checked) -> Case {
    Case {
        rule,
        promise,
        bounded: matches!(promise, Promise::BoundedStaleness),
        name,
        run,
    }
}

const CASES: [Case; 27] = [
    case(
        Rule::FillInReader,
        Promise::BoundedStaleness,
        "push behind a fill",
        s::push_behind_fill,
    ),
    case(
        Rule::Fence,
        Promise::Causality,
        "BLPOP",
        s::blpop_overtakes_push,
    ),
    case(
        Rule::Fence,
        Promise::Causality,
        "message",
        s::message_overtakes_push,
    ),
    case(
        Rule::Fence,
        Promise::Causality,
        "GET in EXEC",
        s::exec_read_overtakes_push,
    ),
    case(
        Rule::Fence,
        Promise::MonotonicKeys,
        "AUTH",
        s::change_of_lane,
    ),
    case(
        Rule::Fence,
        Promise::MonotonicKeys,
        "AUTH behind a hit",
        s::change_of_lane_behind_a_hit,
    ),
    case(
        Rule::InFlight,
        Promise::OwnWrites,
        "SET on the lane",
        s::fill_ahead_of_lane_write,
    ),
    case(
        Rule::InFlight,
        Promise::OwnWrites,
        "EXEC",
        s::fill_behind_exec,
    ),
    case(
        Rule::Marker,
        Promise::OwnWrites,
        "EXEC",
        s::fill_behind_exec,
    ),
    case(
        Rule::Marker,
        Promise::OwnWrites,
        "EVAL",
        s::fill_behind_script,
    ),
    case(
        Rule::Closure,
        Promise::OwnWrites,
        "EVAL",
        s::script_overtakes_push,
    ),
    case(Rule::Pttl, Promise::Expiry, "PX", s::key_ends_unsaid),
    case(
        Rule::PushInFill,
        Promise::BoundedStaleness,
        "push inside a fill",
        s::push_inside_fill,
    ),
    case(
        Rule::WaitingHit,
        Promise::Order,
        "push while a hit waits",
        s::push_while_hit_waits,
    ),
    case(
        Rule::WaitAtTail,
        Promise::Order,
        "own SET behind a hit",
        s::own_write_behind_waiting_hit,
    ),
    case(
        Rule::WaitAtTail,
        Promise::Order,
        "GET behind a hit",
        s::reread_behind_later_read,
    ),
    case(
        Rule::NullPush,
        Promise::BoundedStaleness,
        "FLUSHALL",
        s::flush_elsewhere,
    ),
    case(
        Rule::MaxStaleness,
        Promise::BoundedStaleness,
        "silence",
        s::silent_lane,
    ),
    case(
        Rule::OtherLanes,
        Promise::OwnWrites,
        "SET by another user",
        s::fill_on_another_lane,
    ),
    case(
        Rule::Elsewhere,
        Promise::OwnWrites,
        "COPY into another database",
        s::fill_in_another_database,
    ),
    case(
        Rule::Elsewhere,
        Promise::OwnWrites,
        "MOVE in a block",
        s::moved_into_another_database,
    ),
    case(
        Rule::Elsewhere,
        Promise::OwnWrites,
        "COPY over an own connection",
        s::watched_copy_into_another_database,
    ),
    case(
        Rule::PartialMget,
        Promise::Transparency,
        "MGET with a key missing",
        s::hit_falls_while_missing_keys_come,
    ),
    case(
        Rule::JoinIdle,
        Promise::Order,
        "a shared read behind an own one",
        s::share_behind_own_read,
    ),
    case(
        Rule::JoinDropped,
        Promise::OwnWrites,
        "a shared read behind a write",
        s::share_behind_write,
    ),
    case(
        Rule::Held,
        Promise::BoundedStaleness,
        "dropped under a plain read",
        s::dropped_under_a_plain_read,
    ),
    case(
        Rule::LaneLoss,
        Promise::BoundedStaleness,
        "lane lost",
        s::lane_lost,
    ),
];

impl Case {
    fn run(&self, knocked_out: RuleSet, workers: usize) -> Checked {
        let rig = Rig::new(|settings| {
            settings.l1.max_staleness = if self.bounded { BOUND } else { QUIET };
            settings.l1.knocked_out = knocked_out;
            settings.downstream.workers = workers;
        });
        (self.run)(&rig)
    }
}

#[test]
fn every_rule_is_needed() {
    for rule in Rule::ALL {
        assert!(
            CASES.iter().any(|case| case.rule == rule),
            "no case for {rule:?}"
        );
    }
    for workers in [1, 2] {
        for case in &CASES {
            let (rule, name) = (case.rule, case.name);
            if let Err(violation) = case.run(RuleSet::none(), workers) {
                panic!("{name}, every rule in force, {workers} workers: {violation}");
            }
            match case.run(RuleSet::only(rule), workers) {
                Err(violation) if violation.promise == case.promise => {
                    println!("rule {rule:?} ({name}): caught by {violation}");
                }
                Err(violation) => panic!(
                    "rule {rule:?} ({name}): {} had to break, not {violation}",
                    case.promise
                ),
                Ok(()) => {
                    panic!("rule {rule:?} ({name}): knocked out and not caught, {workers} workers")
                }
            }
        }
    }
}
