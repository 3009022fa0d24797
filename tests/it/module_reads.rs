//! Reads of modules that the operator vouches for, with an upstream that has such commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::client::{Client, Protocol};
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::resp::Value;
use crate::support::scripted::{Scripted, usual};

/// A module's entry in COMMAND: name, flags, and where its keys are.
fn entry(name: &str, flags: [&str; 2], keys: [i64; 3]) -> String {
    let [first, last, step] = keys;
    let words = flags.map(|flag| format!("+{flag}\r\n")).concat();
    let (length, flags) = (name.len(), flags.len());
    format!(
        "*10\r\n${length}\r\n{name}\r\n:-2\r\n~{flags}\r\n{words}:{first}\r\n:{last}\r\n:{step}\r\n\
         ~0\r\n*0\r\n*0\r\n*0\r\n"
    )
}

/// JSON.GET answers with the number of JSON.SETs so far, which it is told of by no push: nearside has sent them.
fn upstream() -> Scripted {
    let sets = Arc::new(AtomicU64::new(0));
    Scripted::start(move |_, command| {
        let name = command[0].to_ascii_uppercase();
        Some(match name.as_str() {
            "COMMAND" => {
                let commands = [
                    entry("json.get", ["readonly", "module"], [1, 1, 1]),
                    entry("json.mget", ["readonly", "module"], [1, -2, 1]),
                    entry("json.set", ["write", "module"], [1, 1, 1]),
                    entry("json.keyless", ["readonly", "module"], [0, 0, 0]),
                    entry("json.other", ["readonly", "module"], [1, 1, 1]),
                ];
                format!("*{}\r\n{}", commands.len(), commands.concat()).into_bytes()
            }
            "JSON.SET" => {
                sets.fetch_add(1, Ordering::SeqCst);
                b"+OK\r\n".to_vec()
            }
            "JSON.GET" | "JSON.KEYLESS" | "JSON.OTHER" => {
                let text = sets.load(Ordering::SeqCst).to_string();
                format!("${}\r\n{text}\r\n", text.len()).into_bytes()
            }
            "JSON.MGET" => b"*2\r\n$1\r\n1\r\n_\r\n".to_vec(),
            _ => usual(command),
        })
    })
}

fn start(upstream: &Scripted) -> Nearside {
    let near = Nearside::start(upstream.addr(), |settings| {
        settings.l1.max_staleness = crate::coherence::rig::QUIET;
        let names = ["JSON.GET", "JSON.MGET", "JSON.SET", "JSON.KEYLESS"];
        settings.l1.module_reads = names.map(str::to_owned).to_vec();
    });
    eventually("the lane", || near.running().lane_is_up().then_some(()));
    near
}

/// Reads three times; how many of them were hits, and the last reply.
fn hits(near: &Nearside, session: &mut Client, read: &[&str]) -> (u64, Value) {
    let before = near.hits();
    let mut reply = Value::Nil;
    for _ in 0..3 {
        reply = session.must(read);
        session.must(&["PING"]);
    }
    (near.hits() - before, reply)
}

#[test]
fn what_is_vouched_for_is_kept_and_dropped_as_other_reads_are() {
    let upstream = upstream();
    let near = start(&upstream);
    for protocol in [Protocol::Resp3, Protocol::Resp2] {
        let mut session = near.session().speaking(protocol);
        // The lane's next reply comes behind the marker of a write.
        session.must(&["JSON.SET", "k", "$", "1"]);
        session.must(&["PING"]);
        let (found, reply) = hits(&near, &mut session, &["json.get", "k"]);
        assert_eq!((found, reply.text().is_some()), (2, true), "{reply:?}");
        // Other arguments are another read.
        let before = upstream.count(&["JSON.GET", "k", "$.a"]);
        assert!(hits(&near, &mut session, &["JSON.GET", "k", "$.a"]).0 >= 2);
        assert_eq!(upstream.count(&["JSON.GET", "k", "$.a"]), before + 1);
        // A write of ours drops it.
        session.must(&["JSON.SET", "k", "$", "2"]);
        session.must(&["PING"]);
        let (_, newer) = hits(&near, &mut session, &["json.get", "k"]);
        assert_ne!(newer, reply);
        let (found, reply) = hits(&near, &mut session, &["JSON.MGET", "k", "l", "$"]);
        assert_eq!((found, reply.elements().len()), (2, 2));
        session.must(&["JSON.SET", "l", "$", "2"]);
        session.must(&["PING"]);
        let before = upstream.count(&["JSON.MGET"]);
        session.must(&["JSON.MGET", "k", "l", "$"]);
        assert_eq!(
            upstream.count(&["JSON.MGET"]),
            before + 1,
            "one of its keys"
        );
    }
}

#[test]
fn what_the_upstream_does_not_call_a_read_or_nobody_vouches_for_is_not() {
    let upstream = upstream();
    let near = start(&upstream);
    let mut session = near.session();
    for read in [
        &["JSON.SET", "k", "$", "1"][..],
        &["JSON.KEYLESS", "k"],
        &["JSON.OTHER", "k"],
    ] {
        let before = upstream.count(&read[..1]);
        assert_eq!(hits(&near, &mut session, read).0, 0, "{read:?}");
        assert_eq!(upstream.count(&read[..1]), before + 3, "{read:?}");
    }
}

/// What NEARSIDE EXPLAIN says of a command: where it goes, whether it is cached and why, and whether it is held.
fn explained(session: &mut Client, command: &[&str]) -> [String; 4] {
    let words: Vec<&str> = ["NEARSIDE", "EXPLAIN"]
        .iter()
        .chain(command)
        .copied()
        .collect();
    let told = session.must(&words);
    ["route", "cached", "why", "held"].map(|name| {
        let at = told.elements().iter();
        let at = at.clone().position(|one| one.text() == Some(name));
        let value = at.and_then(|at| told.elements().get(at + 1)?.text());
        value.expect("a text").to_owned()
    })
}

#[test]
fn explain_says_what_becomes_of_them() {
    let upstream = upstream();
    let near = start(&upstream);
    let mut session = near.session();
    let own = "own connection";
    let unvouched = "nearside does not know the command";
    let contradicted = "l1.module_reads names it, and the upstream does not say that it is a read, or where its keys are";
    for (command, expected) in [
        (
            &["json.get", "k"][..],
            ["lane", "yes", "on its first read", "no"],
        ),
        (
            &["JSON.MGET", "k", "l", "$"],
            ["lane", "yes", "on its first read", "no"],
        ),
        (
            &["JSON.GET"],
            [own, "no", "it has a wrong number of arguments", "no"],
        ),
        (
            &["JSON.SET", "k", "$", "1"],
            [own, "no", contradicted, "no"],
        ),
        (&["JSON.KEYLESS", "k"], [own, "no", contradicted, "no"]),
        (&["JSON.OTHER", "k"], [own, "no", unvouched, "no"]),
    ] {
        assert_eq!(explained(&mut session, command), expected, "{command:?}");
        // As it says.
        if expected[0] == "lane" {
            assert_eq!(hits(&near, &mut session, command).0, 2, "{command:?}");
            assert_eq!(explained(&mut session, command)[3], "yes", "{command:?}");
        }
    }
    let told = session.must(&["NEARSIDE", "EXPLAIN", "json.mget", "k", "l", "$"]);
    let keys = ["k", "l"].map(|key| Value::Bulk(key.into()));
    assert!(
        told.elements().contains(&Value::Array(keys.to_vec())),
        "{told:?}"
    );

    let off = Nearside::start(upstream.addr(), |settings| {
        settings.l1.mode = nearside::l1::settings::Mode::Off;
        settings.l1.module_reads = vec!["JSON.GET".to_owned()];
    });
    let told = explained(&mut off.session(), &["JSON.GET", "k"]);
    assert_eq!(told, [own, "no", "l1.mode is off", "no"]);
}
