//! What an operator can set about the log, the metrics and what is told of single operations.

use std::time::Duration;

use super::traces;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The room's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How log lines look.
    pub log: LogFormat,
    /// Durations are recorded, and `/metrics` is served.
    pub metrics: bool,
    /// Operations that take longer go to the slow log; `None` for none.
    pub slow_threshold: Option<Duration>,
    /// Traces, and whatever goes the same way.
    pub traces: traces::settings::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            log: LogFormat::default(),
            metrics: true,
            slow_threshold: Some(Duration::from_millis(10)),
            traces: traces::settings::Settings::default(),
        }
    }
}
