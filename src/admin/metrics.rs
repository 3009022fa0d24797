//! `/metrics`: the Prometheus text format, 0.0.4.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Facts;
use crate::downstream::drain::Stage;
use crate::l1::L1;
use crate::l1::keyspace::Counters;
use crate::telemetry::names;
use crate::upstream::audit::Outcome;
use crate::upstream::breaker::Position;
use crate::upstream::lanes::Lanes;
use crate::upstream::node::Node;

/// The answer.
pub(super) fn text(facts: &Facts) -> impl IntoResponse + use<> {
    let mut text = String::new();
    plain(facts, &mut text);
    let (tracked, untracked) = facts.lanes.tracked();
    let name = names::LANES;
    writeln!(
        text,
        "# HELP {name} Lanes that are up, by whether the upstream tracks what they read; without that L1 is off for them.\n\
         # TYPE {name} gauge\n{name}{{tracked=\"true\"}} {tracked}\n{name}{{tracked=\"false\"}} {untracked}"
    )
    .expect("writing to a string");
    upstream(facts.lanes.node(), &mut text);
    stale(facts.lanes.l1(), &mut text);
    shadow(facts.lanes.l1(), &mut text);
    audits(&facts.lanes, &mut text);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// What has no labels.
fn plain(facts: &Facts, text: &mut String) {
    let l1 = facts.lanes.l1();
    let (entries, bytes) = l1.size();
    let counter = |value: &AtomicU64| value.load(Ordering::Relaxed);
    let rows = [
        (
            names::HITS,
            "counter",
            "Reads answered from memory.",
            l1.keyspaces().total(|one| counter(&one.hits)),
        ),
        (
            names::MISSES,
            "counter",
            "Cacheable reads that went upstream.",
            l1.keyspaces().total(|one| counter(&one.misses)),
        ),
        (
            names::FILLS,
            "counter",
            "Replies put into L1.",
            l1.keyspaces().total(|one| counter(&one.fills)),
        ),
        (
            names::FILLS_REFUSED,
            "counter",
            "Fills refused.",
            l1.keyspaces().total(Counters::refused),
        ),
        (
            names::INVALIDATIONS,
            "counter",
            "Keys named by invalidation pushes.",
            counter(&l1.counters.invalidations),
        ),
        (
            names::CLEARS,
            "counter",
            "Times that L1 was dropped whole.",
            counter(&l1.counters.clears),
        ),
        (
            names::EVICTIONS,
            "counter",
            "Entries evicted.",
            counter(&l1.counters.evictions),
        ),
        (names::ENTRIES, "gauge", "Entries in L1.", entries as u64),
        (
            names::BYTES,
            "gauge",
            "Accounted bytes of L1.",
            bytes as u64,
        ),
        (
            names::SESSIONS,
            "gauge",
            "Open client sessions.",
            (facts.sessions)() as u64,
        ),
        (
            names::TASKS,
            "gauge",
            "Tasks of sessions, lanes and what watches over them.",
            (facts.tasks)() as u64,
        ),
        (
            names::DRAINING,
            "gauge",
            "1 from the time on that SIGTERM, SIGINT or POST /v1/quit has come, else 0.",
            u64::from(facts.ending.0.stage() > Stage::Serving),
        ),
        (
            names::LANE_UP,
            "gauge",
            "Lanes that are up: shared upstream connections, one for each identity and database in use.",
            facts.lanes.up_count() as u64,
        ),
    ];
    for (name, kind, help, value) in rows {
        writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
        )
        .expect("writing to a string");
    }
}

/// How a node is, with its address as the label `node`.
fn upstream(node: &Node, text: &mut String) {
    let position = node.position();
    let state = match position {
        Position::Closed | Position::ForcedClosed => 0,
        Position::HalfOpen => 1,
        Position::Open | Position::ForcedOpen => 2,
    };
    let forced = matches!(position, Position::ForcedOpen | Position::ForcedClosed);
    let (granted, refused) = node.retries.counts();
    let steps = node.transitions().map(|(to, cause, count)| {
        let (to, cause) = (to.as_str(), cause.as_str());
        (format!(",to=\"{to}\",cause=\"{cause}\""), count)
    });
    let alone = |value: u64| vec![(String::new(), value)];
    let outcome = |name: &str, count: u64| (format!(",outcome=\"{name}\""), count);
    let families = [
        (
            names::BREAKER,
            "gauge",
            "0 closed or forced-closed, 1 half-open, 2 open or forced-open.",
            alone(state),
        ),
        (
            names::BREAKER_FORCED,
            "gauge",
            "1 while an operator's order holds the circuit open or closed.",
            alone(forced.into()),
        ),
        (
            names::BREAKER_TRANSITIONS,
            "counter",
            "Steps of the circuit breaker, by where it went and why.",
            steps.into(),
        ),
        (
            names::IN_FLIGHT,
            "gauge",
            "Requests on lanes that wait for their reply; those on clients' own connections are not among them.",
            alone(node.in_flight() as u64),
        ),
        (
            names::OVERLOADED,
            "counter",
            "Batches of requests refused because max_in_flight or max_lane_in_flight was reached.",
            alone(node.overloads()),
        ),
        (
            names::RETRIES,
            "counter",
            "Reads whose lane was lost before their reply: sent again (granted), or answered with an error since too many were (refused).",
            vec![outcome("granted", granted), outcome("refused", refused)],
        ),
    ];
    let node = escaped(&node.address().to_string());
    for (name, kind, help, rows) in families {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("writing to a string");
        for (labels, value) in rows {
            writeln!(text, "{name}{{node=\"{node}\"{labels}}} {value}")
                .expect("writing to a string");
        }
    }
}

/// A label's value as the format has it.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', "\\\"");
    value.replace('\n', r"\n")
}

/// What was served stale, for the key spaces that there are.
fn stale(l1: &L1, text: &mut String) {
    let name = names::STALE_SERVED;
    let help = "Reads answered, while the upstream was lost, with what was true before.";
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter").expect("writing to a string");
    for (_, policy, counters) in l1.keyspaces().all() {
        let (keyspace, count) = (&policy.name, counters.stale.load(Ordering::Relaxed));
        writeln!(text, "{name}{{cache_type=\"{keyspace}\"}} {count}").expect("writing to a string");
    }
}

/// What shadow mode has counted, for the key spaces that it has.
fn shadow(l1: &L1, text: &mut String) {
    let name = names::SHADOW;
    let mut rows = String::new();
    for (_, policy, counters) in l1.keyspaces().all() {
        let counts = [
            ("same", &counters.same),
            ("moved", &counters.moved),
            ("different", &counters.different),
        ];
        for (outcome, count) in counts {
            let (keyspace, count) = (&policy.name, count.load(Ordering::Relaxed));
            writeln!(
                rows,
                "{name}{{cache_type=\"{keyspace}\",outcome=\"{outcome}\"}} {count}"
            )
            .expect("writing to a string");
        }
    }
    write!(
        text,
        "# HELP {name} Shadow mode: answers that L1 would have given, by what the upstream answered: the same, another with an \
         invalidation on the way (moved), or another without one (different), which should never be.\n# TYPE {name} counter\n{rows}"
    )
    .expect("writing to a string");
}

/// What audits have found.
fn audits(lanes: &Lanes, text: &mut String) {
    let name = names::AUDITED;
    let help = "Hits that were read from the upstream as well, by what came of it: it had the same; something else, for a reason \
         that L1 knows (explained); something else for none (incoherent); or it did not say (unanswered).";
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter").expect("writing to a string");
    for outcome in Outcome::ALL {
        let (label, count) = (outcome.name(), lanes.auditor().count(outcome));
        writeln!(text, "{name}{{outcome=\"{label}\"}} {count}").expect("writing to a string");
    }
    let name = names::INCOHERENT;
    let help = "Audited hits that were not what the upstream had, without an invalidation; this should never be.";
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter").expect("writing to a string");
    for (_, policy, counters) in lanes.l1().keyspaces().all() {
        let count = counters.incoherent.load(Ordering::Relaxed);
        let keyspace = &policy.name;
        writeln!(text, "{name}{{cache_type=\"{keyspace}\"}} {count}").expect("writing to a string");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn labels_are_escaped() {
        assert_eq!(super::escaped("unix:/a \"b\"\\\n"), r#"unix:/a \"b\"\\\n"#);
    }
}
