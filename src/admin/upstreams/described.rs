//! What `/openapi.json` says of `/v1/upstreams*`. The answers are trees; a schema of each stands here.

use axum::http::StatusCode;
use serde_json::json;
use utoipa::openapi::{ObjectBuilder, Required, Type};

use super::{NO_UPSTREAM, ORDERS};
use crate::admin::openapi::about::{About, about};
use crate::admin::openapi::schemas::{
    Shape, closed, count, list, map, object, or_null, text, word,
};
use crate::admin::problem::{NO_SUCH_PATH, UNPROCESSABLE};
use crate::upstream::breaker::Position;

const OK: StatusCode = StatusCode::OK;

pub(super) fn list_all() -> About {
    let counts = |names: &[&str]| {
        let none = ObjectBuilder::new().schema_type(Type::Object);
        names.iter().fold(none, |object, name| {
            object.property(*name, count()).required(*name)
        })
    };
    let said = || -> Shape { or_null(Type::String, text()).into() };
    let upstream = object([
        ("node", text().into()),
        ("breaker", breaker().into()),
        ("server", said()),
        ("version", said()),
        ("role", said()),
        ("lanes", counts(&["up", "tracked", "untracked"]).into()),
        ("in_flight", count().into()),
        ("overloaded", count().into()),
        ("retries", counts(&["granted", "refused"]).into()),
        ("generation", count().into()),
    ]);
    let all = object([("upstreams", list(upstream).into())]);
    let to = [("node", "$response.body#/upstreams/0/node")];
    about("upstreams", "listUpstreams", "How the upstream is.")
        .answers_as(OK, "Upstreams", all, "with its circuit breaker")
        .leads(OK, "orderBreaker", to)
}

pub(super) fn order() -> About {
    let state = word(ORDERS.iter().map(|(name, _)| *name));
    let body = closed(object([("state", state.into())]));
    about("upstreams", "orderBreaker", "Orders a circuit breaker.")
        .tells("Until the next order or a restart.")
        .path(
            "node",
            text().min_length(Some(1)),
            "the upstream's address as /v1/upstreams has it, percent-encoded",
        )
        .takes("Order", body, Required::True, json!({ "state": "auto" }))
        .answers_as(OK, "Breaker", breaker(), "where it stands now")
        .problems(&[NO_UPSTREAM, NO_SUCH_PATH, UNPROCESSABLE])
}

fn breaker() -> ObjectBuilder {
    let position = || word(Position::ALL.iter().map(|position| position.as_str()));
    let window = object(["calls", "failures", "slow"].map(|name| (name, count().into())));
    let some_count = || -> Shape { or_null(Type::Integer, count()).into() };
    let step = object([
        ("from", position().into()),
        ("to", position().into()),
        ("cause", text().into()),
        ("ms_ago", count().into()),
    ]);
    object([
        ("state", position().into()),
        ("consecutive_failures", count().into()),
        ("window", window.into()),
        ("probes", count().into()),
        ("wait_ms", some_count()),
        ("next_attempt_ms", some_count()),
        ("last_failure", or_null(Type::String, text()).into()),
        ("last_transition", or_null(Type::Object, step).into()),
        ("transitions", map(map(count())).into()),
    ])
}
