//! The circuit breaker of one upstream node: Closed, Open, `HalfOpen`. Pure: the time is passed in.
//!
//! ```text
//!            failure_threshold failures in a row
//!   Closed ------------------------------------> Open (until `next`)
//!     ^                                          |  ^
//!     | probe succeeded          `next` reached  |  | probe failed: the wait doubles,
//!     |                                          v  | up to recovery_timeout
//!     +--------------------------------------- HalfOpen
//! ```
//!
//! What counts as a failure is the caller's to say (a refused connect, a lost connection with requests
//! outstanding, a timeout, `-LOADING`); error replies such as NOAUTH never are, or one client's wrong
//! password would open everyone's circuit.

use std::time::Duration;

/// The breaker's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row that open the circuit, at least 1.
    pub failure_threshold: u32,
    /// Longest wait between probes; the first comes after 1 s (or this, if shorter) and each failure doubles it.
    pub recovery_timeout: Duration,
    /// Probes under way at a time while half-open, at least 1.
    pub half_open_max_calls: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            recovery_timeout: Duration::from_secs(60),
            half_open_max_calls: 1,
        }
    }
}
