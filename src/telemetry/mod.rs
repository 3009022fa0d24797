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
//! | durations of what is rare | `histogram` |
//! | the log, and how often it repeats itself | `log` |
//! | what is told of one operation | `operation` |
//! | the operations that took long | `slow_log` |
//! | the keys with the largest replies | `big_keys` |
//! | every metric's name, and what it means | `names`, `catalogue` |
//! | metrics as they are handed on | `families` |
//! | how they are written for who asks for OpenMetrics | `openmetrics` |
//! | what the kernel says of the process | `process` |
//! | what was counted lately | `window` |
//! | traces, and metrics over OTLP | `traces` |
//!
//! Locks and atomics: a recorder's atomics have one writer, its thread, and are read at any time; the list of recorders has
//! a mutex, taken when a session begins and at a scrape. What traces share is told in their own header.

use std::sync::Arc;

pub mod big_keys;
pub mod catalogue;
pub mod clock;
pub mod durations;
pub mod families;
pub mod histogram;
pub mod log;
pub mod names;
pub mod openmetrics;
pub mod operation;
pub mod process;
pub mod settings;
pub mod slow_log;
pub mod traces;
pub mod window;

use big_keys::BigKeys;
use durations::{Recorder, Recorders};
use operation::Operation;
use settings::Settings;
use slow_log::SlowLog;
use traces::Traces;

/// What the rooms of a process tell of their work.
#[derive(Debug)]
pub struct Telemetry {
    settings: Settings,
    /// Durations by command and route.
    pub recorders: Recorders,
    /// Operations that took long.
    pub slow_log: SlowLog,
    /// Keys with the largest replies.
    pub big_keys: BigKeys,
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
        let slow_log = SlowLog::new(&settings.slow_log);
        let slow = traces.as_ref().map_or(u64::MAX, |traces| traces.slow());
        Arc::new(Self {
            settings: settings.clone(),
            recorders: Recorders::default(),
            slow: slow_log.threshold().min(slow),
            slow_log,
            big_keys: BigKeys::default(),
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
        self.settings.metrics || self.traces.is_some()
    }

    /// The share of operations, from 0 to 1, that are told of whatever becomes of them.
    #[must_use]
    pub fn drawn_share(&self) -> f64 {
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
        self.slow_log.note(operation);
        if let Some(traces) = &self.traces {
            traces.note(operation);
        }
    }
}
