//! A span for each request to `/v1/*`, after OpenTelemetry's semantic conventions for HTTP servers.
//!
//! A `traceparent` makes it a part of the caller's trace. Its own [`Context`] goes along as an extension of the request, for
//! spans below it. The query is not told: it may name keys.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use crate::telemetry::clock::now_us;
use crate::telemetry::operation::Context;
use crate::telemetry::traces::Traces;
use crate::telemetry::traces::span::Kind;

/// These routes with spans, where spans go anywhere.
pub(super) fn layer(routes: Router, traces: Option<&Arc<Traces>>) -> Router {
    match traces {
        Some(traces) => routes.route_layer(from_fn_with_state(Arc::clone(traces), traced)),
        None => routes,
    }
}

async fn traced(State(traces): State<Arc<Traces>>, mut request: Request, next: Next) -> Response {
    let method = method(request.method());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", MatchedPath::as_str).to_owned();
    let parent = parent(request.headers());
    let name = format!("{method} {route}");
    let mut span = traces.span(name, Kind::Server, parent, now_us());
    span.set("http.request.method", method);
    span.set("url.path", request.uri().path().to_owned());
    span.set("url.scheme", "http");
    span.set("http.route", route);
    // What is done for it is a part of it.
    request.extensions_mut().insert(span.context());
    let response = next.run(request).await;
    let status = response.status();
    span.set("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.fail(status.as_str().to_owned());
    }
    span.end(now_us());
    response
}

/// Methods that HTTP does not know have one name, or a caller could make as many as it likes.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    let known = KNOWN.iter().find(|known| **known == method.as_str());
    known.copied().unwrap_or("_OTHER")
}

/// The caller's span; more than one of them is none.
fn parent(headers: &HeaderMap) -> Option<Context> {
    let mut all = headers.get_all("traceparent").iter();
    match (all.next(), all.next()) {
        (Some(one), None) => Context::parse(one.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_traceparent_counts_and_unknown_methods_have_one_name() {
        let mut headers = HeaderMap::new();
        assert_eq!(parent(&headers), None);
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.append("traceparent", given.parse().unwrap());
        assert_eq!(parent(&headers).unwrap().parent, 0xb7ad_6b71_6920_3331);
        headers.append("traceparent", given.parse().unwrap());
        assert_eq!(parent(&headers), None);
        assert_eq!(method(&Method::PATCH), "PATCH");
        assert_eq!(method(&"BREW".parse().unwrap()), "_OTHER");
    }
}
