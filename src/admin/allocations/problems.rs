//! The kinds of problems that leases and pools have.

use axum::http::StatusCode;

use crate::admin::problem::Kind;

pub(in crate::admin) const EXHAUSTED: Kind = Kind::new(
    StatusCode::TOO_MANY_REQUESTS,
    "exhausted",
    "There is not enough",
);
pub(in crate::admin) const QUEUE_FULL: Kind = Kind::new(
    StatusCode::TOO_MANY_REQUESTS,
    "queue-full",
    "Too many requests wait",
);
pub(in crate::admin) const RECOVERING: Kind = Kind::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "ledger-recovering",
    "Grants pause",
);
pub(in crate::admin) const OPEN: Kind = Kind::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "breaker-open",
    "The ledger's circuit is open",
);
pub(in crate::admin) const UNAVAILABLE: Kind = Kind::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "ledger-unavailable",
    "The ledger is not available",
);
pub(in crate::admin) const DEADLINE: Kind = Kind::new(
    StatusCode::GATEWAY_TIMEOUT,
    "wait-deadline",
    "There was no room in time",
);
pub(in crate::admin) const KEY_REUSED: Kind = Kind::new(
    StatusCode::UNPROCESSABLE_ENTITY,
    "idempotency-key-reused",
    "The idempotency key was used for another request",
);
pub(in crate::admin) const IN_PROGRESS: Kind = Kind::new(
    StatusCode::CONFLICT,
    "in-progress",
    "The same request is under way",
);
pub(in crate::admin) const ENDED: Kind =
    Kind::new(StatusCode::GONE, "lease-ended", "The lease has ended");
pub(in crate::admin) const UNKNOWN: Kind =
    Kind::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing");
pub(in crate::admin) const FENCED: Kind = Kind::new(
    StatusCode::PRECONDITION_FAILED,
    "fenced",
    "The lease has another fence",
);
pub(in crate::admin) const FENCE_REQUIRED: Kind = Kind::new(
    StatusCode::PRECONDITION_REQUIRED,
    "fence-required",
    "The lease's fence is needed",
);
pub(in crate::admin) const PREEMPTING: Kind = Kind::new(
    StatusCode::CONFLICT,
    "preempting",
    "The lease is asked to leave",
);
pub(in crate::admin) const IN_USE: Kind =
    Kind::new(StatusCode::CONFLICT, "in-use", "Leases count in the pool");

/// The ledger is not there for anybody.
pub(in crate::admin) const AWAY: [Kind; 3] = [RECOVERING, OPEN, UNAVAILABLE];
