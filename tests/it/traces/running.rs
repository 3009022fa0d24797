//! nearside itself, with every operation traced.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nearside::telemetry::traces::settings::Protocol;
use nearside::telemetry::traces::tally::Reason;

use super::{BOTH, Told, operations};
use crate::control::http::exchange_with;
use crate::support::logged::Program;
use crate::support::nearside::Nearside;
use crate::support::otlp::{Received, Receiver, attributes};
use crate::support::redis::RedisServer;
use crate::support::{PATIENCE, eventually};

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
    let arrived = receiver.received();
    assert_eq!(operations(&arrived), tally.exported());
    arrived
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
        let arrived = end(nearside, &receiver);
        assert_eq!(operations(&arrived), clients * 1001);
        assert_eq!(traces.tally().dropped(Reason::QueueFull), 0);
        let count = |name: &str| {
            arrived
                .spans
                .iter()
                .filter(|span| span.name == name)
                .count()
        };
        assert_eq!(count("cache.set"), 800);
        assert_eq!(count("cache.get"), 2400);
        assert_eq!(count("cache.delete"), 4);
        assert_eq!(count("redis.command"), 800);
        let told = arrived
            .spans
            .iter()
            .map(|span| attributes(&span.attributes));
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

const TRACE: [u8; 16] = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Of the commands of a pipeline the one behind TRACEPARENT belongs to the client's trace, wherever it is answered; and of
/// those that go upstream the way there is a child.
#[test]
fn a_client_passes_its_context_for_the_next_command() {
    let server = RedisServer::start(&[]);
    let receiver = Receiver::start(Protocol::Grpc);
    let nearside = Nearside::start(server.addr(), |settings| {
        settings.telemetry.traces = Told::settings(&receiver, Protocol::Grpc);
        settings.telemetry.traces.ratio = 0;
        settings.telemetry.traces.slow_threshold = None;
    });
    let mut client = nearside.session();
    client.must(&["SET", "k", "v"]);
    eventually("a hit", || {
        client.must(&["GET", "k"]);
        (nearside.hits() > 0).then_some(())
    });
    for command in [
        &["GET", "k"][..],
        &["SET", "k", "w"],
        &["EVAL", "return 1", "0"],
        &["CLIENT", "GETNAME"],
    ] {
        client.send(&["GET", "k"]);
        client.send(&["NEARSIDE", "TRACEPARENT", PARENT]);
        client.send(command);
        client.send(&["GET", "k"]);
        client.flush();
        for _ in 0..4 {
            client.read();
        }
    }
    // One that its caller does not keep is not sent either.
    let kept_by_nobody = PARENT.replace("-01", "-00");
    client.must(&["NEARSIDE", "TRACEPARENT", &kept_by_nobody]);
    client.must(&["GET", "k"]);
    for wrong in ["x", "00-0-0-0", &PARENT.to_uppercase()] {
        let reply = client.call(&["NEARSIDE", "TRACEPARENT", wrong]);
        assert!(format!("{reply:?}").contains("a traceparent is 00-"));
    }
    let spans = end(nearside, &receiver).spans;
    let parents: Vec<_> = spans
        .iter()
        .filter(|span| span.name != "upstream.request")
        .collect();
    let told: Vec<_> = parents
        .iter()
        .map(|span| {
            let told = attributes(&span.attributes);
            assert_eq!(span.trace_id, TRACE);
            assert_eq!(span.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
            (span.name.as_str(), told["nearside.route"].clone())
        })
        .collect();
    let expected = [
        ("cache.get", "l1"),
        ("cache.set", "lane"),
        ("redis.command", "own"),
        ("redis.command", "here"),
    ];
    let expected = expected.map(|(name, route)| (name, route.to_owned()));
    assert_eq!(told, expected);
    let children: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "upstream.request")
        .map(|span| span.parent_span_id.clone())
        .collect();
    assert_eq!(
        children,
        [parents[1].span_id.clone(), parents[2].span_id.clone()]
    );
}

/// The trace of an operation that was sampled is an example of its bucket.
#[test]
fn openmetrics_has_traces_as_examples() {
    let server = RedisServer::start(&[]);
    let receiver = Receiver::start(Protocol::Grpc);
    let nearside = in_front_of(&server, &receiver, Protocol::Grpc);
    let mut client = nearside.session();
    client.must(&["SET", "k", "v"]);
    let http = nearside.running().http().expect("a side port");
    let accept = "Accept: application/openmetrics-text\r\n";
    let mut example = String::new();
    eventually("an example", || {
        let (_, body) = exchange_with(http, "GET", "/metrics", accept, "");
        let line = body.lines().find(|line| {
            line.starts_with("nearside_command_duration_seconds_bucket")
                && line.contains("command=\"SET\"")
                && line.contains(" # {trace_id=\"")
        })?;
        line.clone_into(&mut example);
        Some(())
    });
    let (_, id) = example.split_once("trace_id=\"").expect("its id");
    let spans = end(nearside, &receiver).spans;
    let found = spans.iter().any(|span| {
        let trace: [u8; 16] = span.trace_id.clone().try_into().expect("its length");
        id.starts_with(&format!("{:032x}", u128::from_be_bytes(trace)))
    });
    assert!(found, "{example}");
}

/// At ratio 0 those that take long arrive, with where the time went.
#[test]
fn at_ratio_0_those_that_are_slow_arrive() {
    let server = RedisServer::start(&[]);
    let receiver = Receiver::start(Protocol::Grpc);
    let nearside = Nearside::start(server.addr(), |settings| {
        settings.telemetry.traces = Told::settings(&receiver, Protocol::Grpc);
        settings.telemetry.traces.ratio = 0;
        settings.telemetry.traces.slow_threshold = Some(Duration::from_millis(80));
    });
    let mut client = nearside.session();
    client.must(&["SET", "quick", "v"]);
    server.freeze();
    client.send(&["SET", "slow", "v"]);
    client.flush();
    std::thread::sleep(Duration::from_millis(120));
    server.thaw();
    client.read();
    let spans = end(nearside, &receiver).spans;
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["cache.set", "upstream.request"], "{spans:?}");
    for span in &spans {
        let took = span.end_time_unix_nano - span.start_time_unix_nano;
        assert!(took >= 80_000_000, "{span:?}");
    }
}

#[test]
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

/// More than may be sent in a second are counted and dropped; those that fail have a second's worth of their own.
#[test]
fn no_more_are_sent_in_a_second_than_may_be() {
    let server = RedisServer::start(&[]);
    let receiver = Receiver::start(Protocol::Grpc);
    let nearside = Nearside::start(server.addr(), |settings| {
        settings.telemetry.traces = Told::settings(&receiver, Protocol::Grpc);
        settings.telemetry.traces.ratio = 1_000_000;
        settings.telemetry.traces.slow_threshold = None;
        settings.telemetry.traces.max_per_second = 1;
    });
    let mut client = nearside.session();
    for _ in 0..2000 {
        client.send(&["SET", "k", "1"]);
    }
    client.flush();
    for _ in 0..2000 {
        client.read();
    }
    let tally = nearside.running().traces().expect("they are on").clone();
    let tally = tally.tally();
    eventually("all are counted", || {
        (tally.sampled() == 2000).then_some(())
    });
    assert!(tally.dropped(Reason::TooMany) > 1900, "{tally:?}");
    let arrived = end(nearside, &receiver);
    assert!(operations(&arrived) > 0);
}
