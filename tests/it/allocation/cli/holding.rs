//! `nearside alloc run`: the command and its lease, for as long as all goes well.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::super::api::Port;
use super::front::Front;
use super::{Run, done, leases, output, pool_of, refused};
use crate::support::eventually;
use crate::support::redis::RedisServer;

#[test]
fn the_command_has_the_lease_and_its_code_is_the_code() {
    let (_server, port) = pool_of(1);
    let mut run = Run::start(
        port.http,
        &["--component", "job"],
        "echo $NEARSIDE_LEASE_ID $NEARSIDE_LEASE_FENCE; read go; exit 7",
    );
    let line = run.line();
    let lease = &leases(&port)[0];
    let [id, fence] = ["id", "fence"].map(|member| lease[member].as_str().expect("a text"));
    assert_eq!(line, format!("{id} {fence}"));
    assert_eq!(lease["component"], "job");
    run.write("go");
    assert_eq!(run.end(), (7, Vec::new()));
    let path = format!("/v1/allocations/{id}");
    let gone = port.ask("GET", &path, "", &Value::Null);
    assert_eq!(
        (gone.status, &gone.body["reason"]),
        (410, &"released".into())
    );
}

#[test]
fn its_output_and_arguments_are_left_alone() {
    let (_server, port) = pool_of(1);
    let args = [
        "run", "--pool", "p=1", "--wait", "10s", "--", "printf", "%s|", "--json", "a b", "--",
    ];
    assert_eq!(done(port.http, &args), "--json|a b|--|");
}

#[test]
fn a_command_that_a_signal_ended() {
    let (_server, port) = pool_of(1);
    let mut run = Run::start(port.http, &[], "kill -KILL $$");
    assert_eq!(run.end(), (128 + 9, Vec::new()));
    assert_eq!(port.used("p"), 0);
}

#[test]
fn what_cannot_be_run_leaves_no_lease() {
    let (_server, port) = pool_of(1);
    let run = ["run", "--pool", "p=1", "--wait", "10s", "--"];
    for (program, code) in [("/nowhere/at-all", 127), ("/", 126)] {
        let line = refused(port.http, &[&run[..], &[program]].concat(), code);
        assert!(
            line.starts_with(&format!("cannot run {program}: ")),
            "{line}"
        );
        assert_eq!(port.used("p"), 0);
    }
}

#[test]
fn signals_are_passed_on() {
    let (_server, port) = pool_of(1);
    let names = [
        "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH", "CONT", "TERM",
    ];
    let traps: String = names
        .map(|name| format!("trap 'echo {name}' {name}; "))
        .concat();
    // It starts nothing while it waits: what is lost then was not passed on.
    let script =
        format!("{traps} trap 'echo TERM; exit 5' TERM; echo ready; while :; do read line; done");
    let mut run = Run::start(port.http, &[], &script);
    run.await_line("ready");
    let signals = [
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::WINCH,
        Signal::CONT,
        Signal::TERM,
    ];
    for (signal, name) in signals.into_iter().zip(names) {
        run.signal(signal);
        assert_eq!(run.line_after(name), name);
    }
    assert_eq!(run.end(), (5, Vec::new()));
    assert_eq!(port.used("p"), 0);
}

#[test]
fn what_was_ignored_is_left_so() {
    let (_server, port) = pool_of(1);
    let program = env!("CARGO_BIN_EXE_nearside");
    let script = format!(
        "trap '' HUP; exec {program} alloc run --pool p=1 --wait 10s -- sh -c 'echo ready; read go; echo went'"
    );
    let mut command = Command::new("sh");
    command
        .env("NEARSIDE_HTTP", port.http.to_string())
        .args(["-c", &script]);
    let mut run = Run::spawn(command);
    run.await_line("ready");
    run.signal(Signal::HUP);
    run.write("go");
    run.await_line("went");
    assert_eq!(run.end().0, 0);
}

#[test]
fn it_is_renewed_for_as_long_as_the_command_runs() {
    let (server, port) = pool_of(1);
    let front = Front::before(port.http);
    let mut run = Run::start(front.http, &["--ttl", "2s"], "echo ready; read go");
    run.await_line("ready");
    let first = leases(&port)[0].clone();
    // More renewals than a time to live has room for.
    eventually("renewals", || {
        (front.requests("POST /v1/allocations/") > 3).then_some(())
    });
    let other = Port::start(server.addr(), "b", |_| {});
    let path = format!("/v1/allocations/{}", first["id"].as_str().expect("an id"));
    let now = other.ask("GET", &path, "", &Value::Null);
    assert_eq!((now.status, &now.body["fence"]), (200, &first["fence"]));
    let expires = |lease: &Value| lease["expires_at"].as_str().expect("a text").to_owned();
    assert!(expires(&now.body) > expires(&first));
    run.write("go");
    assert_eq!(run.end(), (0, Vec::new()));
}

#[test]
fn a_nearside_that_is_started_again_costs_no_lease() {
    let (server, port) = pool_of(1);
    let front = Front::before(port.http);
    let mut run = Run::start(front.http, &["--ttl", "6s"], "echo ready; read go; exit 4");
    run.await_line("ready");
    front.take_away();
    drop(port);
    eventually("an attempt in vain", || (front.alone() > 1).then_some(()));
    let port = Port::start(server.addr(), "a", |_| {});
    front.put(port.http);
    let before = front.requests("POST /v1/allocations/");
    eventually("a renewal", || {
        (front.requests("POST /v1/allocations/") > before + 1).then_some(())
    });
    run.write("go");
    assert_eq!(run.end(), (4, Vec::new()));
    assert_eq!(port.used("p"), 0);
}

#[test]
fn a_ledger_that_is_emptied_costs_no_lease() {
    let server = RedisServer::start(&[]);
    let port = Port::start(server.addr(), "a", |settings| {
        settings.allocation.ledger.reassert_window = Duration::from_secs(2);
    });
    port.put("p", 1);
    let front = Front::before(port.http);
    let mut run = Run::start(front.http, &["--ttl", "3s"], "echo ready; read go; exit 4");
    run.await_line("ready");
    server.client().must(&["FLUSHALL"]);
    let renewals = || front.requests("POST /v1/allocations/");
    let before = renewals();
    eventually("renewals", || (renewals() > before + 3).then_some(()));
    run.write("go");
    assert_eq!(run.end(), (4, Vec::new()));
    assert_eq!(port.used("p"), 0);
}

#[test]
fn leases_can_be_asked_for_from_within() {
    let (_server, port) = pool_of(1);
    let program = env!("CARGO_BIN_EXE_nearside");
    let script = format!("{program} alloc show $NEARSIDE_LEASE_ID");
    let args = [
        "run", "--pool", "p=1", "--wait", "10s", "--", "sh", "-c", &script,
    ];
    let output = output(port.http, &args);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("active"));
}
