//! Leases over the side port.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use nearside::config::Settings;
use serde_json::{Value, json};

use crate::control::http::exchange_with;
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Answer {
    /// What kind of problem it is.
    pub fn kind(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:nearside:problem:")
            .unwrap_or_default()
    }

    pub fn id(&self) -> String {
        self.body["id"].as_str().expect("an id").to_owned()
    }

    pub fn fence(&self) -> String {
        self.body["fence"].as_str().expect("a fence").to_owned()
    }
}

/// A nearside's side port.
pub struct Port {
    pub near: Nearside,
    pub http: SocketAddr,
}

impl Port {
    /// In front of `upstream`, which holds the ledger; the pause is short.
    pub fn start(upstream: SocketAddr, pod: &str, adjust: impl FnOnce(&mut Settings)) -> Self {
        let near = Nearside::start(upstream, |settings| {
            settings.admin.http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
            settings.allocation.pod = Some(pod.to_owned());
            settings.allocation.ledger.reassert_window = Duration::from_millis(40);
            adjust(settings);
        });
        let http = near.running().http().expect("a side port");
        Self { near, http }
    }

    pub fn ask(&self, method: &str, path: &str, head: &str, body: &Value) -> Answer {
        ask(self.http, method, path, head, body)
    }

    pub fn put(&self, name: &str, capacity: u64) {
        let body = json!({ "capacity": capacity });
        let put = self.ask("PUT", &format!("/v1/pools/{name}"), "", &body);
        assert!(matches!(put.status, 200 | 201), "{put:?}");
    }

    pub fn acquire(&self, body: &Value) -> Answer {
        self.ask("POST", "/v1/allocations", "", body)
    }

    pub fn release(&self, lease: &Answer) -> Answer {
        let path = format!("/v1/allocations/{}", lease.id());
        self.ask("DELETE", &path, &if_match(&lease.fence()), &Value::Null)
    }

    pub fn used(&self, name: &str) -> u64 {
        let pools = self.ask("GET", "/v1/pools", "", &Value::Null);
        let pools = pools.body["pools"].as_array().expect("pools").clone();
        let pool = pools.into_iter().find(|pool| pool["name"] == name);
        pool.expect("the pool")["used"]["cluster"]
            .as_u64()
            .unwrap_or(0)
    }
}

pub fn ask(http: SocketAddr, method: &str, path: &str, head: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let (head, body) = exchange_with(http, method, path, head, &body);
    Answer {
        status: head[9..12].parse().expect("a status"),
        head: head.to_ascii_lowercase(),
        body: serde_json::from_str(&body).unwrap_or(Value::Null),
    }
}

pub fn if_match(fence: &str) -> String {
    format!("If-Match: \"{fence}\"\r\n")
}

/// A part of the pool `p`, waited for over the pause of a new ledger.
pub fn part(amount: u64) -> Value {
    json!({ "resources": [{ "type": "pool:p", "amount": amount }], "wait_ms": 5000 })
}

fn at_once(amount: u64) -> Value {
    json!({ "resources": [{ "type": "pool:p", "amount": amount }] })
}

fn one(capacity: u64) -> (RedisServer, Port) {
    let server = RedisServer::start(&[]);
    let port = Port::start(server.addr(), "a", |_| {});
    port.put("p", capacity);
    (server, port)
}

#[test]
fn a_lease_from_beginning_to_end() {
    let (_server, port) = one(2);
    let lease = port.acquire(&part(2));
    assert_eq!(lease.status, 201, "{lease:?}");
    assert_eq!(lease.body["state"], "active");
    assert_eq!(
        (&lease.body["devices"], &lease.body["enforcement"]),
        (&json!([]), &json!("advisory"))
    );
    assert_eq!(
        lease.body["resources"],
        json!([{ "type": "pool:p", "amount": 2 }])
    );
    assert!(lease.head.contains(&format!("etag: \"{}\"", lease.fence())));
    let path = format!("/v1/allocations/{}", lease.id());
    assert!(lease.head.contains(&format!("location: {path}")));

    let refused = port.acquire(&at_once(1));
    assert_eq!((refused.status, refused.kind()), (429, "exhausted"));
    assert_eq!(refused.body["used"], 2);
    assert!(refused.head.contains("retry-after: "), "{refused:?}");
    assert_eq!(port.acquire(&at_once(3)).body["capacity"], 2);

    let renew = format!("{path}/renew");
    assert_eq!(port.ask("POST", &renew, "", &Value::Null).status, 428);
    let fenced = port.ask("POST", &renew, &if_match("1"), &Value::Null);
    assert_eq!(
        (fenced.status, &fenced.body["fence"]),
        (412, &json!(lease.fence()))
    );
    let own = if_match(&lease.fence());
    assert_eq!(port.ask("POST", &renew, &own, &Value::Null).status, 200);

    let smaller = json!({ "resources": [{ "type": "pool:p", "amount": 1 }] });
    let resized = port.ask("PATCH", &path, &own, &smaller);
    assert_eq!(resized.status, 200, "{resized:?}");
    assert!(resized.fence() > lease.fence());
    assert_eq!(port.used("p"), 1);
    let listed = port.ask("GET", "/v1/allocations", "", &Value::Null);
    assert_eq!(
        listed.body["allocations"][0]["fence"],
        resized.body["fence"]
    );

    assert_eq!(port.release(&resized).status, 204);
    let gone = port.ask("GET", &path, "", &Value::Null);
    assert_eq!(
        (gone.status, &gone.body["reason"]),
        (410, &json!("released"))
    );
    assert_eq!(
        port.ask("GET", "/v1/allocations/x", "", &Value::Null)
            .status,
        404
    );
    assert_eq!(port.used("p"), 0);
}

#[test]
fn what_is_wrong_is_said() {
    let (_server, port) = one(1);
    let wrong = port.acquire(&json!({ "resources": [{ "type": "pool:p", "amount": 0 }] }));
    assert_eq!(
        (wrong.status, &wrong.body["field"]),
        (422, &json!("resources[0].amount"))
    );
    assert_eq!(port.acquire(&Value::Null).status, 400);
    // While a ledger is new it might be about to hear of it.
    let unknown = json!({ "resources": [{ "type": "pool:q", "amount": 1 }], "wait_ms": 5000 });
    assert_eq!(port.acquire(&unknown).status, 422);
    // Nothing says what this pod may use.
    let cpu = json!({ "resources": [{ "type": "cpu", "millicores": 1 }] });
    let unlimited = port.acquire(&cpu);
    assert_eq!(
        (unlimited.status, &unlimited.body["field"]),
        (422, &json!("resources[0].type"))
    );
    assert_eq!(
        port.ask("PUT", "/v1/allocations", "", &Value::Null).status,
        405
    );
    assert_eq!(
        port.ask("PUT", "/v1/pools/a%20b", "", &json!({ "capacity": 1 }))
            .status,
        422
    );
}

#[test]
fn the_pods_own_cpu_and_memory_are_its_budget() {
    let server = RedisServer::start(&[]);
    let start = |pod| {
        Port::start(server.addr(), pod, |settings| {
            settings.allocation.cpu_millicores = Some(1000);
            settings.allocation.memory_mib = Some(512);
        })
    };
    let (a, b) = (start("a"), start("b"));
    let both = json!({ "resources": [{ "type": "cpu", "millicores": 600 }, { "type": "memory", "amount_mib": 512 }], "wait_ms": 5000 });
    let lease = a.acquire(&both);
    assert_eq!(lease.status, 201, "{lease:?}");
    assert_eq!(lease.body["resources"], both["resources"]);
    let more = a.acquire(&json!({ "resources": [{ "type": "memory", "amount_mib": 1 }] }));
    assert_eq!(
        (more.status, &more.body["resource"]),
        (429, &json!("memory"))
    );
    assert_eq!(b.acquire(&both).status, 201);
}

#[test]
fn a_key_is_one_lease() {
    let (_server, port) = one(3);
    let ask = |amount| {
        port.ask(
            "POST",
            "/v1/allocations",
            "Idempotency-Key: k\r\n",
            &part(amount),
        )
    };
    let first = ask(1);
    assert_eq!(first.status, 201, "{first:?}");
    let again = ask(1);
    assert_eq!((again.status, again.id()), (200, first.id()));
    let other = ask(2);
    assert_eq!(
        (other.status, other.kind()),
        (422, "idempotency-key-reused")
    );
    assert_eq!(port.used("p"), 1);
    port.release(&first);
    assert_eq!(ask(1).status, 410);
}

#[test]
fn who_waits_gets_it_or_is_told() {
    let (_server, port) = one(1);
    let held = port.acquire(&part(1));
    let brief = json!({ "resources": [{ "type": "pool:p", "amount": 1 }], "wait_ms": 50 });
    let late = port.acquire(&brief);
    assert_eq!((late.status, late.kind()), (504, "wait-deadline"));
    thread::scope(|scope| {
        let waits = scope.spawn(|| port.acquire(&part(1)));
        eventually("a request that waits", || {
            let refused = port.acquire(&at_once(1));
            (refused.status == 429).then_some(())
        });
        port.release(&held);
        let got = waits.join().expect("an answer");
        assert_eq!(got.status, 201, "{got:?}");
    });
}

#[test]
fn who_does_not_hold_the_line_looks_again() {
    let (server, port) = one(1);
    let held = port.acquire(&part(1));
    let asked = || {
        port.ask(
            "POST",
            "/v1/allocations",
            "Prefer: respond-async\r\n",
            &part(1),
        )
    };
    let (first, second) = (asked(), asked());
    assert_eq!(
        (first.status, &first.body["state"]),
        (202, &json!("queued"))
    );
    let path = |answer: &Answer| format!("/v1/allocations/{}", answer.id());
    assert_eq!(port.ask("GET", &path(&first), "", &Value::Null).status, 202);
    // Another nearside knows that it waits, too.
    let other = Port::start(server.addr(), "b", |_| {});
    let there = other.ask("GET", &path(&first), "", &Value::Null);
    assert_eq!(
        (there.status, &there.body["state"]),
        (202, &json!("queued"))
    );
    // The second is called off, and the first gets what comes back.
    let off = port.ask("DELETE", &path(&second), "If-Match: *\r\n", &Value::Null);
    assert_eq!(off.status, 204, "{off:?}");
    assert_eq!(
        port.ask("GET", &path(&second), "", &Value::Null).status,
        410
    );
    port.release(&held);
    let got = port.ask(
        "GET",
        &format!("{}?wait=10s", path(&first)),
        "",
        &Value::Null,
    );
    assert_eq!((got.status, got.id()), (200, first.id()), "{got:?}");
    port.release(&got);
    assert_eq!(port.used("p"), 0);
}

#[test]
fn who_hangs_up_leaves_nothing_behind() {
    use std::io::Write;
    let (server, port) = one(1);
    let held = port.acquire(&part(1));
    let body = part(1).to_string();
    let request = format!(
        "POST /v1/allocations HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = std::net::TcpStream::connect(port.http).expect("the side port");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut redis = server.client();
    let queued = |redis: &mut crate::support::client::Client, number: &str| {
        let count = redis.must(&["ZCARD", "{nearside:default}:queue"]);
        (format!("{count:?}") == number).then_some(())
    };
    eventually("its place", || queued(&mut redis, "Int(1)"));
    drop(stream);
    // Called off, not forgotten: the place would else be kept for two seconds.
    let since = Instant::now();
    eventually("its end", || queued(&mut redis, "Int(0)"));
    port.release(&held);
    let got = port.acquire(&at_once(1));
    assert_eq!(got.status, 201, "{got:?} after {:?}", since.elapsed());
}

#[test]
fn pools_are_made_changed_and_taken_away() {
    let (_server, port) = one(2);
    let node = port.ask(
        "PUT",
        "/v1/pools/n",
        "",
        &json!({ "capacity": 1, "scope": "node" }),
    );
    assert_eq!(node.status, 201);
    let lost = json!({ "resources": [{ "type": "pool:n", "amount": 1 }], "wait_ms": 5000 });
    assert_eq!(port.acquire(&lost).status, 422);
    let lease = port.acquire(&part(2));
    assert_eq!(lease.status, 201, "{lease:?}");
    port.put("p", 1);
    assert_eq!(port.acquire(&at_once(1)).status, 429);
    assert_eq!(
        port.ask("DELETE", "/v1/pools/p", "", &Value::Null).status,
        409
    );
    port.release(&lease);
    assert_eq!(
        port.ask("DELETE", "/v1/pools/p", "", &Value::Null).status,
        204
    );
    assert_eq!(
        port.ask("DELETE", "/v1/pools/p", "", &Value::Null).status,
        404
    );
    let pools = port.ask("GET", "/v1/pools", "", &Value::Null);
    let left = json!({ "pools": [{ "name": "n", "capacity": 1, "scope": "node", "used": {} }] });
    assert_eq!(pools.body, left);
}

#[test]
fn a_server_that_may_evict_the_ledger_gives_no_leases() {
    let server = RedisServer::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let port = Port::start(server.addr(), "a", |_| {});
    port.put("p", 1);
    let refused = port.acquire(&part(1));
    assert_eq!(
        (refused.status, refused.kind()),
        (503, "ledger-unavailable")
    );
    let detail = refused.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("allkeys-lru"), "{detail}");
    server
        .client()
        .must(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    eventually("a lease", || {
        (port.acquire(&part(1)).status == 201).then_some(())
    });
}

#[test]
fn a_pool_that_was_lost_is_waited_for() {
    let server = RedisServer::start(&[]);
    let port = Port::start(server.addr(), "a", |settings| {
        settings.allocation.ledger.reassert_window = Duration::from_secs(1);
    });
    port.put("p", 1);
    let held = port.acquire(&part(1));
    assert_eq!(held.status, 201, "{held:?}");
    assert_eq!(port.release(&held).status, 204);
    server.client().must(&["FLUSHALL"]);
    let got = port.acquire(&part(1));
    assert_eq!(got.status, 201, "{got:?}");
}

#[test]
fn nobody_who_asks_for_no_lease_gets_a_ledger() {
    let server = RedisServer::start(&[]);
    let port = Port::start(server.addr(), "a", |_| {});
    assert_eq!(
        port.near.session().call(&["SET", "k", "v"]).text(),
        Some("OK")
    );
    port.ask("GET", "/v1/allocations", "", &Value::Null);
    let mut redis = server.client();
    assert!(!format!("{:?}", redis.must(&["CLIENT", "LIST"])).contains("nearside-ledger"));
    port.put("p", 1);
    let keys = redis.must(&["KEYS", "{nearside:*"]);
    assert!(!keys.elements().is_empty());
}
