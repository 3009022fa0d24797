//! What an operator can set about the log, the metrics and what is told of single operations.

use super::{slow_log, traces};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged: this and what is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What an operator should look at.
    Warn,
    /// Every change of state.
    #[default]
    Info,
    /// More than that.
    Debug,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
        }
    }
}

/// The room's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How log lines look.
    pub log: LogFormat,
    /// What is logged.
    pub log_level: LogLevel,
    /// Durations are recorded, and `/metrics` is served.
    pub metrics: bool,
    /// Operations that took long.
    pub slow_log: slow_log::Settings,
    /// Traces, and whatever goes the same way.
    pub traces: traces::settings::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            log: LogFormat::default(),
            log_level: LogLevel::default(),
            metrics: true,
            slow_log: slow_log::Settings::default(),
            traces: traces::settings::Settings::default(),
        }
    }
}
