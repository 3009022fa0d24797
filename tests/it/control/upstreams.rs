//! What operators see of the upstream and of its circuit breaker, and what their orders to it do.

use std::net::SocketAddr;
use std::time::Duration;

use nearside::config::Settings;
use nearside::l1::settings::Mode;
use nearside::proxy::settings::Sharing;
use nearside::upstream::settings::{Address, Choice};
use serde_json::{Value as Json, json};

use super::http::{Answer, ask, exchange};
use crate::support::client::{Client, Protocol};
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;
use crate::support::{TempDir, eventually};

/// Its side port, too.
fn start(upstream: SocketAddr, adjust: impl FnOnce(&mut Settings)) -> (Nearside, SocketAddr) {
    let near = Nearside::start(upstream, |settings| {
        settings.admin.http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        settings.lane.breaker.failure_threshold = 3;
        settings.lane.breaker.recovery_timeout = Duration::from_millis(200);
        adjust(settings);
    });
    let http = near.running().http().expect("a side port");
    (near, http)
}

fn lane_is_up(near: &Nearside) {
    eventually("the lane", || near.running().lane_is_up().then_some(()));
}

/// The one upstream.
fn shown(http: SocketAddr) -> Json {
    let mut answer = ask(http, "GET", "/v1/upstreams", "");
    assert_eq!(answer.status, 200);
    answer.body["upstreams"][0].take()
}

fn order(http: SocketAddr, node: &str, state: &str) -> Answer {
    let path = format!("/v1/upstreams/{node}/breaker");
    ask(http, "POST", &path, &json!({"state": state}).to_string())
}

fn ordered(http: SocketAddr, node: SocketAddr, state: &str) -> Json {
    let answer = order(http, &node.to_string(), state);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn await_state(http: SocketAddr, state: &str) -> Json {
    eventually(state, || {
        let breaker = shown(http)["breaker"].take();
        (breaker["state"] == state).then_some(breaker)
    })
}

/// A sample of `/metrics`, by its name and labels.
fn sample(http: SocketAddr, name: &str) -> u64 {
    let (_, text) = exchange(http, "GET", "/metrics", "");
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.parse().expect("a number")
}

/// What NEARSIDE UPSTREAMS says, as JSON.
fn told(near: &Nearside, protocol: Protocol) -> Json {
    fn json(value: &Value) -> Json {
        match value {
            Value::Nil => Json::Null,
            Value::Int(n) => json!(n),
            Value::Array(list) => list.iter().map(json).collect(),
            Value::Map(pairs) => {
                let pairs = pairs.iter();
                let pairs = pairs.map(|(name, value)| (name.text().expect("a name"), json(value)));
                Json::Object(
                    pairs
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }
            other => json!(other.text().unwrap_or_else(|| panic!("{other:?}"))),
        }
    }
    let mut session = near.session().speaking(protocol);
    json(&session.must(&["NEARSIDE", "UPSTREAMS"]))
}

/// The names and texts, and that there are numbers.
fn shape(value: &Json) -> Json {
    match value {
        Json::Number(_) => json!(0),
        Json::Array(list) => list.iter().map(shape).collect(),
        Json::Object(map) => {
            let map = map.iter().map(|(name, value)| (name.clone(), shape(value)));
            Json::Object(map.collect())
        }
        other => other.clone(),
    }
}

fn error(session: &mut Client, command: &[&str]) -> Option<String> {
    match session.call(command) {
        Value::Error(text) => Some(text),
        _ => None,
    }
}

/// How often the server has carried out commands that only clients send.
fn carried_out(server: &RedisServer) -> String {
    let info = server.client().must(&["INFO", "commandstats"]);
    let lines = info.text().expect("a text").lines();
    let of_clients = [
        "cmdstat_get:",
        "cmdstat_set:",
        "cmdstat_eval:",
        "cmdstat_multi:",
    ];
    lines
        .filter(|line| of_clients.iter().any(|name| line.starts_with(name)))
        .filter_map(|line| line.split(',').next())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn the_state_follows_the_upstream_and_says_why() {
    let mut server = RedisServer::start(&[]);
    let node = server.addr();
    let (near, http) = start(node, |_| {});
    lane_is_up(&near);
    let well = shown(http);
    assert_eq!(well["node"], node.to_string());
    assert_eq!(well["breaker"]["state"], "closed");
    assert_eq!(well["breaker"]["last_transition"], Json::Null);
    assert_eq!(well["server"], "redis");
    assert_eq!(well["role"], "master");
    assert_eq!(
        well["lanes"],
        json!({"up": 1, "tracked": 1, "untracked": 0})
    );
    assert_eq!(well["in_flight"], 0);
    assert_eq!(well["retries"], json!({"granted": 0, "refused": 0}));
    let three = told(&near, Protocol::Resp3);
    assert_eq!(shape(&three["upstreams"][0]), shape(&well));
    let two = told(&near, Protocol::Resp2);
    assert_eq!(two[0], "upstreams");
    assert_eq!(two[1][0][1], node.to_string());
    let state = format!("nearside_circuit_breaker_state{{node=\"{node}\"}}");
    assert_eq!(sample(http, &state), 0);

    server.kill();
    let open = await_state(http, "open");
    assert_eq!(open["transitions"]["open"]["consecutive_failures"], 1);
    assert_eq!(open["last_failure"], "connect");
    assert_eq!(open["last_transition"]["to"], "open");
    assert!(open["wait_ms"].as_u64() <= Some(200), "{open}");
    assert!(open["next_attempt_ms"].is_u64(), "{open}");
    let text = error(&mut near.session(), &["GET", "k"]).expect("an error");
    let begins = format!("UNAVAILABLE upstream {node}: circuit open, next attempt in ");
    assert!(text.starts_with(&begins), "{text}");
    assert!(sample(http, &state) > 0);
    let failed = eventually("a probe that failed", || {
        let breaker = shown(http)["breaker"].take();
        (breaker["transitions"]["open"]["probe_failed"].as_u64() > Some(0)).then_some(breaker)
    });
    assert!(
        failed["consecutive_failures"].as_u64() > Some(3),
        "{failed}"
    );

    server.restart();
    let closed = await_state(http, "closed");
    assert_eq!(closed["transitions"]["closed"]["probe_succeeded"], 1);
    assert_eq!(closed["last_transition"]["from"], "half-open");
    assert_eq!(closed["last_transition"]["cause"], "probe_succeeded");
    assert_eq!(closed["next_attempt_ms"], Json::Null);
    for (labels, least) in [
        ("to=\"open\",cause=\"consecutive_failures\"", 1),
        ("to=\"open\",cause=\"probe_failed\"", 1),
        ("to=\"half-open\",cause=\"wait_over\"", 2),
        ("to=\"closed\",cause=\"probe_succeeded\"", 1),
        ("to=\"open\",cause=\"failure_rate\"", 0),
    ] {
        let name = "nearside_circuit_breaker_transitions_total";
        let count = sample(http, &format!("{name}{{node=\"{node}\",{labels}}}"));
        assert!(count >= least, "{labels}: {count}");
    }
    assert_eq!(sample(http, &state), 0);
    for name in [
        "nearside_upstream_requests_in_flight{node=\"N\"}",
        "nearside_upstream_overloaded_total{node=\"N\"}",
        "nearside_upstream_retries_total{node=\"N\",outcome=\"refused\"}",
    ] {
        assert_eq!(sample(http, &name.replace('N', &node.to_string())), 0);
    }
}

#[test]
fn what_is_forced_open_is_not_sent() {
    let server = RedisServer::start(&[]);
    let node = server.addr();
    let (near, http) = start(node, |settings| {
        settings.l1.max_staleness = Duration::from_millis(300);
    });
    lane_is_up(&near);
    let mut session = near.session();
    session.must(&["SET", "k", "v"]);
    eventually("a hit", || {
        let before = near.hits();
        session.must(&["GET", "k"]);
        (near.hits() > before).then_some(())
    });
    let breaker = ordered(http, node, "forced-open");
    assert_eq!(breaker["state"], "forced-open");
    assert_eq!(breaker["last_transition"]["cause"], "forced");
    let before = carried_out(&server);
    let forced = format!("UNAVAILABLE upstream {node}: circuit forced open by an operator");
    let mut other = near.session();
    for command in [
        &["GET", "none"][..],
        &["SET", "none", "w"],
        &["EVAL", "return 1", "0"],
        &["MULTI"],
    ] {
        assert_eq!(
            error(&mut other, command).as_ref(),
            Some(&forced),
            "{command:?}"
        );
        if command[0] == "MULTI" {
            continue;
        }
        assert_eq!(
            error(&mut session, command).as_ref(),
            Some(&forced),
            "{command:?}"
        );
    }
    // From memory for as long as the upstream was heard from within the bound, and no longer.
    eventually("an end of hits", || {
        error(&mut session, &["GET", "k"]).map(|text| assert_eq!(text, forced))
    });
    assert_eq!(carried_out(&server), before);
    assert_eq!(
        told(&near, Protocol::Resp3)["upstreams"][0]["breaker"]["state"],
        "forced-open"
    );
    for (name, value) in [("state", 2), ("forced", 1)] {
        let name = format!("nearside_circuit_breaker_{name}{{node=\"{node}\"}}");
        assert_eq!(sample(http, &name), value);
    }

    let breaker = ordered(http, node, "auto");
    assert_ne!(breaker["state"], "forced-open");
    let closed = await_state(http, "closed");
    assert_eq!(closed["transitions"]["half-open"]["wait_over"], 1);
    assert_eq!(closed["transitions"]["closed"]["probe_succeeded"], 1);
    session.must(&["SET", "k", "w"]);
    assert_eq!(session.must(&["GET", "k"]), Value::Bulk(b"w".into()));
    let name = format!("nearside_circuit_breaker_forced{{node=\"{node}\"}}");
    assert_eq!(sample(http, &name), 0);
}

#[test]
fn what_is_forced_closed_is_tried_whatever_fails() {
    let mut server = RedisServer::start(&[]);
    let node = server.addr();
    let (near, http) = start(node, |_| {});
    lane_is_up(&near);
    assert_eq!(
        ordered(http, node, "forced-closed")["state"],
        "forced-closed"
    );
    server.kill();
    let mut session = near.session();
    eventually("many failures", || {
        let told = error(&mut session, &["GET", "k"]);
        assert!(told.is_none_or(|text| !text.contains("circuit")));
        let failures = shown(http)["breaker"]["consecutive_failures"].as_u64();
        (failures > Some(5)).then_some(())
    });
    let breaker = shown(http)["breaker"].take();
    assert_eq!(breaker["state"], "forced-closed");
    assert_eq!(breaker["transitions"]["open"]["consecutive_failures"], 0);
    for (name, value) in [("state", 0), ("forced", 1)] {
        let name = format!("nearside_circuit_breaker_{name}{{node=\"{node}\"}}");
        assert_eq!(sample(http, &name), value);
    }
    server.restart();
    eventually("service", || {
        error(&mut session, &["SET", "k", "v"])
            .is_none()
            .then_some(())
    });
    assert_eq!(
        shown(http)["breaker"]["transitions"]["half-open"]["wait_over"],
        0
    );
    assert_eq!(ordered(http, node, "auto")["state"], "closed");
}

#[test]
fn connections_that_are_passed_through_have_a_breaker_too() {
    let mut server = RedisServer::start(&[]);
    let node = server.addr();
    let (near, http) = start(node, |settings| {
        settings.proxy.sharing = Sharing::Dedicated;
        settings.l1.mode = Mode::Off;
    });
    near.session().must(&["SET", "k", "v"]);
    server.kill();
    eventually("an open circuit", || {
        let _ = near.session().try_call(&["GET", "k"]);
        (shown(http)["breaker"]["state"] == "open").then_some(())
    });
    server.restart();
    await_state(http, "closed");
    near.session().must(&["SET", "k", "v"]);

    ordered(http, node, "forced-open");
    let text = error(&mut near.session(), &["GET", "k"]);
    let text = text.expect("an error");
    assert!(
        text.ends_with("circuit forced open by an operator"),
        "{text}"
    );
    ordered(http, node, "auto");
    await_state(http, "closed");
    near.session().must(&["GET", "k"]);
}

#[test]
fn a_node_goes_by_its_address_however_it_is_encoded() {
    let dir = TempDir::new();
    let path = dir.path().join("a b/r\u{e9}dis.sock");
    let plain = format!("unix:{}", path.display());
    let encoded = plain.replace(' ', "%20").replace('\u{e9}', "%c3%A9");
    let unix = (
        Address::Unix(path),
        plain.clone(),
        [encoded.replace('/', "%2F").replace(':', "%3A"), encoded],
    );
    let six = Address::Tcp {
        host: "::1".into(),
        port: 1,
    };
    let six = (
        six,
        "[::1]:1".to_owned(),
        ["%5B%3A%3A1%5D%3A1".to_owned(), "[::1]:1".to_owned()],
    );
    for (address, name, spellings) in [unix, six] {
        let (_near, http) = start(SocketAddr::from(([127, 0, 0, 1], 1)), |settings| {
            let Choice::Endpoint(endpoint) = &mut settings.upstream else {
                panic!("an endpoint");
            };
            endpoint.address = address;
        });
        assert_eq!(shown(http)["node"], name);
        for spelling in spellings {
            for state in ["forced-open", "forced-closed"] {
                let answer = order(http, &spelling, state);
                assert_eq!(answer.status, 200, "{spelling}: {}", answer.body);
                assert_eq!(shown(http)["breaker"]["state"], state);
            }
        }
        let name = format!("nearside_circuit_breaker_forced{{node=\"{name}\"}}");
        assert_eq!(sample(http, &name), 1);
    }
}

#[test]
fn what_is_wrong_is_a_problem_document() {
    let server = RedisServer::start(&[]);
    let node = server.addr().to_string();
    let (_near, http) = start(server.addr(), |_| {});
    let breaker = format!("/v1/upstreams/{node}/breaker");
    let right = r#"{"state": "auto"}"#;
    for (method, path, body, status, words) in [
        ("POST", "/v1/upstreams", right, 405, "GET, HEAD"),
        ("GET", &breaker, "", 405, "POST"),
        ("POST", &breaker, "", 422, "forced-open"),
        ("POST", &breaker, "{", 422, "forced-open"),
        ("POST", &breaker, "{}", 422, "state: it is missing"),
        (
            "POST",
            &breaker,
            r#"{"state": "open"}"#,
            422,
            r#"state: "open" is no order; send"#,
        ),
        (
            "POST",
            &breaker,
            r#"{"stat": "auto"}"#,
            422,
            r#"unknown member "stat""#,
        ),
        ("POST", &breaker, &" ".repeat(5000), 413, "length limit"),
        (
            "POST",
            "/v1/upstreams/10.0.0.1:1/breaker",
            right,
            404,
            &node,
        ),
        ("POST", "/v1/upstreams/%FF/breaker", right, 404, "UTF-8"),
        (
            "POST",
            &format!("/v1/upstreams/{node}"),
            right,
            404,
            "/v1/upstreams/{node}/breaker",
        ),
    ] {
        let answer = ask(http, method, path, body);
        assert_eq!(answer.status, status, "{method} {path} {body}");
        assert!(
            answer
                .head
                .contains("content-type: application/problem+json")
        );
        assert_eq!(answer.body["status"], status);
        let detail = answer.body["detail"].as_str().expect("a text");
        assert!(detail.contains(words), "{detail}");
    }
    assert_eq!(shown(http)["breaker"]["last_transition"], Json::Null);
}
