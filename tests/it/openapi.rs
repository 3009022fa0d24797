//! `/openapi.json` against the side port that it describes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use crate::allocation::api::{Answer, Port, ask};
use crate::support::redis::RedisServer;

/// What the side port is to have, whatever the description says.
const PATHS: [&str; 21] = [
    "/config",
    "/liveness",
    "/metrics",
    "/openapi.json",
    "/readiness",
    "/startup",
    "/v1/allocations",
    "/v1/allocations/{id}",
    "/v1/allocations/{id}/renew",
    "/v1/cache/bigkeys",
    "/v1/cache/hotkeys",
    "/v1/cache/invalidate",
    "/v1/cache/mode",
    "/v1/cache/stats",
    "/v1/metrics/catalogue",
    "/v1/pools",
    "/v1/pools/{name}",
    "/v1/quit",
    "/v1/slowlog",
    "/v1/upstreams",
    "/v1/upstreams/{node}/breaker",
];
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "PATCH", "DELETE"];

/// Each path's methods, as they are described.
fn described(http: SocketAddr) -> BTreeMap<String, Vec<&'static str>> {
    let answer = ask(http, "GET", "/openapi.json", "", &Value::Null);
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json\r\n"));
    assert_eq!(answer.body["openapi"], "3.1.0");
    let paths = answer.body["paths"].as_object().expect("paths").clone();
    let each = paths.into_iter().map(|(path, item)| {
        let has = |method: &&&str| item.get(method.to_ascii_lowercase()).is_some();
        (path, METHODS.iter().filter(has).copied().collect())
    });
    each.collect()
}

/// With a body that nothing takes.
fn call(http: SocketAddr, method: &str, path: &str) -> Answer {
    let path = path
        .replace("{id}", "x")
        .replace("{name}", "x")
        .replace("{node}", "x");
    ask(http, method, &path, "", &serde_json::json!([]))
}

fn allowed(answer: &Answer) -> Vec<String> {
    let mut lines = answer.head.lines();
    let allow = lines.find_map(|line| line.strip_prefix("allow: "));
    let allow = allow.expect("an Allow header").to_ascii_uppercase();
    let mut methods: Vec<String> = allow.split(", ").map(ToOwned::to_owned).collect();
    methods.sort_unstable();
    methods
}

#[test]
fn what_is_described_is_served_and_nothing_else() {
    let server = RedisServer::start(&[]);
    let port = Port::start(server.addr(), "a", |_| {});
    let described = described(port.http);
    assert_eq!(described.keys().collect::<Vec<_>>(), PATHS);
    for (path, methods) in &described {
        let mut all: Vec<String> = methods.iter().map(ToString::to_string).collect();
        if methods.contains(&"GET") {
            all.push("HEAD".to_owned());
        }
        all.sort_unstable();
        for method in METHODS.into_iter().chain(["OPTIONS"]) {
            let answer = call(port.http, method, path);
            if methods.contains(&method) {
                assert_ne!(answer.status, 405, "{method} {path}");
                assert_ne!(answer.kind(), "no-such-path", "{method} {path}");
            } else {
                assert_eq!(answer.status, 405, "{method} {path}");
                assert_eq!(answer.kind(), "method-not-allowed", "{method} {path}");
                assert_eq!(allowed(&answer), all, "{method} {path}");
            }
        }
    }
}

#[test]
fn whatever_is_refused_is_a_problem_document() {
    let server = RedisServer::start(&[]);
    let port = Port::start(server.addr(), "a", |_| {});
    let refused = |method, path, body: &Value, status, kind| {
        let answer = port.ask(method, path, "", body);
        let found = (answer.status, answer.kind());
        assert_eq!(found, (status, kind), "{method} {path}");
        let media = "content-type: application/problem+json\r\n";
        assert!(answer.head.contains(media), "{}", answer.head);
    };
    for (method, path) in [
        ("GET", "/"),
        ("POST", "/v1/allocation"),
        ("POST", "/v1/upstreams/x"),
    ] {
        refused(method, path, &Value::Null, 404, "no-such-path");
    }
    for (method, path) in [
        ("GET", "/v1/allocations/%ff"),
        ("POST", "/v1/allocations/%ff/renew"),
        ("DELETE", "/v1/pools/%ff"),
    ] {
        refused(method, path, &Value::Null, 400, "invalid-request");
    }
    let long = Value::String("x".repeat(5000));
    refused("PUT", "/v1/cache/mode", &long, 413, "unreadable-body");
    refused("POST", "/v1/quit", &long, 413, "unreadable-body");
}
