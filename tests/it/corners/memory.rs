//! How much is held for one client, however slow it or the upstream is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::coherence::rig::Rig;
use crate::support::nearside::Nearside;
use crate::support::program::{Program, SOCKET};
use crate::support::redis::RedisServer;
use crate::support::resp;
use crate::support::{PATIENCE, eventually};

fn request(command: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    resp::encode(&mut bytes, command);
    bytes
}

/// A client that is always a little behind costs no more than one that keeps up.
#[test]
fn a_large_reply_to_a_slow_client_stays_out_of_memory() {
    let server = RedisServer::start(SOCKET);
    let size = 96 << 20;
    let mut direct = server.client();
    direct.must(&["SETRANGE", "large", &(size - 1).to_string(), "x"]);
    let program = Program::start(&server);
    let mut stream = program.connect();
    let mut chunk = vec![0; 64 << 10];
    // Seen to be large the first time, read apart the second time.
    for _ in 0..2 {
        stream
            .write_all(&request(&["GET", "large"]))
            .expect("a write");
        let mut left = size + format!("${size}\r\n\r\n").len();
        while left > 0 {
            left -= stream.read(&mut chunk).expect("a read");
            thread::sleep(Duration::from_millis(2));
        }
    }
    let peak = program.peak();
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
}

/// The same for a request that the upstream takes slowly.
#[test]
fn a_large_request_to_a_slow_server_stays_out_of_memory() {
    let server = RedisServer::start(SOCKET);
    let program = Program::start(&server);
    let mut stream = program.connect();
    let size = 160 << 20;
    stream
        .write_all(format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${size}\r\n").as_bytes())
        .expect("a write");
    let chunk = vec![b'x'; 256 << 10];
    for _ in 0..size / chunk.len() {
        stream.write_all(&chunk).expect("a write");
    }
    stream.write_all(b"\r\n").expect("a write");
    let mut reply = [0; 5];
    stream.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"+OK\r\n");
    let peak = program.peak();
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
}

/// Commands are taken no faster than the upstream takes them.
#[test]
fn a_stuck_server_holds_its_clients_back() {
    /// More than the sockets on the way hold, and much less than an unbounded buffer would.
    const MOST: usize = 48 << 20;
    let server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |settings| {
        settings.lane.request_timeout = Duration::from_secs(60);
        settings.lane.lane_overdue = Duration::from_secs(60);
        settings.l1.max_staleness = Duration::from_secs(60);
    });
    let name = "k".repeat(2000);
    let value = "x".repeat(2000);
    let mut warm = near.session();
    warm.must(&["SET", &name, "1"]);
    eventually("a hit", || {
        let before = near.hits();
        warm.must(&["GET", &name]);
        (near.hits() > before).then_some(())
    });
    // What precedes, and what is then sent over and over.
    let cases: [(&str, Vec<u8>, Vec<u8>); 3] = [
        ("lane", Vec::new(), request(&["SET", "other", &value])),
        (
            "own connection",
            request(&["WATCH", "k"]),
            request(&["SET", "other", &value]),
        ),
        (
            "hits in waiting",
            request(&["GET", "missing"]),
            request(&["GET", &name]),
        ),
    ];
    let mut busy = server.client();
    for (what, first, again) in cases {
        let mut stream = TcpStream::connect(near.addr()).expect("a connection");
        if what == "own connection" {
            stream.write_all(&first).expect("a write");
            let mut reply = [0; 5];
            stream.read_exact(&mut reply).expect("a reply");
        }
        busy.send(&["DEBUG", "SLEEP", "3"]);
        busy.flush();
        // It sleeps: nobody else is answered.
        let mut other = server.client();
        eventually("a stuck server", || {
            other.send(&["PING"]);
            other.flush();
            (!other.has_reply(Duration::from_millis(100))).then_some(())
        });
        if what == "hits in waiting" {
            stream.write_all(&first).expect("a write");
        }
        let chunk = again.repeat((64 << 10) / again.len());
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .expect("a timeout");
        let mut taken = 0;
        while taken < 2 * MOST {
            match stream.write(&chunk) {
                Ok(n) => taken += n,
                Err(_) => break,
            }
        }
        assert!(taken < MOST, "{what}: {} MiB and more", taken >> 20);
        busy.read();
    }
}

/// Held back or not, everything that was sent is answered.
#[test]
fn who_was_held_back_is_answered_in_full() {
    let rig = Rig::new(|_| {});
    let mut session = rig.session();
    let value = "x".repeat(2000);
    let count = 20_000;
    rig.relay.hold();
    let writer = {
        let addr = rig.near.addr();
        let mut bytes = Vec::new();
        for _ in 0..count {
            resp::encode(&mut bytes, &["SET", "k", &value]);
        }
        let mut stream = TcpStream::connect(addr).expect("a connection");
        let reader = stream.try_clone().expect("a second handle");
        thread::spawn(move || stream.write_all(&bytes).expect("all of it"));
        reader
    };
    rig.relay.release();
    let mut left = count * "+OK\r\n".len();
    let mut reader = writer;
    let mut chunk = vec![0; 64 << 10];
    while left > 0 {
        left -= reader.read(&mut chunk).expect("a read");
    }
    assert_eq!(session.call(&["STRLEN", "k"]), resp::Value::Int(2000));
}

/// A client that reads nothing before it has written everything is served, as far as `output_limit` goes.
#[test]
fn a_client_may_write_everything_before_it_reads() {
    let server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |_| {});
    let value = "x".repeat(200);
    near.session().must(&["SET", "k", &value]);
    let count = 150_000;
    let reply = format!("$200\r\n{value}\r\n").len();
    for command in [&["GETRANGE", "k", "0", "-1"][..], &["GET", "k"]] {
        let bytes = request(command).repeat(count);
        let mut stream = TcpStream::connect(near.addr()).expect("a connection");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(&bytes).expect("a write");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut left = count * reply;
        let mut chunk = vec![0; 64 << 10];
        while left > 0 {
            left -= stream.read(&mut chunk).expect("a read");
        }
    }
}
