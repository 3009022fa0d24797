//! What asks once.

use std::net::SocketAddr;

use serde_json::Value;

use super::super::api::{Port, part};
use super::{alloc, done, leases, output, pool_of, refused};
use crate::support::eventually;
use crate::support::redis::{RedisServer, free_address};

const NOWHERE: &str = "127.0.0.1:1";

fn nowhere() -> SocketAddr {
    NOWHERE.parse().expect("an address")
}

/// The cells of a table under its heads.
fn cells(table: &str) -> (Vec<&str>, Vec<Vec<&str>>) {
    let mut lines = table.lines().map(|line| {
        line.split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect()
    });
    (lines.next().expect("heads"), lines.collect())
}

const HEADS: [&str; 6] = ["ID", "STATE", "RESOURCES", "FENCE", "EXPIRES", "COMPONENT"];

#[test]
fn a_lease_from_beginning_to_end() {
    let (_server, port) = pool_of(2);
    let http = port.http;
    let taken = done(
        http,
        &[
            "acquire",
            "--pool",
            "p=1",
            "--wait",
            "10s",
            "--ttl",
            "1m",
            "--component",
            "ranker",
        ],
    );
    let (heads, rows) = cells(&taken);
    assert_eq!(heads, HEADS);
    let lease = &leases(&port)[0];
    let member = |name: &str| lease[name].as_str().expect("a text");
    let row = [
        member("id"),
        "active",
        "pool:p=1",
        member("fence"),
        member("expires_at"),
        "ranker",
    ];
    assert_eq!(rows, [row]);
    assert_eq!(lease["ttl_ms"], 60_000);
    let (id, fence) = (member("id"), member("fence"));
    assert_eq!(done(http, &["list"]), taken);
    assert_eq!(done(http, &["show", id]), taken);

    let renewed = done(http, &["renew", id, "--fence", fence]);
    assert!(renewed.contains(fence), "{renewed}");
    let fenced = refused(http, &["renew", id, "--fence", "1"], 1);
    assert_eq!(
        fenced,
        format!("The lease has another fence: the lease's fence is {fence}")
    );
    assert!(done(http, &["renew", id]).contains(fence));

    let resized = done(http, &["resize", id, "--pool", "p=2"]);
    assert!(resized.contains("pool:p=2"), "{resized}");
    assert_eq!(port.used("p"), 2);
    refused(http, &["release", id, "--fence", fence], 1);
    assert_eq!(done(http, &["release", id]), format!("{id} is released\n"));
    assert_eq!(
        refused(http, &["show", id], 1),
        "the lease has ended: released"
    );
    assert_eq!(port.used("p"), 0);
}

#[test]
fn pools() {
    let (_server, port) = pool_of(2);
    let http = port.http;
    done(http, &["acquire", "--pool", "p=2", "--wait", "10s"]);
    let made = done(
        http,
        &["pool", "set", "n", "--capacity", "7", "--scope", "pod"],
    );
    assert_eq!(cells(&made).1, [["n", "pod", "7", "-"]]);
    let listed = done(http, &["pools"]);
    let (heads, rows) = cells(&listed);
    assert_eq!(heads, ["NAME", "SCOPE", "CAPACITY", "USED"]);
    assert_eq!(rows, [["n", "pod", "7", "0"], ["p", "cluster", "2", "2"]]);
    let in_use = refused(http, &["pool", "delete", "p"], 1);
    assert!(in_use.starts_with("Leases count in the pool: "), "{in_use}");
    assert_eq!(done(http, &["pool", "delete", "n"]), "n is deleted\n");
    refused(http, &["pool", "delete", "n"], 1);
    assert!(
        refused(http, &["pool", "set", "a b/c", "--capacity", "1"], 1).contains("is not a name")
    );
}

#[test]
fn answers_as_they_came() {
    let (_server, port) = pool_of(1);
    let http = port.http;
    let json = |args: &[&str]| -> Value { serde_json::from_str(&done(http, args)).expect("JSON") };
    let lease = json(&["acquire", "--pool", "p=1", "--wait", "10s", "--json"]);
    assert_eq!(
        json(&["list", "--json"])["allocations"],
        Value::from(leases(&port))
    );
    let id = lease["id"].as_str().expect("an id");
    assert_eq!(json(&["--json", "show", id])["fence"], lease["fence"]);
    assert_eq!(json(&["pools", "--json"])["pools"][0]["used"]["cluster"], 1);
    // The problem document is the answer then; the line is there all the same.
    let output = output(http, &["acquire", "--pool", "p=1", "--json"]);
    assert_eq!(output.status.code(), Some(75));
    let problem: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(problem["type"], "urn:nearside:problem:exhausted");
    assert!(
        output
            .stderr
            .starts_with(b"nearside: There is not enough: ")
    );
    assert_eq!(done(http, &["release", id, "--json"]), "");
}

#[test]
fn a_key_and_a_place_in_the_queue() {
    let (_server, port) = pool_of(1);
    let http = port.http;
    let take = || {
        done(
            http,
            &["acquire", "--pool", "p=1", "--wait", "10s", "--key", "k"],
        )
    };
    let taken = take();
    assert_eq!(take(), taken);
    let wait = [
        "acquire",
        "--pool",
        "p=1",
        "--wait",
        "1m",
        "--async",
        "--priority",
        "7",
    ];
    let queued = done(http, &wait);
    let queued = cells(&queued).1;
    assert_eq!(queued[0][1..], ["queued", "-", "-", "-", "-"]);
    assert_eq!(cells(&done(http, &["list"])).1[1], queued[0]);
    let held = leases(&port)[0]["id"].as_str().expect("an id").to_owned();
    done(http, &["release", &held]);
    let got = done(http, &["show", queued[0][0], "--wait", "10s"]);
    assert_eq!(cells(&got).1[0][1], "active");
    assert_eq!(leases(&port)[0]["priority"], 7);
}

#[test]
fn what_is_the_pods_own() {
    let server = RedisServer::start(&[]);
    let port = Port::start(server.addr(), "a", |settings| {
        settings.allocation.cpu_millicores = Some(4000);
        settings.allocation.memory_mib = Some(16 << 10);
    });
    let args = [
        "acquire",
        "--cpu",
        "1500m",
        "--memory",
        "8GiB",
        "--wait",
        "10s",
        "--max-lifetime",
        "48h",
    ];
    let taken = done(port.http, &args);
    assert!(taken.contains("  cpu=1500m memory=8192MiB  "), "{taken}");
    assert!(leases(&port)[0]["ends_at"].is_string());
    // Never less than was asked for.
    let taken = done(port.http, &["acquire", "--cpu", "2", "--memory", "1025KiB"]);
    assert!(taken.contains("  cpu=2000m memory=2MiB  "), "{taken}");
    let never = refused(port.http, &["acquire", "--cpu", "5"], 1);
    assert_eq!(
        never,
        "There is not enough: 5000 of cpu were asked for; 3500 of 4000 are promised"
    );
}

#[test]
fn where_asking_later_may_help_the_code_says_so() {
    let (_server, port) = pool_of(1);
    let http = port.http;
    assert_eq!(port.acquire(&part(1)).status, 201);
    let line = refused(http, &["acquire", "--pool", "p=1"], 75);
    assert!(
        line.starts_with("There is not enough: 1 of pool:p were asked for; 1 of 1 are promised; the next lease expires at 2"),
        "{line}"
    );
    let line = refused(http, &["acquire", "--pool", "p=1", "--wait", "50ms"], 75);
    assert!(line.starts_with("There was no room in time: "), "{line}");
    // What will never fit is another matter, and so is what is wrong.
    refused(http, &["acquire", "--pool", "p=2"], 1);
    let line = refused(http, &["acquire", "--pool", "q=1"], 1);
    assert!(line.contains("resources: there is no pool:q"), "{line}");
    let line = refused(http, &["acquire", "--pool", "p=1", "--ttl", "99ms"], 1);
    assert!(line.contains("ttl_ms: 99 is not"), "{line}");

    let line = refused(nowhere(), &["list"], 75);
    assert_eq!(
        line,
        format!("http://{NOWHERE} refused the connection: no nearside listens there")
    );
    let lonely = Port::start(free_address(), "b", |_| {});
    let line = refused(lonely.http, &["pools"], 75);
    assert!(line.starts_with("The ledger"), "{line}");
}

#[test]
fn wrong_use_and_wrong_settings_are_told_apart() {
    for (args, words) in [
        (&[][..], "requires a subcommand"),
        (&["lst"], "a similar subcommand exists: 'list'"),
        (&["acquire"], "--pool <NAME=N>|--cpu <CPUS>|--memory <SIZE>"),
        (&["acquire", "--pool", "p"], "such as infer-slots=1"),
        (&["acquire", "--pool", "p=0"], "such as infer-slots=1"),
        (&["acquire", "--cpu", "half"], "such as 500m or 2"),
        (&["acquire", "--memory", "8GB"], "such as 512MiB or 8GiB"),
        (
            &["acquire", "--cpu", "1", "--ttl", "30"],
            "not a duration such as 250ms, 2s or 1m",
        ),
        (
            &["acquire", "--cpu", "1", "--max-lifetime", "721h"],
            "at most 30 days",
        ),
        (&["acquire", "--cpu", "1", "--key"], "a value is required"),
        (
            &["resize", "x"],
            "--pool <NAME=N>|--cpu <CPUS>|--memory <SIZE>",
        ),
        (
            &["renew", "x", "--fence", "y"],
            "invalid value 'y' for '--fence",
        ),
        (
            &["pool", "set", "p", "--capacity", "1", "--scope", "zone"],
            "invalid value 'zone'",
        ),
        (&["run", "--cpu", "1"], "<COMMAND>"),
        (&["run", "--cpu", "1", "sleep", "1"], "unexpected argument"),
        (
            &["run", "--json", "--cpu", "1", "--", "x"],
            "--json: there is no answer to print",
        ),
    ] {
        let line = refused(nowhere(), args, 2);
        assert!(line.contains(words), "{args:?}: {line}");
    }
    for (args, line) in [
        (
            &["list", "--http", "127.0.0.1:0"][..],
            "--http: has port 0, which is another one at each start; give it a port of its own, or name the real one with --http",
        ),
        (
            &["list", "--http", "off"],
            "--http: is off: there is no /v1/allocations to ask",
        ),
        (
            &["list", "--config", "/nowhere.toml"],
            "/nowhere.toml: No such file or directory (os error 2)",
        ),
    ] {
        assert!(refused(nowhere(), args, 78).contains(line), "{args:?}");
    }
}

#[test]
fn the_environment_of_a_lease_is_no_setting() {
    let mut command = alloc(nowhere(), &["list"]);
    let output = command
        .env("NEARSIDE_LEASE_ID", "x")
        .output()
        .expect("the program");
    assert_eq!(output.status.code(), Some(75), "{output:?}");
}

#[test]
fn who_hangs_up_gives_the_request_up() {
    let (server, port) = pool_of(1);
    assert_eq!(port.acquire(&part(1)).status, 201);
    let mut waits = alloc(port.http, &["acquire", "--pool", "p=1", "--wait", "1m"])
        .spawn()
        .expect("the program");
    let mut redis = server.client();
    let mut queued = |number: &str| {
        let count = redis.must(&["ZCARD", "{nearside:default}:queue"]);
        (format!("{count:?}") == number).then_some(())
    };
    eventually("its place", || queued("Int(1)"));
    waits.kill().expect("it waits");
    waits.wait().expect("its end");
    eventually("its end", || queued("Int(0)"));
}
