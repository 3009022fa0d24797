//! The metrics in OTLP's form: from the same families that `/metrics` shows, so that both say the same.
//!
//! Counters become cumulative monotonic sums, histograms cumulative histograms, both counted since the start of this process.
//! Names stay as they are, `_total` included; the unit is what the name ends with.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus::proto::{self, MetricFamily, MetricType};

use super::convert::{attribute, scope};
use super::span::Value;

/// From when to when was counted, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) now: u64,
}

/// A request with all of them.
pub(super) fn request(
    families: &[MetricFamily],
    resource: &Resource,
    span: Span,
) -> ExportMetricsServiceRequest {
    let metrics = families.iter().map(|family| metric(family, span)).collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
                metrics,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

fn metric(family: &MetricFamily, span: Span) -> Metric {
    let each = family.get_metric().iter();
    let numbers = |value: fn(&proto::Metric) -> f64, span| {
        each.clone()
            .map(|one| number(one, value(one), span))
            .collect()
    };
    let gauge = Span { start: 0, ..span };
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: numbers(|one| one.get_counter().get_value(), span),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge {
            data_points: numbers(|one| one.get_gauge().get_value(), gauge),
        }),
        // The library has no value for it.
        MetricType::UNTYPED => Data::Gauge(Gauge::default()),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: each.map(|one| histogram(one, span)).collect(),
            aggregation_temporality: cumulative,
        }),
        MetricType::SUMMARY => Data::Summary(Summary {
            data_points: each.map(|one| summary(one, span)).collect(),
        }),
    };
    Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        unit: unit(family.name()).to_owned(),
        metadata: Vec::new(),
        data: Some(data),
    }
}

/// After the Unified Code for Units of Measure, as OpenTelemetry wants it.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some("ratio") => "1",
        _ => "",
    }
}

fn labels(metric: &proto::Metric) -> Vec<KeyValue> {
    let pairs = metric.get_label().iter();
    let text = |value: &str| Value::from(value.to_owned());
    pairs
        .map(|pair| attribute(pair.name(), text(pair.value())))
        .collect()
}

fn number(metric: &proto::Metric, value: f64, span: Span) -> NumberDataPoint {
    NumberDataPoint {
        attributes: labels(metric),
        start_time_unix_nano: span.start,
        time_unix_nano: span.now,
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn histogram(metric: &proto::Metric, span: Span) -> HistogramDataPoint {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count();
    let (mut bounds, mut counts, mut before) = (Vec::new(), Vec::new(), 0);
    for bucket in histogram.get_bucket() {
        // What is above all bounds is told without one.
        if bucket.upper_bound().is_finite() {
            bounds.push(bucket.upper_bound());
            counts.push(bucket.cumulative_count().saturating_sub(before));
            before = bucket.cumulative_count();
        }
    }
    counts.push(count.saturating_sub(before));
    HistogramDataPoint {
        attributes: labels(metric),
        start_time_unix_nano: span.start,
        time_unix_nano: span.now,
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts,
        explicit_bounds: bounds,
        ..HistogramDataPoint::default()
    }
}

fn summary(metric: &proto::Metric, span: Span) -> SummaryDataPoint {
    let summary = metric.get_summary();
    let quantiles = summary.get_quantile().iter();
    let quantiles = quantiles.map(|one| ValueAtQuantile {
        quantile: one.quantile(),
        value: one.value(),
    });
    SummaryDataPoint {
        attributes: labels(metric),
        start_time_unix_nano: span.start,
        time_unix_nano: span.now,
        count: summary.sample_count(),
        sum: summary.sample_sum(),
        quantile_values: quantiles.collect(),
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{
        Histogram as PrometheusHistogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry,
    };

    #[test]
    fn families_keep_their_numbers() {
        let registry = Registry::new();
        let counter = IntCounterVec::new(Opts::new("x_bytes_total", "Sent."), &["to"]).unwrap();
        let gauge = IntGauge::new("x_open", "Open.").unwrap();
        let bounds = HistogramOpts::new("x_seconds", "Took.").buckets(vec![0.5, 1.0]);
        let histogram = PrometheusHistogram::with_opts(bounds).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        registry.register(Box::new(gauge.clone())).unwrap();
        registry.register(Box::new(histogram.clone())).unwrap();
        counter.with_label_values(&["a"]).inc_by(7);
        gauge.set(-3);
        for took in [0.25, 0.5, 0.75, 8.0, 9.0] {
            histogram.observe(took);
        }

        let span = Span { start: 1, now: 2 };
        let request = request(&registry.gather(), &Resource::default(), span);
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let find = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();

        let bytes = find("x_bytes_total");
        assert_eq!(
            (bytes.unit.as_str(), bytes.description.as_str()),
            ("By", "Sent.")
        );
        let Some(Data::Sum(sum)) = &bytes.data else {
            panic!("{bytes:?}");
        };
        assert!(sum.is_monotonic);
        assert_eq!(
            sum.aggregation_temporality,
            AggregationTemporality::Cumulative as i32
        );
        let point = &sum.data_points[0];
        assert_eq!(point.value, Some(Number::AsDouble(7.0)));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1, 2));
        assert_eq!(point.attributes, [attribute("to", Value::from("a"))]);

        let Some(Data::Gauge(open)) = &find("x_open").data else {
            panic!("no gauge");
        };
        assert_eq!(open.data_points[0].value, Some(Number::AsDouble(-3.0)));
        assert_eq!(open.data_points[0].start_time_unix_nano, 0);

        let took = find("x_seconds");
        assert_eq!(took.unit, "s");
        let Some(Data::Histogram(took)) = &took.data else {
            panic!("no histogram");
        };
        let point = &took.data_points[0];
        assert_eq!(point.explicit_bounds, [0.5, 1.0]);
        assert_eq!(point.bucket_counts, [2, 1, 2]);
        assert_eq!((point.count, point.sum), (5, Some(18.5)));
        assert_eq!(point.start_time_unix_nano, 1);
    }
}
