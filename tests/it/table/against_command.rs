//! The table against what a running server says of itself: `COMMAND`, in both protocols, and the keys that
//! `COMMAND GETKEYSANDFLAGS` finds.

use std::collections::BTreeSet;

use nearside::command::learned::Learned;
use nearside::command::{self, Access, Flags, Row};

use super::samples::{LANE, OWN};
use super::wire::{Request, Sample, Wire, steady_server, words};
use crate::support::client::Client;
use crate::support::resp::Value;

/// Rows for commands that came after Redis 7.0, and with which version of Redis or Valkey.
#[rustfmt::skip]
const NEWER: &[(&str, &str)] = &[
    ("CLIENT|NO-TOUCH", "Redis 7.2"), ("CLIENT|SETINFO", "Redis 7.2"), ("CLUSTER|MYSHARDID", "Redis 7.2"), ("WAITAOF", "Redis 7.2"),
    ("HEXPIRE", "Redis 7.4"), ("HEXPIREAT", "Redis 7.4"), ("HEXPIRETIME", "Redis 7.4"), ("HPERSIST", "Redis 7.4"), ("HPEXPIRE", "Redis 7.4"),
    ("HPEXPIREAT", "Redis 7.4"), ("HPEXPIRETIME", "Redis 7.4"), ("HPTTL", "Redis 7.4"), ("HTTL", "Redis 7.4"),
    ("HGETDEL", "Redis 8.0"), ("HGETEX", "Redis 8.0"), ("HSETEX", "Redis 8.0"),
    ("XACKDEL", "Redis 8.2"), ("XDELEX", "Redis 8.2"),
    ("CLIENT|CAPA", "Valkey 8.0"), ("CLUSTER|SLOT-STATS", "Valkey 8.0, Redis 8.2"), ("SCRIPT|SHOW", "Valkey 8.0"),
    ("CLIENT|IMPORT-SOURCE", "Valkey 8.1"), ("COMMANDLOG", "Valkey 8.1"), ("COMMANDLOG|GET", "Valkey 8.1"), ("COMMANDLOG|HELP", "Valkey 8.1"),
    ("COMMANDLOG|LEN", "Valkey 8.1"), ("COMMANDLOG|RESET", "Valkey 8.1"),
    ("CLUSTER|CANCELSLOTMIGRATIONS", "Valkey 9.0"), ("CLUSTER|FLUSHSLOT", "Valkey 9.0"), ("CLUSTER|GETSLOTMIGRATIONS", "Valkey 9.0"),
    ("CLUSTER|MIGRATESLOTS", "Valkey 9.0"), ("CLUSTER|SYNCSLOTS", "Valkey 9.0"), ("DELIFEQ", "Valkey 9.0"), ("MSETEX", "Valkey 9.1, Redis 8.4"),
];

/// Rows for nearside's own commands, which no server has.
const OURS: [&str; 10] = [
    "NEARSIDE",
    "NEARSIDE|BIGKEYS",
    "NEARSIDE|EXPLAIN",
    "NEARSIDE|HELP",
    "NEARSIDE|HOTKEYS",
    "NEARSIDE|INVALIDATE",
    "NEARSIDE|SLOWLOG",
    "NEARSIDE|STATS",
    "NEARSIDE|TRACEPARENT",
    "NEARSIDE|UPSTREAMS",
];

/// Rows that say what newer servers say where Redis 7.0 says something else: more arguments, or that it waits.
const CHANGED: &[(&str, &str)] = &[
    ("CLUSTER|REPLICATE", "Valkey 9.0"),
    ("COMMAND|GETKEYS", "Redis 7.2"),
    ("COMMAND|GETKEYSANDFLAGS", "Redis 7.2"),
    ("SCRIPT|DEBUG", "Valkey 9.0"),
    ("WAIT", "Redis 7.2"),
    ("ZRANK", "Redis 7.2"),
    ("ZREVRANK", "Redis 7.2"),
];

fn all_rows() -> impl Iterator<Item = &'static Row> {
    let with_subcommands = |row: &'static Row| std::iter::once(row).chain(row.subcommands().iter());
    command::rows().flat_map(with_subcommands)
}

/// A request of the row's name alone.
fn bare(row: &Row) -> Request {
    Request::new(&words(&row.name.replace('|', " ")))
}

fn is_redis_7_0(client: &mut Client) -> bool {
    let info = client.call(&["INFO", "server"]);
    info.text().expect("a text").contains("redis_version:7.0.")
}

/// Every name that the server gives, sub-commands as `CONTAINER|NAME`, with whether it says that its replies vary.
fn names(command: &Value, into: &mut Vec<(String, bool)>) {
    for entry in command.elements() {
        let fields = entry.elements();
        let name = fields[0].text().expect("a name").to_ascii_uppercase();
        let tips = fields[7].elements();
        let varies = |tip: &Value| tip.text() == Some("nondeterministic_output");
        into.push((name, tips.iter().any(varies)));
        names(&fields[9], into);
    }
}

#[test]
fn rows_say_what_the_server_says() {
    let server = steady_server();
    let mut client = server.client();
    let of_7_0 = is_redis_7_0(&mut client);
    let mut said = Vec::new();
    names(&client.must(&["COMMAND"]), &mut said);
    let learned = Learned::parse(&Wire::connect(&server, false).call(&words("COMMAND")));
    let learned = learned.expect("COMMAND's reply");
    let mut compared = BTreeSet::new();
    for (name, varies) in &said {
        let request = Request::new(&words(&name.replace('|', " ")));
        let Some(row) = request.row().filter(|row| row.name == *name) else {
            assert!(!of_7_0, "{name} has no row");
            continue;
        };
        compared.insert(row.name);
        let known = learned.of(&request.bytes, &request.args).expect(name);
        if CHANGED.iter().any(|(changed, _)| changed == name) || !of_7_0 {
            assert!(row.takes(known.arity.unsigned_abs().into()), "{name}");
            continue;
        }
        assert_eq!(row.arity, known.arity, "{name}'s arity");
        let random = if *varies {
            Flags::RANDOM
        } else {
            Flags::default()
        };
        // No server tells what it may replicate.
        let flags = row.flags.without(Flags::MAY_REPLICATE);
        assert_eq!(flags, known.flags.with(random), "{name}'s flags");
    }
    if of_7_0 {
        let newer = NEWER.iter().map(|(name, _)| *name);
        let newer: BTreeSet<_> = newer.chain(OURS).collect();
        let rows = all_rows().map(|row| row.name);
        let not_said: BTreeSet<_> = rows.filter(|name| !compared.contains(name)).collect();
        assert_eq!(not_said, newer);
    }
}

/// The names of the keys at these positions, sorted.
pub fn at(sample: &Sample, positions: impl Iterator<Item = usize>) -> Vec<&[u8]> {
    let mut keys: Vec<_> = positions.map(|at| sample.words[at].as_slice()).collect();
    keys.sort_unstable();
    keys
}

/// Names of keys, sorted.
type Names = Vec<Vec<u8>>;

/// The server's own answer: all keys and the written ones; `None` where it finds none.
fn asked(client: &mut Client, sample: &Sample) -> Option<(Names, Names)> {
    let mut command = words("COMMAND GETKEYSANDFLAGS");
    command.extend(sample.words.iter().cloned());
    let reply = client.call(&command);
    if reply.is_error() {
        return None;
    }
    let (mut all, mut written) = (Vec::new(), Vec::new());
    for key in reply.elements() {
        let [Value::Bulk(name), flags] = key.elements() else {
            panic!("{key:?}")
        };
        all.push(name.clone());
        if !flags
            .elements()
            .iter()
            .any(|flag| flag.text() == Some("RO"))
        {
            written.push(name.clone());
        }
    }
    all.sort_unstable();
    written.sort_unstable();
    Some((all, written))
}

#[test]
fn keys_are_those_that_the_server_finds() {
    let server = steady_server();
    let mut client = server.client();
    let mut sampled = BTreeSet::new();
    for line in LANE.iter().chain(OWN) {
        let sample = Sample::parse(line);
        let request = sample.request();
        let row = request.row().expect(line);
        let all = row.keys(&request.bytes, &request.args);
        let written = row.written(&request.bytes, &request.args);
        let Some((server_all, server_written)) = asked(&mut client, &sample) else {
            // It is malformed, or has no keys.
            continue;
        };
        let Some(written) = written else {
            assert!(server_all.is_empty(), "{line}: unknown");
            continue;
        };
        sampled.insert(row.name);
        let (written, server_written) = (
            at(&sample, written),
            server_written.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        );
        if row.name == "BITFIELD" || line.starts_with("MIGRATE h 1 \"\"") {
            // A BITFIELD that only gets counts as a write here, and MIGRATE's empty place for a key as a key.
            assert!(
                server_written.iter().all(|key| written.contains(key)),
                "{line}"
            );
        } else if line.matches("STORE").count() > 1 && row.name.starts_with("GEORADIUS") {
            assert!(
                server_written.iter().all(|key| written.contains(key)),
                "{line}"
            );
        } else {
            assert_eq!(written, server_written, "{line}: written keys");
        }
        match all {
            // The keys that SORT's patterns name are the server's secret.
            None => assert!(row.name.starts_with("SORT"), "{line}: unknown keys"),
            Some(_) if row.name == "MIGRATE" => {}
            Some(all) => assert_eq!(at(&sample, all), server_all, "{line}: keys"),
        }
    }
    let mut wire = Wire::connect(&server, false);
    for row in all_rows() {
        let has_keys = row.specs.iter().any(|spec| spec.access != Access::Channel);
        let info = wire.call(&words(&format!("COMMAND INFO {}", row.name)));
        if has_keys && !info.ends_with(b"$-1\r\n") {
            assert!(sampled.contains(row.name), "{} has no sample", row.name);
        }
    }
}

#[test]
fn keys_that_cannot_be_told_are_not_guessed() {
    for line in [
        "EVAL x z a",
        "EVAL x -1 a",
        "EVAL x 5 a",
        "LMPOP x list LEFT",
        "LMPOP 9 list LEFT",
        "BLMPOP 0 9 a LEFT",
        "ZUNIONSTORE dst 7 zset",
        "ZMPOP 99999999999999999999 a MIN",
        "MSETEX 3 a b",
        "SINTERCARD 5 set",
        "SORT a BY x*",
        "SORT_RO a GET #",
    ] {
        let request = Sample::parse(line).request();
        let row = request.row().expect(line);
        assert!(row.keys(&request.bytes, &request.args).is_none(), "{line}");
    }
    // What a pattern of SORT reads is not written.
    let sample = Sample::parse("SORT a BY x* STORE b");
    let request = sample.request();
    let written = request
        .row()
        .expect("SORT")
        .written(&request.bytes, &request.args);
    assert_eq!(at(&sample, written.expect("known")), [b"b"]);
}

#[test]
fn words_and_subcommands_choose_the_row() {
    let row = |line: &str| Sample::parse(line).request().row();
    for (line, name, blocking) in [
        ("get k", "GET", false),
        ("xread streams a 0", "XREAD", false),
        ("xread count 1 block 0 streams a 0", "XREAD", true),
        (
            "XREADGROUP GROUP streams c BLOCK 0 STREAMS k >",
            "XREADGROUP",
            true,
        ),
        ("object encoding k", "OBJECT|ENCODING", false),
        ("command", "COMMAND", false),
        ("BLPOP a 0", "BLPOP", true),
    ] {
        let row = row(line).expect(line);
        assert_eq!((row.name, row.blocking()), (name, blocking), "{line}");
        assert!(!(blocking && row.class.is_lane()), "{line}");
    }
    assert!(row("object nosuch k").is_none() && row("nosuch").is_none() && row("\"\"").is_none());
    for row in all_rows() {
        let found = bare(row).row().map(|found| found.name);
        assert_eq!(found, Some(row.name));
        let lower = Request::new(&words(&row.name.replace('|', " ").to_ascii_lowercase()));
        assert_eq!(lower.row().map(|found| found.name), Some(row.name));
        assert!(!row.class.is_lane() || !row.blocking());
    }
}
