//! Own writes, whichever way the write goes: by every command here, with the old value in L1 or about to be put
//! there, read by the writing session and by another, while the push is held back.

use super::promise::{Checked, Promise, value};
use super::rig::Rig;
use crate::support::client::{Client, Protocol};
use crate::support::resp::Value;

type Commands = &'static [&'static [&'static str]];

/// A way to turn `k` from `k:1` into `k:2`, or into nothing.
struct Way {
    name: &'static str,
    /// Sent straight to the server before.
    before: Commands,
    /// The session's commands; the last one's reply is the acknowledgement.
    commands: Commands,
    deletes: bool,
}

const fn writes(name: &'static str, before: Commands, commands: Commands) -> Way {
    Way {
        name,
        before,
        commands,
        deletes: false,
    }
}

const fn deletes(name: &'static str, commands: Commands) -> Way {
    Way {
        name,
        before: &[],
        commands,
        deletes: true,
    }
}

const LIBRARY: &str = "#!lua name=checker\nredis.register_function('put', function() return redis.call('SET', 'k', 'k:2') end)";

#[rustfmt::skip]
const WAYS: &[Way] = &[
    writes("SET", &[], &[&["SET", "k", "k:2"]]),
    writes("SET GET", &[], &[&["SET", "k", "k:2", "GET"]]),
    writes("SETEX", &[], &[&["SETEX", "k", "100", "k:2"]]),
    writes("PSETEX", &[], &[&["PSETEX", "k", "100000", "k:2"]]),
    writes("GETSET", &[], &[&["GETSET", "k", "k:2"]]),
    writes("SETRANGE", &[], &[&["SETRANGE", "k", "2", "2"]]),
    writes("SETBIT", &[], &[&["SETBIT", "k", "22", "1"], &["SETBIT", "k", "23", "0"]]),
    writes("BITFIELD", &[], &[&["BITFIELD", "k", "SET", "u8", "16", "50"]]),
    writes("MSET", &[], &[&["MSET", "x", "1", "k", "k:2"]]),
    writes("RENAME onto", &[&["SET", "from", "k:2"]], &[&["RENAME", "from", "k"]]),
    writes("COPY", &[&["SET", "from", "k:2"]], &[&["COPY", "from", "k", "REPLACE"]]),
    writes("BITOP", &[&["SET", "from", "k:2"]], &[&["BITOP", "AND", "k", "from", "from"]]),
    writes("DEL, SETNX", &[], &[&["DEL", "k"], &["SETNX", "k", "k:2"]]),
    writes("DEL, APPEND", &[], &[&["DEL", "k"], &["APPEND", "k", "k:2"]]),
    writes("lower case", &[], &[&["set", "k", "k:2"]]),
    writes("EVAL, declared", &[], &[&["EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", "1", "k", "k:2"]]),
    writes("EVAL, undeclared", &[], &[&["EVAL", "return redis.call('SET', 'k', 'k:2')", "0"]]),
    writes("EVAL, another declared", &[], &[&["EVAL", "return redis.call('SET', 'k', 'k:2')", "1", "x"]]),
    writes("EVAL that fails after its write", &[], &[&["EVAL", "redis.call('SET', 'k', 'k:2') return redis.call('NONE')", "0"]]),
    writes("FCALL", &[&["FUNCTION", "LOAD", "REPLACE", LIBRARY]], &[&["FCALL", "put", "0"]]),
    writes("MULTI", &[], &[&["MULTI"], &["SET", "k", "k:2"], &["EXEC"]]),
    writes("MULTI with WATCH", &[], &[&["WATCH", "k"], &["MULTI"], &["SET", "k", "k:2"], &["EXEC"]]),
    writes("MULTI with EVAL", &[], &[&["MULTI"], &["EVAL", "return redis.call('SET', 'k', 'k:2')", "0"], &["EXEC"]]),
    writes("MULTI with RENAME", &[&["SET", "from", "k:2"]], &[&["MULTI"], &["RENAME", "from", "k"], &["EXEC"]]),
    writes("MULTI after an error", &[], &[&["MULTI"], &["MULTI"], &["SET", "k", "k:2"], &["EXEC"]]),
    writes("SET under WATCH", &[], &[&["WATCH", "x"], &["SET", "k", "k:2"]]),
    writes("SET after SELECT", &[], &[&["SELECT", "0"], &["SET", "k", "k:2"]]),
    writes("SET after SELECT and back", &[], &[&["SELECT", "1"], &["SELECT", "0"], &["SET", "k", "k:2"]]),
    writes("MOVE from another database", &[&["DEL", "k"], &["SELECT", "1"], &["SET", "k", "k:2"], &["SELECT", "0"], &["SET", "k", "k:1"]],
        &[&["DEL", "k"], &["SELECT", "1"], &["MOVE", "k", "0"], &["SELECT", "0"]]),
    writes("SWAPDB", &[&["SELECT", "1"], &["SET", "k", "k:2"]], &[&["SWAPDB", "0", "1"]]),
    writes("MULTI with SWAPDB", &[&["SELECT", "1"], &["SET", "k", "k:2"]], &[&["MULTI"], &["SWAPDB", "0", "1"], &["EXEC"]]),
    writes("FLUSHALL, SET", &[], &[&["FLUSHALL"], &["SET", "k", "k:2"]]),
    deletes("DEL", &[&["DEL", "x", "k"]]),
    deletes("UNLINK", &[&["UNLINK", "k"]]),
    deletes("GETDEL", &[&["GETDEL", "k"]]),
    deletes("RENAME away", &[&["RENAME", "k", "to"]]),
    deletes("MOVE", &[&["MOVE", "k", "1"]]),
    deletes("EXPIRE in the past", &[&["EXPIRE", "k", "-1"]]),
    deletes("PEXPIREAT in the past", &[&["PEXPIREAT", "k", "1"]]),
    deletes("GETEX in the past", &[&["GETEX", "k", "PXAT", "1"]]),
    deletes("SINTERSTORE of nothing", &[&["SINTERSTORE", "k", "none"]]),
    deletes("SORT STORE of nothing", &[&["SORT", "none", "STORE", "k"]]),
    deletes("ZUNIONSTORE of nothing", &[&["ZUNIONSTORE", "k", "1", "none"]]),
    deletes("GEOSEARCHSTORE of nothing", &[&["GEOSEARCHSTORE", "k", "none", "FROMLONLAT", "0", "0", "BYRADIUS", "1", "m"]]),
    deletes("FLUSHALL", &[&["FLUSHALL"]]),
    deletes("FLUSHDB", &[&["FLUSHDB", "ASYNC"]]),
    deletes("MULTI with FLUSHDB", &[&["MULTI"], &["FLUSHDB"], &["EXEC"]]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Old {
    InL1,
    /// Its fill's replies are held.
    OnItsWay,
}

fn attempt(rig: &Rig, way: &Way, old: Old, by_other: bool, protocol: Protocol) -> Checked {
    let mut direct = rig.server.client();
    direct.must(&["FLUSHALL"]);
    rig.put("k", 1);
    for command in way.before {
        direct.must(command);
    }
    let (mut writer, mut filler) = (rig.session().speaking(protocol), rig.session());
    let mut other = rig.session().speaking(protocol);
    // A hit shows that no earlier attempt's write of it is in flight any more, for want of some other lane's marker.
    rig.hit(&mut filler, "k");
    if old == Old::OnItsWay {
        rig.put("k", 1);
        filler.must(&["PING"]);
    }
    rig.relay.hold();
    if old == Old::OnItsWay {
        rig.held_fill(&mut filler, "k");
    }
    for command in way.commands {
        writer.send(command);
        writer.flush();
        let reply = rig.acknowledged(&mut writer);
        let harmless = ["EVAL that fails", "MULTI after an error"];
        assert!(
            !reply.is_error() || harmless.iter().any(|name| way.name.starts_with(name)),
            "{}: {command:?} got {reply:?}",
            way.name
        );
    }
    let reader: &mut Client = if by_other { &mut other } else { &mut writer };
    let got = rig.racing_get(reader, "k");
    let expected = if way.deletes {
        Value::Nil
    } else {
        Value::Bulk(value("k", 2).into_bytes())
    };
    if got == expected {
        Ok(())
    } else {
        let reader = if by_other {
            "another session"
        } else {
            "its session"
        };
        let got = format!(
            "{got:?} by {reader} after {}, the old value {old:?}",
            way.name
        );
        Err(Promise::OwnWrites.broken("k", got, format_args!("{expected:?}")))
    }
}

#[test]
fn an_acknowledged_write_is_seen_by_every_session() {
    let mut broken = Vec::new();
    for (workers, protocol, scripts_by_lane) in [
        (1, Protocol::Resp2, false),
        (2, Protocol::Resp3, false),
        (1, Protocol::Resp3, true),
        (2, Protocol::Resp2, true),
    ] {
        let rig = Rig::new(|settings| {
            settings.downstream.workers = workers;
            settings.proxy.scripts_by_lane = scripts_by_lane;
        });
        let concerned = |way: &&Way| {
            let scripts = ["EVAL", "FCALL"];
            !scripts_by_lane || scripts.iter().any(|name| way.name.starts_with(name))
        };
        for way in WAYS.iter().filter(concerned) {
            for old in [Old::InL1, Old::OnItsWay] {
                for by_other in [true, false] {
                    if let Err(violation) = attempt(&rig, way, old, by_other, protocol) {
                        broken.push(format!("{violation}, {workers} workers"));
                    }
                }
            }
        }
        assert!(rig.near.hits() > 0);
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
