//! The slow log: which operations are in it, what it says of them, over RESP and over the side port.

use std::thread;
use std::time::Duration;

use nearside::config::Settings;

use crate::control::field;
use crate::control::http::exchange;
use crate::support::client::Protocol;
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

const SLOW: Duration = Duration::from_millis(60);

fn start(server: &RedisServer, adjust: impl FnOnce(&mut Settings)) -> Nearside {
    let near = Nearside::start(server.addr(), |settings| {
        settings.telemetry.slow_log.threshold = Some(SLOW);
        settings.admin.http = Some(([127, 0, 0, 1], 0).into());
        adjust(settings);
    });
    eventually("a lane", || near.running().lane_is_up().then_some(()));
    near
}

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    field(entry, &[name]).text().unwrap_or_default()
}

fn number(entry: &Value, name: &str) -> u64 {
    match field(entry, &[name]) {
        Value::Int(n) => u64::try_from(*n).expect("not negative"),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn it_says_where_the_time_went() {
    let server = RedisServer::start(&["--enable-debug-command", "yes"]);
    let near = start(&server, |_| {});
    let mut session = near.session().speaking(Protocol::Resp3);
    let id = session.must(&["CLIENT", "ID"]);
    let mut session = near.session().speaking(Protocol::Resp3);
    session.must(&["SET", "quick", "v"]);
    // A lane's: the server is stopped for a while.
    server.freeze();
    session.send(&["SET", "slow", "v"]);
    session.flush();
    thread::sleep(SLOW * 2);
    server.thaw();
    session.read();
    // An own connection's.
    session.must(&["DEBUG", "SLEEP", "0.1"]);
    // One that its client has put into a trace has that one's id.
    session.must(&[
        "NEARSIDE",
        "TRACEPARENT",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ]);
    session.must(&["DEBUG", "SLEEP", "0.1"]);
    // What waits for something to happen is not slow.
    session.call(&["BLPOP", "nothing", "0.2"]);
    let told = session.must(&["NEARSIDE", "SLOWLOG", "GET", "9"]);
    let named = |name: &str| {
        let found = told
            .elements()
            .iter()
            .find(|one| text(one, "command") == name);
        found.unwrap_or_else(|| panic!("no {name} in {told:?}"))
    };
    let (set, debug) = (named("SET"), named("DEBUG"));
    let limit = u64::try_from(SLOW.as_micros()).expect("short");
    for (entry, route) in [(set, "lane"), (debug, "own")] {
        assert_eq!(text(entry, "route"), route);
        assert!(number(entry, "took_us") >= limit, "{entry:?}");
        assert!(number(entry, "upstream_us") >= limit, "{entry:?}");
        assert!(number(entry, "waiting_us") < number(entry, "upstream_us"));
        assert!(number(entry, "client_id") > number_of(&id));
        assert_eq!(field(entry, &["key"]), &Value::Nil, "never in clear");
    }
    assert_eq!(text(set, "key_hash").len(), 16);
    let traced = text(debug, "trace_id");
    assert_eq!(traced, "0af7651916cd43dd8448eb211c80319c", "the newest");
    assert_eq!(field(set, &["trace_id"]), &Value::Nil);
    assert!(
        told.elements()
            .iter()
            .all(|one| text(one, "command") != "BLPOP")
    );
    let kept = told.elements().len();
    let len = session.must(&["NEARSIDE", "SLOWLOG", "LEN"]);
    assert!(number_of(&len) >= kept as u64);
    let (head, body) = exchange(
        near.running().http().expect("a side port"),
        "GET",
        "/v1/slowlog?count=1&sort=slowest",
        "",
    );
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body.matches("\"number\"").count(), 1, "{body}");
    session.must(&["NEARSIDE", "SLOWLOG", "RESET"]);
    let told = session.must(&["NEARSIDE", "SLOWLOG"]);
    assert!(told.elements().is_empty(), "{told:?}");
}

fn number_of(reply: &Value) -> u64 {
    match reply {
        Value::Int(n) => u64::try_from(*n).expect("not negative"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_that_had_to_wait_for_its_turn_says_so() {
    let server = RedisServer::start(&[]);
    let near = start(&server, |_| {});
    let mut session = near.session();
    session.must(&["SET", "k", "v"]);
    // A script goes over an own connection, and not before the lane has answered.
    server.freeze();
    session.send(&["SET", "k", "w"]);
    session.send(&["EVAL", "return 1", "1", "k"]);
    session.flush();
    thread::sleep(SLOW * 3);
    server.thaw();
    session.read();
    assert_eq!(session.read(), Value::Int(1));
    let told = session.must(&["NEARSIDE", "SLOWLOG"]);
    let eval = told
        .elements()
        .iter()
        .find(|one| text(one, "command") == "EVAL");
    let eval = eval.unwrap_or_else(|| panic!("{told:?}"));
    let (took, waiting) = (number(eval, "took_us"), number(eval, "waiting_us"));
    assert!(took >= waiting && waiting >= 100_000, "{eval:?}");
    assert_eq!(text(eval, "key_hash").len(), 16);
}

#[test]
fn only_so_many_are_kept_and_the_rest_is_refused_as_redis_does() {
    let server = RedisServer::start(&[]);
    let near = start(&server, |settings| {
        settings.telemetry.slow_log.threshold = Some(Duration::ZERO);
        settings.telemetry.slow_log.max_entries = 5;
    });
    let mut session = near.session();
    for n in 0..20 {
        session.must(&["SET", &format!("k{n}"), "v"]);
    }
    let len = session.must(&["NEARSIDE", "SLOWLOG", "LEN"]);
    assert_eq!(len, Value::Int(5));
    let told = session.must(&["NEARSIDE", "SLOWLOG", "GET", "2"]);
    assert_eq!(told.elements().len(), 2);
    for wrong in ["x", "GET 0", "GET x", "GET 1 2", "LEN 1", "RESET now"] {
        let mut words = vec!["NEARSIDE", "SLOWLOG"];
        words.extend(wrong.split(' '));
        let reply = session.call(&words);
        assert!(reply.is_error(), "{wrong}: {reply:?}");
    }
    let http = near.running().http().expect("a side port");
    let (head, body) = exchange(http, "GET", "/v1/slowlog?count=x", "");
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert!(body.contains("from 1 to 10000"), "{body}");
    let (_, body) = exchange(http, "DELETE", "/v1/slowlog", "");
    assert!(body.contains("\"forgotten\""), "{body}");
}

#[test]
fn big_keys_are_known_by_name_where_the_session_has_it_at_hand() {
    let server = RedisServer::start(&[]);
    let near = start(&server, |settings| settings.lane.large_reply = 100_000);
    let mut session = near.session();
    for (key, size) in [("small", 100), ("big", 20_000), ("bigger", 50_000)] {
        session.must(&["SET", key, &"v".repeat(size)]);
    }
    session.must(&["SET", "huge", &"v".repeat(300_000)]);
    for _ in 0..2 {
        for key in ["small", "big", "bigger", "huge"] {
            session.must(&["GET", key]);
        }
    }
    for n in 0..40 {
        session.must(&["RPUSH", "list", &format!("{n:01000}")]);
    }
    session.must(&["LRANGE", "list", "0", "-1"]);
    let told = session.must(&["NEARSIDE", "BIGKEYS", "9"]);
    let told: Vec<(&str, &str, u64)> = told
        .elements()
        .iter()
        .map(|one| (text(one, "key"), text(one, "command"), number(one, "bytes")))
        .collect();
    let names: Vec<(&str, &str)> = told.iter().map(|(key, name, _)| (*key, *name)).collect();
    let expected = [
        ("huge", "GET"),
        ("bigger", "GET"),
        ("list", "LRANGE"),
        ("big", "GET"),
    ];
    assert_eq!(names, expected, "{told:?}");
    assert!(told[0].2 >= 300_000 && told[1].2 >= 50_000);
    assert!(session.call(&["NEARSIDE", "BIGKEYS", "0"]).is_error());
    let http = near.running().http().expect("a side port");
    let (_, body) = exchange(http, "GET", "/v1/cache/bigkeys?n=1", "");
    assert!(body.contains(r#""key":"huge""#), "{body}");
    let (head, _) = exchange(http, "GET", "/v1/cache/bigkeys?n=0", "");
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
}
