//! Leases and refusals as the side port shows them.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::admin::problem::Problem;
use crate::allocation::ledger::reply::{Exhausted, Lease};
use crate::allocation::refusal::Refusal;
use crate::allocation::request::{Invalid, Kind};
use crate::allocation::service::Service;

/// A value as an answer.
pub(in crate::admin) fn as_json(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// A lease. Nothing holds its holder to it: that is what `advisory` says.
pub(super) fn lease(lease: &Lease) -> Value {
    let each = lease.wants.iter().map(|held| {
        let unit = Kind::named(&held.resource).map_or("amount", |kind| kind.unit());
        json!({ "type": held.resource, unit: held.amount })
    });
    let fence = lease.fence.to_string();
    json!({
        "id": lease.id,
        "state": if lease.preempt.is_some() { "preempting" } else { "active" },
        "fence": fence,
        "granted_at": instant(lease.granted),
        "expires_at": instant(lease.expires),
        "ends_at": lease.hard.map(instant),
        "ttl_ms": lease.ttl,
        "priority": lease.priority,
        "preemptible": lease.preemptible,
        "preempt_at": lease.preempt.map(instant),
        "component": lease.component,
        "resources": each.collect::<Vec<_>>(),
        "env": { "NEARSIDE_LEASE_ID": lease.id, "NEARSIDE_LEASE_FENCE": fence },
        "enforcement": "advisory",
    })
}

/// A member that is wrong.
pub(in crate::admin) fn wrong(invalid: Invalid) -> Problem {
    let detail = invalid.to_string();
    if invalid.field.is_empty() {
        Problem::invalid(detail)
    } else {
        Problem::unprocessable(detail).with("field", invalid.field)
    }
}

/// What a refusal is to the client.
pub(in crate::admin) fn refused(service: &Service, refusal: Refusal) -> Problem {
    const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    match refusal {
        Refusal::Invalid(invalid) => wrong(invalid),
        Refusal::Exhausted(exhausted) => too_much(service, &exhausted),
        Refusal::QueueFull => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "queue-full",
            "Too many requests wait",
            "no more requests may wait for leases of this ledger",
        )
        .retry_after(1000),
        Refusal::Recovering(ms) => Problem::new(
            UNAVAILABLE,
            "ledger-recovering",
            "Grants pause",
            "the ledger is new or has lost data; grants pause until whoever holds a lease has said so. wait_ms would outlast it",
        )
        .retry_after(ms),
        Refusal::Open(ms) => Problem::new(
            UNAVAILABLE,
            "breaker-open",
            "The ledger's circuit is open",
            "the ledger has failed again and again, and is left alone for a while",
        )
        .retry_after(ms),
        Refusal::Unavailable(detail) => Problem::new(
            UNAVAILABLE,
            "ledger-unavailable",
            "The ledger is not available",
            detail,
        )
        .retry_after(1000),
        Refusal::Deadline => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "wait-deadline",
            "There was no room in time",
            "what was asked for did not become free within wait_ms",
        ),
        Refusal::KeyReused => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "The idempotency key was used for another request",
            "a request with this Idempotency-Key and another body was taken; use a new key for a new request",
        ),
        Refusal::InProgress => Problem::new(
            StatusCode::CONFLICT,
            "in-progress",
            "The same request is under way",
            "a request with this Idempotency-Key waits for its lease",
        )
        .retry_after(1000),
        Refusal::Ended(reason) => Problem::new(
            StatusCode::GONE,
            "lease-ended",
            "The lease has ended",
            format!("the lease has ended: {}", reason.as_str()),
        )
        .with("reason", reason.as_str()),
        Refusal::Unknown => Problem::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "There is no such thing",
            "the ledger knows nothing of this name, or forgot it long after its end",
        ),
        Refusal::Fenced(fence) => Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "fenced",
            "The lease has another fence",
            format!("the lease's fence is {fence}"),
        )
        .with("fence", fence.to_string()),
        Refusal::Preempting(ends) => Problem::new(
            StatusCode::CONFLICT,
            "preempting",
            "The lease is asked to leave",
            "the lease makes room for a request of a higher priority; until it ends it may only shrink",
        )
        .with("expires_at", instant(ends)),
        Refusal::InUse => Problem::new(
            StatusCode::CONFLICT,
            "in-use",
            "Leases count in the pool",
            "a pool stays, and keeps its scope, while leases count in it; its capacity may change",
        ),
    }
}

fn too_much(service: &Service, exhausted: &Exhausted) -> Problem {
    let Exhausted {
        resource,
        requested,
        capacity,
        used,
        ..
    } = exhausted;
    let problem = Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "exhausted",
        "There is not enough",
        format!("{requested} of {resource} were asked for; {used} of {capacity} are promised"),
    )
    .with("resource", resource.as_str())
    .with("requested", *requested)
    .with("capacity", *capacity)
    .with("used", *used);
    match exhausted.next_expiry {
        _ if exhausted.never => problem,
        Some(expiry) => problem
            .with("next_expiry_at", instant(expiry))
            .retry_after(expiry.saturating_sub(service.ledger_now())),
        None => problem.retry_after(1000),
    }
}

/// Milliseconds since 1970 as RFC 3339 has them. The days by Howard Hinnant's `civil_from_days`.
fn instant(ms: u64) -> String {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year_of_era + era * 400 + next;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (1_764_543_210_123, "2025-11-30T22:53:30.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(instant(ms), text);
        }
    }
}
