//! Owners that are killed, or stopped for longer than their leases live: what they held comes back, once.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::api::{Answer, ask, if_match};
use crate::support::eventually;
use crate::support::logged::Program;
use crate::support::redis::RedisServer;

fn acquire(program: &Program, amount: u64, ttl: u64, wait: u64) -> Answer {
    let resources = json!([{ "type": "pool:p", "amount": amount }]);
    let body = json!({ "resources": resources, "ttl_ms": ttl, "wait_ms": wait });
    ask(program.http, "POST", "/v1/allocations", "", &body)
}

fn three(server: &RedisServer) -> [Program; 3] {
    let start = |pod: &str| {
        let more = format!("[ledger]\nreassert_window = '200ms'\n[allocation]\npod = '{pod}'\n");
        Program::start(server, &more)
    };
    let programs = ["a", "b", "c"].map(start);
    let capacity = json!({ "capacity": 4 });
    let put = ask(programs[0].http, "PUT", "/v1/pools/p", "", &capacity);
    assert_eq!(put.status, 201, "{put:?}");
    programs
}

#[test]
fn what_a_killed_owner_held_comes_back_when_it_expires() {
    let server = RedisServer::start(&[]);
    let [a, b, c] = three(&server);
    let held = [acquire(&a, 2, 1500, 5000), acquire(&b, 2, 30_000, 5000)];
    assert!(held.iter().all(|lease| lease.status == 201), "{held:?}");
    a.signal(Signal::KILL);
    let refused = acquire(&c, 1, 30_000, 0);
    assert_eq!(refused.status, 429, "{refused:?}");
    let got = acquire(&c, 2, 30_000, 10_000);
    assert_eq!(got.status, 201, "{got:?}");
    assert!(held.iter().all(|lease| lease.fence() < got.fence()));
    // Only that: what others hold stays.
    assert_eq!(acquire(&c, 1, 30_000, 0).status, 429);
}

#[test]
fn an_owner_that_was_stopped_past_its_ttl_is_told_so() {
    let server = RedisServer::start(&[]);
    let [a, b, c] = three(&server);
    let lease = acquire(&a, 4, 1000, 5000);
    assert_eq!(lease.status, 201, "{lease:?}");
    a.signal(Signal::STOP);
    let next = acquire(&b, 4, 30_000, 10_000);
    assert_eq!(next.status, 201, "{next:?}");
    assert!(next.fence() > lease.fence());
    a.signal(Signal::CONT);
    let path = format!("/v1/allocations/{}", lease.id());
    let head = if_match(&lease.fence());
    let told = eventually("an answer", || {
        let told = ask(
            a.http,
            "POST",
            &format!("{path}/renew"),
            &head,
            &Value::Null,
        );
        (told.status != 503).then_some(told)
    });
    assert_eq!(
        (told.status, &told.body["reason"]),
        (410, &json!("expired"))
    );
    // It gives nothing back that is not its own any more.
    assert_eq!(
        ask(a.http, "DELETE", &path, &head, &Value::Null).status,
        410
    );
    assert_eq!(acquire(&c, 1, 30_000, 0).status, 429);
}
