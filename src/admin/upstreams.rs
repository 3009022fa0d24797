//! `/v1/upstreams*`: how the upstream is, and orders to its circuit breaker.

mod described;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::cache::json;
use super::openapi::Routes;
use super::problem::{Kind, NO_SUCH_PATH, Problem};
use crate::proxy::control::upstreams;
use crate::upstream::breaker::Forced;
use crate::upstream::lanes::Lanes;

/// A body is a line; no more is read.
const BODY_LIMIT: usize = 4096;

/// The orders by their names; `None` leaves the breaker to itself.
const ORDERS: [(&str, Option<Forced>); 3] = [
    ("forced-open", Some(Forced::Open)),
    ("forced-closed", Some(Forced::Closed)),
    ("auto", None),
];

const NO_UPSTREAM: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "not-found",
    "There is no such upstream",
);

/// The routes. A node's name is an address and may be a path: its slashes are taken whether they are encoded or not.
pub(super) fn routes(lanes: &Arc<Lanes>) -> Routes {
    let [shown, ordered] = [(); 2].map(|()| Arc::clone(lanes));
    let show = move || async move { json(&upstreams::of(&shown)) };
    let order = move |below, body| async move { order(&ordered, below, body) };
    Routes::default()
        .at("/v1/upstreams", [described::list_all().get(show)])
        .below(
            "/v1/upstreams/{*below}",
            "/v1/upstreams/{node}/breaker",
            [described::order().post(order)],
        )
        .limited(BODY_LIMIT)
}

fn order(
    lanes: &Lanes,
    below: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Path(below) = below.map_err(|refused| Problem::new(NO_UPSTREAM, refused.body_text()))?;
    let name = below.strip_suffix("/breaker").ok_or_else(|| {
        Problem::new(
            NO_SUCH_PATH,
            "orders are sent to /v1/upstreams/{node}/breaker, with the node percent-encoded",
        )
    })?;
    let node = upstreams::find(lanes, name).map_err(|known| {
        let known = known.join(", ");
        Problem::new(
            NO_UPSTREAM,
            format!("there is no upstream {name:?}; there is {known}"),
        )
    })?;
    let body = body.map_err(|refused| Problem::unreadable(&refused))?;
    let forced = parse(&body).map_err(Problem::unprocessable)?;
    node.force(forced);
    Ok(json(&upstreams::breaker(node)))
}

/// What a body orders.
fn parse(body: &[u8]) -> Result<Option<Forced>, String> {
    const RIGHT: &str = r#"send {"state": "forced-open"}, "forced-closed" or "auto""#;
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| format!("the body is not JSON: {error}; {RIGHT}"))?;
    let Value::Object(members) = value else {
        return Err(format!("the body is no JSON object; {RIGHT}"));
    };
    if let Some(other) = members.keys().find(|member| *member != "state") {
        return Err(format!("unknown member {other:?}; {RIGHT}"));
    }
    let state = members
        .get("state")
        .ok_or_else(|| format!("state: it is missing; {RIGHT}"))?;
    let order = ORDERS
        .iter()
        .find(|(name, _)| Some(*name) == state.as_str());
    let (_, forced) = order.ok_or_else(|| format!("state: {state} is no order; {RIGHT}"))?;
    Ok(*forced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        for (name, forced) in ORDERS {
            let body = format!(r#"{{"state": "{name}"}}"#);
            assert_eq!(parse(body.as_bytes()), Ok(forced));
        }
        for (body, wrong) in [
            ("", "the body is not JSON: "),
            ("state=auto", "the body is not JSON: "),
            ("[]", "the body is no JSON object; send {"),
            ("{}", "state: it is missing; send {"),
            (
                r#"{"state": "open"}"#,
                r#"state: "open" is no order; send {"#,
            ),
            (r#"{"state": null}"#, "state: null is no order; send {"),
            (
                r#"{"state": "auto", "for": "1m"}"#,
                r#"unknown member "for"; send {"#,
            ),
        ] {
            let said = parse(body.as_bytes()).unwrap_err();
            assert!(said.starts_with(wrong), "{said}");
        }
    }
}
