//! What the side port shows of the work, while there is some.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use nearside::config::Settings;
use nearside::l1::settings::Keyspace;
use nearside::telemetry::traces::settings::Protocol;
use serde_json::{Value as Json, json};

use crate::control::http::{ask, exchange, exchange_with};
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::logged::Program;
use crate::support::nearside::Nearside;
use crate::support::otlp::Receiver;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

fn start(upstream: &RedisServer, adjust: impl FnOnce(&mut Settings)) -> (Nearside, SocketAddr) {
    let near = Nearside::start(upstream.addr(), |settings| {
        settings.admin.http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        adjust(settings);
    });
    let http = near.running().http().expect("a side port");
    eventually("the lane", || near.running().lane_is_up().then_some(()));
    (near, http)
}

fn text(http: SocketAddr) -> String {
    let (head, text) = exchange(http, "GET", "/metrics", "");
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"));
    text
}

/// Every sample by its name with labels.
pub fn samples(http: SocketAddr) -> HashMap<String, f64> {
    let text = text(http);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}

fn is(http: SocketAddr, name: &str, value: f64) -> Option<()> {
    let found = samples(http).get(name).copied();
    (found == Some(value)).then_some(())
}

fn assert_same(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
}

/// The names of the families that are shown.
fn shown(http: SocketAddr) -> BTreeSet<String> {
    let text = text(http);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| line.split(' ').next().expect("a name").to_owned())
        .collect()
}

#[test]
fn the_catalogue_and_what_is_shown_are_the_same() {
    let server = RedisServer::start(&[]);
    let receiver = Receiver::start(Protocol::Grpc);
    let (near, http) = start(&server, |settings| {
        settings.telemetry.traces.endpoint = receiver.endpoint();
    });
    let answer = ask(http, "GET", "/v1/metrics/catalogue", "");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"));
    let rows = answer.body["metrics"].as_array().expect("a list").clone();
    // Of leases there is nothing to tell before the first.
    let asked = json!({ "resources": [{ "type": "pool:p", "amount": 1 }], "wait_ms": 10_000 });
    for (method, path, body) in [
        ("PUT", "/v1/pools/p", json!({ "capacity": 1 })),
        ("POST", "/v1/allocations", asked),
    ] {
        assert_eq!(ask(http, method, path, &body.to_string()).status, 201);
    }
    let names: BTreeSet<String> = rows
        .iter()
        .map(|row| row["name"].as_str().expect("a name").to_owned())
        .collect();
    assert!(shown(http).is_subset(&names));
    // With some work, and when the upstream has been asked, even what may be absent is there.
    let mut session = near.session();
    session.must(&["SET", "k", "v"]);
    eventually("every metric", || {
        session.must(&["GET", "k"]);
        (shown(http) == names).then_some(())
    });
    let ratio = rows.iter().find(|row| row["name"] == "cache_hit_ratio");
    let ratio = ratio.expect("its row");
    assert_eq!(
        (&ratio["type"], &ratio["unit"]),
        (&"gauge".into(), &"ratio".into())
    );
    let labels = ratio["labels"].as_array().expect("a list");
    let labels: Vec<&Json> = labels.iter().map(|label| &label["name"]).collect();
    assert_eq!(labels, ["cache_type", "level"]);
}

#[test]
fn reads_are_told_by_key_space_and_add_up() {
    let server = RedisServer::start(&[]);
    let (near, http) = start(&server, |settings| {
        let keyspace = Keyspace {
            name: "user".to_owned(),
            pattern: b"user:*".to_vec(),
            ..settings.l1.default_keyspace()
        };
        settings.l1.keyspaces.push(keyspace);
    });
    let mut session = near.session();
    for key in ["user:1", "user:2", "other"] {
        session.must(&["SET", key, "v"]);
    }
    let mut sent = HashMap::from([("user", 0), ("default", 0)]);
    eventually("hits in both", || {
        for (keyspace, read) in [
            ("user", &["GET", "user:1"][..]),
            ("user", &["MGET", "user:1", "user:2"]),
            ("default", &["STRLEN", "other"]),
        ] {
            session.must(read);
            *sent.get_mut(keyspace).expect("one of them") += 1;
        }
        let seen = samples(http);
        let hits = |name: &str| seen[&format!("nearside_l1_hits_total{{cache_type=\"{name}\"}}")];
        (hits("user") > 4.0 && hits("default") > 2.0).then_some(())
    });
    let seen = samples(http);
    for (keyspace, sent) in sent {
        let of = |name: &str| {
            let rows = seen.iter().filter(|(row, _)| {
                let labels = row.strip_prefix(name).unwrap_or_default();
                labels.starts_with(&format!("{{cache_type=\"{keyspace}\""))
            });
            rows.map(|(_, value)| value).sum::<f64>()
        };
        let (hits, misses) = (of("nearside_l1_hits_total"), of("nearside_l1_misses_total"));
        assert_same(hits + misses, f64::from(sent));
        let operations = |operation: &str, level: &str| {
            let labels =
                format!("cache_type=\"{keyspace}\",operation=\"{operation}\",level=\"{level}\"");
            seen[&format!("cache_operations_total{{{labels}}}")]
        };
        assert_same(operations("get", "l1"), f64::from(sent));
        assert_same(operations("get", "l2"), misses);
        assert_same(operations("set", "l1"), of("nearside_l1_fills_total"));
        let ratio = seen[&format!("cache_hit_ratio{{cache_type=\"{keyspace}\",level=\"l1\"}}")];
        assert_same(ratio, hits / f64::from(sent));
        assert!(of("nearside_l1_entries") >= 1.0 && of("nearside_l1_bytes") > 0.0);
    }
}

/// Has `work` done until more misses are counted for `reason`.
fn misses_by(http: SocketAddr, reason: &str, mut work: impl FnMut()) {
    let labels = format!("cache_type=\"default\",reason=\"{reason}\"");
    let name = format!("nearside_l1_misses_total{{{labels}}}");
    let before = samples(http)[&name];
    eventually(&format!("a miss for {reason}"), || {
        work();
        (samples(http)[&name] > before).then_some(())
    });
}

/// Sends them in one write and reads their replies.
fn pipelined(session: &mut Client, commands: &[&[&str]]) -> Vec<Value> {
    for command in commands {
        session.send(command);
    }
    session.flush();
    commands.iter().map(|_| session.read()).collect()
}

#[test]
fn misses_have_reasons() {
    let server = RedisServer::start(&[]);
    let (near, http) = start(&server, |settings| {
        settings.l1.max_staleness = Duration::from_millis(100);
    });
    let mut session = near.session();
    misses_by(http, "not_held", || {
        session.must(&["SET", "k", "v"]);
        session.must(&["GET", "k"]);
    });
    misses_by(http, "not_serving", || {
        // Nobody reads meanwhile, so nothing asks whether the upstream is there.
        std::thread::sleep(Duration::from_millis(150));
        session.must(&["GET", "k"]);
    });
    misses_by(http, "expired", || {
        session.must(&["SET", "short", "v", "PX", "50"]);
        session.must(&["GET", "short"]);
        std::thread::sleep(Duration::from_millis(60));
        session.must(&["PING"]);
        session.must(&["GET", "short"]);
    });
    misses_by(http, "fenced", || {
        // What an own connection brings may be newer than what is held, until the lane has brought something as well.
        session.call(&["BLPOP", "list", "0.001"]);
        session.must(&["GET", "k"]);
    });
    misses_by(http, "written", || {
        warm(&near, &mut session, "k");
        let replies = pipelined(&mut session, &[&["SET", "k", "w"], &["GET", "k"]]);
        assert_eq!(replies[1].text(), Some("w"));
    });
    misses_by(http, "overtaken", || {
        warm(&near, &mut session, "k");
        let increase: &[&str] = &["INCR", "n"];
        pipelined(&mut session, &[increase, &["GET", "k"], increase]);
    });
    for (mode, reason) in [("shadow", "shadow"), ("off", "off")] {
        let order = format!("{{\"mode\": \"{mode}\"}}");
        assert_eq!(ask(http, "PUT", "/v1/cache/mode", &order).status, 200);
        misses_by(http, reason, || {
            session.must(&["PING"]);
            session.must(&["GET", "k"]);
        });
    }
}

/// Reads a key until it is answered from memory.
fn warm(near: &Nearside, session: &mut Client, key: &str) {
    eventually("a hit", || {
        let before = near.hits();
        session.must(&["GET", key]);
        (near.hits() > before).then_some(())
    });
}

#[test]
fn connections_to_the_upstream_are_told_by_kind() {
    let server = RedisServer::start(&[]);
    let (near, http) = start(&server, |_| {});
    let of = |kind: &str| {
        let node = server.addr();
        format!("nearside_upstream_connections{{node=\"{node}\",kind=\"{kind}\"}}")
    };
    is(http, &of("lane"), 1.0).expect("one lane");
    let mut subscriber = near.session();
    subscriber.must(&["SUBSCRIBE", "news"]);
    is(http, &of("own"), 1.0).expect("the subscriber's");
    near.session().must(&["EVAL", "return 1", "0"]);
    eventually("the script's, for the next one", || {
        is(http, &of("pooled"), 1.0)
    });
    is(http, &of("own"), 1.0).expect("no other");
    drop(subscriber);
    eventually("the end of the subscriber's", || is(http, &of("own"), 0.0));
    // As many as the upstream has, with the one that asks it and ours.
    eventually("a question to the upstream", || {
        is(http, &of("statistics"), 1.0)
    });
    let seen = samples(http);
    let all: f64 = ["lane", "own", "pooled", "statistics"]
        .iter()
        .map(|kind| seen[&of(kind)])
        .sum();
    let clients = server.client().must(&["CLIENT", "LIST"]);
    let clients = clients.text().expect("a text").lines().count();
    let clients = f64::from(u32::try_from(clients).expect("a few"));
    // An unused one of the pool may just have been closed.
    assert!(
        (all..=all + 1.0).contains(&clients),
        "{all} and ours, of {clients}"
    );
    let items = format!(
        "nearside_upstream_tracking_total_items{{node=\"{}\"}}",
        server.addr()
    );
    assert!(seen[&items] >= 0.0);
}

#[test]
fn the_tracking_table_is_not_told_while_the_upstream_is_lost() {
    let mut server = RedisServer::start(&[]);
    let (_near, http) = start(&server, |settings| {
        settings.lane.breaker.failure_threshold = 1;
    });
    let name = format!(
        "nearside_upstream_tracking_total_items{{node=\"{}\"}}",
        server.addr()
    );
    let told = || samples(http).contains_key(&name);
    eventually("what the upstream says", || told().then_some(()));
    server.kill();
    eventually("nothing", || (!told()).then_some(()));
    server.restart();
    eventually("what it says again", || told().then_some(()));
}

#[test]
fn openmetrics_is_for_those_who_ask_for_it() {
    let server = RedisServer::start(&[]);
    let (_near, http) = start(&server, |_| {});
    let accept = "Accept: application/openmetrics-text; version=1.0.0, text/plain; q=0.5\r\n";
    let (head, text) = exchange_with(http, "GET", "/metrics", accept, "");
    let head = head.to_ascii_lowercase();
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(kind), "{head}");
    assert!(text.ends_with("\n# EOF\n"));
    assert!(
        text.contains("\n# TYPE cache_operations counter\n")
            || text.starts_with("# TYPE cache_operations counter\n")
    );
    assert!(text.contains("\n# UNIT nearside_upstream_request_duration_seconds seconds\n"));
    let (_, text) = exchange_with(http, "GET", "/metrics", "Accept: text/plain\r\n", "");
    assert!(!text.contains("# EOF"));
    assert!(text.contains("# TYPE cache_operations_total counter\n"));
    let refused = ask(http, "POST", "/metrics", "");
    assert_eq!(refused.status, 405);
}

#[test]
fn metrics_that_are_off_are_no_page() {
    let server = RedisServer::start(&[]);
    let config = "metrics_listen = '127.0.0.1:0'\n[metrics]\nenabled = false\n";
    let mut program = Program::start(&server, config);
    let line = program.await_line("side port on ");
    let public = crate::support::logged::address(&line);
    for answer in [program.http("GET", "/metrics", ""), {
        let answer = exchange(public, "GET", "/metrics", "");
        (
            answer.0[9..12].parse().expect("a status"),
            format!("{}{}", answer.0, answer.1),
        )
    }] {
        assert_eq!(answer.0, 404);
        for words in [
            "application/problem+json",
            "metrics-off",
            "enabled = false in [metrics]",
        ] {
            assert!(answer.1.contains(words), "{}", answer.1);
        }
    }
    program.get("/v1/metrics/catalogue");
    program.get("/readiness");
}

#[test]
fn the_second_port_has_metrics_and_probes_alone() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, "metrics_listen = '127.0.0.1:0'\n");
    let line = program.await_line("side port on ");
    let public = crate::support::logged::address(&line);
    let status = |path: &str| exchange(public, "GET", path, "").0[9..12].to_owned();
    for path in ["/metrics", "/liveness", "/readiness", "/startup"] {
        assert_eq!(status(path), "200", "{path}");
    }
    for path in [
        "/",
        "/config",
        "/v1/cache/stats",
        "/v1/upstreams",
        "/v1/metrics/catalogue",
    ] {
        assert_eq!(status(path), "404", "{path}");
    }
    program.get("/v1/metrics/catalogue");
}
