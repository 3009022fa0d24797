//! L1 switched on and off while sessions are at work: the promises hold throughout, for writes that were sent before.

use nearside::config::Settings;
use nearside::l1::settings::Mode;

use super::promise::value;
use super::rig::Rig;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::resp::Value;

fn off(settings: &mut Settings) {
    settings.l1.mode = Mode::Off;
}

fn switch(rig: &Rig, mode: Mode) {
    let switched = rig.near.running().switch().set(Some(mode), None);
    switched.expect("nobody needs a restart");
}

/// Whether the mode that was asked for holds.
fn holds(rig: &Rig) -> bool {
    !rig.near.running().switch().l1().asked_mode().1
}

fn await_holds(rig: &Rig) {
    eventually("the mode", || holds(rig).then_some(()));
}

/// Waits until the server has a client that is blocked.
fn await_blocked(rig: &Rig) {
    eventually("a blocked client", || {
        let info = rig.server.client().must(&["INFO", "clients"]);
        let text = info.text().expect("a text").to_owned();
        text.contains("blocked_clients:1").then_some(())
    });
}

/// Reads until a read was a hit; its reply.
fn hit(rig: &Rig, session: &mut Client, read: &[&str]) -> Value {
    eventually(&format!("a hit of {read:?}"), || {
        let before = rig.near.hits();
        let reply = session.must(read);
        (rig.near.hits() > before).then_some(reply)
    })
}

#[test]
fn off_forwards_and_tells_nobody_and_on_serves_with_the_same_connections() {
    let rig = Rig::new(off);
    let mut session = rig.near.session();
    rig.put("k", 1);
    let mark = rig.relay.mark();
    for _ in 0..3 {
        session.must(&["GET", "k"]);
        session.must(&["SET", "other", "1"]);
        session.must(&["EVAL", "return 1", "0"]);
    }
    let extra = |command: &[Vec<u8>]| !matches!(&command[0][..], b"GET" | b"SET");
    assert!(!rig.relay.sent(mark, extra), "no marker and no fence");
    assert_eq!(rig.near.fills_decided(), 0);
    switch(&rig, Mode::On);
    await_holds(&rig);
    hit(&rig, &mut session, &["GET", "k"]);
    assert_eq!(rig.relay.lanes(), 1, "no reconnect");
    switch(&rig, Mode::Off);
    let hits = rig.near.hits();
    session.must(&["GET", "k"]);
    assert_eq!(rig.near.hits(), hits);
    assert!(rig.near.running().l1_entries().is_empty());
}

/// A write over an own connection that was sent while L1 was off is carried out when it is on. Its client has the
/// acknowledgement before the lane has the push: nobody is answered from memory in between.
#[test]
fn a_write_that_was_sent_unannounced() {
    let rig = Rig::new(off);
    let (mut mover, mut reader) = (rig.near.session(), rig.near.session());
    rig.server.client().must(&["RPUSH", "to", "first"]);
    mover.send(&["BLMOVE", "from", "to", "LEFT", "RIGHT", "0"]);
    mover.flush();
    await_blocked(&rig);
    switch(&rig, Mode::On);
    await_holds(&rig);
    let read = ["LRANGE", "to", "0", "-1"];
    assert_eq!(hit(&rig, &mut reader, &read).elements().len(), 1);
    rig.relay.hold();
    rig.server.client().must(&["RPUSH", "from", "second"]);
    assert_eq!(mover.read().text(), Some("second"));
    // The acknowledgement is here, the push is not.
    let mark = rig.relay.mark();
    reader.send(&read);
    reader.flush();
    eventually("a hit, or the read on the lane", || {
        let sent = rig.relay.sent(mark, |command| command[0] == b"LRANGE");
        (sent || reader.has_reply(std::time::Duration::from_millis(1))).then_some(())
    });
    rig.relay.release();
    assert_eq!(reader.read().elements().len(), 2, "own writes");
}

/// The same of a transaction whose EXEC was sent while L1 was off, and of one that was only begun then.
#[test]
fn a_transaction_begun_while_off_is_announced_at_exec() {
    let rig = Rig::new(off);
    let (mut writer, mut reader) = (rig.near.session(), rig.near.session());
    rig.put("k", 1);
    writer.must(&["WATCH", "unrelated"]);
    writer.must(&["MULTI"]);
    writer.must(&["SET", "k", &value("k", 2)]);
    switch(&rig, Mode::On);
    await_holds(&rig);
    hit(&rig, &mut reader, &["GET", "k"]);
    rig.relay.hold();
    writer.must(&["EXEC"]);
    let reply = rig.racing_get(&mut reader, "k");
    assert_eq!(reply.text(), Some("k:2"), "own writes");
}

/// While a write that was sent down the lane unannounced has no reply, L1 waits.
#[test]
fn it_warms_up_until_the_lane_has_answered() {
    let rig = Rig::new(off);
    let (mut writer, mut reader) = (rig.near.session(), rig.near.session());
    writer.must(&["PING"]);
    reader.must(&["PING"]);
    rig.relay.stall();
    let mark = rig.relay.mark();
    writer.send(&["SET", "k", &value("k", 1)]);
    writer.flush();
    eventually("the write", || {
        rig.relay
            .sent(mark, |command| command[0] == b"SET")
            .then_some(())
    });
    switch(&rig, Mode::On);
    // One that comes later need not be waited for, and waits for nobody.
    let mut late = rig.near.session();
    late.send(&["GET", "k"]);
    late.flush();
    rig.relay.await_read(mark, "k");
    assert!(!holds(&rig));
    rig.relay.unstall();
    assert_eq!(writer.read().text(), Some("OK"));
    assert_eq!(late.read().text(), Some("k:1"));
    await_holds(&rig);
    hit(&rig, &mut reader, &["GET", "k"]);
}

/// Replies that nobody takes hold no one up. Without a relay, which would wait for nearside to take them.
#[test]
fn a_client_that_does_not_read_delays_nothing() {
    use crate::support::nearside::Nearside;
    use crate::support::redis::RedisServer;
    let server = RedisServer::start(&[]);
    let mut direct = server.client();
    direct.must(&["SET", "large", &"x".repeat(900_000)]);
    let near = Nearside::start(server.addr(), off);
    let mut slow = near.session();
    for _ in 0..4 {
        slow.send(&["GET", "large"]);
    }
    slow.send(&["SET", "other", "1"]);
    // The lane waits for whoever does not take the last reply; it is no write.
    slow.send(&["GET", "large"]);
    slow.flush();
    eventually("the write", || {
        (direct.must(&["GET", "other"]).text() == Some("1")).then_some(())
    });
    let switch = near.running().switch();
    let switched = switch.set(Some(Mode::On), None);
    switched.expect("nobody needs a restart");
    eventually("the mode", || {
        (switch.l1().mode() == Mode::On).then_some(())
    });
    for _ in 0..6 {
        assert!(!slow.read().is_error());
    }
}

/// A client whose writes cannot be told keeps L1 closed, also where it became one while L1 was off.
#[test]
fn one_whose_writes_cannot_be_told_is_remembered() {
    let rig = Rig::new(off);
    let (mut unseen, mut reader) = (rig.near.session(), rig.near.session());
    unseen.must(&["CLIENT", "ID"]);
    for command in [&["MULTI"][..], &["CLIENT", "REPLY", "OFF"], &["EXEC"]] {
        unseen.send(command);
    }
    unseen.flush();
    unseen.read();
    switch(&rig, Mode::On);
    await_holds(&rig);
    rig.put("k", 1);
    let hits = rig.near.hits();
    for _ in 0..5 {
        reader.must(&["GET", "k"]);
    }
    assert_eq!(rig.near.hits(), hits);
    drop(unseen);
    hit(&rig, &mut reader, &["GET", "k"]);
}

/// Writes that were announced before L1 was switched off end all the same: their keys are filled again later.
#[test]
fn nothing_stays_in_flight() {
    let rig = Rig::new(|_| {});
    let (mut writer, mut reader) = (rig.session(), rig.session());
    rig.server.client().must(&["RPUSH", "to", "first"]);
    writer.send(&["BLMOVE", "from", "to", "LEFT", "RIGHT", "0"]);
    writer.flush();
    await_blocked(&rig);
    switch(&rig, Mode::Off);
    let mut other = rig.near.session();
    other.must(&["WATCH", "unrelated"]);
    for command in [&["MULTI"][..], &["SET", "k", "k:1"], &["EXEC"]] {
        other.must(command);
    }
    rig.server.client().must(&["RPUSH", "from", "second"]);
    assert_eq!(writer.read().text(), Some("second"));
    switch(&rig, Mode::On);
    await_holds(&rig);
    let list = hit(&rig, &mut reader, &["LRANGE", "to", "0", "-1"]);
    assert_eq!(list.elements().len(), 2);
    assert_eq!(hit(&rig, &mut reader, &["GET", "k"]).text(), Some("k:1"));
}

#[test]
fn shadow_takes_the_hits_away_and_on_gives_them_back() {
    let rig = Rig::new(|_| {});
    let mut session = rig.session();
    rig.warm("k");
    switch(&rig, Mode::Shadow);
    assert!(holds(&rig) && rig.near.running().l1_entries().is_empty());
    let hits = rig.near.hits();
    for _ in 0..3 {
        session.must(&["GET", "k"]);
    }
    assert_eq!(rig.near.hits(), hits);
    eventually("a prediction", || {
        session.must(&["GET", "k"]);
        (rig.near.running().shadow()[0] > 0).then_some(())
    });
    switch(&rig, Mode::On);
    assert!(holds(&rig));
    hit(&rig, &mut session, &["GET", "k"]);
}

#[test]
fn a_smaller_sample_drops_the_others() {
    let rig = Rig::new(|_| {});
    let mut session = rig.session();
    rig.warm("k");
    let set = |sample| rig.near.running().switch().set(None, Some(sample));
    set(0).expect("nobody needs a restart");
    let hits = rig.near.hits();
    for _ in 0..3 {
        session.must(&["GET", "k"]);
    }
    assert_eq!(rig.near.hits(), hits);
    set(1_000_000).expect("nobody needs a restart");
    hit(&rig, &mut session, &["GET", "k"]);
}

/// An MGET that has some of its keys in the sample fills those alone.
#[test]
fn an_mget_fills_no_key_outside_the_sample() {
    let rig = Rig::new(|settings| settings.l1.sample = 500_000);
    let mut session = rig.near.session();
    let keys: Vec<String> = (0..60).map(|n| format!("k{n}")).collect();
    let mget: Vec<&str> = ["MGET"]
        .into_iter()
        .chain(keys.iter().map(String::as_str))
        .collect();
    session.must(&mget);
    session.must(&["PING"]);
    let mut explained = |key: &str| {
        let told = session.must(&["NEARSIDE", "EXPLAIN", "GET", key]);
        let texts: Vec<Option<String>> = told
            .elements()
            .iter()
            .map(|one| one.text().map(str::to_owned))
            .collect();
        ["cached", "held"].map(|name| {
            let at = texts.iter().position(|text| text.as_deref() == Some(name));
            texts[at.expect("it is told") + 1].as_deref() == Some("yes")
        })
    };
    let explained: Vec<[bool; 2]> = keys.iter().map(|key| explained(key)).collect();
    assert!(explained.iter().all(|[cached, held]| cached == held));
    assert!(explained.contains(&[true, true]) && explained.contains(&[false, false]));
}

/// Where the upstream tracks nothing for us, L1 stays without hits, and all else is as before.
#[test]
fn an_upstream_that_refuses_to_track() {
    use crate::support::nearside::Nearside;
    use crate::support::scripted::{Scripted, usual};
    let upstream = Scripted::start(|_, command| {
        let refused = command.len() > 1 && command[1] == "TRACKING";
        Some(if refused {
            b"-ERR no\r\n".to_vec()
        } else {
            usual(command)
        })
    });
    let near = Nearside::start(upstream.addr(), off);
    let mut session = near.session();
    session.must(&["GET", "k"]);
    let switched = near.running().switch().set(Some(Mode::On), None);
    switched.expect("nobody needs a restart");
    for _ in 0..5 {
        assert_eq!(session.must(&["GET", "k"]).text(), Some("v"));
    }
    assert_eq!((near.hits(), near.fills_decided()), (0, 0));
    assert_eq!(upstream.count(&["CLIENT", "CACHING"]), 0);
}

#[test]
fn dedicated_sessions_stay_what_they_are() {
    use nearside::proxy::settings::Sharing;
    let rig = Rig::new(|settings| settings.proxy.sharing = Sharing::Dedicated);
    let mut session = rig.session();
    rig.warm("k");
    switch(&rig, Mode::Off);
    session.must(&["SET", "k", "k:2"]);
    assert_eq!(session.must(&["GET", "k"]).text(), Some("k:2"));
    switch(&rig, Mode::On);
    await_holds(&rig);
    assert_eq!(hit(&rig, &mut session, &["GET", "k"]).text(), Some("k:2"));
}

#[test]
fn where_bytes_are_not_looked_at_a_restart_is_needed() {
    use nearside::downstream::switch::NEEDS_RESTART;
    use nearside::proxy::settings::Sharing;
    let server = crate::support::redis::RedisServer::start(&[]);
    let near = crate::support::nearside::Nearside::start(server.addr(), |settings| {
        settings.proxy.sharing = Sharing::Dedicated;
        settings.l1.mode = Mode::Off;
    });
    let switch = near.running().switch();
    assert_eq!(switch.set(Some(Mode::On), None), Err(NEEDS_RESTART));
    assert_eq!(switch.set(Some(Mode::Shadow), Some(1)), Err(NEEDS_RESTART));
    assert_eq!(switch.set(Some(Mode::Off), None), Ok(()));
    let mut session = near.session();
    session.must(&["SET", "k", "1"]);
    assert_eq!(session.must(&["GET", "k"]).text(), Some("1"));
}
