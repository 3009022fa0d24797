//! What is told of nearside's work: the log, the numbers, the slow log and the traces. It knows nothing of what it is told.
//!
//! ```text
//!  worker threads                                      side port's thread, exporter's thread
//!  session --durations--> Recorder (its thread's own) --summed at a scrape--> /metrics, OTLP
//!          --operation, if drawn, slow or failed------> slow log, traces (bounded; what has no room is counted)
//! ```
//!
//! | owns | in |
//! |---|---|
//! | the clock | `clock` |
//! | durations by command and route | `durations` |
//! | what is told of one operation | `operation` |
//! | traces, and metrics over OTLP | `traces` |
//! | every metric's name | `names` |
//!
//! Locks and atomics: a recorder's atomics have one writer, its thread, and are read at any time; the list of recorders has
//! a mutex, taken when a session begins and at a scrape. What traces share is told in their own header.

use std::sync::Arc;

pub mod clock;
pub mod durations;
pub mod names;
pub mod operation;
pub mod settings;
pub mod traces;

use clock::micros;
use durations::{Recorder, Recorders};
use operation::Operation;
use settings::{LogFormat, Settings};
use traces::Traces;

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

/// What the rooms of a process tell of their work.
#[derive(Debug)]
pub struct Telemetry {
    settings: Settings,
    /// Durations by command and route.
    pub recorders: Recorders,
    /// An operation that takes so long, in microseconds, is told of.
    slow: u64,
    traces: Option<Arc<Traces>>,
}

impl Telemetry {
    /// As the operator has it, without traces.
    #[must_use]
    pub fn new(settings: &Settings) -> Arc<Self> {
        Self::with_traces(settings, None)
    }

    /// As the operator has it; `traces` are those that [`traces::export::start`] makes.
    #[must_use]
    pub fn with_traces(settings: &Settings, traces: Option<Arc<Traces>>) -> Arc<Self> {
        let slow = settings.slow_threshold.map_or(u64::MAX, micros);
        let bound = traces.as_ref().map_or(u64::MAX, |traces| traces.slow());
        Arc::new(Self {
            settings: settings.clone(),
            recorders: Recorders::default(),
            slow: slow.min(bound),
            traces,
        })
    }

    /// Where spans go; `None` where nobody takes them.
    #[must_use]
    pub fn traces(&self) -> Option<&Arc<Traces>> {
        self.traces.as_ref()
    }

    /// Where the thread that asks records durations; `None` where metrics are off.
    #[must_use]
    pub fn recorder(&self) -> Option<Arc<Recorder>> {
        self.settings.metrics.then(|| self.recorders.here())
    }

    /// The least time, in microseconds, after which [`note`](Self::note) wants to hear of an operation that was not drawn.
    #[inline]
    #[must_use]
    pub fn slow(&self) -> u64 {
        self.slow
    }

    /// Whether it wants to hear of operations that failed.
    #[must_use]
    pub fn wants_failed(&self) -> bool {
        self.traces.is_some()
    }

    /// The share of operations, from 0 to 1, that is to be told of whatever becomes of them.
    #[must_use]
    pub fn drawn_one_in(&self) -> f64 {
        self.traces.as_ref().map_or(0.0, |traces| traces.ratio())
    }

    /// Whether keys may be told as they are.
    #[must_use]
    pub fn tells_keys(&self) -> bool {
        self.traces
            .as_ref()
            .is_some_and(|traces| traces.tells_keys())
    }

    /// Takes an operation in. It does not wait, and allocates little.
    pub fn note(&self, operation: &Operation) {
        if let Some(traces) = &self.traces {
            traces.note(operation);
        }
    }
}
