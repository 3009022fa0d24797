//! What the side port counts of leases.
#![expect(
    clippy::float_cmp,
    reason = "counts, and shares that are written the same way"
)]

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::net::TcpStream;

use nearside::allocation::holdings::MOST_COMPONENTS;
use nearside::allocation::numbers::MOST_POOLS;
use serde_json::{Value, json};

use super::api::{Answer, Port, if_match, part};
use crate::metrics::samples;
use crate::support::eventually;
use crate::support::redis::RedisServer;

const CAPACITY: &str = "nearside_resource_capacity{resource_type=\"pool:p\",scope=\"cluster\"}";

/// A pool `p` of so many, in a ledger that does not pause any more and has told of it.
fn ready(server: &RedisServer, pod: &str, capacity: u64) -> Port {
    let port = Port::start(server.addr(), pod, |settings| {
        settings.allocation.cpu_millicores = Some(1000);
    });
    port.put("p", capacity);
    let first = port.acquire(&part(1));
    assert_eq!(first.status, 201, "{first:?}");
    port.release(&first);
    eventually("what the ledger says", || {
        samples(port.http).contains_key(CAPACITY).then_some(())
    });
    port
}

fn of(resource: &str, amount: u64) -> Value {
    json!({ "resources": [{ "type": resource, "amount": amount }] })
}

fn with(mut body: Value, more: Value) -> Value {
    let members = body.as_object_mut().expect("an object");
    let Value::Object(more) = more else {
        panic!("{more} is no object")
    };
    members.extend(more);
    body
}

/// How much each sample is more than before.
struct Since(HashMap<String, f64>);

impl Since {
    fn now(port: &Port) -> Self {
        Self(samples(port.http))
    }

    fn grown(&self, port: &Port) -> HashMap<String, f64> {
        let now = samples(port.http).into_iter();
        let grown = now.map(|(name, value)| {
            let before = self.0.get(&name).copied().unwrap_or(0.0);
            (name, value - before)
        });
        grown.filter(|(_, grown)| *grown != 0.0).collect()
    }
}

/// Requests that ended, by resource and outcome.
fn ended(grown: &HashMap<String, f64>) -> HashMap<(String, String), f64> {
    let rows = grown.iter().filter_map(|(name, value)| {
        let labels = name.strip_prefix("resource_allocations_total{resource_type=\"")?;
        let (resource, rest) = labels.split_once("\",outcome=\"")?;
        let outcome = rest.strip_suffix("\"}")?;
        Some(((resource.to_owned(), outcome.to_owned()), *value))
    });
    rows.collect()
}

fn status(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.kind())
}

#[test]
fn each_request_is_counted_by_how_it_ended() {
    let server = RedisServer::start(&[]);
    let port = ready(&server, "a", 3);
    let since = Since::now(&port);
    let keyed = |body: &Value| {
        let head = "Idempotency-Key: k\r\n";
        port.ask("POST", "/v1/allocations", head, body)
    };
    let held = port.acquire(&with(
        json!({ "resources": [{ "type": "pool:p", "amount": 2 }, { "type": "cpu", "millicores": 500 }] }),
        json!({ "component": "ranker" }),
    ));
    assert_eq!(held.status, 201, "{held:?}");
    for amount in [2, 3, 4] {
        assert_eq!(status(&port.acquire(&of("pool:p", amount))).1, "exhausted");
    }
    let once = keyed(&of("pool:p", 1));
    assert_eq!((once.status, keyed(&of("pool:p", 1)).status), (201, 200));
    assert_eq!(keyed(&of("pool:p", 2)).kind(), "idempotency-key-reused");
    // Nothing is left: two wait in vain, and one of them is called off.
    let late = port.acquire(&with(of("pool:p", 1), json!({ "wait_ms": 30 })));
    assert_eq!(status(&late), (504, "wait-deadline"));
    let waits = with(of("pool:p", 1), json!({ "wait_ms": 10_000 }));
    let queued = port.ask(
        "POST",
        "/v1/allocations",
        "Prefer: respond-async\r\n",
        &waits,
    );
    assert_eq!(queued.status, 202);
    let depth = || samples(port.http)["nearside_resource_wait_queue_depth"];
    assert_eq!(depth(), 1.0);
    let path = format!("/v1/allocations/{}", queued.id());
    let off = port.ask("DELETE", &path, "If-Match: *\r\n", &Value::Null);
    assert_eq!(off.status, 204);
    eventually("its end", || (depth() == 0.0).then_some(()));
    port.release(&once);
    assert_eq!(keyed(&of("pool:p", 1)).status, 410);
    // What is wrong, in ways that do and do not say with what.
    assert_eq!(port.acquire(&of("pool:p", 0)).status, 422);
    assert_eq!(port.acquire(&of("pool:q", 1)).status, 422);
    let memory = json!({ "resources": [{ "type": "memory", "amount_mib": 1 }] });
    assert_eq!(port.acquire(&memory).status, 422);

    let grown = since.grown(&port);
    let expected = [
        (("pool:p", "granted"), 2.0),
        (("cpu", "granted"), 1.0),
        (("pool:p", "exhausted"), 3.0),
        (("pool:p", "repeated"), 1.0),
        (("pool:p", "key_reused"), 1.0),
        (("pool:p", "wait_deadline"), 1.0),
        (("pool:p", "cancelled"), 1.0),
        (("pool:p", "ended"), 1.0),
        (("other", "invalid"), 2.0),
        (("memory", "invalid"), 1.0),
    ];
    let expected = expected
        .map(|((resource, outcome), count)| ((resource.to_owned(), outcome.to_owned()), count));
    assert_eq!(ended(&grown), HashMap::from(expected));
    let took = "resource_allocation_duration_seconds_count{resource_type=\"pool:p\"}";
    assert_eq!(grown[took], 10.0);
    assert_eq!(grown["nearside_resource_wait_duration_seconds_count"], 2.0);
}

#[test]
fn what_leases_hold_is_told_until_they_end() {
    let server = RedisServer::start(&[]);
    let (port, other) = (ready(&server, "a", 10), ready(&server, "b", 10));
    let since = Since::now(&port);
    let ask = |amount, more| {
        let lease = port.acquire(&with(of("pool:p", amount), more));
        assert_eq!(lease.status, 201, "{lease:?}");
        lease
    };
    let kept = ask(2, json!({ "component": "ranker" }));
    ask(1, json!({ "component": "indexer", "ttl_ms": 2000 }));
    ask(
        1,
        json!({ "component": "indexer", "ttl_ms": 2000, "max_lifetime_ms": 2000 }),
    );
    let elsewhere = other.acquire(&of("pool:p", 3));
    // Looking at it makes it nobody's but its giver's.
    let path = format!("/v1/allocations/{}", elsewhere.id());
    assert_eq!(port.ask("GET", &path, "", &Value::Null).status, 200);
    let now = samples(port.http);
    let share = |component: &str| {
        let labels = format!("resource_type=\"pool:p\",component=\"{component}\"");
        format!("resource_utilization_ratio{{{labels}}}")
    };
    assert_eq!(now["nearside_resource_leases_active"], 3.0);
    assert_eq!((now[&share("ranker")], now[&share("indexer")]), (0.2, 0.2));
    let pool = "{resource_type=\"pool:p\",scope=\"cluster\"}";
    let allocated = format!("nearside_resource_allocated{pool}");
    assert_eq!(now[CAPACITY], 10.0);
    let cpu = "nearside_resource_capacity{resource_type=\"cpu\",scope=\"pod\"}";
    assert_eq!(now[cpu], 1000.0);
    eventually("the end of two", || {
        let grown = since.grown(&port);
        let ended = |reason: &str| {
            let name = format!("nearside_resource_lease_expirations_total{{reason=\"{reason}\"}}");
            grown.get(&name).copied().unwrap_or(0.0)
        };
        ((ended("expired"), ended("lifetime")) == (1.0, 1.0)).then_some(())
    });
    let now = samples(port.http);
    assert_eq!(now["nearside_resource_leases_active"], 1.0);
    assert_eq!(now.get(&share("indexer")), None);
    // What the other one gave counts in the ledger alone.
    eventually("what is promised", || {
        (samples(port.http)[&allocated] == 5.0).then_some(())
    });
    assert_eq!(samples(port.http)["nearside_ledger_leases"], 2.0);
    assert_eq!(samples(other.http)["nearside_resource_leases_active"], 1.0);
    let smaller = of("pool:p", 1);
    let path = format!("/v1/allocations/{}", kept.id());
    let resized = port.ask("PATCH", &path, &if_match(&kept.fence()), &smaller);
    assert_eq!(samples(port.http)[&share("ranker")], 0.1);
    assert_eq!(port.release(&resized).status, 204);
    let now = samples(port.http);
    assert_eq!(now["nearside_resource_leases_active"], 0.0);
    assert_eq!(now.get(&share("ranker")), None);
    eventually("what is promised", || {
        (samples(port.http)[&allocated] == 3.0).then_some(())
    });
}

#[test]
fn no_client_makes_any_number_of_series() {
    let server = RedisServer::start(&[]);
    let port = ready(&server, "a", 10_000);
    let series = || {
        let all = samples(port.http).into_keys();
        all.filter(|name| name.contains("resource")).count()
    };
    for number in 0..MOST_COMPONENTS {
        let body = with(
            of("pool:p", 1),
            json!({ "component": format!("c{number}"), "ttl_ms": 600_000 }),
        );
        assert_eq!(port.acquire(&body).status, 201);
    }
    let before = series();
    for number in 0..1000 {
        let body = with(
            of("pool:p", 1),
            json!({ "component": format!("d{number}"), "ttl_ms": 600_000 }),
        );
        assert_eq!(port.acquire(&body).status, 201);
        assert_eq!(port.acquire(&of(&format!("pool:q{number}"), 1)).status, 422);
    }
    let now = samples(port.http);
    let rest = "resource_utilization_ratio{resource_type=\"pool:p\",component=\"other\"}";
    assert_eq!(now[rest], 0.1);
    let unknown = "resource_allocations_total{resource_type=\"other\",outcome=\"invalid\"}";
    assert_eq!(now[unknown], 1000.0);
    let resources: BTreeSet<String> = ended(&now).into_keys().map(|(one, _)| one).collect();
    assert_eq!(resources, ["other", "pool:p"].map(str::to_owned).into());
    // One more component, and the outcomes and the buckets of one more resource.
    assert_eq!(series(), before + 1 + 13 + 21);

    for number in 0..MOST_POOLS + 20 {
        port.put(&format!("r{number}"), 1);
        port.acquire(&of(&format!("pool:r{number}"), 1));
    }
    let told = || ended(&samples(port.http)).into_keys().map(|(one, _)| one);
    eventually("what the ledger says of them", || {
        let capacities = samples(port.http).into_keys();
        let capacities = capacities.filter(|name| name.starts_with("nearside_resource_capacity"));
        (capacities.count() == MOST_POOLS + 1).then_some(())
    });
    assert_eq!(told().collect::<BTreeSet<_>>().len(), MOST_POOLS + 1);
}

#[test]
fn a_scrape_opens_no_ledger() {
    let server = RedisServer::start(&[]);
    let port = Port::start(server.addr(), "a", |_| {});
    let told = || {
        let all = samples(port.http).into_keys();
        all.filter(|name| name.contains("resource") || name.contains("ledger"))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(), Vec::<String>::new());
    // What cannot be read is known without it.
    assert_eq!(port.acquire(&of("pool:p", 0)).status, 422);
    assert!(told().iter().all(|name| name.contains("\"other\"")));
    let clients = format!("{:?}", server.client().must(&["CLIENT", "LIST"]));
    assert!(!clients.contains("nearside-ledger"), "{clients}");
}

#[test]
fn a_ledger_that_is_gone_is_told_of_and_nothing_that_it_said() {
    let mut server = RedisServer::start(&[]);
    let port = ready(&server, "a", 2);
    let held = port.acquire(&of("pool:p", 1));
    assert_eq!(held.status, 201);
    let value = |name: &str| samples(port.http).get(name).copied();
    assert_eq!(value("nearside_ledger_up"), Some(1.0));
    assert_eq!(value("nearside_ledger_circuit_breaker_state"), Some(0.0));
    let acquired = "nearside_ledger_request_duration_seconds_count{function=\"acquire\"}";
    assert!(value(acquired) >= Some(2.0));
    server.kill();
    let open = eventually("an open circuit", || {
        let refused = port.acquire(&of("pool:p", 1));
        (refused.kind() == "breaker-open").then_some(refused)
    });
    assert_eq!(open.status, 503);
    let now = samples(port.http);
    let outcome = |outcome: &str| {
        let labels = format!("resource_type=\"pool:p\",outcome=\"{outcome}\"");
        now[&format!("resource_allocations_total{{{labels}}}")]
    };
    assert_eq!(outcome("breaker_open"), 1.0);
    assert!(outcome("ledger_unavailable") > 0.0);
    eventually("that it is gone", || {
        (value("nearside_ledger_up") == Some(0.0)).then_some(())
    });
    let causes = ["unreachable", "lost"]
        .map(|cause| format!("nearside_ledger_errors_total{{cause=\"{cause}\"}}"));
    assert!(causes.iter().any(|name| value(name) > Some(0.0)));
    eventually("no more of what it said", || {
        value(CAPACITY).is_none().then_some(())
    });
    assert_eq!(value("nearside_resource_leases_active"), Some(1.0));
    // It comes back empty, and is told what it had.
    server.restart();
    let restored = "nearside_ledger_leases_reasserted_total{outcome=\"restored\"}";
    eventually("the lease", || (value(restored) == Some(1.0)).then_some(()));
    eventually("what it says again", || value(CAPACITY));
    assert_eq!(value("nearside_ledger_losses_total"), Some(1.0));
    assert_eq!(value("nearside_ledger_up"), Some(1.0));
    assert_eq!(port.release(&held).status, 204);
}

#[test]
fn who_hangs_up_is_counted_once() {
    let server = RedisServer::start(&[]);
    let port = ready(&server, "a", 1);
    let held = port.acquire(&of("pool:p", 1));
    let body = part(1).to_string();
    let request = format!(
        "POST /v1/allocations HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let value = |name: &str| samples(port.http)[name];
    let mut stream = TcpStream::connect(port.http).expect("the side port");
    stream.write_all(request.as_bytes()).expect("a request");
    let depth = "nearside_resource_wait_queue_depth";
    eventually("its wait", || (value(depth) == 1.0).then_some(()));
    drop(stream);
    eventually("its end", || (value(depth) == 0.0).then_some(()));
    let cancelled = "resource_allocations_total{resource_type=\"pool:p\",outcome=\"cancelled\"}";
    assert_eq!(value(cancelled), 1.0);
    port.release(&held);
}

#[test]
fn leases_are_given_where_metrics_are_off() {
    let server = RedisServer::start(&[]);
    let port = Port::start(server.addr(), "a", |settings| {
        settings.telemetry.metrics = false;
    });
    port.put("p", 1);
    let lease = port.acquire(&part(1));
    assert_eq!(lease.status, 201, "{lease:?}");
    assert_eq!(port.release(&lease).status, 204);
}

#[test]
fn a_lease_that_no_longer_fits_is_counted_as_lost() {
    let server = RedisServer::start(&[]);
    let port = ready(&server, "a", 1);
    let held = port.acquire(&of("pool:p", 1));
    assert_eq!(held.status, 201);
    let value = |name: &str| samples(port.http)[name];
    assert_eq!(value("nearside_resource_leases_active"), 1.0);
    // The ledger has forgotten it, and its pause went by before this nearside has met it again.
    let forget = "local epoch = redis.call('HGET', KEYS[1], 'epoch') \
        redis.call('HSET', KEYS[1], 'epoch', string.format('%.0f', epoch + 1), 'pause', 0, 'began', 0) \
        redis.call('DEL', KEYS[2], KEYS[3], KEYS[4]) \
        return redis.call('HSET', KEYS[5], 'p', ARGV[1])";
    let pool = r#"{"capacity": 0, "scope": "cluster", "version": "9000000000000000"}"#;
    let keys = ["meta", "leases", "used", "deadlines", "pools"];
    let keys = keys.map(|part| format!("{{nearside:default}}:{part}"));
    let mut command = vec!["EVAL", forget, "5"];
    command.extend(keys.iter().map(String::as_str));
    command.push(pool);
    server.client().must(&command);
    let lost = "nearside_resource_lease_expirations_total{reason=\"lost\"}";
    eventually("its loss", || (value(lost) == 1.0).then_some(()));
    assert_eq!(
        value("nearside_ledger_leases_reasserted_total{outcome=\"lost\"}"),
        1.0
    );
    assert_eq!(value("nearside_resource_leases_active"), 0.0);
    eventually("the end of that", || {
        (value("nearside_ledger_losses_total") == 1.0).then_some(())
    });
    let gone = port.release(&held);
    assert_eq!((gone.status, &gone.body["reason"]), (410, &json!("lost")));
}
