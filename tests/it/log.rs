//! What the log looks like in trouble: JSON on every line, nothing that is a client's, and no flood.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::logged::Program;
use crate::support::redis::RedisServer;

const KEY: &str = "a-key-of-a-client";
const VALUE: &str = "a-value-of-a-client";
const PASSWORD: &str = "a-password-of-a-client";

#[test]
fn every_line_is_an_event_and_none_tells_what_is_a_clients() {
    let mut server = RedisServer::start(&[]);
    let more = "log = 'json'\nlog_level = 'debug'\noutput_limit = '64KiB'\nrequest_timeout = '200ms'\n\
                [breaker]\nrecovery_timeout = '200ms'\n[slow_log]\nthreshold = '0s'\n";
    let mut program = Program::start(&server, more);
    let mut client = Client::connect(program.listen);
    client.must(&["SET", KEY, VALUE]);
    for _ in 0..3 {
        client.must(&["GET", KEY]);
    }
    client.call(&["AUTH", PASSWORD]);
    client.call(&["HELLO", "3", "AUTH", "nobody", PASSWORD]);
    client.call(&["INCR", KEY]);
    client.call(&["EVAL", "error(ARGV[1])", "0", VALUE]);
    client.call(&["CONFIG", "SET", "requirepass", PASSWORD]);
    // A client that does not take its replies is cut off, and says why. They are more than the kernel's buffers take.
    let mut greedy = TcpStream::connect(program.listen).expect("a connection");
    let window = socket2::SockRef::from(&greedy).set_recv_buffer_size(64 << 10);
    window.expect("a small window");
    let text = VALUE.repeat(1000);
    let asked = format!("*2\r\n$4\r\nECHO\r\n${}\r\n{text}\r\n", text.len());
    let _ = greedy.write_all(asked.repeat(400).as_bytes());
    program.await_line("client cut off");
    // The upstream is gone for a while, and comes back with a password that is not known here.
    server.kill();
    let mut other = Client::connect(program.listen);
    eventually("the circuit is open", || {
        let reply = other.try_call(&["GET", KEY]);
        reply.map_or(Some(()), |reply| reply.is_error().then_some(()))
    });
    program.await_line("circuit breaker");
    server.start_again();
    program.await_line("lane up");
    program.signal(rustix::process::Signal::TERM);
    assert_eq!(program.end(), Some(0));
    let lines = program.lines();
    assert!(lines.len() > 5, "{lines:#?}");
    for line in lines {
        let event: serde_json::Value = serde_json::from_str(&line).expect(&line);
        for part in ["timestamp", "level", "fields"] {
            assert!(event.get(part).is_some(), "no {part} in {line}");
        }
        for secret in [KEY, VALUE, PASSWORD] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}

/// Clients that are cut off all the time fill no disk, and how many they were is said.
#[test]
fn what_is_repeated_is_counted() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, "output_limit = '64KiB'\nlarge_reply = '32MiB'\n");
    Client::connect(program.listen).must(&["SET", "k", &"v".repeat(1 << 20)]);
    let begun = Instant::now();
    let mut cut = 0;
    // Longer than a period, so that what was left out is said.
    while begun.elapsed() < Duration::from_secs(11) || cut < 40 {
        let mut client = Client::connect(program.listen);
        for _ in 0..20 {
            client.send(&["GET", "k"]);
        }
        let _ = client.try_flush();
        cut += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    let line = program.await_line("lines like this were left out");
    assert!(line.contains("client cut off"), "{line}");
    let count = line.rsplit_once("suppressed=").expect("a count").1;
    assert!(count.trim().parse::<u64>().expect("a number") > 5, "{line}");
    let written = program.lines();
    let written = written
        .iter()
        .filter(|line| line.contains("WARN client cut off"));
    assert!(written.count() <= 21);
}
