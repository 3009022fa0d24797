//! What an operator can set about the log, the metrics and what is told of single operations.

use super::slow_log;

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
    /// Operations that took long.
    pub slow_log: slow_log::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            log: LogFormat::default(),
            metrics: true,
            slow_log: slow_log::Settings::default(),
        }
    }
}
