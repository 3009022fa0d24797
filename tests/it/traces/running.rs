//! nearside itself, with every operation traced.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use nearside::telemetry::traces::settings::Protocol;
use nearside::telemetry::traces::tally::Reason;

use super::{BOTH, Told, operations};
use crate::support::PATIENCE;
use crate::support::logged::Program;
use crate::support::nearside::Nearside;
use crate::support::otlp::{Received, Receiver, attributes};
use crate::support::redis::RedisServer;

fn in_front_of(server: &RedisServer, receiver: &Receiver, protocol: Protocol) -> Nearside {
    Nearside::start(server.addr(), |settings| {
        settings.telemetry.traces = Told::settings(receiver, protocol);
        settings.admin.http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    })
}

/// Ends it; what was counted, then, is what arrived.
fn end(nearside: Nearside, receiver: &Receiver) -> Received {
    let traces = nearside.running().traces().expect("they are on").clone();
    drop(nearside);
    let tally = traces.tally();
    assert_eq!(tally.exported() + tally.all_dropped(), tally.sampled());
    let got = receiver.received();
    assert_eq!(operations(&got), tally.exported());
    got
}

#[test]
fn requests_to_the_side_port_are_in_their_callers_trace() {
    let server = RedisServer::start(&[]);
    let receiver = Receiver::start(Protocol::Grpc);
    let nearside = in_front_of(&server, &receiver, Protocol::Grpc);
    let http = nearside.running().http().expect("a side port");
    let get = |path: &str, parent: &str| {
        let mut stream = TcpStream::connect(http).expect("the side port");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\ntraceparent: {parent}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
    };
    get(
        "/v1/cache/hotkeys?n=7",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    get(
        "/v1/cache/stats",
        "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00",
    );
    get("/readiness", "");
    let spans = end(nearside, &receiver).spans;
    let [span] = spans.as_slice() else {
        panic!("one was sampled and is of /v1: {spans:?}");
    };
    assert_eq!(span.name, "GET /v1/cache/hotkeys");
    assert_eq!(span.trace_id[..2], [0x0a, 0xf7]);
    assert_eq!(span.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    let told = attributes(&span.attributes);
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/v1/cache/hotkeys"),
        ("http.response.status_code", "200"),
        ("url.path", "/v1/cache/hotkeys"),
    ] {
        assert_eq!(told[name], value);
    }
}

#[test]
#[ignore = "sessions do not tell of their operations yet"]
fn every_operation_arrives() {
    for protocol in BOTH {
        let server = RedisServer::start(&[]);
        let receiver = Receiver::start(protocol);
        let nearside = in_front_of(&server, &receiver, protocol);
        let clients: u64 = 4;
        std::thread::scope(|scope| {
            for number in 0..clients {
                let nearside = &nearside;
                scope.spawn(move || {
                    let mut client = nearside.session();
                    let key = format!("key-{number}");
                    for round in 0..200 {
                        client.must(&["SET", &key, &round.to_string()]);
                        client.must(&["GET", &key]);
                        client.must(&["GET", &key]);
                        client.must(&["PING"]);
                        let reply = client.call(&["HGET", &key, "f"]);
                        assert!(format!("{reply:?}").contains("WRONGTYPE"));
                    }
                    client.must(&["DEL", &key]);
                });
            }
        });
        let traces = nearside.running().traces().expect("they are on").clone();
        let got = end(nearside, &receiver);
        assert_eq!(operations(&got), clients * 1001);
        assert_eq!(traces.tally().dropped(Reason::QueueFull), 0);
        let count = |name: &str| got.spans.iter().filter(|span| span.name == name).count();
        assert_eq!(count("cache.set"), 800);
        assert_eq!(count("cache.get"), 2400);
        assert_eq!(count("cache.delete"), 4);
        assert_eq!(count("redis.command"), 800);
        let told = got.spans.iter().map(|span| attributes(&span.attributes));
        let (mut hits, mut failed) = (0, 0);
        for told in told {
            assert_eq!(told["db.system.name"], "redis");
            assert!(!told.values().any(|value| value.starts_with("key-")));
            if told.get("cache.hit").is_some_and(|hit| hit == "true") {
                assert_eq!(told["cache.level"], "l1");
                hits += 1;
            }
            if told.contains_key("cache.operation") && told.contains_key("error.type") {
                assert_eq!(told["db.response.status_code"], "WRONGTYPE");
                failed += 1;
            }
        }
        assert!(hits > 0);
        assert_eq!(failed, 800);
    }
}

#[test]
#[ignore = "sessions do not tell of their operations yet"]
fn at_ratio_0_those_that_fail_arrive() {
    let server = RedisServer::start(&[]);
    let receiver = Receiver::start(Protocol::Grpc);
    let nearside = Nearside::start(server.addr(), |settings| {
        settings.telemetry.traces = Told::settings(&receiver, Protocol::Grpc);
        settings.telemetry.traces.ratio = 0;
        settings.telemetry.traces.slow_threshold = None;
    });
    let mut client = nearside.session();
    for _ in 0..100 {
        client.must(&["SET", "k", "1"]);
        let reply = client.call(&["LPUSH", "k", "1"]);
        assert!(format!("{reply:?}").contains("WRONGTYPE"));
    }
    assert_eq!(operations(&end(nearside, &receiver)), 100);
}

#[test]
fn what_is_set_is_shown_without_what_is_secret() {
    let server = RedisServer::start(&[]);
    let receiver = Receiver::start(Protocol::Http);
    let more = format!(
        "[tracing]\nendpoint = 'http://{}'\nprotocol = 'http'\nheaders = ['authorization=Bearer s3cret']\n",
        receiver.addr
    );
    let program = Program::start(&server, &more);
    let config = program.get("/config");
    assert!(
        config.contains("tracing.headers = authorization=(redacted)\n"),
        "{config}"
    );
    assert!(!config.contains("s3cret"));
}
