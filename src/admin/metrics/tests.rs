//! What is shown against the catalogue.

use std::collections::HashMap;

use prometheus::proto::{MetricFamily, MetricType};

use super::*;
use crate::allocation::ledger::redis::Redis;
use crate::allocation::settings::Settings as LeaseSettings;
use crate::allocation::source::Budget;
use crate::command;
use crate::l1::L1;
use crate::l1::keyspace::{Missed, Refusal};
use crate::l1::settings::{Keyspace, Settings as L1Settings};
use crate::telemetry::Telemetry;
use crate::telemetry::catalogue::Kind;
use crate::telemetry::durations::{Label, Route};
use crate::telemetry::names;
use crate::telemetry::settings::Settings as TelemetrySettings;
use crate::upstream::settings::{Address, Endpoint, Settings as UpstreamSettings};

/// Of a nearside that serves nobody, with a key space beside the default one.
fn metrics() -> Arc<Metrics> {
    let endpoint = Endpoint {
        address: Address::Unix("/a \"b\"".into()),
        credentials: None,
        db: 0,
        tls: None,
        password_file: None,
    };
    let mut settings = L1Settings::default();
    settings.keyspaces.push(Keyspace {
        name: "session".to_owned(),
        pattern: b"session:*".to_vec(),
        ..settings.default_keyspace()
    });
    let way = Redis::new(endpoint.clone(), "default", Duration::from_secs(1));
    let leases = LeaseSettings::default();
    let budget = Box::new(Budget::new(&leases));
    let lanes = Lanes::new(
        endpoint,
        UpstreamSettings::default(),
        Arc::new(L1::new(settings, 1)),
        Telemetry::new(&TelemetrySettings::default()),
    );
    Metrics::new(Sources {
        lanes: lanes.expect("no files"),
        sessions: Box::new(|| 3),
        tasks: Box::new(|| 4),
        allocation: Service::new(Arc::new(way), budget, leases, None),
        ending: Arc::default(),
    })
}

/// Samples by name and label values; of a histogram how many there were.
fn samples(families: &[MetricFamily]) -> HashMap<(String, Vec<String>), f64> {
    let mut samples = HashMap::new();
    for family in families {
        for metric in family.get_metric() {
            let values = metric
                .get_label()
                .iter()
                .map(|label| label.value().to_owned());
            let value = match family.get_field_type() {
                MetricType::COUNTER => metric.get_counter().get_value(),
                MetricType::HISTOGRAM => {
                    crate::telemetry::families::float(metric.get_histogram().get_sample_count())
                }
                _ => metric.get_gauge().get_value(),
            };
            let before = samples.insert((family.name().to_owned(), values.collect()), value);
            assert_eq!(before, None, "{} comes twice", family.name());
        }
    }
    samples
}

#[test]
fn what_is_in_the_catalogue_is_shown_or_may_be_absent() {
    let metrics = metrics();
    let families = metrics.gather();
    for row in catalogue::all() {
        let family = families.iter().find(|family| family.name() == row.name);
        let Some(family) = family else {
            assert!(row.absent.is_some(), "{} is not shown", row.name);
            continue;
        };
        let kind = match row.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        };
        assert_eq!((family.get_field_type(), family.help()), (kind, row.help));
        // Each label that has fixed values has all of them, and no others.
        for (n, label) in row.labels.iter().enumerate() {
            let each = family.get_metric().iter();
            let mut shown: Vec<&str> = each.map(|metric| metric.get_label()[n].value()).collect();
            shown.sort_unstable();
            shown.dedup();
            let mut values = label.values.to_vec();
            values.sort_unstable();
            assert!(
                values.is_empty() || shown == values,
                "{}: {shown:?}",
                row.name
            );
        }
    }
}

#[test]
fn numbers_are_what_was_counted() {
    let metrics = metrics();
    let lanes = &metrics.sources.lanes;
    let keyspaces = lanes.l1().keyspaces();
    keyspaces.count(0, 5, 4);
    keyspaces.miss(0, Missed::NotHeld, 2);
    keyspaces.miss(0, Missed::Fenced, 3);
    keyspaces.refuse(1, Refusal::Late);
    let recorder = lanes.telemetry().recorder().expect("metrics are on");
    let label = |name: &str| {
        let row = command::all_rows().find(|row| row.name == name);
        row.expect("a command").label
    };
    recorder.record(label("GET"), Route::L1, 20, 6);
    recorder.record(label("CLIENT|LIST"), Route::Own, 20, 2);
    recorder.failed(label("CLIENT|LIST"), Route::Own);
    recorder.record(Label::OTHER, Route::Own, 20, 1);
    recorder.record_upstream(9, 7);
    let samples = samples(&metrics.gather());
    let node = "unix:/a \"b\"";
    for (name, labels, value) in [
        (names::HITS, vec!["session"], 5.0),
        (names::HITS, vec!["default"], 0.0),
        (names::MISSES, vec!["session", "not_held"], 2.0),
        (names::MISSES, vec!["session", "fenced"], 3.0),
        (names::FILLS_REFUSED, vec!["default", "late"], 1.0),
        (names::CACHE_OPERATIONS, vec!["session", "get", "l1"], 10.0),
        (names::CACHE_OPERATIONS, vec!["session", "get", "l2"], 5.0),
        (names::CACHE_OPERATIONS, vec!["session", "set", "l2"], 4.0),
        (names::CACHE_HIT_RATIO, vec!["session", "l1"], 0.5),
        (names::CACHE_HIT_RATIO, vec!["session", "l2"], 1.0),
        (names::COMMAND_DURATION, vec!["GET", "l1"], 6.0),
        (names::COMMAND_ERRORS, vec!["GET", "l1"], 0.0),
        (names::COMMAND_DURATION, vec!["CLIENT|LIST", "own"], 2.0),
        (names::COMMAND_ERRORS, vec!["CLIENT|LIST", "own"], 1.0),
        (names::COMMAND_DURATION, vec!["other", "own"], 1.0),
        (names::UPSTREAM_DURATION, vec![node], 7.0),
        (names::SESSIONS, vec![], 3.0),
        (names::TASKS, vec![], 4.0),
    ] {
        let labels = labels.into_iter().map(str::to_owned).collect();
        let found = samples.get(&(name.to_owned(), labels));
        assert_eq!(found, Some(&value), "{name}");
    }
    let silent = (
        names::CACHE_HIT_RATIO.to_owned(),
        vec!["default".into(), "l1".into()],
    );
    assert!(!samples.contains_key(&silent), "nothing was read there");
}

#[test]
fn ratios_are_of_the_last_minute() {
    let metrics = metrics();
    let keyspaces = metrics.sources.lanes.l1().keyspaces();
    let start = now_ms();
    let ratio = |at: u64| {
        let samples = samples(&gather::all(&metrics, start + at));
        let name = names::CACHE_HIT_RATIO.to_owned();
        samples
            .get(&(name, vec!["default".into(), "l1".into()]))
            .copied()
    };
    let look = |at: u64| {
        let reads = ratio::so_far(keyspaces);
        metrics.reads.lock().push(start + at, reads);
    };
    assert_eq!(ratio(0), None);
    keyspaces.count(1, 1, 0);
    keyspaces.miss(1, Missed::NotHeld, 3);
    assert_eq!(ratio(500), Some(0.25));
    look(1000);
    keyspaces.count(1, 4, 0);
    look(2000);
    assert_eq!(ratio(60_999), Some(0.625));
    assert_eq!(ratio(61_000), Some(1.0), "the misses are a minute old");
    assert_eq!(ratio(62_000), None);
}
