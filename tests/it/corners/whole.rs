//! Everything that was sent is carried out and answered: the largest of requests, what a half-closed client is owed, and
//! the writes that WAIT counts.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

use nearside::l1::settings::Mode;
use nearside::proxy::settings::Sharing;

use crate::support::client::Protocol;
use crate::support::nearside::Nearside;
use crate::support::program::{Program, SOCKET};
use crate::support::redis::RedisServer;
use crate::support::resp::{self, Value};
use crate::support::{PATIENCE, eventually};

const MODES: [(Sharing, Mode); 4] = [
    (Sharing::Lane, Mode::On),
    (Sharing::Lane, Mode::Off),
    (Sharing::Dedicated, Mode::On),
    (Sharing::Dedicated, Mode::Off),
];

fn start(addr: SocketAddr, (sharing, mode): (Sharing, Mode)) -> Nearside {
    Nearside::start(addr, |settings| {
        settings.proxy.sharing = sharing;
        settings.l1.mode = mode;
    })
}

/// The largest value that Redis takes, alone, queued, and in the middle of a pipeline.
#[test]
fn the_largest_request_stays_out_of_memory() {
    const SIZE: usize = 512 << 20;
    let server = RedisServer::start(SOCKET);
    let program = Program::start(&server);
    let mut stream = program.connect();
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let exchange = |stream: &mut UnixStream, before: &str, behind: &str, wanted: &str| {
        let header = format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${SIZE}\r\n");
        let mut writer = stream.try_clone().expect("a second handle");
        let (before, behind) = (before.to_owned() + &header, format!("\r\n{behind}"));
        let writing = thread::spawn(move || {
            writer.write_all(before.as_bytes()).expect("a write");
            let chunk = vec![b'x'; 1 << 20];
            for _ in 0..SIZE / chunk.len() {
                writer.write_all(&chunk).expect("a write");
            }
            writer.write_all(behind.as_bytes()).expect("a write");
        });
        let mut got = vec![0; wanted.len()];
        stream.read_exact(&mut got).expect("the replies");
        assert_eq!(String::from_utf8_lossy(&got), wanted);
        writing.join().expect("all of it was written");
    };
    stream.write_all(b"INCR n\r\n").expect("a write");
    let mut got = [0; 4];
    stream.read_exact(&mut got).expect("a reply");
    let idle = program.resident();
    exchange(&mut stream, "", "", "+OK\r\n");
    exchange(
        &mut stream,
        "INCR n\r\nGET n\r\n",
        "GET n\r\nSTRLEN large\r\nDEL large\r\n",
        &format!(":2\r\n$1\r\n2\r\n+OK\r\n$1\r\n2\r\n:{SIZE}\r\n:1\r\n"),
    );
    exchange(
        &mut stream,
        "MULTI\r\nINCR n\r\n",
        "STRLEN large\r\nEXEC\r\nDEL large\r\nGET n\r\n",
        &format!(
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:3\r\n+OK\r\n:{SIZE}\r\n:1\r\n$1\r\n3\r\n"
        ),
    );
    let peak = program.peak();
    assert!(
        peak <= idle + (32 << 20),
        "{} MiB above {} MiB",
        (peak - idle) >> 20,
        idle >> 20
    );
}

/// What comes back until the end for these bytes and a half-close behind them.
fn half_closed(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut writer = stream.try_clone().expect("a second handle");
    let bytes = bytes.to_vec();
    let writing = thread::spawn(move || {
        writer.write_all(&bytes).expect("a write");
        writer.shutdown(Shutdown::Write).expect("a half-close");
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("its end");
    writing.join().expect("all of it was written");
    got
}

/// The same where the half-close comes when that much has been read: before that a server throws away what it has not
/// been able to write yet.
fn closed_behind(addr: SocketAddr, bytes: &[u8], size: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut writer = stream.try_clone().expect("a second handle");
    let owned = bytes.to_vec();
    let writing = thread::spawn(move || writer.write_all(&owned).expect("a write"));
    let mut got = vec![0; size];
    stream.read_exact(&mut got).expect("as much");
    writing.join().expect("all of it was written");
    // It may have been closed by a QUIT.
    let _ = stream.shutdown(Shutdown::Write);
    stream.read_to_end(&mut got).expect("its end");
    got
}

/// All replies, whichever way each goes and however large, and then the end.
#[test]
fn a_half_closed_client_gets_everything() {
    /// Cases with replies that take the server several writes.
    const LARGE: std::ops::Range<usize> = 4..8;
    let large = "x".repeat(3 << 20);
    let mut cases: Vec<Vec<u8>> = Vec::new();
    let mut case = |commands: &[&[&str]]| {
        let mut bytes = Vec::new();
        for command in commands {
            resp::encode(&mut bytes, command);
        }
        cases.push(bytes);
    };
    case(&[]);
    case(&[&["PING"]]);
    case(&[&["INCR", "n"][..]; 900]);
    case(&[&["GET", "n"], &["EVAL", "return 1", "0"], &["GET", "n"]]);
    case(&[&["SET", "large", &large], &["GET", "large"]]);
    case(&[&["GET", "large"], &["GET", "n"], &["GET", "large"]]);
    case(&[&["GETRANGE", "large", "0", "-1"][..]; 3]);
    case(&[
        &["MULTI"],
        &["GET", "large"],
        &["INCR", "n"],
        &["EXEC"],
        &["GET", "n"],
    ]);
    case(&[
        &["WATCH", "n"],
        &["MULTI"],
        &["INCR", "n"],
        &["EXEC"],
        &["INCR", "n"],
    ]);
    case(&[&["MULTI"], &["INCR", "n"]]);
    case(&[&["SELECT", "1"], &["SET", "k", "1"], &["GET", "k"]]);
    case(&[
        &["CLIENT", "SETNAME", "me"],
        &["CLIENT", "GETNAME"],
        &["NONE"],
    ]);
    case(&[&["LPUSH", "list", "a"], &["BLPOP", "list", "0"]]);
    case(&[
        &["SUBSCRIBE", "a", "b"],
        &["UNSUBSCRIBE", "a", "b"],
        &["PING"],
    ]);
    case(&[&["INCR", "n"], &["QUIT"], &["INCR", "n"]]);
    case(&[&["MGET", "n", "none", "k"], &["INCR", "n"]]);
    // A request that never becomes whole is no request.
    cases.push(b"INCR n\r\n*2\r\n$3\r\nGET\r\n$1\r\n".to_vec());
    cases.push(b"INCR n\r\nGET n".to_vec());
    for mode in MODES {
        let (bare, behind) = (RedisServer::start(&[]), RedisServer::start(&[]));
        let near = start(behind.addr(), mode);
        for (n, bytes) in cases.iter().enumerate() {
            if mode == (Sharing::Dedicated, Mode::Off) && LARGE.contains(&n) {
                // The half-close goes through to the server.
                half_closed(bare.addr(), bytes);
                half_closed(near.addr(), bytes);
                continue;
            }
            let got = half_closed(near.addr(), bytes);
            let wanted = closed_behind(bare.addr(), bytes, got.len());
            let shown = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
                (bytes.len(), text)
            };
            assert!(
                got == wanted,
                "{mode:?}, case {n}: {:?} and not {:?}",
                shown(&got),
                shown(&wanted)
            );
        }
    }
}

/// What the session wrote by the lane is on the replica when WAIT says so, and is not counted before it is there.
#[test]
fn wait_counts_what_went_by_the_lane() {
    let primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]);
    let port = primary.addr().port().to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
    let mut there = replica.client();
    eventually("the replica", || {
        let info = there.call(&["INFO", "replication"]);
        let up = info
            .text()
            .expect("a text")
            .contains("master_link_status:up");
        up.then_some(())
    });
    for mode in MODES {
        let near = start(primary.addr(), mode);
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let mut session = near.session().speaking(protocol);
            let mut other = near.session();
            for n in 0..30 {
                let value = format!("{mode:?} {protocol:?} {n}");
                session.must(&["SET", "k", &value]);
                other.must(&["INCR", "n"]);
                assert_eq!(session.call(&["WAIT", "1", "10000"]), Value::Int(1));
                assert_eq!(there.call(&["GET", "k"]).text(), Some(value.as_str()));
            }
            // In one pipeline.
            session.send(&["SET", "k", "piped"]);
            session.send(&["WAIT", "1", "10000"]);
            session.send(&["GET", "k"]);
            session.flush();
            assert_eq!(session.read().text(), Some("OK"));
            assert_eq!(session.read(), Value::Int(1));
            assert_eq!(there.call(&["GET", "k"]).text(), Some("piped"));
            assert_eq!(session.read().text(), Some("piped"));
            if protocol == Protocol::Resp3 {
                continue;
            }
            // A replica that does not keep up is not counted.
            there.send(&["DEBUG", "SLEEP", "1"]);
            there.flush();
            eventually("a stuck replica", || {
                let mut third = replica.client();
                third.send(&["PING"]);
                third.flush();
                (!third.has_reply(std::time::Duration::from_millis(20))).then_some(())
            });
            session.must(&["SET", "k", "late"]);
            assert_eq!(session.call(&["WAIT", "1", "50"]), Value::Int(0));
            assert_eq!(there.read().text(), Some("OK"));
            assert_eq!(session.call(&["WAIT", "1", "10000"]), Value::Int(1));
            assert_eq!(there.call(&["GET", "k"]).text(), Some("late"));
        }
    }
}
