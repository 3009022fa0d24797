//! What an operator bounds: clients, their idleness, and what is held for all of them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nearside::proxy::settings::Sharing;

use crate::coherence::rig::Rig;
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::program::{Program, SOCKET};
use crate::support::redis::RedisServer;
use crate::support::resp::{self, Value};

/// All bytes until the end of the connection.
fn all(mut stream: TcpStream) -> Vec<u8> {
    let timeout = Some(crate::support::PATIENCE);
    stream.set_read_timeout(timeout).expect("a timeout");
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("its end");
    got
}

/// However many come at once, as many as were said are served; whoever is one too many hears what Redis would say.
#[test]
fn clients_above_max_clients_are_told_so() {
    const MOST: usize = 10;
    let server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |settings| {
        settings.downstream.max_clients = MOST;
        settings.downstream.workers = 2;
    });
    let mut streams: Vec<TcpStream> = (0..3 * MOST)
        .map(|_| TcpStream::connect(near.addr()).expect("a connection"))
        .collect();
    let mut refused = Vec::new();
    let mut answered = Vec::new();
    for mut stream in streams.drain(..) {
        let timeout = Some(crate::support::PATIENCE);
        stream.set_read_timeout(timeout).expect("a timeout");
        // Whoever is refused may be cut off by now.
        let _ = stream.write_all(b"PING\r\n");
        let mut first = [0];
        match stream.read(&mut first) {
            Ok(1) if first[0] == b'+' => answered.push(stream),
            _ => refused.push(stream),
        }
    }
    assert_eq!(answered.len(), MOST);
    assert_eq!(refused.len(), 2 * MOST);
    // One that sends nothing gets the whole text, and the end.
    let told = all(TcpStream::connect(near.addr()).expect("a connection"));
    let mut only = server.client();
    only.must(&["CONFIG", "SET", "maxclients", "1"]);
    let direct = all(TcpStream::connect(server.addr()).expect("a connection"));
    assert_eq!(
        String::from_utf8_lossy(&told),
        String::from_utf8_lossy(&direct)
    );
    only.must(&["CONFIG", "SET", "maxclients", "1000"]);
    // When one goes, another comes in.
    drop(answered.pop());
    eventually("a place", || {
        let mut session = near.session();
        session.send(&["PING"]);
        session.try_flush().ok()?;
        let reply = session.try_read().ok()?;
        (reply.text() == Some("PONG")).then_some(())
    });
}

/// Idle clients go; who waits for something, or has only just come, stays.
#[test]
fn idle_clients_are_closed_and_waiting_ones_are_not() {
    for sharing in [Sharing::Lane, Sharing::Dedicated] {
        let rig = Rig::new(|settings| {
            settings.proxy.idle_timeout = Some(Duration::from_millis(200));
            settings.proxy.sharing = sharing;
        });
        let mut direct = rig.server.client();
        let mut subscriber = rig.near.session();
        subscriber.must(&["SUBSCRIBE", "news"]);
        let mut pattern = rig.near.session();
        pattern.must(&["PSUBSCRIBE", "n*"]);
        let mut blocked = rig.near.session();
        blocked.send(&["BLPOP", "list", "0"]);
        blocked.flush();
        let mut monitor = rig.near.session();
        monitor.must(&["MONITOR"]);
        let mut held = rig.near.session();
        rig.relay.hold();
        held.send(&["GET", "k"]);
        held.flush();
        rig.relay.await_held("a reply", |frames| !frames.is_empty());
        // Silent for less long than all of them, and in three states that Redis spares neither.
        let mut idle = rig.near.session();
        let mut watching = rig.near.session();
        watching.must(&["WATCH", "k"]);
        let mut queueing = rig.near.session();
        queueing.must(&["MULTI"]);
        queueing.must(&["SET", "k", "1"]);
        let mut unfinished = rig.near.session();
        unfinished.send_raw(b"*2\r\n$3\r\nGET\r\n$1\r\n");
        unfinished.flush();
        let since = Instant::now();
        for session in [&mut idle, &mut watching, &mut queueing, &mut unfinished] {
            let end = session.try_read().expect_err("its end").kind();
            assert_eq!(end, std::io::ErrorKind::UnexpectedEof, "{sharing:?}");
        }
        assert!(since.elapsed() >= Duration::from_millis(150), "too early");
        assert_eq!(direct.call(&["PUBLISH", "news", "x"]), Value::Int(2));
        assert_eq!(subscriber.read().elements().len(), 3);
        assert_eq!(pattern.read().elements().len(), 4);
        direct.must(&["RPUSH", "list", "x"]);
        assert_eq!(blocked.read().elements().len(), 2);
        assert!(monitor.read().text().is_some());
        rig.relay.release();
        assert_eq!(held.read(), Value::Nil);
        // Who is heard again and again is not idle.
        let mut busy = rig.near.session();
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(600) {
            busy.must(&["PING"]);
        }
    }
}

fn request(command: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    resp::encode(&mut bytes, command);
    bytes
}

/// Asks for `count` replies of `size` bytes and reads none of them.
fn ask(stream: &mut UnixStream, count: usize) {
    let _ = stream.write_all(&request(&["GETRANGE", "k", "0", "-1"]).repeat(count));
}

/// Many clients that ask for much and read nothing: what is held for all of them together is bounded, some are cut off,
/// and the others are served.
#[test]
fn many_slow_readers_are_bounded_together() {
    const MOST: usize = 16 << 20;
    const SIZE: usize = 100_000;
    let server = RedisServer::start(SOCKET);
    let most = MOST.to_string();
    let program = Program::start_with(&server, &[("NEARSIDE_MAX_BUFFER_BYTES", &most)]);
    server.client().must(&["SET", "k", &"x".repeat(SIZE)]);
    let mut other = program.connect();
    let mut answered = 0;
    let mut ping = |times: usize| {
        for _ in 0..times {
            other.write_all(b"INCR n\r\n").expect("a write");
            answered += 1;
            let wanted = format!(":{answered}\r\n");
            let mut got = vec![0; wanted.len()];
            other.read_exact(&mut got).expect("a read");
            assert_eq!(String::from_utf8_lossy(&got), wanted);
        }
    };
    ping(10);
    let idle = program.resident();
    let mut slow: Vec<UnixStream> = (0..40).map(|_| program.connect()).collect();
    // 300 MB in all.
    for stream in &mut slow {
        ask(stream, 75);
        ping(2);
    }
    ping(100);
    let peak = program.peak();
    assert!(
        peak < idle + MOST + (24 << 20),
        "{} MiB above {} MiB",
        (peak - idle) >> 20,
        idle >> 20
    );
    // Whoever reads now finds all that was asked for, or the connection's end.
    let (mut cut, mut complete) = (0, 0);
    for stream in &mut slow {
        let patience = Some(crate::support::PATIENCE);
        stream.set_read_timeout(patience).expect("a timeout");
        let mut left = 75 * (SIZE + "$100000\r\n\r\n".len());
        let mut chunk = vec![0; 64 << 10];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break cut += 1,
                Ok(n) => left -= n,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    break cut += 1;
                }
                Err(error) => panic!("neither a reply nor the end: {error}"),
            }
            if left == 0 {
                break complete += 1;
            }
        }
        ping(1);
    }
    assert!(
        cut > 0 && cut + complete == 40,
        "{cut} cut off, {complete} complete"
    );
    drop(slow);
    // What they held is free again: a client that keeps up is not cut off for it.
    let mut stream = program.connect();
    for _ in 0..20 {
        ask(&mut stream, 50);
        let mut got = vec![0; 50 * (SIZE + "$100000\r\n\r\n".len())];
        stream.read_exact(&mut got).expect("all of it");
    }
}
