//! The log, and the names of the metrics.

pub mod names;
pub mod settings;

use settings::{LogFormat, Settings};

/// Starts the log on standard error. A second call changes nothing.
pub fn start_log(settings: &Settings) {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false);
    // Fails only where a log has been started before.
    let _ = match settings.log {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
