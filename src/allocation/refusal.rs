//! Why there is no lease, or no such change to one.

use super::ledger::guard::Failure;
use super::ledger::reply::{Exhausted, Outcome, Reason, Reply};
use super::ledger::way::Cause;
use super::request::Invalid;

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A member is wrong.
    Invalid(Invalid),
    /// There is not enough.
    Exhausted(Exhausted),
    /// Too many wait.
    QueueFull,
    /// Grants pause for so many milliseconds yet, since the ledger has lost data or is new.
    Recovering(u64),
    /// The circuit is open for so many milliseconds yet.
    Open(u64),
    /// The ledger does not answer, or may not be relied on.
    Unavailable(String),
    /// There was none within the time that it was to be waited for.
    Deadline,
    /// The idempotency key was used for something else.
    KeyReused,
    /// A request under the same idempotency key waits.
    InProgress,
    /// It is over.
    Ended(Reason),
    /// There is none of this id or name.
    Unknown,
    /// The fence is this one.
    Fenced(u64),
    /// It was asked to leave, and ends then, in milliseconds of the ledger's clock.
    Preempting(u64),
    /// Leases count in the pool.
    InUse,
}

impl Refusal {
    /// What an answer means that is not the one hoped for.
    #[must_use]
    pub fn of(reply: Reply) -> Self {
        let field = |reason: String| {
            Self::Invalid(Invalid {
                field: "resources".to_owned(),
                reason,
            })
        };
        match reply.outcome {
            Outcome::Exhausted(exhausted) => Self::Exhausted(exhausted),
            Outcome::QueueFull => Self::QueueFull,
            Outcome::Recovering => Self::Recovering(reply.pause),
            Outcome::UnknownPool { resource } => field(format!(
                "there is no {resource}; PUT /v1/pools/{} makes it",
                resource.trim_start_matches("pool:")
            )),
            Outcome::UnknownNode { resource } => field(format!(
                "{resource} is one of each node, and allocation.node does not say which this is"
            )),
            Outcome::KeyReused => Self::KeyReused,
            Outcome::InProgress => Self::InProgress,
            Outcome::Ended { reason } => Self::Ended(reason),
            Outcome::Unknown => Self::Unknown,
            Outcome::Fenced { lease } => Self::Fenced(lease.fence),
            Outcome::Preempting { lease } => Self::Preempting(lease.expires),
            Outcome::InUse => Self::InUse,
            other => Self::Unavailable(format!(
                "the ledger's answer is not to the question: {other:?}"
            )),
        }
    }
}

impl Refusal {
    /// Its stable name, fit for a label.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Exhausted(_) => "exhausted",
            Self::QueueFull => "queue_full",
            Self::Recovering(_) => "recovering",
            Self::Open(_) => "breaker_open",
            Self::Unavailable(_) => "ledger_unavailable",
            Self::Deadline => "wait_deadline",
            Self::KeyReused => "key_reused",
            Self::InProgress => "in_progress",
            Self::Ended(_) => "ended",
            Self::Unknown => "unknown",
            Self::Fenced(_) => "fenced",
            Self::Preempting(_) => "preempting",
            Self::InUse => "in_use",
        }
    }

    /// Whether it is the service that failed, and not what was asked for: what is answered with a status of 500 and more.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::Recovering(_) | Self::Open(_) | Self::Unavailable(_) | Self::Deadline
        )
    }

    /// Whether the ledger has found all that a request named before it refused it so.
    #[must_use]
    pub(super) fn knows_resources(&self) -> bool {
        matches!(
            self,
            Self::Exhausted(_) | Self::QueueFull | Self::Recovering(_)
        )
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Open(ms) => Self::Open(ms),
            Failure::Trouble(trouble) => Self::Unavailable(trouble.detail),
        }
    }
}

/// Whether asking again may help, and whether it may have been done.
#[must_use]
pub(super) fn passes(failure: &Failure) -> bool {
    match failure {
        Failure::Open(_) => true,
        Failure::Trouble(trouble) => trouble.cause != Cause::Refused,
    }
}
