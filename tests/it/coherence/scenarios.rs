//! Interleavings in which one rule decides. Each says which promise breaks where its rule is missing.

use std::thread;
use std::time::{Duration, Instant};

use super::promise::{Checked, Promise, value, version};
use super::rig::Rig;
use super::world::twins_agree;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::resp::Value;

/// `max_staleness` where it plays a part.
pub const BOUND: Duration = Duration::from_millis(300);

/// A push behind a fill's last reply arrives in the same read as the fill.
pub fn push_behind_fill(rig: &Rig) -> Checked {
    rig.put("k", 1);
    let mut session = rig.session();
    rig.relay.hold();
    rig.held_fill(&mut session, "k");
    rig.put("k", 2);
    let written = Instant::now();
    rig.held_push();
    rig.relay.release();
    assert_eq!(
        version("k", &session.read()),
        Ok(1),
        "read before the write"
    );
    rig.visible_within(BOUND, written, "k", 2)
}

/// A foreign write falls between a fill's read and its PTTL.
pub fn push_inside_fill(rig: &Rig) -> Checked {
    rig.put("k", 1);
    let mut session = rig.session();
    rig.relay.hold();
    rig.held_fill(&mut session, "k");
    rig.put("k", 2);
    let written = Instant::now();
    rig.held_push();
    // PTTL's reply is the same before and after that write, so the server might have served them in this order.
    rig.relay.rearrange(|frames| {
        let push = frames
            .iter()
            .position(super::rig::is_push)
            .expect("held above");
        let push = frames.remove(push).expect("found above");
        let value = frames
            .iter()
            .position(|frame| frame.is_text("k:1"))
            .expect("held above");
        frames.insert(value + 1, push);
    });
    rig.relay.release();
    assert_eq!(
        version("k", &session.read()),
        Ok(1),
        "read before the write"
    );
    rig.visible_within(BOUND, written, "k", 2)
}

/// A BLPOP reply overtakes the push of an earlier write.
pub fn blpop_overtakes_push(rig: &Rig) -> Checked {
    rig.warm("k");
    let mut session = rig.session();
    rig.relay.hold();
    rig.put("k", 2);
    rig.server.client().must(&["LPUSH", "q", "2"]);
    session.must(&["BLPOP", "q", "10"]);
    rig.racing_check(&mut session, "k", Promise::Causality, 2)
}

/// A message overtakes the push of an earlier write.
pub fn message_overtakes_push(rig: &Rig) -> Checked {
    rig.warm("k");
    let mut session = rig.session();
    session.must(&["SUBSCRIBE", "news"]);
    rig.relay.hold();
    rig.put("k", 2);
    rig.server.client().must(&["PUBLISH", "news", "2"]);
    assert_eq!(session.read().elements().len(), 3, "a message");
    session.must(&["UNSUBSCRIBE", "news"]);
    rig.racing_check(&mut session, "k", Promise::Causality, 2)
}

/// A read inside MULTI, on the session's own connection, overtakes the push of a foreign write.
pub fn exec_read_overtakes_push(rig: &Rig) -> Checked {
    rig.warm("k");
    let mut session = rig.session();
    session.must(&["WATCH", "unrelated"]);
    rig.relay.hold();
    rig.put("k", 2);
    for command in [&["MULTI"][..], &["GET", "k"], &["EXEC"]] {
        session.must(command);
    }
    rig.racing_check(&mut session, "k", Promise::Causality, 2)
}

/// A read's fill is ahead of a write on the lane, and the push for it behind.
pub fn fill_ahead_of_lane_write(rig: &Rig) -> Checked {
    rig.put("k", 1);
    let (mut reader, mut writer) = (rig.session(), rig.session());
    rig.relay.hold();
    rig.held_fill(&mut reader, "k");
    writer.send(&["SET", "k", &value("k", 2)]);
    writer.flush();
    rig.held_push();
    assert!(!rig.acknowledged(&mut writer).is_error());
    rig.racing_check(&mut writer, "k", Promise::OwnWrites, 2)
}

/// A read's fill is on its way when EXEC, on an own connection, is acknowledged; the push is not here yet.
pub fn fill_behind_exec(rig: &Rig) -> Checked {
    fill_behind_own_write(rig, &[&["MULTI"], &["SET", "k", "k:2"], &["EXEC"]])
}

/// The same with a script of undeclared keys.
pub fn fill_behind_script(rig: &Rig) -> Checked {
    fill_behind_own_write(
        rig,
        &[&["EVAL", "return redis.call('SET', 'k', 'k:2')", "0"]],
    )
}

fn fill_behind_own_write(rig: &Rig, write: &[&[&str]]) -> Checked {
    rig.put("k", 1);
    let (mut reader, mut writer, mut third) = (rig.session(), rig.session(), rig.session());
    writer.must(&["WATCH", "unrelated"]);
    rig.relay.hold();
    rig.held_fill(&mut reader, "k");
    for command in write {
        writer.must(command);
    }
    rig.held_push();
    let decided = rig.near.fills_decided();
    rig.relay.pass_while(|frame| !frame.is_push());
    assert_eq!(version("k", &reader.read()), Ok(1), "read before the write");
    // The read's reply is relayed before the PTTL behind it decides the fill.
    eventually("the fill's end", || {
        (rig.near.fills_decided() > decided).then_some(())
    });
    rig.racing_check(&mut third, "k", Promise::OwnWrites, 2)
}

/// A script writes a key that it does not name; its push is not here yet.
pub fn script_overtakes_push(rig: &Rig) -> Checked {
    rig.warm("k");
    let (mut writer, mut third) = (rig.session(), rig.session());
    rig.relay.hold();
    writer.must(&["EVAL", "return redis.call('SET', 'k', 'k:2')", "0"]);
    rig.racing_check(&mut third, "k", Promise::OwnWrites, 2)
}

/// A key ends by its TTL, and the server, its active expiry off, says nothing.
pub fn key_ends_unsaid(rig: &Rig) -> Checked {
    let mut session = rig.session();
    let ttl = Duration::from_millis(300);
    rig.server.client().must(&["SET", "k", "k:1", "PX", "300"]);
    let written = Instant::now();
    while written.elapsed() <= ttl + Duration::from_millis(1) {
        session.call(&["GET", "k"]);
    }
    let got = version("k", &session.call(&["GET", "k"]))?;
    if got == 0 {
        Ok(())
    } else {
        Err(Promise::Expiry.broken("k", got, "nil, its time being over"))
    }
}

/// While a hit waits behind a miss, its key is written, and then the missed one.
pub fn push_while_hit_waits(rig: &Rig) -> Checked {
    rig.warm("b");
    rig.put("a", 1);
    let mut session = rig.session();
    rig.relay.stall();
    let mark = rig.relay.mark();
    session.send(&["GET", "a"]);
    session.send(&["GET", "b"]);
    session.flush();
    rig.relay.await_read(mark, "a");
    rig.put("b", 2);
    rig.put("a", 2);
    rig.relay.unstall();
    let a = version("a", &session.read())?;
    assert_eq!(a, 2, "read after the write");
    Promise::Order.at_least("b", version("b", &session.read())?, a)
}

/// A hit waits behind a miss, and the session's own write of its key comes behind it.
pub fn own_write_behind_waiting_hit(rig: &Rig) -> Checked {
    rig.warm("b");
    rig.put("a", 1);
    let mut session = rig.session();
    session.send(&["GET", "a"]);
    session.send(&["GET", "b"]);
    session.send(&["SET", "b", &value("b", 2)]);
    session.flush();
    let (a, b, set) = (session.read(), session.read(), session.read());
    version("a", &a)?;
    Promise::Order.below("b", version("b", &b)?, 2)?;
    if set.text() == Some("OK") {
        Ok(())
    } else {
        Err(Promise::Order.broken("b", format_args!("{set:?}"), "OK, the reply to SET"))
    }
}

/// A hit waits in front of a miss; it falls, and if it is read again only then, it overtakes the miss behind it.
pub fn reread_behind_later_read(rig: &Rig) -> Checked {
    rig.warm("b");
    rig.put("a", 1);
    rig.put("c", 1);
    let mut session = rig.session();
    rig.relay.stall();
    let mark = rig.relay.mark();
    for key in ["a", "b", "c"] {
        session.send(&["GET", key]);
    }
    session.flush();
    rig.relay.await_read(mark, "c");
    rig.put("b", 2);
    rig.relay.hold();
    rig.relay.unstall();
    rig.relay.await_held("a and c", |frames| {
        frames.iter().any(|frame| frame.is_text("c:1"))
    });
    rig.put("c", 2);
    rig.put("b", 3);
    rig.relay.release();
    version("a", &session.read())?;
    let b = version("b", &session.read())?;
    let c = version("c", &session.read())?;
    // c = 2 was written before b = 3.
    Promise::Order.at_least("c", c, if b == 3 { 2 } else { 0 })
}

/// Somebody flushes everything.
pub fn flush_elsewhere(rig: &Rig) -> Checked {
    rig.warm("k");
    rig.server.client().must(&["FLUSHALL"]);
    let written = Instant::now();
    // A flush forgets what was tracked, so this write is not pushed.
    rig.put("k", 2);
    rig.visible_within(BOUND, written, "k", 2)
}

/// Nothing is heard from the upstream for longer than the bound.
pub fn silent_lane(rig: &Rig) -> Checked {
    rig.warm("k");
    let mut session = rig.session();
    rig.relay.hold();
    rig.put("k", 2);
    thread::sleep(BOUND + Duration::from_millis(5));
    rig.racing_check(&mut session, "k", Promise::BoundedStaleness, 2)
}

/// What arrives was sent before the write, but late: it proves nothing.
pub fn late_bytes(rig: &Rig) -> Checked {
    rig.warm("k");
    rig.put("other", 1);
    let (mut session, mut reader) = (rig.session(), rig.session());
    rig.relay.hold();
    rig.held_fill(&mut reader, "other");
    rig.put("k", 2);
    rig.held_push();
    thread::sleep(BOUND + Duration::from_millis(5));
    rig.relay.pass_while(|frame| !frame.is_push());
    assert_eq!(
        version("other", &reader.read()),
        Ok(1),
        "what was held has arrived"
    );
    rig.racing_check(&mut session, "k", Promise::BoundedStaleness, 2)
}

/// A session of another user, on a lane of its own that is being served from L1.
pub fn other_user(rig: &Rig) -> Client {
    rig.server.client().must(&[
        "ACL", "SETUSER", "amy", "on", ">secret", "~*", "&*", "+@all",
    ]);
    let mut session = rig.near.session();
    session.must(&["AUTH", "amy", "secret"]);
    rig.server.client().must(&["SETNX", "ready", "ready:1"]);
    rig.hit(&mut session, "ready");
    assert_eq!(rig.relay.lanes(), 2, "a lane for each user");
    session
}

/// A fill on another user's lane is ahead of a write, and the push for it behind.
pub fn fill_on_another_lane(rig: &Rig) -> Checked {
    rig.put("k", 1);
    let mut writer = rig.session();
    let (mut reader, mut third) = (other_user(rig), other_user(rig));
    rig.relay.hold_only(1);
    rig.held_fill(&mut reader, "k");
    assert!(!writer.call(&["SET", "k", "k:2"]).is_error());
    rig.held_push();
    let decided = rig.near.fills_decided();
    rig.relay.pass_while(|frame| !frame.is_push());
    assert_eq!(version("k", &reader.read()), Ok(1), "read before the write");
    eventually("the fill's end", || {
        (rig.near.fills_decided() > decided).then_some(())
    });
    rig.racing_check(&mut third, "k", Promise::OwnWrites, 2)
}

/// A session in another database, whose lane is up.
fn elsewhere(rig: &Rig) -> Client {
    let mut session = rig.near.session();
    session.must(&["SELECT", "1"]);
    let mut direct = rig.server.client();
    direct.must(&["SELECT", "1"]);
    direct.must(&["SETNX", "ready", "ready:1"]);
    rig.hit(&mut session, "ready");
    assert_eq!(rig.relay.lanes(), 2, "a lane for each database");
    session
}

/// A fill on another database's lane is ahead of a write that reaches there, and the push for it behind.
fn reached(rig: &Rig, before: Option<u64>, write: impl FnOnce(&mut Client)) -> Checked {
    rig.put("k", 2);
    let mut direct = rig.server.client();
    direct.must(&["SELECT", "1"]);
    if let Some(version) = before {
        direct.must(&["SET", "k", &format!("k:{version}")]);
    }
    let mut writer = rig.session();
    let (mut reader, mut third) = (elsewhere(rig), elsewhere(rig));
    rig.relay.hold_only(1);
    rig.held_fill(&mut reader, "k");
    write(&mut writer);
    // What the writer's own lane has to bring has come.
    rig.session().call(&["TTL", "k"]);
    rig.held_push();
    let decided = rig.near.fills_decided();
    rig.relay.pass_while(|frame| !frame.is_push());
    reader.read();
    eventually("the fill's end", || {
        (rig.near.fills_decided() > decided).then_some(())
    });
    rig.racing_check(&mut third, "k", Promise::OwnWrites, 2)
}

/// The write is a COPY.
pub fn fill_in_another_database(rig: &Rig) -> Checked {
    reached(rig, Some(1), |writer| {
        writer.must(&["COPY", "k", "k", "DB", "1", "REPLACE"]);
    })
}

/// It is a MOVE, which a transaction holds.
pub fn moved_into_another_database(rig: &Rig) -> Checked {
    reached(rig, None, |writer| {
        for request in [&["MULTI"][..], &["MOVE", "k", "1"], &["EXEC"]] {
            writer.send(request);
        }
        writer.flush();
        let last = (0..3).map(|_| writer.read()).last();
        assert_eq!(last, Some(Value::Array(vec![Value::Int(1)])));
    })
}

/// It goes over an own connection, where a key is watched.
pub fn watched_copy_into_another_database(rig: &Rig) -> Checked {
    reached(rig, Some(1), |writer| {
        writer.must(&["WATCH", "other"]);
        writer.must(&["COPY", "k", "k", "DB", "1", "REPLACE"]);
    })
}

/// A session has read a value on one lane, and another lane's L1 still holds the one before.
pub fn change_of_lane(rig: &Rig) -> Checked {
    rig.put("k", 1);
    let mut other = other_user(rig);
    rig.hit(&mut other, "k");
    let mut session = rig.session();
    rig.relay.hold_only(1);
    rig.put("k", 2);
    rig.held_push();
    // Not tracked on this lane before, so no push on it takes the other lane's entry away.
    assert_eq!(version("k", &session.call(&["GET", "k"])), Ok(2));
    session.must(&["AUTH", "amy", "secret"]);
    rig.racing_check(&mut session, "k", Promise::MonotonicKeys, 2)
}

/// The same where the session was answered from L1 alone before it changes.
pub fn change_of_lane_behind_a_hit(rig: &Rig) -> Checked {
    rig.put("k", 1);
    let mut other = other_user(rig);
    rig.hit(&mut other, "k");
    let mut session = rig.near.session();
    rig.relay.hold_only(1);
    rig.put("k", 2);
    rig.held_push();
    rig.hit(&mut rig.session(), "k");
    let hits = rig.near.hits();
    assert_eq!(version("k", &session.call(&["GET", "k"])), Ok(2));
    assert_eq!(rig.near.hits(), hits + 1, "nothing but a hit");
    session.must(&["AUTH", "amy", "secret"]);
    rig.racing_check(&mut session, "k", Promise::MonotonicKeys, 2)
}

/// L1 has one key of an MGET; both are written by one MSET before the other is read.
pub fn hit_falls_while_missing_keys_come(rig: &Rig) -> Checked {
    rig.warm("x");
    rig.put("y", 1);
    let mut session = rig.session();
    rig.relay.stall();
    let mark = rig.relay.mark();
    session.send(&["MGET", "x", "y"]);
    session.flush();
    rig.relay.await_read(mark, "y");
    assert!(!rig.relay.sent_read(mark, "x"), "the missing key alone");
    rig.server.client().must(&["MSET", "x", "x:2", "y", "y:2"]);
    rig.relay.unstall();
    let reply = session.read();
    let values = reply.elements();
    twins_agree(&[("x", &values[0]), ("y", &values[1])])
}

/// The lane is lost, and the push with it.
pub fn lane_lost(rig: &Rig) -> Checked {
    rig.warm("k");
    rig.relay.hold();
    rig.put("k", 2);
    let written = Instant::now();
    rig.held_push();
    rig.relay.kill_lane();
    rig.relay.release();
    let mut probe = rig.near.session();
    eventually("service after the loss", || {
        (!probe.call(&["SET", "elsewhere", "1"]).is_error()).then_some(())
    });
    rig.visible_within(BOUND, written, "k", 2)
}

/// A read that another session has under way is asked for behind a read of another key.
pub fn share_behind_own_read(rig: &Rig) -> Checked {
    rig.put("a", 1);
    rig.put("b", 1);
    let (mut leader, mut session) = (rig.session(), rig.session());
    rig.relay.stall();
    let mark = rig.relay.mark();
    leader.send(&["GET", "b"]);
    leader.flush();
    rig.relay.await_read(mark, "b");
    session.send(&["GET", "a"]);
    session.send(&["GET", "b"]);
    session.flush();
    rig.relay.await_read(mark, "a");
    rig.relay.unstall();
    for key in ["a", "b"] {
        version(key, &session.read())?;
    }
    Ok(())
}

/// A read is under way that the server carried out before a write, which has been acknowledged since.
pub fn share_behind_write(rig: &Rig) -> Checked {
    share_read_behind_write(rig, &["GET", "k"])
}

/// The same where the write is of the second key that the read names.
pub fn share_behind_write_of_another_key(rig: &Rig) -> Checked {
    rig.server.client().must(&["SET", "both", "k:1k:2"]);
    share_read_behind_write(rig, &["LCS", "both", "k"])
}

fn share_read_behind_write(rig: &Rig, read: &[&str]) -> Checked {
    rig.put("k", 1);
    let (mut leader, mut writer, mut session) = (rig.session(), rig.session(), rig.session());
    rig.relay.hold();
    leader.send(read);
    leader.flush();
    rig.relay.await_held("its reply", |frames| {
        frames.iter().any(|frame| frame.is_text("k:1"))
    });
    let written = [
        &["WATCH", "other"][..],
        &["MULTI"],
        &["SET", "k", "k:2"],
        &["EXEC"],
    ];
    for command in written {
        writer.call(command);
    }
    let mark = rig.relay.mark();
    session.send(read);
    session.flush();
    // Where it shares the read, nothing shows that.
    for _ in 0..50 {
        if rig.relay.sent_read(mark, "k") || session.has_reply(Duration::from_millis(10)) {
            break;
        }
    }
    rig.relay.release();
    Promise::OwnWrites.at_least("k", version("k", &session.read())?, 2)
}

/// A key that is held is read by another command, and is dropped before the server carries that out.
pub fn dropped_under_a_plain_read(rig: &Rig) -> Checked {
    rig.warm("k");
    let mut session = rig.session();
    rig.relay.stall();
    let mark = rig.relay.mark();
    session.send(&["GETRANGE", "k", "0", "-1"]);
    session.flush();
    rig.relay
        .await_sent(mark, "a plain read", |command| command[0] == b"GETRANGE");
    rig.put("k", 2);
    eventually("its drop", || {
        let held = rig.near.running().l1_entries();
        let is_k = |request: &[u8]| request.ends_with(b"$1\r\nk\r\n");
        (!held.iter().any(|(request, _)| is_k(request))).then_some(())
    });
    let decided = rig.near.fills_decided();
    rig.relay.unstall();
    assert_eq!(version("k", &session.read()), Ok(2));
    eventually("the fill's end", || {
        (rig.near.fills_decided() > decided).then_some(())
    });
    rig.put("k", 3);
    let written = Instant::now();
    while written.elapsed() < BOUND {
        let got = version("k", &session.call(&["GETRANGE", "k", "0", "-1"]))?;
        if got == 3 {
            return Ok(());
        }
    }
    let got = version("k", &session.call(&["GETRANGE", "k", "0", "-1"]))?;
    Promise::BoundedStaleness.at_least("k", got, 3)
}
