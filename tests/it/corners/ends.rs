//! How sessions end: what was sent is carried out, what waits is given up, and L1 hears of both.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use nearside::l1::settings::Mode;
use nearside::proxy::settings::Sharing;

use crate::coherence::promise::{Promise, value};
use crate::coherence::rig::Rig;
use crate::support::client::{Client, Protocol};
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::resp::{self, Value};

fn transparent(server: &RedisServer) -> Nearside {
    Nearside::start(server.addr(), |settings| {
        settings.proxy.sharing = Sharing::Dedicated;
        settings.l1.mode = Mode::Off;
        settings.downstream.drain_timeout = Duration::from_secs(10);
    })
}

fn holds(server: &RedisServer, key: &str) -> bool {
    server.client().call(&["EXISTS", key]) == Value::Int(1)
}

/// A client that wants no replies sends what it has to send and goes.
#[test]
fn what_was_sent_without_wanting_replies_is_carried_out() {
    let server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |_| {});
    for (key, write) in [
        ("by the lane", &["SET", "by the lane", "1"][..]),
        (
            "by a script",
            &["EVAL", "redis.call('SET', 'by a script', '1')", "0"],
        ),
    ] {
        let mut client = near.session();
        client.send(&["CLIENT", "REPLY", "OFF"]);
        client.send(write);
        client.flush();
        drop(client);
        eventually(key, || holds(&server, key).then_some(()));
    }
}

/// The same where every byte goes through as it is, and with what a half-closed client is owed.
#[test]
fn a_half_closed_client_gets_what_it_has_asked_for() {
    let server = RedisServer::start(&[]);
    let near = [Nearside::start(server.addr(), |_| {}), transparent(&server)];
    for near in &near {
        let mut client = near.session();
        client.send(&["INCR", "n"]);
        client.send(&["EVAL", "return redis.call('INCR', 'n')", "0"]);
        client.flush();
        client.half_close();
        assert!(matches!(client.read(), Value::Int(_)));
        assert!(matches!(client.read(), Value::Int(_)));
        let end = client.try_read().expect_err("its end").kind();
        assert_eq!(end, std::io::ErrorKind::UnexpectedEof);
    }
    assert_eq!(server.client().call(&["GET", "n"]).text(), Some("4"));
}

/// An upstream that neither answers nor closes is not waited for without end when the client sends nothing more.
#[test]
fn a_client_that_is_gone_does_not_hold_its_session_for_ever() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let near = Nearside::start(upstream.local_addr().expect("its address"), |settings| {
        settings.proxy.sharing = Sharing::Dedicated;
        settings.l1.mode = Mode::Off;
        settings.lane.request_timeout = Duration::from_millis(50);
    });
    let mut client = near.session();
    client.send(&["INCR", "n"]);
    client.flush();
    client.half_close();
    let (mut silent, _) = upstream.accept().expect("a connection");
    let end = client.try_read().expect_err("its end").kind();
    assert_eq!(end, std::io::ErrorKind::UnexpectedEof);
    // What it had sent has all been passed on.
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    silent.read_to_end(&mut sent).expect("all of it");
    resp::encode(&mut expected, &["INCR", "n"]);
    assert_eq!(sent, expected);
}

/// A drain lets a session have the replies to what it has sent, also where nobody looks at them.
#[test]
fn a_drain_waits_for_replies_that_nobody_looks_at() {
    let server = RedisServer::start(&[]);
    let near = transparent(&server);
    let (mut client, mut subscriber) = (near.session(), near.session());
    subscriber.must(&["SUBSCRIBE", "news"]);
    client.must(&["PING"]);
    client.send(&["DEBUG", "SLEEP", "0.5"]);
    client.flush();
    eventually("a stuck server", || {
        let mut other = server.client();
        other.send(&["PING"]);
        other.flush();
        (!other.has_reply(Duration::from_millis(20))).then_some(())
    });
    drop(near);
    assert_eq!(client.read().text(), Some("OK"));
}

/// Whoever waits for a list that nobody fills waits no longer than its client, whatever was sent behind it.
#[test]
fn a_blocked_command_ends_with_its_client() {
    let server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |_| {});
    let mut client = near.session();
    client.send(&["BLPOP", "list", "0"]);
    client.send(&["PING"]);
    client.flush();
    let blocked = || {
        let info = server.client().call(&["INFO", "clients"]);
        let info = info.text().expect("a text").to_owned();
        info.contains("blocked_clients:1\r")
    };
    eventually("a blocked client", || blocked().then_some(()));
    drop(client);
    eventually("its end", || (!blocked()).then_some(()));
    server.client().must(&["RPUSH", "list", "1"]);
    assert_eq!(server.client().call(&["LLEN", "list"]), Value::Int(1));
}

/// In dedicated sharing CLIENT REPLY goes to the server, and what is written behind it is seen all the same.
#[test]
fn own_writes_hold_after_client_reply_on_a_dedicated_connection() {
    let rig = Rig::new(|settings| settings.proxy.sharing = Sharing::Dedicated);
    rig.warm("k");
    let (mut writer, mut other) = (rig.session(), rig.session());
    assert_eq!(writer.call(&["CLIENT", "REPLY", "ON"]).text(), Some("OK"));
    rig.relay.hold();
    writer.must(&["SET", "k", &value("k", 2)]);
    if let Err(violation) = rig.racing_check(&mut other, "k", Promise::OwnWrites, 2) {
        panic!("{violation}");
    }
}

/// What ends a busy script goes to database 0, where no script can bar the way, and nothing behind it is stuck there.
#[test]
fn what_ends_a_busy_script_leaves_a_session_in_its_database() {
    let server = RedisServer::start(&[]);
    for sharing in [Sharing::Lane, Sharing::Dedicated] {
        let near = Nearside::start(server.addr(), |settings| settings.proxy.sharing = sharing);
        let mut session: Client = near.session().speaking(Protocol::Resp2);
        session.must(&["SELECT", "1"]);
        eventually("the lane", || {
            let list = server.client().call(&["CLIENT", "LIST"]);
            let mut lines = list.text().expect("a list").lines();
            let lane = |line: &str| line.contains("nearside-lane") && line.contains(" db=1 ");
            lines.any(lane).then_some(())
        });
        // An idle connection that the server gives up is just forgotten.
        let mut direct = server.client();
        let is_lane = |line: &str| line.contains("nearside-lane");
        // A lane in the middle of its handshake has no name yet.
        let list = eventually("a lane in its database", || {
            let list = direct.call(&["CLIENT", "LIST"]);
            let list = list.text().expect("a list").to_owned();
            let lane = |line: &str| is_lane(line) && line.contains(" db=1 ");
            list.lines().any(lane).then_some(list)
        });
        for line in list.lines().filter(|line| !is_lane(line)) {
            if line.contains(" db=1 ") {
                let id = line.split([' ', '=']).nth(1).expect("a number");
                direct.must(&["CLIENT", "KILL", "ID", id]);
            }
        }
        assert!(session.call(&["SCRIPT", "KILL"]).is_error(), "NOTBUSY");
        session.must(&["SET", "k", "1"]);
        let mut direct = server.client();
        direct.must(&["SELECT", "1"]);
        assert_eq!(direct.call(&["GET", "k"]).text(), Some("1"), "{sharing:?}");
        direct.must(&["DEL", "k"]);
    }
}

/// A write that was taken from a client and not sent before the client was gone is in flight no more.
#[test]
fn a_write_that_was_never_sent_is_not_in_flight() {
    let rig = Rig::new(|_| {});
    rig.warm("k");
    let mut other = rig.session();
    let mut bytes = Vec::new();
    for command in [
        &["GET", "held"][..],
        &["CLIENT", "SETNAME", "a"],
        &["SET", "k", "k:2"],
    ] {
        resp::encode(&mut bytes, command);
    }
    // More than a session reads while it has to wait, so that it does not notice the client's end.
    bytes.resize((1 << 20) + 100, b'\n');
    rig.relay.hold();
    let mut stream = TcpStream::connect(rig.near.addr()).expect("a connection");
    stream.write_all(&bytes).expect("a write");
    rig.relay.await_held("a reply", |frames| !frames.is_empty());
    for _ in 0..50 {
        // Answered on the same thread.
        other.call(&["CLIENT", "GETNAME"]);
    }
    let reset = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    reset.expect("a reset");
    drop(stream);
    rig.relay.release();
    rig.hit(&mut other, "k");
}

/// The rest of a transaction whose connection could not be opened is not carried out piecemeal.
#[test]
fn a_transaction_that_cannot_begin_ends_its_session() {
    let server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |_| {});
    let mut direct = server.client();
    eventually("the lane", || near.running().lane_is_up().then_some(()));
    let mut session = near.session().speaking(Protocol::Resp3);
    session.must(&["PING"]);
    // The lane and the direct client are all that there may be.
    direct.must(&["CONFIG", "SET", "maxclients", "2"]);
    session.send(&["MULTI"]);
    session.flush();
    assert!(session.read().is_error());
    session.send(&["SET", "k", "1"]);
    session.send(&["EXEC"]);
    assert!(session.try_flush().is_err() || session.try_read().is_err());
    near.session().must(&["PING"]);
    assert_eq!(direct.call(&["EXISTS", "k"]), Value::Int(0));
}
