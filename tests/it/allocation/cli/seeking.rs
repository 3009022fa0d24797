//! `nearside alloc run`: how it comes by its lease.

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;

use super::super::api::{Port, part};
use super::front::Front;
use super::{Run, leases, pool_of, refused};
use crate::support::eventually;
use crate::support::redis::RedisServer;

fn queued(port: &Port) -> usize {
    let listed = port.ask("GET", "/v1/allocations", "", &Value::Null);
    listed.body["queued"].as_array().expect("ids").len()
}

#[test]
fn a_signal_calls_off_what_waits() {
    let (server, port) = pool_of(1);
    let held = port.acquire(&part(1));
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let flags = ["--pool", "p=1", "--wait", "1m"];
        let mut run = Run::start_with(port.http, &flags, "echo started");
        eventually("its place", || (queued(&port) == 1).then_some(()));
        // One that ends nothing.
        run.signal(Signal::USR1);
        run.signal(signal);
        let said = "nearside: ended by a signal before the command was started".to_owned();
        assert_eq!(run.end(), (code, vec![said]));
        let count = server.client().must(&["ZCARD", "{nearside:default}:queue"]);
        assert_eq!(format!("{count:?}"), "Int(0)");
        assert!(run.lines.try_recv().is_err(), "it was started");
    }
    port.release(&held);
    assert_eq!(port.used("p"), 0);
}

#[test]
fn it_is_waited_for() {
    let (_server, port) = pool_of(1);
    let held = port.acquire(&part(1));
    let mut run = Run::start(port.http, &["--ttl", "500ms"], "echo started; read go");
    eventually("its place", || (queued(&port) == 1).then_some(()));
    port.release(&held);
    run.await_line("started");
    run.write("go");
    assert_eq!(run.end(), (0, Vec::new()));
}

#[test]
fn what_is_not_there_in_time_is_said() {
    let (_server, port) = pool_of(1);
    assert_eq!(port.acquire(&part(1)).status, 201);
    let run = |wait: &str| {
        let args = ["run", "--pool", "p=1", "--wait", wait, "--", "true"];
        refused(port.http, &args, 75)
    };
    assert!(run("0s").starts_with("There is not enough: "));
    assert!(run("100ms").starts_with("There was no room in time: "));
    assert_eq!(leases(&port).len(), 1);
    let never = ["run", "--pool", "p=2", "--", "true"];
    refused(port.http, &never, 1);
}

#[test]
fn an_answer_that_is_lost_is_one_lease() {
    let (_server, port) = pool_of(3);
    // Over the pause of a new ledger.
    let held = port.acquire(&part(1));
    port.release(&held);
    let front = Front::before(port.http);
    front.lose_an_answer();
    let flags = ["--pool", "p=1"];
    let mut run = Run::start_with(front.http, &flags, "echo $NEARSIDE_LEASE_ID; read go");
    let id = run.line();
    assert!(front.requests("POST /v1/allocations ") > 1);
    assert_eq!(port.used("p"), 1);
    assert_eq!(leases(&port)[0]["id"], id.as_str());
    run.write("go");
    assert_eq!(run.end(), (0, Vec::new()));
    assert_eq!(port.used("p"), 0);
}

#[test]
fn an_answer_that_is_lost_while_it_waits() {
    let (_server, port) = pool_of(1);
    let held = port.acquire(&part(1));
    let front = Front::before(port.http);
    front.lose_an_answer();
    let flags = ["--pool", "p=1", "--wait", "1m", "--ttl", "2s"];
    let mut run = Run::start_with(front.http, &flags, "echo started; read go");
    // For longer than the time to live, which begins when it is granted.
    eventually("attempts", || {
        (front.requests("POST /v1/allocations ") > 12).then_some(())
    });
    assert_eq!(queued(&port), 1);
    port.release(&held);
    run.await_line("started");
    run.write("go");
    assert_eq!(run.end(), (0, Vec::new()));
}

#[test]
fn a_nearside_that_is_not_there_yet_is_waited_for() {
    let server = RedisServer::start(&[]);
    let port = Port::start(server.addr(), "a", |_| {});
    port.put("p", 1);
    let front = Front::before(port.http);
    front.take_away();
    let mut run = Run::start(front.http, &[], "exit 3");
    eventually("an attempt in vain", || (front.alone() > 1).then_some(()));
    front.put(port.http);
    assert_eq!(run.end(), (3, Vec::new()));
}

#[test]
fn nobody_to_ask() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let http = free.local_addr().expect("its address");
    drop(free);
    let line = refused(http, &["run", "--pool", "p=1", "--", "true"], 75);
    assert!(line.contains("refused the connection"), "{line}");
}

#[test]
fn a_request_that_was_forgotten_is_made_again() {
    let (server, port) = pool_of(1);
    let held = port.acquire(&part(1));
    let front = Front::before(port.http);
    let flags = ["--pool", "p=1", "--wait", "1m", "--ttl", "3s"];
    let mut run = Run::start_with(front.http, &flags, "exit 3");
    eventually("its place", || (queued(&port) == 1).then_some(()));
    front.take_away();
    drop(port);
    let port = Port::start(server.addr(), "a", |_| {});
    front.put(port.http);
    eventually("its place again", || (queued(&port) == 1).then_some(()));
    port.release(&held);
    assert_eq!(run.end(), (3, Vec::new()));
}
