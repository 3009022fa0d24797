//! NEARSIDE over RESP: its place in the pipeline, what it says, and what it refuses.

use nearside::l1::settings::{Keyspace, Mode};
use nearside::proxy::settings::Sharing;

use super::{field, hits, number, warm};
use crate::coherence::rig::Rig;
use crate::support::client::Protocol;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

fn error(reply: Value) -> String {
    match reply {
        Value::Error(text) => text,
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn it_waits_for_its_turn() {
    for sharing in [Sharing::Lane, Sharing::Dedicated] {
        let rig = Rig::new(|settings| settings.proxy.sharing = sharing);
        let mut session = rig.session();
        for command in [
            &["SET", "k", "v"][..],
            &["GET", "k"],
            &["NEARSIDE", "INVALIDATE", "KEY", "k"],
            &["GET", "k"],
            &["NEARSIDE", "INVALIDATE", "PATTERN", "*"],
            &["EVAL", "return 7", "0"],
            &["NEARSIDE", "INVALIDATE", "ALL"],
            &["PING"],
        ] {
            session.send(command);
        }
        session.flush();
        let replies: Vec<Value> = (0..8).map(|_| session.read()).collect();
        let value = Value::Bulk(b"v".into());
        assert_eq!(replies[1], value);
        assert_eq!(replies[3], value);
        assert!(matches!(replies[4], Value::Int(_)), "{replies:?}");
        assert_eq!(replies[5], Value::Int(7));
        assert_eq!(replies[7], Value::Simple("PONG".into()));
    }
}

#[test]
fn a_client_that_half_closes_gets_its_answer() {
    let rig = Rig::new(|_| {});
    let mut session = rig.near.session();
    session.send(&["NEARSIDE", "INVALIDATE", "PATTERN", "*"]);
    session.flush();
    session.half_close();
    assert!(matches!(session.read(), Value::Int(_)));
}

#[test]
fn transactions_refuse_it_and_are_void() {
    for sharing in [Sharing::Lane, Sharing::Dedicated] {
        let rig = Rig::new(|settings| settings.proxy.sharing = sharing);
        let mut session = rig.near.session();
        session.must(&["MULTI"]);
        session.must(&["SET", "k", "v"]);
        let text = error(session.call(&["NEARSIDE", "STATS"]));
        assert!(text.contains("not allowed in transactions"), "{text}");
        assert!(error(session.call(&["EXEC"])).starts_with("EXECABORT"));
        assert_eq!(session.call(&["GET", "k"]), Value::Nil);
        for command in [&["MULTI"][..], &["NEARSIDE", "STATS"], &["EXEC"]] {
            session.send(command);
        }
        session.flush();
        session.read();
        assert!(error(session.read()).contains("not allowed in transactions"));
        assert!(error(session.read()).starts_with("EXECABORT"));
        session.must(&["NEARSIDE", "STATS"]);
    }
}

#[test]
fn what_is_wrong_is_said_as_redis_says_it() {
    let rig = Rig::new(|_| {});
    let mut session = rig.near.session();
    for (command, text) in [
        (
            "NEARSIDE",
            "ERR wrong number of arguments for 'nearside' command",
        ),
        (
            "NEARSIDE NOSUCH",
            "ERR unknown subcommand 'NOSUCH'. Try NEARSIDE HELP.",
        ),
        (
            "nearside stats x",
            "ERR wrong number of arguments for 'nearside|stats' command",
        ),
        (
            "NEARSIDE EXPLAIN",
            "ERR wrong number of arguments for 'nearside|explain' command",
        ),
        (
            "NEARSIDE INVALIDATE",
            "ERR wrong number of arguments for 'nearside|invalidate' command",
        ),
        (
            "NEARSIDE INVALIDATE KEY",
            "ERR INVALIDATE KEY takes one key or more",
        ),
        (
            "NEARSIDE INVALIDATE ALL x",
            "ERR INVALIDATE ALL takes nothing but FLEET",
        ),
        (
            "NEARSIDE HOTKEYS 0",
            "ERR count is not a whole number above 0",
        ),
        (
            "NEARSIDE HOTKEYS x",
            "ERR count is not a whole number above 0",
        ),
        (
            "NEARSIDE HOTKEYS 1 2",
            "ERR wrong number of arguments for 'nearside|hotkeys' command",
        ),
        (
            "NEARSIDE INVALIDATE ALL FLEET",
            "ERR this nearside is in no fleet; set name in [fleet], the same for all that belong together",
        ),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(error(session.call(&words)), text, "{command}");
    }
    let help = session.must(&["NEARSIDE", "HELP"]);
    assert!(help.elements().len() > 10);
}

#[test]
fn a_subscriber_is_refused_in_resp2_and_answered_in_resp3() {
    let rig = Rig::new(|_| {});
    let mut session = rig.near.session();
    session.must(&["SUBSCRIBE", "c"]);
    let text = error(session.call(&["NEARSIDE", "STATS"]));
    assert!(text.contains("allowed in this context"), "{text}");
    let mut session = rig.near.session().speaking(Protocol::Resp3);
    session.send(&["SUBSCRIBE", "c"]);
    session.flush();
    session.read_push();
    session.must(&["NEARSIDE", "STATS"]);
}

#[test]
fn who_has_given_no_password_is_told_nothing() {
    let server = RedisServer::start(&[]);
    server
        .client()
        .must(&["CONFIG", "SET", "requirepass", "secret"]);
    let near = Nearside::start(server.addr(), |_| {});
    let mut session = near.session();
    // Until the upstream has refused the lane, nothing is known.
    assert!(error(session.call(&["GET", "k"])).starts_with("NOAUTH"));
    let text = error(session.call(&["NEARSIDE", "HOTKEYS"]));
    assert!(text.starts_with("NOAUTH"), "{text}");
    session.must(&["AUTH", "secret"]);
    session.must(&["NEARSIDE", "HOTKEYS"]);
}

#[test]
fn transparent_sessions_know_no_such_command() {
    let server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |settings| {
        settings.proxy.sharing = Sharing::Dedicated;
        settings.l1.mode = Mode::Off;
    });
    let text = error(near.session().call(&["NEARSIDE", "STATS"]));
    assert!(text.starts_with("ERR unknown command"), "{text}");
}

#[test]
fn statistics_add_up_in_both_protocols() {
    let rig = Rig::new(|settings| {
        let users = Keyspace {
            name: "users".into(),
            pattern: b"user:*".into(),
            negative: false,
            ..settings.l1.default_keyspace()
        };
        settings.l1.keyspaces = vec![users];
    });
    let mut session = rig.session();
    session.must(&["SET", "user:1", "1"]);
    session.must(&["SET", "other", "1"]);
    for read in [
        &["GET", "user:1"][..],
        &["STRLEN", "user:1"],
        &["GET", "other"],
    ] {
        warm(&rig, &mut session, read);
    }
    session.must(&["GET", "user:none"]);
    rig.server.client().must(&["SET", "other", "2"]);
    rig.near.session().must(&["PING"]);
    let two = session.must(&["NEARSIDE", "STATS"]);
    let three = rig
        .near
        .session()
        .speaking(Protocol::Resp3)
        .must(&["NEARSIDE", "STATS"]);
    assert!(matches!((&two, &three), (Value::Array(_), Value::Map(_))));
    for path in [
        &["hits"][..],
        &["refused", "negative"],
        &["invalidations", "own_write"],
    ] {
        assert_eq!(number(&two, path), number(&three, path), "{path:?}");
    }
    for what in ["entries", "bytes", "hits", "misses", "fills"] {
        let each = ["users", "default"].map(|name| number(&two, &["keyspaces", name, what]));
        assert_eq!(number(&two, &[what]), each.iter().sum::<i64>(), "{what}");
    }
    // Its value and its length; `ready` alone of the others, since a push has dropped the other one.
    assert_eq!(number(&two, &["keyspaces", "users", "entries"]), 2);
    assert_eq!(number(&two, &["keyspaces", "default", "entries"]), 1);
    assert_eq!(
        number(&two, &["keyspaces", "users", "refused", "negative"]),
        1
    );
    assert_eq!(number(&two, &["invalidations", "own_write"]), 2);
    assert!(number(&two, &["invalidations", "push"]) >= 1);
    assert_eq!(number(&two, &["fills"]), 4);
    assert_eq!(field(&two, &["mode"]).text(), Some("on"));
}

#[test]
fn explain_says_what_would_become_of_a_command() {
    let rig = Rig::new(|settings| {
        let raw = Keyspace {
            name: "raw".into(),
            pattern: b"raw:*".into(),
            cache: false,
            ..settings.l1.default_keyspace()
        };
        settings.l1.keyspaces = vec![raw];
    });
    let mut session = rig.session();
    for (command, name, route, cached, why) in [
        ("get k", "GET", "lane", "yes", "on its first read"),
        ("MGET k raw:1", "MGET", "lane", "yes", "on its first read"),
        ("HGET h f", "HGET", "lane", "yes", "on its first read"),
        (
            "GET raw:1",
            "GET",
            "lane",
            "no",
            "its key space has cache = false",
        ),
        ("SET k v", "SET", "lane", "no", "it writes"),
        (
            "TTL k",
            "TTL",
            "lane",
            "no",
            "its reply is not one that hangs on the keys it names alone",
        ),
        ("PING", "PING", "lane", "no", "it names no key"),
        ("BLPOP k 0", "BLPOP", "own connection", "no", "it writes"),
        (
            "GET",
            "GET",
            "lane",
            "no",
            "it has a wrong number of arguments",
        ),
        (
            "nosuch k",
            "NOSUCH",
            "own connection",
            "no",
            "nearside does not know the command",
        ),
        (
            "NEARSIDE STATS",
            "NEARSIDE|STATS",
            "here",
            "no",
            "it names no key",
        ),
    ] {
        let words: Vec<&str> = ["NEARSIDE", "EXPLAIN"]
            .into_iter()
            .chain(command.split(' '))
            .collect();
        let told = session.must(&words);
        let text = |name: &str| {
            field(&told, &[name])
                .text()
                .map(str::to_owned)
                .expect("a text")
        };
        let all = ["command", "route", "cached", "why"].map(text);
        assert_eq!(all, [name, route, cached, why], "{command}");
    }
    let held = |session: &mut crate::support::client::Client| {
        let told = session.must(&["NEARSIDE", "EXPLAIN", "GET", "k"]);
        field(&told, &["held"]).text().map(str::to_owned)
    };
    assert_eq!(held(&mut session).as_deref(), Some("no"));
    warm(&rig, &mut session, &["GET", "k"]);
    assert_eq!(held(&mut session).as_deref(), Some("yes"));
    // Nothing of it was carried out.
    assert!(!hits(&rig, &mut session, &["GET", "h2"]));
    session.must(&["WATCH", "k"]);
    let told = session.must(&["NEARSIDE", "EXPLAIN", "GET", "k"]);
    assert_eq!(field(&told, &["route"]).text(), Some("own connection"));
}

#[test]
fn hot_keys_are_found() {
    let rig = Rig::new(|_| {});
    let mut session = rig.session();
    for n in 0..2000 {
        session.send(&["GET", "hot"]);
        session.send(&["GET", &format!("cold:{n}")]);
    }
    session.flush();
    for _ in 0..4000 {
        session.read();
    }
    let told = session.must(&["NEARSIDE", "HOTKEYS", "3"]);
    let keys = field(&told, &["keys"]).elements();
    assert_eq!(keys.len(), 3);
    assert_eq!(field(&keys[0], &["key"]).text(), Some("hot"));
    let (reads, error) = (number(&keys[0], &["reads"]), number(&keys[0], &["error"]));
    assert!((reads - 2000).abs() <= 2 * error, "{reads} with {error}");
}
