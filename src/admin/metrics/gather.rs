//! Where each metric is read.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::proto::MetricFamily;

use super::Metrics;
use super::ratio::Reads;
use crate::command;
use crate::downstream::drain::Stage;
use crate::l1::L1;
use crate::l1::keyspace::{Counters, Missed, Refusal};
use crate::telemetry::durations::Recorders;
use crate::telemetry::families::{Families, float};
use crate::telemetry::traces::Traces;
use crate::telemetry::traces::tally::Reason;
use crate::telemetry::{names, process};
use crate::upstream::audit::{Auditor, Outcome};
use crate::upstream::breaker::Position;
use crate::upstream::lanes::Lanes;
use crate::upstream::node::Node;

/// Every metric, at `now` in milliseconds of the boot clock.
pub(super) fn all(metrics: &Metrics, now: u64) -> Vec<MetricFamily> {
    let mut to = Families::default();
    let sources = &metrics.sources;
    let lanes = &*sources.lanes;
    let node = lanes.node().address().to_string();
    cache(lanes.l1(), &mut to);
    audits(lanes.auditor(), &mut to);
    ratios(metrics, now, &mut to);
    sources.allocation.gather(&mut to);
    commands(&lanes.telemetry().recorders, &node, &mut to);
    to.count(names::SESSIONS, &[], (sources.sessions)() as u64);
    to.count(names::TASKS, &[], (sources.tasks)() as u64);
    let draining = sources.ending.stage() > Stage::Serving;
    to.count(names::DRAINING, &[], draining.into());
    to.count(names::BUFFERED, &[], lanes.buffers.held() as u64);
    self::lanes(lanes, now, &mut to);
    connections(metrics, &node, now, &mut to);
    breaker(lanes.node(), &node, &mut to);
    if let Some(traces) = lanes.telemetry().traces() {
        self::traces(traces, &mut to);
    }
    let build = [env!("CARGO_PKG_VERSION"), std::env::consts::ARCH];
    to.count(names::BUILD_INFO, &build, 1);
    process::gather(&mut to);
    to.into_vec()
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn cache(l1: &L1, to: &mut Families) {
    let kept = l1.kept();
    for (number, policy, counters) in l1.keyspaces().all() {
        keyspace(&policy.name, counters, to);
        let kept = kept.get(usize::from(number)).copied().unwrap_or_default();
        to.count(names::ENTRIES, &[&policy.name], kept.entries);
        to.count(names::BYTES, &[&policy.name], kept.bytes);
    }
    let counters = &l1.counters;
    for (cause, counter) in [
        ("push", &counters.invalidations),
        ("own_write", &counters.own_writes),
        ("by_hand", &counters.by_hand),
    ] {
        to.count(names::INVALIDATIONS, &[cause], read(counter));
    }
    to.count(names::CLEARS, &[], read(&counters.clears));
    to.count(names::EVICTIONS, &[], read(&counters.evictions));
    to.count(names::MAX_BYTES, &[], l1.settings().max_bytes as u64);
}

fn keyspace(name: &str, counters: &Counters, to: &mut Families) {
    let reads = Reads::of(counters);
    for (operation, level, count) in [
        ("get", "l1", reads.all),
        ("get", "l2", reads.sent),
        ("set", "l1", read(&counters.fills)),
        ("set", "l2", counters.writes.get()),
    ] {
        to.count(names::CACHE_OPERATIONS, &[name, operation, level], count);
    }
    to.count(names::HITS, &[name], counters.hits.get());
    to.count(names::STALE_SERVED, &[name], read(&counters.stale));
    to.count(names::FILLS, &[name], read(&counters.fills));
    for why in Missed::ALL {
        let count = read(&counters.missed[why as usize]);
        to.count(names::MISSES, &[name, why.name()], count);
    }
    for why in Refusal::ALL {
        let count = read(&counters.refused[why as usize]);
        to.count(names::FILLS_REFUSED, &[name, why.name()], count);
    }
    for (outcome, counter) in [
        ("same", &counters.same),
        ("moved", &counters.moved),
        ("different", &counters.different),
    ] {
        to.count(names::SHADOW, &[name, outcome], read(counter));
    }
    to.count(names::INCOHERENT, &[name], read(&counters.incoherent));
}

fn traces(traces: &Traces, to: &mut Families) {
    let tally = traces.tally();
    to.count(names::TRACES_WAITING, &[], traces.waiting() as u64);
    to.count(names::TRACES_REJECTED_SPANS, &[], tally.rejected_spans());
    to.count(names::TRACES_SAMPLED, &[], tally.sampled());
    to.count(names::TRACES_EXPORTED, &[], tally.exported());
    for reason in Reason::ALL {
        let dropped = tally.dropped(reason);
        to.count(names::TRACES_DROPPED, &[reason.as_str()], dropped);
    }
}

fn audits(auditor: &Auditor, to: &mut Families) {
    for outcome in Outcome::ALL {
        to.count(names::AUDITED, &[outcome.name()], auditor.count(outcome));
    }
}

fn ratios(metrics: &Metrics, now: u64, to: &mut Families) {
    let keyspaces = metrics.sources.lanes.l1().keyspaces();
    let mut window = metrics.reads.lock();
    let Some(before) = window.base(now) else {
        return;
    };
    for ((_, policy, counters), before) in keyspaces.all().zip(before) {
        let ratios = Reads::of(counters).ratios(before);
        for (level, ratio) in ["l1", "l2"].into_iter().zip(ratios) {
            if let Some(ratio) = ratio {
                to.add(names::CACHE_HIT_RATIO, &[&policy.name, level], ratio);
            }
        }
    }
}

fn commands(recorders: &Recorders, node: &str, to: &mut Families) {
    let (all, upstream) = recorders.sum();
    for (label, route, durations) in all {
        let name = command::by_label(label).map_or("other", |row| row.name);
        let labels = [name, route.as_str()];
        to.durations(names::COMMAND_DURATION, &labels, &durations);
        to.count(names::COMMAND_ERRORS, &labels, durations.errors);
    }
    to.durations(names::UPSTREAM_DURATION, &[node], &upstream);
}

fn lanes(lanes: &Lanes, now: u64, to: &mut Families) {
    to.count(names::LANE_UP, &[], lanes.up_count() as u64);
    let (tracked, untracked) = lanes.tracked();
    to.count(names::LANES, &["true"], tracked as u64);
    to.count(names::LANES, &["false"], untracked as u64);
    if let Some(age) = lanes.proof_age(now) {
        to.add(names::PROOF_AGE, &[], float(age) / 1e3);
    }
}

fn connections(metrics: &Metrics, node: &str, now: u64, to: &mut Families) {
    let (lanes, statistics) = (&metrics.sources.lanes, &metrics.statistics);
    let (own, pooled) = lanes.node().own.get();
    for (kind, count) in [
        ("lane", lanes.up_count()),
        ("own", own),
        ("pooled", pooled),
        ("statistics", usize::from(statistics.is_connected())),
    ] {
        to.count(names::CONNECTIONS, &[node, kind], count as u64);
    }
    if let Some(items) = statistics.tracking_items(now) {
        to.count(names::TRACKING_ITEMS, &[node], items);
    }
}

fn breaker(of: &Node, node: &str, to: &mut Families) {
    to.count(names::IN_FLIGHT, &[node], of.in_flight() as u64);
    to.count(names::OVERLOADED, &[node], of.overloads());
    let (granted, refused) = of.retries.counts();
    to.count(names::RETRIES, &[node, "granted"], granted);
    to.count(names::RETRIES, &[node, "refused"], refused);
    to.count(names::RETRIES, &[node, "shared"], of.retries.shared());
    let position = of.position();
    let state = match position {
        Position::Closed | Position::ForcedClosed => 0,
        Position::HalfOpen => 1,
        Position::Open | Position::ForcedOpen => 2,
    };
    to.count(names::BREAKER, &[node], state);
    let forced = matches!(position, Position::ForcedOpen | Position::ForcedClosed);
    to.count(names::BREAKER_FORCED, &[node], forced.into());
    for (into, cause, count) in of.transitions() {
        let labels = [node, into.as_str(), cause.as_str()];
        to.count(names::BREAKER_TRANSITIONS, &labels, count);
    }
}
