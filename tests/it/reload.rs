//! What changes while the program runs: by SIGHUP, and over the side port.

use crate::support::client::Client;
use crate::support::logged::Program;
use crate::support::redis::RedisServer;

#[test]
fn sighup_changes_mode_and_sample_and_names_what_needs_a_restart() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, "[l1]\nmode = 'off'\n");
    let mut client = Client::connect(program.listen);
    client.must(&["SET", "k", "1"]);

    program.write(&server, "[l1]\nmode = 'shadow'\nsample = 0.5\n");
    program.reload();
    program.await_line("the configuration was read again");
    let config = program.get("/config");
    assert!(config.contains("l1.mode = shadow\n"), "{config}");
    assert!(config.contains("l1.sample = 0.5\n"), "{config}");

    program.write(
        &server,
        "max_clients = 7\n[l1]\nmode = 'on'\nadmit = 'always'\n[[keyspace]]\nname = 'a'\nmatch = 'a'\n",
    );
    program.reload();
    let line = program.await_line("needs a restart");
    for key in ["max_clients", "l1.admit", "keyspace.a.match"] {
        assert!(line.contains(key), "{line}");
    }
    assert!(!line.contains("l1.mode"), "{line}");
    program.await_line("the configuration was read again");
    let config = program.get("/config");
    assert!(config.contains("l1.mode = on\n"), "{config}");
    assert!(config.contains("max_clients = 10000\n"), "{config}");

    program.write(&server, "[l1]\nmode = 'onn'\n");
    program.reload();
    let line = program.await_line("the configuration is as it was");
    assert!(
        line.contains(r#"l1.mode: "onn" is not one of on, off, shadow"#),
        "{line}"
    );
    assert!(program.get("/config").contains("l1.mode = on\n"));
    assert_eq!(client.must(&["GET", "k"]).text(), Some("1"));
}

#[test]
fn the_side_port_changes_mode_and_sample() {
    let server = RedisServer::start(&[]);
    let program = Program::start(&server, "[l1]\nadmit = 'always'\n");
    let mut client = Client::connect(program.listen);
    client.must(&["SET", "k", "1"]);
    let shown = program.get("/v1/cache/mode");
    assert!(
        shown.ends_with("{\"mode\":\"on\",\"sample\":1.0,\"warming_up\":false}\n"),
        "{shown}"
    );
    let put = |body: &str| program.http("PUT", "/v1/cache/mode", body);
    let (status, shown) = put(r#"{"mode": "shadow", "sample": 0.5}"#);
    assert_eq!(status, 200, "{shown}");
    assert!(
        shown.ends_with("{\"mode\":\"shadow\",\"sample\":0.5,\"warming_up\":false}\n"),
        "{shown}"
    );
    assert_eq!(put(r#"{"sample": 1}"#).0, 200);
    for _ in 0..4 {
        client.must(&["GET", "k"]);
    }
    let metrics = program.get("/metrics");
    let row = |outcome| {
        format!("nearside_l1_shadow_reads_total{{cache_type=\"default\",outcome=\"{outcome}\"}}")
    };
    assert!(
        metrics.contains(&format!("{} 0\n", row("different"))),
        "{metrics}"
    );
    assert!(
        !metrics.contains(&format!("{} 0\n", row("same"))),
        "{metrics}"
    );

    let (status, problem) = put(r#"{"mode": "onn"}"#);
    assert_eq!(status, 400, "{problem}");
    assert!(problem.contains("content-type: application/problem+json"));
    assert!(
        problem.contains(r#""detail":"mode: \"onn\" is not one of on, off, shadow""#),
        "{problem}"
    );
    assert!(program.get("/v1/cache/mode").contains("shadow"));
    let (status, problem) = put(&" ".repeat(10_000));
    assert_eq!(status, 413, "{problem}");
    assert!(problem.contains("application/problem+json"), "{problem}");
}

#[test]
fn where_bytes_are_not_looked_at_both_say_that_a_restart_is_needed() {
    let server = RedisServer::start(&[]);
    let dedicated = "sharing = 'dedicated'\n[l1]\nmode = ";
    let mut program = Program::start(&server, &format!("{dedicated}'off'\n"));
    let (status, problem) = program.http("PUT", "/v1/cache/mode", r#"{"mode": "on"}"#);
    assert_eq!(status, 409, "{problem}");
    assert!(problem.contains("restart it"), "{problem}");
    program.write(&server, &format!("{dedicated}'on'\n"));
    program.reload();
    let line = program.await_line("l1.mode is as it was");
    assert!(line.contains("restart it"), "{line}");
    let mut client = Client::connect(program.listen);
    client.must(&["SET", "k", "1"]);
}
