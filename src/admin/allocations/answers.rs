//! Leases and refusals as the side port shows them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::described::{RESOURCE, resource};
use super::problems::{
    DEADLINE, ENDED, EXHAUSTED, FENCED, IN_PROGRESS, IN_USE, KEY_REUSED, OPEN, PREEMPTING,
    QUEUE_FULL, RECOVERING, UNAVAILABLE, UNKNOWN,
};
use crate::admin::problem::Problem;
use crate::allocation::ledger::reply::{Exhausted, Lease};
use crate::allocation::refusal::Refusal;
use crate::allocation::request::{Invalid, Kind};
use crate::allocation::service::Service;

/// A value as an answer.
pub(in crate::admin) fn as_json(value: &impl Serialize) -> Response {
    let body = serde_json::to_string(value).expect("texts and numbers");
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// A lease.
#[derive(Serialize, ToSchema)]
#[schema(as = Lease)]
pub(super) struct LeaseAnswer {
    /// Its id.
    id: String,
    state: State,
    /// Its fencing token: greater than that of every lease before it.
    #[schema(pattern = "^[0-9]+$")]
    fence: String,
    /// When it was granted.
    #[schema(format = DateTime)]
    granted_at: String,
    /// When it expires, unless it is renewed.
    #[schema(format = DateTime)]
    expires_at: String,
    /// When it ends in any case.
    #[schema(format = DateTime, required)]
    ends_at: Option<String>,
    /// For how long it is renewed.
    ttl_ms: u64,
    /// With which priority it was asked for.
    priority: u64,
    /// Whether it may be asked to leave.
    preemptible: bool,
    /// When it ends because it is asked to leave.
    #[schema(format = DateTime, required)]
    preempt_at: Option<String>,
    /// Who asked for it.
    component: String,
    /// What it holds.
    resources: Vec<Holding>,
    /// The ids of the devices that it holds; pools, CPU and memory have none.
    devices: Vec<String>,
    env: Environment,
    enforcement: Enforcement,
}

/// Whether it lives.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LeaseState)]
enum State {
    /// It lives.
    Active,
    /// It lives, and is asked to leave.
    Preempting,
}

/// What holds its holder to it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Enforcement {
    /// Nothing does.
    Advisory,
}

/// For the environment of whoever uses it.
#[derive(Serialize, ToSchema)]
#[schema(as = LeaseEnvironment)]
struct Environment {
    #[serde(rename = "NEARSIDE_LEASE_ID")]
    id: String,
    #[serde(rename = "NEARSIDE_LEASE_FENCE")]
    fence: String,
}

/// A resource of a lease, in the form in which it is asked for.
#[derive(Serialize)]
struct Holding {
    r#type: String,
    #[serde(flatten)]
    amount: BTreeMap<&'static str, u64>,
}

impl PartialSchema for Holding {
    fn schema() -> RefOr<Schema> {
        resource()
    }
}

impl ToSchema for Holding {
    fn name() -> Cow<'static, str> {
        RESOURCE.into()
    }
}

impl LeaseAnswer {
    pub(super) fn of(lease: &Lease) -> Self {
        let each = lease.wants.iter().map(|held| {
            let unit = Kind::named(&held.resource).map_or("amount", |kind| kind.unit());
            Holding {
                r#type: held.resource.clone(),
                amount: [(unit, held.amount)].into(),
            }
        });
        let fence = lease.fence.to_string();
        let state = if lease.preempt.is_some() {
            State::Preempting
        } else {
            State::Active
        };
        Self {
            id: lease.id.clone(),
            state,
            fence: fence.clone(),
            granted_at: instant(lease.granted),
            expires_at: instant(lease.expires),
            ends_at: lease.hard.map(instant),
            ttl_ms: lease.ttl,
            priority: lease.priority,
            preemptible: lease.preemptible,
            preempt_at: lease.preempt.map(instant),
            component: lease.component.clone(),
            resources: each.collect(),
            devices: Vec::new(),
            env: Environment {
                id: lease.id.clone(),
                fence,
            },
            enforcement: Enforcement::Advisory,
        }
    }
}

/// Leases, and the ids of requests that wait.
#[derive(Serialize, ToSchema)]
pub(super) struct Leases {
    pub(super) allocations: Vec<LeaseAnswer>,
    pub(super) queued: Vec<String>,
}

/// A request that waits.
#[derive(Serialize, ToSchema)]
pub(super) struct Queued {
    id: String,
    state: Waiting,
}

/// It waits.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = QueuedState)]
enum Waiting {
    /// It waits.
    Queued,
}

impl Queued {
    pub(super) fn under(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            state: Waiting::Queued,
        }
    }
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
    match refusal {
        Refusal::Invalid(invalid) => wrong(invalid),
        Refusal::Exhausted(exhausted) => too_much(service, &exhausted),
        Refusal::QueueFull => Problem::new(
            QUEUE_FULL,
            "no more requests may wait for leases of this ledger",
        )
        .retry_after(1000),
        Refusal::Recovering(ms) => Problem::new(
            RECOVERING,
            "the ledger is new or has lost data; grants pause until whoever holds a lease has said so. wait_ms would outlast it",
        )
        .retry_after(ms),
        Refusal::Open(ms) => Problem::new(
            OPEN,
            "the ledger has failed again and again, and is left alone for a while",
        )
        .retry_after(ms),
        Refusal::Unavailable(detail) => Problem::new(UNAVAILABLE, detail).retry_after(1000),
        Refusal::Deadline => Problem::new(
            DEADLINE,
            "what was asked for did not become free within wait_ms",
        ),
        Refusal::KeyReused => Problem::new(
            KEY_REUSED,
            "a request with this Idempotency-Key and another body was taken; use a new key for a new request",
        ),
        Refusal::InProgress => Problem::new(
            IN_PROGRESS,
            "a request with this Idempotency-Key waits for its lease",
        )
        .retry_after(1000),
        Refusal::Ended(reason) => {
            let reason = reason.as_str();
            let problem = Problem::new(ENDED, format!("the lease has ended: {reason}"));
            problem.with("reason", reason)
        }
        Refusal::Unknown => Problem::new(
            UNKNOWN,
            "the ledger knows nothing of this name, or forgot it long after its end",
        ),
        Refusal::Fenced(fence) => Problem::new(FENCED, format!("the lease's fence is {fence}"))
            .with("fence", fence.to_string()),
        Refusal::Preempting(ends) => Problem::new(
            PREEMPTING,
            "the lease makes room for a request of a higher priority; until it ends it may only shrink",
        )
        .with("expires_at", instant(ends)),
        Refusal::InUse => Problem::new(
            IN_USE,
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
        EXHAUSTED,
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
