//! Spans of what is done with leases.

use std::collections::BTreeMap;
use std::thread;

use nearside::telemetry::traces::settings::Protocol;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::{Value, json};

use super::Told;
use crate::allocation::api::{Port, if_match, part};
use crate::support::eventually;
use crate::support::otlp::{Receiver, attributes};
use crate::support::redis::RedisServer;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn start(server: &RedisServer, receiver: &Receiver, ratio: u32) -> Port {
    Port::start(server.addr(), "a", |settings| {
        settings.telemetry.traces = Told::settings(receiver, Protocol::Grpc);
        settings.telemetry.traces.ratio = ratio;
        settings.telemetry.traces.slow_threshold = None;
    })
}

/// Of a caller whose trace this is.
fn traced() -> String {
    format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n")
}

/// Ends it; the spans by their names.
fn end(port: Port, receiver: &Receiver) -> BTreeMap<String, Vec<Span>> {
    drop(port);
    let mut spans = BTreeMap::<String, Vec<Span>>::new();
    for span in receiver.received().spans {
        spans.entry(span.name.clone()).or_default().push(span);
    }
    for of in spans.values_mut() {
        of.sort_by_key(|span| span.start_time_unix_nano);
    }
    spans
}

fn failed(span: &Span) -> bool {
    let status = span.status.as_ref().map(Status::code);
    status == Some(StatusCode::Error)
}

#[test]
fn what_is_done_with_a_lease_is_below_the_request_for_it() {
    let server = RedisServer::start(&[]);
    let receiver = Receiver::start(Protocol::Grpc);
    // Those of the caller's trace alone.
    let port = start(&server, &receiver, 0);
    port.put("p", 2);
    let body = json!({
        "resources": [{ "type": "pool:p", "amount": 2 }], "wait_ms": 5000, "component": "ranker"
    });
    let lease = port.ask("POST", "/v1/allocations", &traced(), &body);
    assert_eq!(lease.status, 201, "{lease:?}");
    let path = format!("/v1/allocations/{}", lease.id());
    let own = |fence: &str| format!("{}{}", traced(), if_match(fence));
    let renewed = port.ask(
        "POST",
        &format!("{path}/renew"),
        &own(&lease.fence()),
        &Value::Null,
    );
    assert_eq!(renewed.status, 200);
    let smaller = json!({ "resources": [{ "type": "pool:p", "amount": 1 }] });
    let resized = port.ask("PATCH", &path, &own(&lease.fence()), &smaller);
    assert_eq!(resized.status, 200);
    let released = port.ask("DELETE", &path, &own(&resized.fence()), &Value::Null);
    assert_eq!(released.status, 204);
    let again = port.ask("DELETE", &path, &own(&resized.fence()), &Value::Null);
    assert_eq!(again.status, 410);
    let id = lease.id();
    let spans = end(port, &receiver);
    for (name, request, outcome, amount) in [
        (
            "resource.allocate",
            "POST /v1/allocations",
            "granted",
            Some("2"),
        ),
        (
            "resource.renew",
            "POST /v1/allocations/{id}/renew",
            "renewed",
            Some("2"),
        ),
        (
            "resource.resize",
            "PATCH /v1/allocations/{id}",
            "resized",
            Some("1"),
        ),
        (
            "resource.release",
            "DELETE /v1/allocations/{id}",
            "released",
            Some("1"),
        ),
    ] {
        let (span, above) = (&spans[name][0], &spans[request][0]);
        assert_eq!(span.parent_span_id, above.span_id, "{name}");
        assert_eq!(span.trace_id, above.trace_id);
        assert_eq!(span.trace_id[..2], [0x0a, 0xf7]);
        assert!(above.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= above.end_time_unix_nano);
        let told = attributes(&span.attributes);
        assert_eq!(told["resource.outcome"], outcome);
        assert_eq!(told["resource.type"], "pool:p");
        assert_eq!(told.get("resource.amount").map(String::as_str), amount);
        assert_eq!(told["resource.allocation_id"], id);
        assert_eq!(told["resource.component"], "ranker");
        assert!(!failed(span));
    }
    let [_, gone] = spans["resource.release"].as_slice() else {
        panic!("two: {:?}", spans["resource.release"])
    };
    assert_eq!(attributes(&gone.attributes)["resource.outcome"], "ended");
    assert!(!failed(gone), "the caller was late");
}

#[test]
fn a_span_is_as_long_as_the_wait() {
    let server = RedisServer::start(&[]);
    let receiver = Receiver::start(Protocol::Grpc);
    let port = start(&server, &receiver, 1_000_000);
    port.put("p", 1);
    let first = port.acquire(&part(1));
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let prefer = "Prefer: respond-async\r\n";
            let queued = port.ask("POST", "/v1/allocations", prefer, &part(1));
            assert_eq!(queued.status, 202);
            port.ask(
                "GET",
                &format!("/v1/allocations/{}?wait=10s", queued.id()),
                "",
                &Value::Null,
            )
        });
        eventually("a request that waits", || {
            let listed = port.ask("GET", "/v1/allocations", "", &Value::Null);
            let queued = listed.body["queued"].as_array().map(Vec::len);
            (queued == Some(1)).then_some(())
        });
        port.release(&first);
        assert_eq!(waits.join().expect("an answer").status, 200);
    });
    let spans = end(port, &receiver);
    let [_, waited] = spans["resource.allocate"].as_slice() else {
        panic!("two: {:?}", spans["resource.allocate"])
    };
    assert_eq!(attributes(&waited.attributes)["resource.waited"], "true");
    let release = &spans["resource.release"][0];
    assert!(waited.start_time_unix_nano < release.start_time_unix_nano);
    assert!(waited.end_time_unix_nano > release.start_time_unix_nano);
    // Its request was answered long before.
    let above = spans["POST /v1/allocations"].iter();
    let above: Vec<&Span> = above
        .filter(|one| one.span_id == waited.parent_span_id)
        .collect();
    assert_eq!(above.len(), 1);
    assert!(above[0].end_time_unix_nano < waited.end_time_unix_nano);
}

#[test]
fn refusals_are_told_and_fail_where_the_ledger_does() {
    let mut server = RedisServer::start(&[]);
    let receiver = Receiver::start(Protocol::Grpc);
    let port = start(&server, &receiver, 1_000_000);
    port.put("p", 1);
    let two = json!({ "resources": [{ "type": "pool:p", "amount": 1 }, { "type": "pool:q", "amount": 3 }], "wait_ms": 5000 });
    assert_eq!(port.acquire(&two).status, 422);
    let much = json!({ "resources": [{ "type": "pool:p", "amount": 9 }] });
    assert_eq!(port.acquire(&much).status, 429);
    server.kill();
    let brief = json!({ "resources": [{ "type": "pool:p", "amount": 1 }] });
    let lost = port.acquire(&brief);
    assert_eq!((lost.status, lost.kind()), (503, "ledger-unavailable"));
    let spans = end(port, &receiver);
    let [invalid, exhausted, unavailable] = spans["resource.allocate"].as_slice() else {
        panic!("three: {:?}", spans["resource.allocate"])
    };
    let told = attributes(&invalid.attributes);
    assert_eq!(told["resource.outcome"], "invalid");
    assert_eq!(
        (&*told["resource.type"], &*told["resource.amount"]),
        ("pool:p", "1")
    );
    assert_eq!(told["resource.all"], "pool:p=1,pool:q=3");
    assert!(!told.contains_key("resource.allocation_id"));
    assert_eq!(
        attributes(&exhausted.attributes)["resource.outcome"],
        "exhausted"
    );
    assert!(!failed(invalid) && !failed(exhausted));
    let told = attributes(&unavailable.attributes);
    assert!(failed(unavailable));
    assert_eq!(told["resource.outcome"], "ledger_unavailable");
    assert_eq!(told["error.type"], "ledger_unavailable");
}
