//! What `/openapi.json` says of `/v1/allocations*`, and the schemas of what is asked for. Those are held against
//! [`request`](crate::allocation::request), which reads it, by the tests below.

use axum::http::StatusCode;
use axum::http::header::{ETAG, LOCATION};
use serde_json::json;
use utoipa::openapi::schema::OneOfBuilder;
use utoipa::openapi::{ObjectBuilder, Ref, Required, Type};

use super::answers::{LeaseAnswer, Leases, Queued};
use super::problems::{
    AWAY, DEADLINE, ENDED, EXHAUSTED, FENCE_REQUIRED, FENCED, IN_PROGRESS, KEY_REUSED, PREEMPTING,
    QUEUE_FULL, UNKNOWN,
};
use super::{LONGEST_KEY, LONGEST_LOOK};
use crate::admin::openapi::about::{About, about};
use crate::admin::openapi::schemas::{Shape, closed, list, matching, object, text, whole, word};
use crate::admin::problem::{INVALID, UNPROCESSABLE};
use crate::allocation::request::{
    LONGEST_LIFETIME, LONGEST_NAME, LONGEST_WAIT, MOST, PRIORITY, RESOURCES, TTL,
};

const OK: StatusCode = StatusCode::OK;
const CREATED: StatusCode = StatusCode::CREATED;
const ACCEPTED: StatusCode = StatusCode::ACCEPTED;

/// The name of a resource's schema, in requests and answers alike.
pub(super) const RESOURCE: &str = "Resource";

pub(super) fn acquire() -> About {
    let key = matching(format!("^[!-~]([ -~]{{0,{}}}[!-~])?$", LONGEST_KEY - 2));
    let key = key.max_length(Some(LONGEST_KEY));
    let example = json!({
        "resources": [{ "type": "pool:infer-slots", "amount": 1 }],
        "ttl_ms": 30_000,
        "wait_ms": 1000,
    });
    let about = about("leases", "acquireLease", "Asks for a lease.")
        .tells("All that is asked for, or nothing.")
        .header(
            "Idempotency-Key",
            key,
            "Under the same key the same body gives the same lease while it lives.",
        )
        .header(
            "Prefer",
            text().examples(["respond-async"]),
            "With respond-async a request that would wait is answered at once.",
        )
        .takes("LeaseRequest", lease(), Required::True, example)
        .answers::<LeaseAnswer>(CREATED, "the lease")
        .answers::<LeaseAnswer>(OK, "the lease that was given under this key")
        .answers::<Queued>(ACCEPTED, "it waits under this id")
        .with(ACCEPTED, LOCATION.as_str(), text(), "where it will be")
        .problems(&[INVALID, UNPROCESSABLE, EXHAUSTED, QUEUE_FULL, DEADLINE])
        .problems(&[KEY_REUSED, IN_PROGRESS, ENDED])
        .problems(&AWAY);
    let about = [CREATED, OK].into_iter().fold(about, |about, status| {
        tagged(about, status).with(status, LOCATION.as_str(), text(), "where it is")
    });
    let fenced = [
        ("id", "$response.body#/id"),
        ("If-Match", "$response.header.ETag"),
    ];
    about
        .leads(CREATED, "showLease", [fenced[0]])
        .leads(CREATED, "renewLease", fenced)
        .leads(CREATED, "resizeLease", fenced)
        .leads(CREATED, "releaseLease", fenced)
        .leads(ACCEPTED, "showLease", [fenced[0]])
}

pub(super) fn all() -> About {
    about("leases", "listLeases", "The leases that were given here.")
        .answers::<Leases>(OK, "as far as this nearside knows, and what waits")
}

pub(super) fn look() -> About {
    let most = LONGEST_LOOK.as_secs();
    let wait = matching(r"^0*(([0-9]|[1-5][0-9]|60)s|([0-9]{1,4}|[1-5][0-9]{4}|60000)ms)$");
    let is =
        format!("for how long its outcome is waited for, such as 10s or 250ms; {most}s at most");
    let about = of_one("showLease", "A lease as the ledger has it.")
        .query("wait", wait, &is)
        .answers::<LeaseAnswer>(OK, "the lease")
        .answers::<Queued>(ACCEPTED, "it waits yet")
        .with(ACCEPTED, LOCATION.as_str(), text(), "where it will be")
        .problems(&[UNPROCESSABLE, EXHAUSTED, QUEUE_FULL, DEADLINE])
        .problems(&[KEY_REUSED, IN_PROGRESS]);
    tagged(about, OK)
}

pub(super) fn renew() -> About {
    let about = of_held("renewLease", "The lease lives on for its ttl.")
        .answers::<LeaseAnswer>(OK, "the lease");
    tagged(about, OK)
}

pub(super) fn resize() -> About {
    let example = json!({ "resources": [{ "type": "pool:infer-slots", "amount": 2 }] });
    let about = of_held(
        "resizeLease",
        "The lease holds this from now on, and nothing else.",
    )
    .tells("What is new is granted before what is old is freed.")
    .takes("Resize", resized(), Required::True, example)
    .answers::<LeaseAnswer>(OK, "the lease")
    .problems(&[UNPROCESSABLE, EXHAUSTED, PREEMPTING]);
    tagged(about, OK)
}

pub(super) fn release() -> About {
    of_held("releaseLease", "Gives it back, or calls a request off.")
        .answers_empty(StatusCode::NO_CONTENT, "it is over")
}

fn of_one(name: &str, summary: &str) -> About {
    about("leases", name, summary)
        .path(
            "id",
            text().min_length(Some(1)),
            "the lease's id, or the request's",
        )
        .problems(&[INVALID, UNKNOWN, ENDED])
        .problems(&AWAY)
}

fn of_held(name: &str, summary: &str) -> About {
    of_one(name, summary)
        .must_have(
            "If-Match",
            matching(r#"^(\*|"[0-9]{1,19}")$"#),
            "The lease's fence in quotes, as its ETag has it, or * for whichever it is.",
        )
        .problems(&[FENCED, FENCE_REQUIRED])
}

fn tagged(about: About, status: StatusCode) -> About {
    let tag = matching(r#"^"[0-9]+"$"#);
    about.with(status, ETAG.as_str(), tag, "its fence in quotes")
}

/// What [`Request::parse`](crate::allocation::request::Request::parse) takes.
fn lease() -> ObjectBuilder {
    let default = |schema: ObjectBuilder, value: u64| schema.default(Some(value.into()));
    let ttl =
        whole(TTL.0, TTL.1).description(Some("milliseconds until it expires, unless renewed"));
    let lifetime = whole(TTL.0, LONGEST_LIFETIME).description(Some(
        "milliseconds until it ends in any case; ttl_ms at least",
    ));
    let wait = whole(0, LONGEST_WAIT).description(Some("milliseconds for which it is waited for"));
    let priority = whole(0, PRIORITY.0).description(Some(
        "the greater goes first; a point is worth 100 ms of waiting",
    ));
    let preemptible = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .default(Some(false.into()))
        .description(Some("it may be asked to leave for a higher priority"));
    let component = name().description(Some("who asks"));
    let members = resized()
        .property("ttl_ms", default(ttl, TTL.2))
        .property("max_lifetime_ms", lifetime)
        .property("wait_ms", default(wait, 0))
        .property("priority", default(priority, PRIORITY.1))
        .property("preemptible", preemptible)
        .property("component", component.default(Some("default".into())));
    closed(members)
}

/// What [`parse_resize`](crate::allocation::request::parse_resize) takes.
fn resized() -> ObjectBuilder {
    let each = list(Ref::from_schema_name(RESOURCE))
        .min_items(Some(1))
        .max_items(Some(RESOURCES))
        .description(Some("each type once"));
    closed(object([("resources", each.into())]))
}

/// A resource, as it is asked for and as it is held.
pub(super) fn resource() -> Shape {
    let of = |kind: ObjectBuilder, unit: &str, is: &str| {
        let amount = whole(1, MOST).description(Some(is));
        closed(object([("type", kind.into()), (unit, amount.into())]))
    };
    let pool = matching(format!("^pool:{}$", name_pattern()));
    OneOfBuilder::new()
        .item(of(pool, "amount", "how many things of the pool"))
        .item(of(word(["cpu"]), "millicores", "thousandths of one"))
        .item(of(word(["memory"]), "amount_mib", "in MiB"))
        .into()
}

/// What a pool or a component may be called.
pub(in crate::admin) fn name() -> ObjectBuilder {
    matching(format!("^{}$", name_pattern()))
}

fn name_pattern() -> String {
    format!("[A-Za-z0-9._-]{{1,{LONGEST_NAME}}}")
}

#[cfg(test)]
mod tests;
