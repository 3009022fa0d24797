//! OpenMetrics 1.0 text, after <https://prometheus.io/docs/specs/om/open_metrics_spec/>: what Prometheus asks for by itself.
//! It differs from the older text format by the names of counters' families, by units, by how bounds of buckets are
//! written, by its end, and by exemplars: single operations, with their traces, as examples of a bucket.

use std::fmt::Write as _;
use std::time::Duration;

use prometheus::proto::{Histogram, LabelPair, MetricFamily, MetricType};

use super::catalogue::{self, Unit};

/// What the text is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One operation of those in a histogram's bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: u128,
    /// Its span.
    pub span_id: u64,
    /// What was counted of it, in the unit of the metric.
    pub value: f64,
    /// When, since 1970.
    pub timestamp: Duration,
}

/// Finds the exemplar of a bucket: by the metric's name, its labels, and the bucket's number from 0 on, the last one being
/// that without a bound.
pub type Exemplars = dyn Fn(&str, &[LabelPair], usize) -> Option<Exemplar> + Send + Sync;

/// Writes families, with what `exemplars` has for their buckets.
#[must_use]
pub fn encode(families: &[MetricFamily], exemplars: &Exemplars) -> String {
    let mut out = String::new();
    for family in families {
        self::family(&mut out, family, exemplars);
    }
    out.push_str("# EOF\n");
    out
}

fn family(out: &mut String, family: &MetricFamily, exemplars: &Exemplars) {
    let name = family.name();
    let (base, kind) = match family.get_field_type() {
        MetricType::COUNTER => (name.strip_suffix("_total").unwrap_or(name), "counter"),
        MetricType::GAUGE => (name, "gauge"),
        MetricType::HISTOGRAM => (name, "histogram"),
        // Nobody here makes any.
        MetricType::SUMMARY | MetricType::UNTYPED => return,
    };
    line(out, format_args!("# TYPE {base} {kind}"));
    let unit = catalogue::find(name)
        .map_or(Unit::None, |row| row.unit)
        .name();
    // The format wants it to be in the name.
    if !unit.is_empty() && base.ends_with(unit) {
        line(out, format_args!("# UNIT {base} {unit}"));
    }
    line(
        out,
        format_args!("# HELP {base} {}", escaped(family.help())),
    );
    for metric in family.get_metric() {
        let labels = metric.get_label();
        let mut sample = |value: f64, suffix: &str| {
            let labels = braced(labels, None);
            line(
                out,
                format_args!("{base}{suffix}{labels} {}", number(value)),
            );
        };
        match family.get_field_type() {
            MetricType::COUNTER => sample(metric.get_counter().get_value(), "_total"),
            MetricType::HISTOGRAM => {
                let found = |bucket| exemplars(name, labels, bucket);
                histogram(out, name, labels, metric.get_histogram(), found);
            }
            _ => sample(metric.get_gauge().get_value(), ""),
        }
    }
}

fn histogram(
    out: &mut String,
    name: &str,
    labels: &[LabelPair],
    histogram: &Histogram,
    exemplar: impl Fn(usize) -> Option<Exemplar>,
) {
    let bounded = histogram.get_bucket().iter();
    let bounded = bounded.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    let last = (f64::INFINITY, histogram.get_sample_count());
    let mut below = f64::NEG_INFINITY;
    for (n, (bound, count)) in bounded.chain([last]).enumerate() {
        let labels = braced(labels, Some(&self::bound(bound)));
        write!(out, "{name}_bucket{labels} {count}").expect("writing to a string");
        // One that is not in the bucket would make the whole answer invalid.
        let fits = |one: &Exemplar| below < one.value && one.value <= bound;
        if let Some(one) = exemplar(n).filter(fits) {
            let Exemplar {
                trace_id,
                span_id,
                value,
                timestamp,
            } = one;
            let (value, at) = (number(value), timestamp.as_secs());
            let millis = timestamp.subsec_millis();
            write!(
                out,
                " # {{trace_id=\"{trace_id:032x}\",span_id=\"{span_id:016x}\"}} {value} {at}.{millis:03}"
            )
            .expect("writing to a string");
        }
        out.push('\n');
        below = bound;
    }
    let labels = braced(labels, None);
    let (sum, count) = (
        number(histogram.get_sample_sum()),
        histogram.get_sample_count(),
    );
    line(out, format_args!("{name}_count{labels} {count}"));
    line(out, format_args!("{name}_sum{labels} {sum}"));
}

fn line(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("writing to a string");
}

fn braced(labels: &[LabelPair], le: Option<&str>) -> String {
    let labels = labels.iter().map(|label| (label.name(), label.value()));
    let labels = labels.chain(le.map(|le| ("le", le)));
    let labels: Vec<String> = labels
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    if labels.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", labels.join(","))
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

/// A bucket's bound in the form that the format calls canonical: as Go prints it, but always with a point or an exponent.
fn bound(value: f64) -> String {
    let plain = number(value);
    if value.is_infinite() || plain.contains('.') && value >= 1e-4 {
        return plain;
    }
    if value >= 1e-4 || value == 0.0 {
        return format!("{plain}.0");
    }
    let short = format!("{value:e}");
    match short.split_once("e-") {
        Some((digits, exponent)) if exponent.len() == 1 => format!("{digits}e-0{exponent}"),
        _ => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::durations::{Durations, bucket};
    use crate::telemetry::families::Families;
    use crate::telemetry::names;

    fn none(_: &str, _: &[LabelPair], _: usize) -> Option<Exemplar> {
        None
    }

    fn durations(all: &[u64]) -> Durations {
        let mut durations = Durations::default();
        for &us in all {
            durations.buckets[bucket(us)] += 1;
            durations.sum_us += us;
        }
        durations
    }

    #[test]
    fn counters_have_their_suffix_on_the_sample_alone() {
        let mut families = Families::default();
        families.count(names::HITS, &["a\"\\\nb"], 3);
        families.count(names::SESSIONS, &[], 2);
        families.add(names::PROCESS_CPU, &[], 1.25);
        let text = encode(&families.into_vec(), &none);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "# TYPE nearside_l1_hits counter",
                "# HELP nearside_l1_hits Cacheable reads answered from memory.",
                "nearside_l1_hits_total{cache_type=\"a\\\"\\\\\\nb\"} 3",
                "# TYPE nearside_sessions gauge",
                "# HELP nearside_sessions Open client sessions.",
                "nearside_sessions 2",
                "# TYPE process_cpu_seconds counter",
                "# UNIT process_cpu_seconds seconds",
                "# HELP process_cpu_seconds User and system CPU time of the process.",
                "process_cpu_seconds_total 1.25",
                "# EOF",
            ]
        );
    }

    #[test]
    fn buckets_have_exemplars_where_there_are_fitting_ones() {
        let mut families = Families::default();
        let name = names::COMMAND_DURATION;
        families.durations(name, &["GET", "lane"], &durations(&[5, 7, 60, 20_000_000]));
        let example = |value: f64| Exemplar {
            trace_id: 0x0af7,
            span_id: 0xb7,
            value,
            timestamp: Duration::from_millis(1_700_000_000_005),
        };
        let found = move |metric: &str, labels: &[LabelPair], bucket: usize| {
            assert_eq!((metric, labels[0].value()), (name, "GET"));
            match bucket {
                // That of bucket 1 belongs to the one before.
                0 | 1 => Some(example(7e-6)),
                18 => Some(example(20.0)),
                _ => None,
            }
        };
        let text = encode(&families.into_vec(), &found);
        let told = "# {trace_id=\"00000000000000000000000000000af7\",span_id=\"00000000000000b7\"}";
        let labels = "command=\"GET\",route=\"lane\"";
        for line in [
            format!("{name}_bucket{{{labels},le=\"1e-05\"}} 2 {told} 0.000007 1700000000.005"),
            format!("{name}_bucket{{{labels},le=\"2.5e-05\"}} 2"),
            format!("{name}_bucket{{{labels},le=\"0.0001\"}} 3"),
            format!("{name}_bucket{{{labels},le=\"1.0\"}} 3"),
            format!("{name}_bucket{{{labels},le=\"+Inf\"}} 4 {told} 20 1700000000.005"),
            format!("{name}_count{{{labels}}} 4"),
            format!("{name}_sum{{{labels}}} 20.000072"),
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in {text}");
        }
        assert_eq!(text.matches("trace_id").count(), 2);
    }
}
