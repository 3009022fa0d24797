//! How the program ends: by signals, and over the side port.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::logged::Program;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

/// Longer than any test waits: what ends within its patience did not wait for that.
const PATIENT: &str = "drain_timeout = '10m'\n";
const WAITING: &str = "drain = 'wait-clients'\ndrain_timeout = '10m'\n";

fn await_unready(program: &Program, reason: &str) {
    eventually("readiness to be false", || {
        let (status, body) = program.http("GET", "/readiness", "");
        assert!(status == 200 || body.contains(reason), "{body}");
        (status == 503).then_some(())
    });
}

/// The drain that takes no new connection has begun: nobody who has sent nothing is kept.
fn await_at_once(program: &Program, mut idle: Client) {
    assert_is_closed(&mut idle);
    await_unready(program, "draining: takes no new connection");
    let refused = TcpStream::connect(program.listen).expect_err("no listener");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

fn assert_is_closed(client: &mut Client) {
    let end = client.try_read().expect_err("its end").kind();
    assert_eq!(end, ErrorKind::UnexpectedEof);
}

/// A client that has been served; the first one may be told that the upstream is not there yet.
fn served(program: &Program) -> Client {
    let mut client = Client::connect(program.listen);
    eventually("service", || {
        (!client.call(&["PING"]).is_error()).then_some(())
    });
    client
}

#[test]
fn clients_are_served_until_the_last_has_left() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, WAITING);
    let (mut open, mut subscriber) = (served(&program), served(&program));
    subscriber.must(&["SUBSCRIBE", "news"]);
    assert!(program.get("/metrics").contains("\nnearside_draining 0\n"));
    program.signal(Signal::TERM);
    await_unready(&program, "draining: waits for clients to leave");
    assert!(program.get("/metrics").contains("\nnearside_draining 1\n"));
    program.get("/liveness");
    program.get("/startup");
    open.must(&["SET", "k", "1"]);
    let mut new = served(&program);
    assert_eq!(new.must(&["GET", "k"]).text(), Some("1"));
    open.must(&["PUBLISH", "news", "x"]);
    assert!(matches!(subscriber.read(), Value::Array(_)));
    drop((open, subscriber));
    new.must(&["SET", "k", "2"]);
    drop(new);
    program.await_line("the last client has left");
    assert_eq!(program.end(), Some(0));
}

#[test]
fn where_no_client_is_connected_none_is_waited_for() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, WAITING);
    drop(served(&program));
    program.signal(Signal::TERM);
    program.await_line("the last client has left");
    assert_eq!(program.end(), Some(0));
}

/// Between two of its connections there is no client.
#[test]
fn a_client_with_a_connection_for_each_command_is_waited_for() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, WAITING);
    program.signal(Signal::TERM);
    for n in 1..=300 {
        assert_eq!(served(&program).must(&["INCR", "n"]), Value::Int(n));
    }
    assert_eq!(program.end(), Some(0));
}

#[test]
fn a_second_signal_ends_the_wait_for_clients() {
    let server = RedisServer::start(&[]);
    for signals in [[Signal::TERM; 2], [Signal::INT, Signal::TERM]] {
        let mut program = Program::start(&server, WAITING);
        let idle = served(&program);
        let mut busy = served(&program);
        busy.must(&["MULTI"]);
        program.signal(signals[0]);
        await_unready(&program, "draining: waits for clients to leave");
        program.signal(signals[1]);
        await_at_once(&program, idle);
        assert_eq!(busy.must(&["EXEC"]), Value::Array(vec![]));
        assert_is_closed(&mut busy);
        assert_eq!(program.end(), Some(0));
    }
}

/// What is left of the time is for them to have their answers.
#[test]
fn clients_are_waited_for_no_longer_than_the_deadline() {
    let server = RedisServer::start(&[]);
    let settings = "drain = 'wait-clients'\ndrain_timeout = '500ms'\n";
    let mut program = Program::start(&server, settings);
    let mut idle = served(&program);
    program.signal(Signal::TERM);
    program.await_line("clients are not waited for any longer");
    assert_is_closed(&mut idle);
    assert_eq!(program.end(), Some(0));
}

/// With what each transaction begins, what it is still sent, and what ends it.
const TRANSACTIONS: [[&[&str]; 3]; 4] = [
    [&["MULTI"], &["INCR", "n"], &["EXEC"]],
    [&["MULTI"], &["INCR", "n"], &["DISCARD"]],
    [&["WATCH", "k"], &["GET", "k"], &["UNWATCH"]],
    [&["WATCH", "k"], &["MULTI"], &["EXEC"]],
];

#[test]
fn transactions_end_at_their_boundary() {
    let server = RedisServer::start(&[]);
    for sharing in ["lane", "dedicated"] {
        let settings = format!("sharing = '{sharing}'\n{PATIENT}");
        let mut program = Program::start(&server, &settings);
        let idle = served(&program);
        let mut clients = TRANSACTIONS.map(|[begin, ..]| {
            let mut client = served(&program);
            client.must(begin);
            client
        });
        program.signal(Signal::TERM);
        await_at_once(&program, idle);
        for (client, [_, inside, end]) in clients.iter_mut().zip(TRANSACTIONS) {
            client.must(inside);
            client.must(end);
            assert_is_closed(client);
        }
        assert_eq!(program.end(), Some(0));
    }
    assert_eq!(server.client().call(&["GET", "n"]).text(), Some("2"));
}

#[test]
fn a_transaction_that_does_not_end_is_cut_off_at_the_deadline() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, "drain_timeout = '300ms'\n");
    let mut client = served(&program);
    client.must(&["MULTI"]);
    client.must(&["SET", "k", "1"]);
    program.signal(Signal::TERM);
    assert_is_closed(&mut client);
    // The one that has ended may still be counted.
    program.await_line("these sessions were cut off sessions=");
    assert_eq!(program.end(), Some(0));
    assert_eq!(server.client().call(&["EXISTS", "k"]), Value::Int(0));
}

#[test]
fn a_second_signal_cuts_off_who_is_left() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, PATIENT);
    let idle = served(&program);
    let mut client = served(&program);
    client.must(&["MULTI"]);
    program.signal(Signal::TERM);
    await_at_once(&program, idle);
    program.signal(Signal::INT);
    assert_is_closed(&mut client);
    // The other one, which is closed, may not have been taken off the count yet.
    program.await_line("these sessions were cut off sessions=");
    assert_eq!(program.end(), Some(0));
}

/// A client of `program` that waits for a list.
fn blocked(server: &RedisServer, program: &Program) -> Client {
    let mut client = served(program);
    client.send(&["BLPOP", "list", "0"]);
    client.flush();
    eventually("a blocked client", || {
        let info = server.client().call(&["INFO", "clients"]);
        let info = info.text().expect("a text").to_owned();
        info.contains("blocked_clients:1\r").then_some(())
    });
    client
}

#[test]
fn a_blocked_client_has_its_reply_within_the_deadline() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, PATIENT);
    let mut client = blocked(&server, &program);
    let idle = served(&program);
    program.signal(Signal::TERM);
    await_at_once(&program, idle);
    server.client().must(&["RPUSH", "list", "1"]);
    assert!(matches!(client.read(), Value::Array(_)));
    assert_is_closed(&mut client);
    assert_eq!(program.end(), Some(0));
}

#[test]
fn a_blocked_client_takes_nothing_after_the_deadline() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, "drain_timeout = '300ms'\n");
    let mut client = blocked(&server, &program);
    program.signal(Signal::TERM);
    assert_is_closed(&mut client);
    assert_eq!(program.end(), Some(0));
    assert_eq!(server.client().call(&["RPUSH", "list", "1"]), Value::Int(1));
    assert_eq!(server.client().call(&["LLEN", "list"]), Value::Int(1));
}

/// The answer comes before the end, also where there is nothing to wait for; it did in most rounds without any care for it.
#[test]
fn the_side_port_takes_an_order_to_end_and_answers() {
    let server = RedisServer::start(&[]);
    for _ in 0..20 {
        let mut program = Program::start(&server, PATIENT);
        let (status, answer) = program.http("POST", "/v1/quit", "");
        assert_eq!(status, 202, "{answer}");
        assert!(answer.contains("content-type: application/json"));
        let right = answer.ends_with("{\"draining\":\"at-once\"}\n");
        assert!(right, "{answer}");
        assert_eq!(program.end(), Some(0));
    }
}

#[test]
fn an_order_may_name_the_way_to_end_and_is_no_signal() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, PATIENT);
    let mut client = served(&program);
    let quit = |body: &str| program.http("POST", "/v1/quit", body);
    for _ in 0..3 {
        let (status, answer) = quit(r#"{"drain": "wait-clients"}"#);
        assert_eq!(status, 202, "{answer}");
        assert!(
            answer.ends_with("{\"draining\":\"wait-clients\"}\n"),
            "{answer}"
        );
        client.must(&["PING"]);
    }
    await_unready(&program, "draining: waits for clients to leave");
    let (_, answer) = quit("{}");
    assert!(answer.ends_with("{\"draining\":\"at-once\"}\n"), "{answer}");
    assert_is_closed(&mut client);
    assert_eq!(program.end(), Some(0));
}

#[test]
fn a_wrong_order_is_a_problem_document_and_ends_nothing() {
    let server = RedisServer::start(&[]);
    let program = Program::start(&server, PATIENT);
    for (method, path, body, status, detail) in [
        (
            "POST",
            "/v1/quit",
            r#"{"drain": "now"}"#,
            422,
            r#"drain: \"now\" is not one of at-once, wait-clients"#,
        ),
        (
            "POST",
            "/v1/quit",
            r#"{"darin": "at-once"}"#,
            422,
            r#"unknown member \"darin\""#,
        ),
        ("POST", "/v1/quit", "x", 422, "the body is not JSON"),
        (
            "POST",
            "/v1/quit?drain=at-once",
            "",
            422,
            "would not be looked at",
        ),
        ("GET", "/v1/quit", "", 405, "this path takes POST"),
    ] {
        let (found, problem) = program.http(method, path, body);
        assert_eq!(found, status, "{problem}");
        assert!(
            problem.contains("content-type: application/problem+json"),
            "{problem}"
        );
        assert!(problem.contains(detail), "{problem}");
    }
    program.get("/readiness");
    served(&program);
}

/// Whoever reaches the probes and the metrics alone cannot end anything.
#[test]
fn the_public_port_takes_no_order() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, "metrics_listen = '127.0.0.1:0'\n");
    let line = program.await_line("side port on ");
    let address = crate::support::logged::address(&line);
    let mut stream = TcpStream::connect(address).expect("the public port");
    let request =
        "POST /v1/quit HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    program.get("/readiness");
}

#[test]
fn readiness_depends_on_the_upstream_where_that_is_asked_for() {
    let mut server = RedisServer::start(&[]);
    let program = Program::start(&server, "ready_requires_upstream = true\n");
    let other = Program::start(&server, "");
    let is = |status: u16| {
        let (found, body) = program.http("GET", "/readiness", "");
        let reason = "no shared connection to upstream 127.0.0.1:";
        assert!(found == 200 || body.contains(reason), "{body}");
        (found == status).then_some(())
    };
    eventually("the lane", || is(200));
    let mut direct = server.client();
    direct.send(&["SHUTDOWN", "NOSAVE"]);
    direct.flush();
    eventually("the loss to be seen", || is(503));
    other.get("/readiness");
    program.get("/liveness");
    server.restart();
    eventually("the lane again", || is(200));
}
