//! What an operator can set about the circuit breaker.

use std::time::Duration;

/// The breaker's settings. Rates are in millionths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row that open the circuit, at least 1.
    pub failure_threshold: u32,
    /// Longest wait between probes; the first comes after 1 s (or this, if shorter) and each failure doubles it.
    pub recovery_timeout: Duration,
    /// Probes under way at a time while half-open, at least 1.
    pub half_open_max_calls: u32,
    /// Share of the window's calls that opens the circuit when they failed, above 0.
    pub failure_rate: u32,
    /// Fewest calls in the window for a share of them to mean anything, at least 1.
    pub minimum_calls: u32,
    /// How long a call counts towards those shares.
    pub window: Duration,
    /// A call that takes this long is slow; `None`: none is.
    pub slow_call_duration: Option<Duration>,
    /// Share of the window's calls that opens the circuit when they were slow, above 0.
    pub slow_call_rate: u32,
    /// First word of the errors that clients get for what cannot be sent.
    pub error_prefix: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            recovery_timeout: Duration::from_secs(60),
            half_open_max_calls: 1,
            failure_rate: WHOLE / 2,
            minimum_calls: 20,
            window: Duration::from_secs(10),
            slow_call_duration: None,
            slow_call_rate: WHOLE / 2,
            error_prefix: "UNAVAILABLE".to_owned(),
        }
    }
}

/// Millionths in a whole.
pub(super) const WHOLE: u32 = 1_000_000;
