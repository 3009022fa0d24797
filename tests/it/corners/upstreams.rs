//! Upstreams that answer otherwise than Redis 7 does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::resp::Value;
use crate::support::scripted::{Scripted, usual};

fn start(upstream: &Scripted) -> Nearside {
    let near = Nearside::start(upstream.addr(), |settings| {
        settings.l1.max_staleness = crate::coherence::rig::QUIET;
    });
    eventually("the lane", || near.running().lane_is_up().then_some(()));
    near
}

const CACHING: [&str; 3] = ["CLIENT", "CACHING", "YES"];

/// Those whose pushes and replies have no common order, and those that have one.
#[test]
fn l1_depends_on_the_server_s_version() {
    for (server, version, serves) in [
        ("redis", "6.0.16", false),
        ("redis", "6.2.6", false),
        ("redis", "6.2.7", true),
        ("redis", "7.0.4", false),
        ("redis", "7.0.5", true),
        ("redis", "8.0.0", true),
        ("redis", "255.255.255", true),
        ("valkey", "7.2.5", true),
        ("somebody else's", "7.2.5", false),
        ("redis", "", false),
    ] {
        let upstream = Scripted::start(move |_, command| {
            let usual = usual(command);
            if command[0] != "HELLO" {
                return Some(usual);
            }
            let text = String::from_utf8(usual).expect("a text");
            let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
            let text = text.replace(&bulk("redis"), &bulk(server));
            Some(text.replace(&bulk("7.0.15"), &bulk(version)).into_bytes())
        });
        let near = start(&upstream);
        let mut session = near.session();
        for _ in 0..10 {
            assert_eq!(session.call(&["GET", "k"]).text(), Some("v"));
        }
        let case = format!("{server} {version}");
        assert_eq!(near.hits() > 0, serves, "{case}");
        assert_eq!(upstream.count(&CACHING) > 0, serves, "{case}");
        assert_eq!(
            upstream.count(&["CLIENT", "TRACKING"]) > 0,
            serves,
            "{case}"
        );
    }
}

/// A refusal is not asked for again and again; what a busy server says is no refusal.
#[test]
fn a_fill_whose_tracking_is_refused_is_the_last() {
    for (answer, again) in [
        ("-NOPERM no permissions\r\n", false),
        ("-ERR unknown subcommand 'CACHING'\r\n", false),
        ("-BUSY Redis is busy running a script.\r\n", true),
    ] {
        let refusing = Arc::new(AtomicBool::new(true));
        let refuses = Arc::clone(&refusing);
        let upstream = Scripted::start(move |_, command| {
            let says_no = command == CACHING && refuses.load(Ordering::Relaxed);
            Some(if says_no {
                answer.as_bytes().to_vec()
            } else {
                usual(command)
            })
        });
        let near = start(&upstream);
        let (mut session, mut other) = (near.session(), near.session());
        for _ in 0..10 {
            assert_eq!(session.call(&["GET", "k"]).text(), Some("v"));
            assert_eq!(other.call(&["GET", "other"]).text(), Some("v"));
        }
        assert_eq!(near.hits(), 0, "{answer}");
        assert_eq!(upstream.count(&CACHING) > 2, again, "{answer}");
        refusing.store(false, Ordering::Relaxed);
        if !again {
            // Until the lane is made again.
            upstream.cut();
        }
        eventually("a hit", || {
            session.call(&["GET", "k"]);
            (near.hits() > 0).then_some(())
        });
    }
}

/// What keys a module's command has is the upstream's to say: a read of it leaves L1 as it is, a write drops its keys,
/// and what nobody knows of closes L1 until the lane has told what it changed.
#[test]
fn commands_that_the_table_does_not_have() {
    let version = Arc::new(AtomicU64::new(1));
    let current = Arc::clone(&version);
    let upstream = Scripted::start(move |_, command| {
        let value = |n: u64| format!("${}\r\n{n}\r\n", n.to_string().len()).into_bytes();
        Some(match command[0] {
            "COMMAND" => b"*2\r\n\
                  *7\r\n$5\r\nm.get\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n\
                  *7\r\n$5\r\nm.set\r\n:-2\r\n*1\r\n+write\r\n:1\r\n:1\r\n:1\r\n*0\r\n"
                .to_vec(),
            "GET" | "M.GET" => value(current.load(Ordering::SeqCst)),
            "M.SET" | "STRANGE" => value(current.fetch_add(1, Ordering::SeqCst) + 1),
            _ => usual(command),
        })
    });
    let near = start(&upstream);
    let (mut session, mut other) = (near.session(), near.session());
    let hit = |session: &mut crate::support::client::Client, key: &str| {
        eventually("a hit", || {
            let before = near.hits();
            let reply = session.call(&["GET", key]);
            (near.hits() > before).then_some(reply)
        })
    };
    let number = |n: u64| Value::Bulk(n.to_string().into_bytes());
    for round in 0..5 {
        let n = version.load(Ordering::SeqCst);
        for key in ["a", "b"] {
            assert_eq!(hit(&mut session, key), number(n));
        }
        assert_eq!(session.call(&["M.GET", "a"]), number(n));
        let hits = near.hits();
        assert_eq!(other.call(&["GET", "a"]), number(n));
        assert_eq!(near.hits(), hits + 1, "a read has dropped nothing");
        assert_eq!(session.call(&["M.SET", "a", "x"]), number(n + 1));
        let fresh = [&mut session, &mut other].map(|session| session.call(&["GET", "a"]));
        assert_eq!(fresh, [number(n + 1), number(n + 1)], "round {round}");
        // This upstream pushes nothing: what was not named is as it was.
        assert_eq!(hit(&mut other, "b"), number(n));
        assert_eq!(session.call(&["STRANGE", "x"]), number(n + 2));
        // Open again, in the end; nothing that the upstream might have pushed is missed by then.
        hit(&mut other, "b");
        for key in ["a", "b"] {
            session.call(&["M.SET", key]);
        }
    }
    // The same within a transaction and a pipeline.
    let n = version.load(Ordering::SeqCst);
    assert_eq!(hit(&mut session, "a"), number(n));
    session.send(&["M.SET", "a"]);
    session.send(&["GET", "a"]);
    session.flush();
    assert_eq!(session.read(), number(n + 1));
    assert_eq!(session.read(), number(n + 1));
    // An error is relayed in the upstream's words.
    let refusal = session.call(&["FT.SEARCH", "k"]);
    assert_eq!(refusal, Value::Error("ERR unknown command".into()));
}

/// A reply that nobody has a table for comes through as it is, whatever it is made of.
#[test]
fn replies_of_any_shape_come_through() {
    let shapes = [
        "+OK\r\n",
        "-ERR some\r\n",
        ":-9223372036854775808\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*3\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n-ERR inside\r\n",
        "*2\r\n*1\r\n*1\r\n*1\r\n*0\r\n+x\r\n",
    ];
    let upstream = Scripted::start(move |_, command| {
        Some(match command {
            ["M.SHAPE", n] => shapes[n.parse::<usize>().expect("a number")].into(),
            _ => usual(command),
        })
    });
    let near = start(&upstream);
    for pipelined in [false, true] {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(near.addr()).expect("a connection");
        let timeout = Some(crate::support::PATIENCE);
        stream.set_read_timeout(timeout).expect("a timeout");
        let mut wanted = Vec::new();
        let mut sent = Vec::new();
        for (n, shape) in shapes.iter().enumerate() {
            sent.extend_from_slice(format!("M.SHAPE {n}\r\nPING\r\n").as_bytes());
            wanted.extend_from_slice(shape.as_bytes());
            wanted.extend_from_slice(b"+PONG\r\n");
            if !pipelined {
                stream
                    .write_all(&std::mem::take(&mut sent))
                    .expect("a write");
                let mut got = vec![0; wanted.len()];
                stream.read_exact(&mut got).expect("a read");
                assert_eq!(got, std::mem::take(&mut wanted));
            }
        }
        stream.write_all(&sent).expect("a write");
        let mut got = vec![0; wanted.len()];
        stream.read_exact(&mut got).expect("a read");
        assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(&wanted)
        );
    }
}

/// From CLIENT TRACKING on a push may come at any time, in the handshake too: it is nobody's reply.
#[test]
fn a_push_in_the_handshake_is_no_reply() {
    let tracking = AtomicU64::new(u64::MAX);
    let upstream = Scripted::start(move |number, command| {
        let number = u64::try_from(number).expect("a small number");
        let mut answer = usual(command);
        let push = b">2\r\n$10\r\ninvalidate\r\n_\r\n";
        if command[0] == "CLIENT" && command[1] == "TRACKING" {
            tracking.store(number, Ordering::SeqCst);
            // What is read with the reply has to be read on.
            answer.extend_from_slice(&push[..7]);
        } else if tracking.swap(u64::MAX, Ordering::SeqCst) == number {
            let behind = std::mem::take(&mut answer);
            answer.extend_from_slice(&push[7..]);
            answer.extend_from_slice(push);
            answer.extend_from_slice(&behind);
        }
        Some(answer)
    });
    let near = start(&upstream);
    let mut session = near.session();
    let mut replies = Vec::new();
    for _ in 0..10 {
        replies.push(session.call(&["GET", "k"]));
    }
    assert_eq!(replies, vec![Value::Bulk(b"v".to_vec()); 10]);
    assert!(near.hits() > 0);
    let lanes = upstream.commands().into_iter();
    let lanes =
        lanes.filter(|(_, command)| command.starts_with(&["CLIENT".into(), "TRACKING".into()]));
    assert_eq!(lanes.count(), 1, "the lane was not lost");
}
