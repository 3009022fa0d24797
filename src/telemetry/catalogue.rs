//! Every metric there is: its type, unit, labels and meaning. `/metrics` takes its HELP and TYPE from here, and
//! `docs/metrics.md` is made from it.

use std::fmt::Write as _;

use serde::Serialize;

mod cache;
pub mod leases;
mod rest;

/// What a metric's value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It only grows, until a restart.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts durations by how long they were.
    Histogram,
}

/// What a metric's value is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// It is a count, or a state.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share, from 0 to 1.
    Ratio,
}

impl Unit {
    /// As names and OpenMetrics have it; empty for none.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
        }
    }
}

/// A label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Dimension {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub meaning: &'static str,
    /// All values that it can have, where those are known beforehand; else empty.
    pub values: &'static [&'static str],
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Metric {
    /// Its name, as in the text format: that of a counter ends in `_total`.
    pub name: &'static str,
    /// What its value does.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What its value is in.
    pub unit: Unit,
    /// Its labels, in the order in which they are shown.
    pub labels: &'static [Dimension],
    /// What it means, in one line.
    pub help: &'static str,
    /// When there is none of it, if that may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<&'static str>,
}

impl Metric {
    /// Its name without what says that it is a counter: OpenMetrics' name of the family.
    #[must_use]
    pub fn base(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }
}

/// All of them, in the order in which they are shown.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    cache::TABLE.iter().chain(leases::TABLE).chain(rest::TABLE)
}

/// The one of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Metric> {
    all().find(|metric| metric.name == name)
}

/// `docs/metrics.md`.
#[must_use]
pub fn document() -> String {
    let mut text = String::from(
        "# Metrics\n\nEverything that `/metrics` shows; made from the program's own catalogue, which `GET /v1/metrics/catalogue` \
         gives as JSON.\nCounters begin at 0 with the process. The text format is 0.0.4; who asks for \
         `application/openmetrics-text` gets\nOpenMetrics 1.0, where a counter's `HELP` and `TYPE` go by its name without \
         `_total`.\n",
    );
    for metric in all() {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let unit = match metric.unit {
            Unit::None => "",
            Unit::Seconds => ", in seconds",
            Unit::Bytes => ", in bytes",
            Unit::Ratio => ", from 0 to 1",
        };
        let (name, help) = (metric.name, metric.help);
        write!(text, "\n## `{name}`\n\nA {kind}{unit}. {help}\n").expect("writing to a string");
        if let Some(absent) = metric.absent {
            writeln!(text, "There is none {absent}.").expect("writing to a string");
        }
        if !metric.labels.is_empty() {
            text.push_str("\n| label | |\n|---|---|\n");
        }
        for label in metric.labels {
            let (name, meaning) = (label.name, label.meaning);
            let values: Vec<String> = label.values.iter().map(|v| format!("`{v}`")).collect();
            // Most meanings go through them one by one.
            let told = values.iter().all(|value| meaning.contains(value));
            let values = if told {
                String::new()
            } else {
                format!(": {}", values.join(", "))
            };
            writeln!(text, "| `{name}` | {meaning}{values} |").expect("writing to a string");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;

    /// After a change of the catalogue, `BLESS=1 cargo test --lib telemetry::catalogue` writes the document anew.
    #[test]
    fn the_document_is_the_catalogue() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, document()).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            document(),
            "BLESS=1 cargo test --lib telemetry::catalogue writes it anew"
        );
    }

    #[test]
    fn names_say_unit_and_type_and_are_there_once() {
        let mut names = HashSet::new();
        for metric in all() {
            let name = metric.name;
            assert!(names.insert(name) && names.insert(metric.base()) | (metric.base() == name));
            assert_eq!(
                metric.kind == Kind::Counter,
                name.ends_with("_total"),
                "{name}"
            );
            for unit in ["seconds", "bytes", "ratio"] {
                let is_in = metric.unit.name() == unit;
                assert_eq!(
                    metric.base().ends_with(&format!("_{unit}")),
                    is_in,
                    "{name}"
                );
            }
            assert!(
                metric.help.ends_with('.') && !metric.help.contains('\n'),
                "{name}"
            );
            let labels: HashSet<_> = metric.labels.iter().map(|label| label.name).collect();
            assert_eq!(labels.len(), metric.labels.len(), "{name}");
        }
    }

    /// A name that is in no catalogue could not be shown.
    #[test]
    fn every_name_is_in_the_catalogue() {
        let source = include_str!("names.rs");
        let names: Vec<&str> = source.split('"').skip(1).step_by(2).collect();
        assert_eq!(names.len(), all().count());
        for name in names {
            assert!(find(name).is_some(), "{name}");
        }
    }
}
