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

/// First wait of an open circuit, in milliseconds.
const FIRST_WAIT_MS: u64 = 1000;

/// Where the breaker stands. Closed is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Calls go through.
    Closed {
        /// Failures in a row so far.
        failures: u32,
    },
    /// No call goes through before `until`.
    Open {
        /// When the next probe may be made, in milliseconds of the caller's clock.
        until: u64,
        /// The wait that leads there.
        wait: u64,
    },
    /// Probes are under way.
    HalfOpen {
        /// How many.
        probes: u32,
        /// The wait that led here.
        wait: u64,
    },
}

/// See the module's header. Times are milliseconds of one clock that never goes back.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: Settings,
    state: State,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Closed { failures: 0 },
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a call may be made at `now`. In `HalfOpen` each yes is a probe whose outcome must be told.
    pub fn admit(&mut self, now: u64) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until, wait } if now >= until => {
                self.state = State::HalfOpen { probes: 1, wait };
                true
            }
            State::HalfOpen { probes, wait } if probes < self.settings.half_open_max_calls => {
                self.state = State::HalfOpen {
                    probes: probes + 1,
                    wait,
                };
                true
            }
            State::Open { .. } | State::HalfOpen { .. } => false,
        }
    }

    /// A call succeeded.
    pub fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// A call failed at `now`.
    pub fn failed(&mut self, now: u64) {
        let longest = u64::try_from(self.settings.recovery_timeout.as_millis()).unwrap_or(u64::MAX);
        self.state = match self.state {
            State::Closed { failures } if failures + 1 < self.settings.failure_threshold => {
                State::Closed {
                    failures: failures + 1,
                }
            }
            State::Closed { .. } => {
                let wait = FIRST_WAIT_MS.min(longest);
                State::Open {
                    until: now + wait,
                    wait,
                }
            }
            State::HalfOpen { wait, .. } => {
                let wait = wait.saturating_mul(2).min(longest);
                State::Open {
                    until: now + wait,
                    wait,
                }
            }
            open @ State::Open { .. } => open,
        };
    }

    /// Milliseconds until the next probe, where the circuit is open.
    #[must_use]
    pub fn opens_in(&self, now: u64) -> Option<u64> {
        match self.state {
            State::Open { until, .. } => Some(until.saturating_sub(now)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_at_the_threshold_and_doubles_up_to_the_bound() {
        let mut breaker = Breaker::new(Settings {
            recovery_timeout: Duration::from_secs(3),
            ..Settings::default()
        });
        for _ in 0..4 {
            breaker.failed(0);
            assert!(breaker.admit(0));
        }
        breaker.failed(0);
        assert!(!breaker.admit(999));
        assert!(breaker.admit(1000));
        assert!(!breaker.admit(1000), "one probe at a time");
        breaker.failed(1000);
        assert!(!breaker.admit(2999));
        assert!(breaker.admit(3000));
        breaker.failed(3000);
        assert_eq!(
            breaker.opens_in(3000),
            Some(3000),
            "never longer than recovery_timeout"
        );
        assert!(breaker.admit(6000));
        breaker.succeeded();
        assert_eq!(breaker.state(), State::Closed { failures: 0 });
    }
}

#[cfg(test)]
#[path = "breaker_properties.rs"]
mod properties;
