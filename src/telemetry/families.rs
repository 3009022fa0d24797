//! Metrics as they are handed on: gathered once, then written as text, as OpenMetrics, or sent over OTLP.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::proto::{
    self, Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType,
};

use super::catalogue::{self, Kind};
use super::durations::{BOUNDS, Durations};
use super::histogram::Histogram;

/// Gathers every metric as it stands now.
pub type Gather = Arc<dyn Fn() -> Vec<MetricFamily> + Send + Sync>;

/// Families under way; each is in the catalogue, which says what it is.
#[derive(Debug, Default)]
pub struct Families(BTreeMap<&'static str, Vec<Metric>>);

impl Families {
    /// A counter or gauge with these label values, in the catalogue's order.
    pub fn add(&mut self, name: &'static str, labels: &[&str], value: f64) {
        let (mut metric, kind) = labelled(name, labels);
        if kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.0.entry(name).or_default().push(metric);
    }

    /// The same of a whole number.
    pub fn count(&mut self, name: &'static str, labels: &[&str], value: u64) {
        self.add(name, labels, float(value));
    }

    /// A histogram with these label values.
    pub fn durations(&mut self, name: &'static str, labels: &[&str], durations: &Durations) {
        self.buckets(name, labels, &BOUNDS, &durations.buckets, durations.sum_us);
    }

    /// The same of what is counted under a lock.
    pub fn histogram(&mut self, name: &'static str, labels: &[&str], of: &Histogram) {
        self.buckets(name, labels, of.bounds(), of.buckets(), of.sum_us());
    }

    /// A bucket more than there are bounds.
    fn buckets(
        &mut self,
        name: &'static str,
        labels: &[&str],
        bounds: &[u64],
        counts: &[u64],
        sum_us: u64,
    ) {
        let (mut metric, _) = labelled(name, labels);
        let mut sum = 0;
        let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
            sum += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(seconds(*bound));
            bucket.set_cumulative_count(sum);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(seconds(sum_us));
        metric.set_histogram(histogram);
        self.0.entry(name).or_default().push(metric);
    }

    /// The families that have samples, in the catalogue's order.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<MetricFamily> {
        let families = catalogue::all().filter_map(|row| {
            let metrics = self.0.remove(row.name)?;
            let mut family = MetricFamily::default();
            family.set_name(row.name.to_owned());
            family.set_help(row.help.to_owned());
            family.set_field_type(match row.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram => MetricType::HISTOGRAM,
            });
            family.set_metric(metrics);
            Some(family)
        });
        families.collect()
    }
}

fn labelled(name: &str, values: &[&str]) -> (Metric, Kind) {
    let row = catalogue::find(name).expect("whatever is shown is in the catalogue");
    debug_assert_eq!(row.labels.len(), values.len(), "{name}");
    let pairs = row.labels.iter().zip(values).map(|(label, value)| {
        debug_assert!(
            label.values.is_empty() || label.values.contains(value),
            "{name}: {value} is no {}",
            label.name
        );
        let mut pair = LabelPair::default();
        pair.set_name(label.name.to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    (Metric::from_label(pairs.collect()), row.kind)
}

/// A count as Prometheus has it: exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "the formats have no other numbers"
)]
#[must_use]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// Microseconds as Prometheus wants them.
#[must_use]
pub fn seconds(us: u64) -> f64 {
    float(us) / 1e6
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;
    use crate::telemetry::durations::{Label, Recorders, Route};
    use crate::telemetry::names;

    #[test]
    fn what_was_recorded_is_a_histogram() {
        let recorders = Recorders::default();
        let recorder = recorders.here();
        recorder.record(Label(1), Route::Lane, 10, 2);
        recorder.record(Label(1), Route::Lane, 300, 1);
        recorder.record(Label(1), Route::Lane, 20_000_000, 1);
        let (all, _) = recorders.sum();
        let mut families = Families::default();
        let labels = ["GET", "lane"];
        families.durations(names::COMMAND_DURATION, &labels, &all[0].2);
        families.count(names::COMMAND_ERRORS, &labels, 1);
        let families = families.into_vec();
        let text = TextEncoder::new().encode_to_string(&families).unwrap();
        let of = |what: &str, le: &str| {
            format!(
                "\nnearside_command_duration_seconds_{what}{{command=\"GET\",route=\"lane\"{le}}} "
            )
        };
        for (what, le, value) in [
            ("bucket", ",le=\"0.00001\"", "2"),
            ("bucket", ",le=\"0.00025\"", "2"),
            ("bucket", ",le=\"0.0005\"", "3"),
            ("bucket", ",le=\"10\"", "3"),
            ("bucket", ",le=\"+Inf\"", "4"),
            ("sum", "", "20.00032"),
            ("count", "", "4"),
        ] {
            let line = format!("{}{value}\n", of(what, le));
            assert!(text.contains(&line), "{line} in {text}");
        }
        assert!(text.contains("# TYPE nearside_command_errors_total counter\n"));
    }

    #[test]
    fn families_without_samples_are_left_out_and_the_rest_is_in_order() {
        let mut families = Families::default();
        families.count(names::TASKS, &[], 1);
        families.count(names::HITS, &["a\"b"], 1);
        let families = families.into_vec();
        let names: Vec<&str> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(names, [names::HITS, names::TASKS]);
    }
}
