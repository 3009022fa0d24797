//! Sessions that end with a SWAPDB under way, of which no push tells.

use std::time::Duration;

use nearside::proxy::settings::Sharing;

use crate::coherence::promise::{Promise, value, version};
use crate::coherence::rig::Rig;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

/// Version 1 of `k` is in database 0 and in L1, version 2 in database 1.
fn two_databases(rig: &Rig) {
    let mut direct = rig.server.client();
    direct.must(&["SELECT", "1"]);
    direct.must(&["SET", "k", &value("k", 2)]);
    rig.warm("k");
}

/// A session's number for CLIENT KILL.
fn number(session: &mut Client) -> String {
    let hello = session.call(&["HELLO"]);
    let id = hello.elements().windows(2).find_map(|pair| match pair {
        [name, Value::Int(id)] if name.text() == Some("id") => Some(*id),
        _ => None,
    });
    id.expect("its number").to_string()
}

/// Has the server sleep; the client that has its word when it wakes.
fn stick(server: &RedisServer) -> Client {
    let mut direct = server.client();
    direct.send(&["DEBUG", "SLEEP", "1"]);
    direct.flush();
    eventually("a stuck server", || {
        let mut third = server.client();
        third.send(&["PING"]);
        third.flush();
        (!third.has_reply(Duration::from_millis(20))).then_some(())
    });
    direct
}

fn await_swap(direct: &mut Client) {
    eventually("the swap", || {
        (direct.call(&["GET", "k"]).text() == Some("k:2")).then_some(())
    });
}

/// It was carried out after its session had ended.
#[test]
fn a_swap_that_nobody_waits_for_empties_l1_all_the_same() {
    let rig = Rig::new(|_| {});
    two_databases(&rig);
    let (mut swapper, mut other) = (rig.near.session(), rig.session());
    let id = number(&mut swapper);
    // It has an own connection from here on, so that the swap is sent at once.
    swapper.must(&["WATCH", "none"]);
    let mut direct = stick(&rig.server);
    swapper.send(&["SWAPDB", "0", "1"]);
    swapper.flush();
    assert_eq!(other.call(&["CLIENT", "KILL", "ID", &id]), Value::Int(1));
    assert!(swapper.try_read().is_err(), "it was cut off");
    direct.read();
    await_swap(&mut direct);
    let seen = version("k", &other.call(&["GET", "k"])).expect("a version");
    assert_eq!(Promise::OwnWrites.at_least("k", seen, 2), Ok(()));
}

/// The same, and between its session's end and the swap another read what is to be swapped.
#[test]
fn what_was_read_before_a_swap_that_nobody_waits_for_is_forgotten() {
    let rig = Rig::new(|_| {});
    two_databases(&rig);
    let (mut swapper, mut other, mut early) = (rig.near.session(), rig.session(), rig.session());
    let id = number(&mut swapper);
    swapper.must(&["WATCH", "none"]);
    let mut direct = stick(&rig.server);
    // The server comes to the lane first when it wakes, for it has had something there for longer.
    let mark = rig.relay.mark();
    early.send(&["GET", "early"]);
    early.flush();
    rig.relay.await_read(mark, "early");
    swapper.send(&["SWAPDB", "0", "1"]);
    swapper.flush();
    assert_eq!(other.call(&["CLIENT", "KILL", "ID", &id]), Value::Int(1));
    assert!(swapper.try_read().is_err(), "it was cut off");
    other.send(&["GET", "k"]);
    other.flush();
    rig.relay.await_read(mark, "k");
    direct.read();
    await_swap(&mut direct);
    assert_eq!(version("k", &other.read()), Ok(1), "read before the swap");
    // Nobody was told of it, so it may be heard of a moment later.
    eventually("the version that was swapped in", || {
        (version("k", &other.call(&["GET", "k"])) == Ok(2)).then_some(())
    });
}

/// On a connection that nobody looks at.
#[test]
fn a_swap_that_nobody_sees_empties_l1_when_its_session_ends() {
    let rig = Rig::new(|settings| settings.proxy.sharing = Sharing::Dedicated);
    two_databases(&rig);
    let (mut swapper, mut other) = (rig.session(), rig.session());
    swapper.send(&["CLIENT", "REPLY", "OFF"]);
    swapper.send(&["SWAPDB", "0", "1"]);
    swapper.flush();
    let mut direct = rig.server.client();
    await_swap(&mut direct);
    // Nobody is answered from memory while it lives.
    drop(swapper);
    rig.hit(&mut other, "ready");
    let seen = version("k", &other.call(&["GET", "k"])).expect("a version");
    assert_eq!(Promise::OwnWrites.at_least("k", seen, 2), Ok(()));
}

/// What was sent without wanting replies is carried out, all of it, where the server takes it slower than it is sent.
#[test]
fn nothing_is_lost_of_what_a_client_sent_on_a_connection_that_nobody_looks_at() {
    let rig = Rig::new(|settings| settings.proxy.sharing = Sharing::Dedicated);
    let mut writer = rig.session();
    writer.send(&["CLIENT", "REPLY", "OFF"]);
    writer.flush();
    let mut direct = stick(&rig.server);
    let chunk = "x".repeat(64 << 10);
    for _ in 0..256 {
        writer.send(&["APPEND", "long", &chunk]);
    }
    writer.send(&["SET", "last", "1"]);
    writer.flush();
    drop(writer);
    direct.read();
    eventually("the last command", || {
        (direct.call(&["EXISTS", "last"]) == Value::Int(1)).then_some(())
    });
    assert_eq!(direct.call(&["STRLEN", "long"]), Value::Int(256 << 16));
}
