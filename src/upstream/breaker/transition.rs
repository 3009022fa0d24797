//! The breaker's words: what it is told, and what it tells its owner, a log, a metric and an operator.

use super::window::Counts;

/// Where the breaker stands, as a name. Closed is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Position {
    /// Calls go through.
    Closed,
    /// No call goes through until the next probe is due.
    Open,
    /// Probes alone go through.
    HalfOpen,
    /// No call goes through and nothing is probed, until an operator says otherwise.
    ForcedOpen,
    /// All calls go through, until an operator says otherwise.
    ForcedClosed,
}

impl Position {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Closed,
        Self::Open,
        Self::HalfOpen,
        Self::ForcedOpen,
        Self::ForcedClosed,
    ];

    /// Its stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced-open",
            Self::ForcedClosed => "forced-closed",
        }
    }
}

/// Why it went from one position to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// `failure_threshold` failures in a row.
    ConsecutiveFailures,
    /// Too great a share of the window's calls failed.
    FailureRate,
    /// Too great a share of the window's calls was slow.
    SlowCalls,
    /// A probe failed.
    ProbeFailed,
    /// A probe succeeded.
    ProbeSucceeded,
    /// An operator ordered it.
    Forced,
    /// The wait of an open circuit is over.
    WaitOver,
    /// An operator took an order back.
    Released,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ConsecutiveFailures,
        Self::FailureRate,
        Self::SlowCalls,
        Self::ProbeFailed,
        Self::ProbeSucceeded,
        Self::Forced,
        Self::WaitOver,
        Self::Released,
    ];

    /// Its stable name, fit for a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::FailureRate => "failure_rate",
            Self::SlowCalls => "slow_calls",
            Self::ProbeFailed => "probe_failed",
            Self::ProbeSucceeded => "probe_succeeded",
            Self::Forced => "forced",
            Self::WaitOver => "wait_over",
            Self::Released => "released",
        }
    }
}

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No connection: refused, unreachable, TLS.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection was lost with requests outstanding.
    Lost,
    /// The server is there and not ready: `-LOADING`, `-MASTERDOWN`, `-CLUSTERDOWN`. It will be soon, so
    /// a probe that ends with this is followed by the next after the first wait, and none is doubled.
    Loading,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Timeout, Self::Lost, Self::Loading];

    /// Its stable name, fit for a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
            Self::Loading => "loading",
        }
    }
}

/// An operator's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forced {
    /// Nothing goes through, nothing is probed.
    Open,
    /// Everything goes through, whatever fails; calls are only counted.
    Closed,
}

/// One step from a position to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Where it stood.
    pub from: Position,
    /// Where it stands now.
    pub to: Position,
    /// Why.
    pub cause: Cause,
    /// When, in milliseconds of the caller's clock.
    pub at: u64,
}

impl Transition {
    /// Where it may go and why: all that there is.
    pub const STEPS: [(Position, Cause); 10] = [
        (Position::Closed, Cause::ProbeSucceeded),
        (Position::Closed, Cause::Released),
        (Position::Open, Cause::ConsecutiveFailures),
        (Position::Open, Cause::FailureRate),
        (Position::Open, Cause::SlowCalls),
        (Position::Open, Cause::ProbeFailed),
        (Position::Open, Cause::Released),
        (Position::HalfOpen, Cause::WaitOver),
        (Position::ForcedOpen, Cause::Forced),
        (Position::ForcedClosed, Cause::Forced),
    ];
}

/// The answer to a call that asks to go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It goes through as an ordinary call.
    Call,
    /// It goes through as a probe: [`Breaker::probed`](super::Breaker::probed) or
    /// [`Breaker::probe_abandoned`](super::Breaker::probe_abandoned) MUST follow, once. The round's first
    /// probe comes with the step to half-open.
    Probe(Option<Transition>),
    /// It does not go through.
    Refused,
}

impl Admission {
    /// Whether the call goes through.
    #[must_use]
    pub fn is_admitted(self) -> bool {
        self != Self::Refused
    }

    /// Whether it goes through as a probe.
    #[must_use]
    pub fn is_probe(self) -> bool {
        matches!(self, Self::Probe(_))
    }

    /// The step that came of asking.
    #[must_use]
    pub fn transition(self) -> Option<Transition> {
        match self {
            Self::Probe(transition) => transition,
            Self::Call | Self::Refused => None,
        }
    }
}

/// What an operator's page shows. Times are milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it stands.
    pub position: Position,
    /// Failures in a row: of ordinary calls while calls go through, and of the probes after that.
    pub consecutive_failures: u32,
    /// The ordinary calls of the window.
    pub window: Counts,
    /// Probes whose outcome is not known yet.
    pub probes: u32,
    /// The wait before the next probe or, half-open, before this one; `None` where none is made.
    pub wait: Option<u64>,
    /// Time until the next probe, while open.
    pub next_attempt: Option<u64>,
    /// How the last call or probe that was counted as a failure failed.
    pub last_failure: Option<Kind>,
    /// The last step, `None` if there was none yet.
    pub last: Option<Transition>,
}
