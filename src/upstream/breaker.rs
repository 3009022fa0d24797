//! The circuit breaker of one upstream node: Closed, Open, `HalfOpen`. Pure: the time is passed in.
//!
//! ```text
//!            failure_threshold failures in a row, or
//!            failure_rate of the window's calls failed, or
//!            slow_call_rate of them were slow
//!   Closed ------------------------------------------> Open (until the wait is over)
//!     ^                                                |  ^
//!     | a probe succeeded                    wait over |  | a probe failed: the wait doubles, up to
//!     |                                                v  | recovery_timeout; Loading: the first wait again
//!     +--------------------------------------------- HalfOpen
//!
//!   any --- force(Open) ----> ForcedOpen    --- force(None) ---> Open, a probe due at once
//!   any --- force(Closed) --> ForcedClosed  --- force(None) ---> Closed
//! ```
//!
//! What counts as a failure is the caller's to say ([`Kind`] names what may); error replies such as NOAUTH
//! never are, or one client's wrong password would open everyone's circuit.
//!
//! Ordinary calls and probes are told apart. Between an opening and the probe's outcome, replies and failures
//! still arrive of calls that were made before: they are of the past and change nothing. Were they counted, a
//! reply that a dying node had already sent would close the circuit, and its connections, failing one by one,
//! would double the wait without a probe.
//!
//! Every opening waits for at least the first wait, so a node that answers probes and fails the calls after them
//! opens the circuit once a second at most. Closing resets the wait and forgets what was counted: what opened
//! the circuit would otherwise open it again at the first call.
//!
//! An order of an operator wins over everything. When forced-open is taken back, the circuit is open with a probe due
//! at once, not closed: whoever ordered it had a reason, and one probe shows whether that is gone.

mod settings;
mod transition;
mod window;

pub use settings::Settings;
use settings::WHOLE;
pub use transition::{Admission, Cause, Forced, Kind, Position, Snapshot, Transition};
pub use window::Counts;
use window::Window;

use crate::telemetry::clock::millis;

/// First wait of an open circuit, in milliseconds.
const FIRST_WAIT_MS: u64 = 1000;

/// Where the breaker stands. Closed is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Calls go through.
    Closed,
    /// No call goes through before `until`.
    Open {
        /// When the next probe may be made, in milliseconds of the caller's clock.
        until: u64,
        /// The wait that leads there; 0 where an order was taken back.
        wait: u64,
    },
    /// Probes alone go through.
    HalfOpen {
        /// The wait that led here.
        wait: u64,
    },
    /// An operator's order: no call goes through, nothing is probed.
    ForcedOpen,
    /// An operator's order: calls go through and are counted.
    ForcedClosed,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn position(self) -> Position {
        match self {
            Self::Closed => Position::Closed,
            Self::Open { .. } => Position::Open,
            Self::HalfOpen { .. } => Position::HalfOpen,
            Self::ForcedOpen => Position::ForcedOpen,
            Self::ForcedClosed => Position::ForcedClosed,
        }
    }
}

/// See the module's header. Times are milliseconds of one clock that never goes back; a time that another
/// thread's has overtaken on its way here does no harm.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: Settings,
    state: State,
    /// Failures in a row: of ordinary calls while they go through, then of probes.
    failures: u32,
    /// Probes admitted and not told of yet, of whatever round.
    probes: u32,
    window: Window,
    last_failure: Option<Kind>,
    last: Option<Transition>,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let window = Window::new(settings.window);
        Self {
            settings,
            state: State::Closed,
            failures: 0,
            probes: 0,
            window,
            last_failure: None,
            last: None,
        }
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The same as a name.
    #[must_use]
    pub fn position(&self) -> Position {
        self.state.position()
    }

    /// Whether ordinary calls go through: closed or forced-closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed | State::ForcedClosed)
    }

    /// Milliseconds until the next probe may be made, where the circuit is open. Not where it is half-open, whose
    /// probe is under way, nor where it is forced open, which ends by an order.
    #[must_use]
    pub fn opens_in(&self, now: u64) -> Option<u64> {
        match self.state {
            State::Open { until, .. } => Some(until.saturating_sub(now)),
            _ => None,
        }
    }

    /// What an operator's page shows.
    #[must_use]
    pub fn snapshot(&self, now: u64) -> Snapshot {
        let wait = match self.state {
            State::Open { wait, .. } | State::HalfOpen { wait } => Some(wait),
            State::Closed | State::ForcedOpen | State::ForcedClosed => None,
        };
        Snapshot {
            position: self.position(),
            consecutive_failures: self.failures,
            window: self.window.at(now),
            probes: self.probes,
            wait,
            next_attempt: self.opens_in(now),
            last_failure: self.last_failure,
            last: self.last,
        }
    }

    /// Whether a call may be made at `now`, and as what.
    #[must_use = "a probe's outcome must be told"]
    pub fn admit(&mut self, now: u64) -> Admission {
        let free = self.probes < self.settings.half_open_max_calls.max(1);
        match self.state {
            State::Closed | State::ForcedClosed => Admission::Call,
            State::Open { until, wait } if now >= until && free => {
                self.probes += 1;
                Admission::Probe(self.go(State::HalfOpen { wait }, Cause::WaitOver, now))
            }
            State::HalfOpen { .. } if free => {
                self.probes += 1;
                Admission::Probe(None)
            }
            State::Open { .. } | State::HalfOpen { .. } | State::ForcedOpen => Admission::Refused,
        }
    }

    /// The outcome of what [`Self::admit`] let through, be it a call or a probe.
    pub fn attempted(
        &mut self,
        now: u64,
        admission: Admission,
        outcome: Result<(), Kind>,
    ) -> Option<Transition> {
        match (admission, outcome) {
            (Admission::Probe(_), outcome) => self.probed(now, outcome),
            (Admission::Call, Ok(())) => self.record(now, 1, 0),
            (Admission::Call, Err(kind)) => self.failed(now, kind),
            (Admission::Refused, _) => None,
        }
    }

    /// Ordinary calls were answered, `slow` of the `successes` in `slow_call_duration` or longer.
    pub fn record(&mut self, now: u64, successes: u32, slow: u32) -> Option<Transition> {
        if successes == 0 || !self.is_closed() {
            return None;
        }
        self.failures = 0;
        self.count(
            now,
            Counts {
                calls: successes.into(),
                failures: 0,
                slow: slow.min(successes).into(),
            },
        )
    }

    /// An ordinary call failed. Of whatever kind: an opening begins with the first wait.
    pub fn failed(&mut self, now: u64, kind: Kind) -> Option<Transition> {
        if !self.is_closed() {
            return None;
        }
        self.fail(kind);
        self.count(
            now,
            Counts {
                calls: 1,
                failures: 1,
                slow: 0,
            },
        )
    }

    /// A probe ended. Only while half-open does its outcome decide: the first success closes, the first failure opens.
    pub fn probed(&mut self, now: u64, outcome: Result<(), Kind>) -> Option<Transition> {
        let told = self.end_probe();
        let State::HalfOpen { wait } = self.state else {
            return None;
        };
        match outcome {
            _ if !told => None,
            Ok(()) => {
                self.forget();
                self.go(State::Closed, Cause::ProbeSucceeded, now)
            }
            Err(kind) => {
                self.fail(kind);
                let wait = self.wait_after(wait, kind);
                self.open(wait, Cause::ProbeFailed, now)
            }
        }
    }

    /// A probe ended without an outcome, say with its task. The next call may be one at once.
    pub fn probe_abandoned(&mut self) {
        self.end_probe();
    }

    /// An operator's order, or, with `None`, its end: from forced-closed to closed, from forced-open to open with
    /// a probe due at once, both with nothing counted so far. `None` without an order changes nothing.
    pub fn force(&mut self, order: Option<Forced>, now: u64) -> Option<Transition> {
        match (order, self.state) {
            (Some(Forced::Open), State::ForcedOpen)
            | (Some(Forced::Closed), State::ForcedClosed)
            | (None, State::Closed | State::Open { .. } | State::HalfOpen { .. }) => None,
            (Some(Forced::Open), _) => self.go(State::ForcedOpen, Cause::Forced, now),
            (Some(Forced::Closed), _) => self.go(State::ForcedClosed, Cause::Forced, now),
            (None, State::ForcedClosed) => {
                self.forget();
                self.go(State::Closed, Cause::Released, now)
            }
            (None, State::ForcedOpen) => {
                self.forget();
                self.open(0, Cause::Released, now)
            }
        }
    }

    fn fail(&mut self, kind: Kind) {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(kind);
    }

    fn count(&mut self, now: u64, more: Counts) -> Option<Transition> {
        let counts = self.window.count(now, more);
        match self.reason_to_open(counts) {
            Some(cause) if self.state == State::Closed => self.open(self.first_wait(), cause, now),
            _ => None,
        }
    }

    fn reason_to_open(&self, counts: Counts) -> Option<Cause> {
        let settings = &self.settings;
        let enough = counts.calls >= settings.minimum_calls.into();
        if self.failures >= settings.failure_threshold.max(1) {
            Some(Cause::ConsecutiveFailures)
        } else if enough && reaches(counts.failures, settings.failure_rate, counts.calls) {
            Some(Cause::FailureRate)
        } else if enough
            && settings.slow_call_duration.is_some()
            && reaches(counts.slow, settings.slow_call_rate, counts.calls)
        {
            Some(Cause::SlowCalls)
        } else {
            None
        }
    }

    fn longest_wait(&self) -> u64 {
        millis(self.settings.recovery_timeout)
    }

    fn first_wait(&self) -> u64 {
        FIRST_WAIT_MS.min(self.longest_wait())
    }

    fn wait_after(&self, wait: u64, kind: Kind) -> u64 {
        match kind {
            Kind::Loading => self.first_wait(),
            Kind::Connect | Kind::Timeout | Kind::Lost => wait
                .saturating_mul(2)
                .clamp(self.first_wait(), self.longest_wait()),
        }
    }

    /// Whether there was one.
    fn end_probe(&mut self) -> bool {
        let some = self.probes > 0;
        self.probes -= u32::from(some);
        some
    }

    fn forget(&mut self) {
        self.failures = 0;
        self.window.clear();
    }

    fn open(&mut self, wait: u64, cause: Cause, now: u64) -> Option<Transition> {
        let until = now.saturating_add(wait);
        self.go(State::Open { until, wait }, cause, now)
    }

    fn go(&mut self, state: State, cause: Cause, now: u64) -> Option<Transition> {
        let from = self.position();
        self.state = state;
        self.last = Some(Transition {
            from,
            to: state.position(),
            cause,
            at: now,
        });
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
        self.last
    }

    fn check_invariants(&self) {
        self.window.check_invariants();
        assert!(self.probes <= self.settings.half_open_max_calls.max(1));
        match self.state {
            State::Closed => assert_eq!((self.failures, self.window.at(0).calls), (0, 0)),
            State::Open { wait, until } => assert!(wait <= self.longest_wait() && wait <= until),
            State::HalfOpen { wait } => assert!(wait <= self.longest_wait() && self.probes > 0),
            State::ForcedOpen | State::ForcedClosed => {}
        }
    }
}

/// Whether `some` of `calls` are at least `rate` millionths of them. None at all never are.
fn reaches(some: u64, rate: u32, calls: u64) -> bool {
    some > 0 && u128::from(some) * u128::from(WHOLE) >= u128::from(rate) * u128::from(calls)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
