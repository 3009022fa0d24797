//! `nearside alloc run`: a lease that is lost ends the command.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::api::Port;
use super::front::read_message;
use super::{Run, leases, pool_of, runs};
use crate::support::logged::Program;
use crate::support::redis::RedisServer;
use crate::support::{PATIENCE, eventually};

/// Waits for whatever comes, and says when it is asked to end.
const OBEDIENT: &str = "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done";

/// Ends the lease from elsewhere.
fn end_lease(port: &Port) {
    let id = leases(port)[0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/allocations/{id}");
    let ended = port.ask("DELETE", &path, "If-Match: *\r\n", &Value::Null);
    assert_eq!(ended.status, 204, "{ended:?}");
}

#[test]
fn a_lease_that_somebody_else_ends() {
    let (_server, port) = pool_of(1);
    let mut run = Run::start(port.http, &["--ttl", "3s"], OBEDIENT);
    run.await_line("ready");
    end_lease(&port);
    run.await_line("asked");
    let (code, said) = run.end();
    assert_eq!((code, said.len()), (69, 1), "{said:?}");
    assert!(
        said[0].ends_with("is lost and the command is ended: the lease has ended: released"),
        "{said:?}"
    );
}

#[test]
fn a_lease_that_is_resized_has_another_fence() {
    let (_server, port) = pool_of(2);
    let mut run = Run::start(port.http, &["--ttl", "3s"], OBEDIENT);
    run.await_line("ready");
    let id = leases(&port)[0]["id"].as_str().expect("an id").to_owned();
    super::done(port.http, &["resize", &id, "--pool", "p=2"]);
    run.await_line("asked");
    let (code, said) = run.end();
    assert_eq!(code, 69);
    assert!(said[0].contains("The lease has another fence"), "{said:?}");
    // It is whoever resized it who holds it now.
    assert_eq!(port.used("p"), 2);
}

#[test]
fn a_command_that_does_not_go_is_killed_with_what_it_has_started() {
    let (_server, port) = pool_of(1);
    let script = "trap '' TERM; sleep 300 & echo $! $$; while :; do sleep 0.05; done";
    let mut run = Run::start(port.http, &["--ttl", "3s", "--grace", "50ms"], script);
    let pids = run.line();
    end_lease(&port);
    let (code, said) = run.end();
    assert_eq!((code, said.len()), (69, 2), "{said:?}");
    assert!(said[1].ends_with("is killed"), "{said:?}");
    for pid in pids.split(' ') {
        eventually("its end", || (!runs(pid)).then_some(()));
    }
}

#[test]
fn what_it_has_started_goes_with_it() {
    let (_server, port) = pool_of(1);
    let script = "sleep 300 & echo $!; trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let mut run = Run::start(port.http, &["--ttl", "3s"], script);
    let started = run.line();
    end_lease(&port);
    assert_eq!(run.end().0, 69);
    eventually("its end", || (!runs(&started)).then_some(()));
}

#[test]
fn a_nearside_that_does_not_answer_any_more() {
    let server = RedisServer::start(&[]);
    let program = Program::start(&server, "ledger.reassert_window = '40ms'\n");
    let put = program.http("PUT", "/v1/pools/p", r#"{"capacity": 1}"#);
    assert_eq!(put.0, 201);
    let mut run = Run::start(program.http, &["--ttl", "6s"], OBEDIENT);
    run.await_line("ready");
    let (_, listed) = program.http("GET", "/v1/allocations", "");
    let (_, body) = listed.split_once("\r\n\r\n").expect("a body");
    let listed: Value = serde_json::from_str(body).expect("JSON");
    let id = listed["allocations"][0]["id"].as_str().expect("an id");
    let other = Port::start(server.addr(), "b", |_| {});
    let state = || {
        other
            .ask("GET", &format!("/v1/allocations/{id}"), "", &Value::Null)
            .status
    };
    assert_eq!(state(), 200);
    program.signal(Signal::STOP);
    run.await_line("asked");
    // Before it expires, not behind that.
    assert_eq!(state(), 200);
    let (code, said) = run.end();
    assert_eq!(code, 69);
    assert!(
        said[0].contains("could not be renewed and the command is ended: http://"),
        "{said:?}"
    );
    program.signal(Signal::CONT);
}

#[test]
fn who_was_stopped_past_the_end_has_no_command_any_more() {
    let (server, port) = pool_of(1);
    let mut run = Run::start(
        port.http,
        &["--ttl", "500ms", "--grace", "1m"],
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    );
    run.await_line("ready");
    let id = leases(&port)[0]["id"].as_str().expect("an id").to_owned();
    run.signal(Signal::STOP);
    let other = Port::start(server.addr(), "b", |_| {});
    let path = format!("/v1/allocations/{id}");
    eventually("its expiry", || {
        let gone = other.ask("GET", &path, "", &Value::Null).status == 410;
        gone.then_some(())
    });
    run.signal(Signal::CONT);
    assert_eq!(run.end().0, 69);
}

#[test]
fn a_command_whose_nearside_is_killed() {
    let (_server, port) = pool_of(1);
    let mut run = Run::start(
        port.http,
        &["--ttl", "500ms"],
        "trap '' TERM HUP; echo $$; while :; do sleep 0.05; done",
    );
    let command = run.line();
    run.signal(Signal::KILL);
    let ended = eventually("its end", || run.process.try_wait().expect("its status"));
    assert!(!ended.success());
    eventually("the command's end", || (!runs(&command)).then_some(()));
    eventually("the lease's end", || (port.used("p") == 0).then_some(()));
}

#[test]
fn its_longest_life() {
    let (_server, port) = pool_of(1);
    let mut run = Run::start(
        port.http,
        &["--ttl", "1s", "--max-lifetime", "2s"],
        OBEDIENT,
    );
    run.await_line("asked");
    let (code, said) = run.end();
    assert_eq!((code, said.len()), (69, 1), "{said:?}");
    assert!(said[0].contains("the end of its longest life"), "{said:?}");
    assert_eq!(port.used("p"), 0);
}

/// A side port that grants a lease, asks it back when it is renewed, and tells which requests it got.
fn asking_back() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let http = listener.local_addr().expect("its address");
    let (tell, told) = mpsc::channel();
    let lease = |state: &str| {
        json!({
            "id": "l", "state": state, "fence": "17", "ttl_ms": 3000, "granted_at": "2026-01-01T00:00:00.000Z",
            "expires_at": "2026-01-01T00:00:03.000Z", "ends_at": null, "preempt_at": "2026-01-01T00:00:03.000Z",
            "resources": [], "env": { "NEARSIDE_LEASE_ID": "l" },
        })
        .to_string()
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let Some(request) = read_message(&stream) else {
                continue;
            };
            let request = String::from_utf8_lossy(&request).into_owned();
            let line = request.lines().next().expect("a line").to_owned();
            let (status, body) = match line.split(' ').next() {
                Some("DELETE") => ("204 No Content", String::new()),
                _ if line.contains("/renew") => ("200 OK", lease("preempting")),
                _ => ("201 Created", lease("active")),
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).expect("it reads");
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    (http, told)
}

#[test]
fn who_is_more_important_gets_the_lease_once_the_command_has_ended() {
    let (_server, port) = pool_of(1);
    let mut run = Run::start(port.http, &["--preemptible", "--ttl", "3s"], OBEDIENT);
    run.await_line("ready");
    let first = leases(&port)[0]["id"].clone();
    let urgent = [
        "acquire",
        "--pool",
        "p=1",
        "--priority",
        "900",
        "--wait",
        "1m",
    ];
    // The grace of preemption is longer than that.
    let taken = super::done(port.http, &urgent);
    assert!(taken.contains("active"), "{taken}");
    let (code, said) = run.end();
    assert_eq!((code, said.len()), (69, 1), "{said:?}");
    assert!(said[0].contains("is asked back"), "{said:?}");
    let path = format!("/v1/allocations/{}", first.as_str().expect("an id"));
    let gone = port.ask("GET", &path, "", &Value::Null);
    assert_eq!(
        (gone.status, &gone.body["reason"]),
        (410, &json!("released"))
    );
}

#[test]
fn a_lease_that_is_asked_back() {
    let (http, told) = asking_back();
    let mut run = Run::start(http, &["--preemptible"], OBEDIENT);
    let first = told.recv_timeout(PATIENCE).expect("a request");
    assert!(first.contains(r#""preemptible":true"#), "{first}");
    run.await_line("asked");
    let (code, said) = run.end();
    assert_eq!(code, 69);
    assert!(said[0].contains("is asked back"), "{said:?}");
    let released = told
        .iter()
        .find(|request| request.starts_with("DELETE /v1/allocations/l "));
    assert!(released.expect("a release").contains("if-match: \"17\""));
}
