//! What the replies of a fill say: of its keys' expiry, of its tracking, and errors. Only what is sound is kept.

use std::thread;
use std::time::Duration;

use super::{CASES, Case, GET, HGET, MGET, SUNION, Stage, shown};
use crate::support::client::Client;
use crate::support::resp::Value;

/// A fill whose answers are these: what the client got, and whether a read behind it went upstream.
fn filled(stage: &Stage, session: &mut Client, case: Case, parts: &[&[u8]]) -> (Value, bool) {
    stage.clear(session);
    let sent = stage.begin(session, case);
    assert_eq!(sent.len(), parts.len());
    stage.upstream.send(stage.lane, &parts.concat());
    let reply = session.read();
    stage.end(session);
    // Of what lives for 1 ms nothing is left then.
    thread::sleep(Duration::from_millis(2));
    (reply, stage.again(session, case).0)
}

/// The answers of a fill as they would be, with the read's and each PTTL's replaced where that is asked.
fn answers<'a>(case: Case, read: &'a [u8], ttls: [&'a [u8]; 2]) -> Vec<&'a [u8]> {
    let mut parts: Vec<&[u8]> = vec![b"+OK\r\n", read];
    parts.extend(&ttls[..case.keys.len()]);
    parts
}

fn value(case: Case) -> &'static [u8] {
    match case.read[0] {
        "MGET" => b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n",
        "SUNION" => b"~1\r\n$1\r\n1\r\n",
        _ => b"$1\r\n1\r\n",
    }
}

#[test]
fn what_pttl_says_decides() {
    let stage = Stage::new(|_| {});
    let mut session = stage.session();
    for (ttl, kept) in [
        (":-1\r\n", true),
        (":100000\r\n", true),
        (":9223372036854775807\r\n", true),
        // It has ended, or will have when it is read.
        (":0\r\n", false),
        (":1\r\n", false),
        // There is a value, so there is a key.
        (":-2\r\n", false),
        (":-3\r\n", false),
        (":-9223372036854775808\r\n", false),
        (":9223372036854775808\r\n", false),
        (":\r\n", false),
        (":5x\r\n", false),
        (":+5\r\n", false),
        ("-ERR no\r\n", false),
        ("-LOADING Redis is loading the dataset in memory\r\n", false),
        ("!6\r\nERR no\r\n", false),
        ("+OK\r\n", false),
        ("$6\r\n100000\r\n", false),
        ("_\r\n", false),
        ("$-1\r\n", false),
        ("#t\r\n", false),
        (",100000\r\n", false),
        ("(100000\r\n", false),
        ("*0\r\n", false),
        ("*1\r\n:100000\r\n", false),
        ("*2\r\n:10\r\n:10\r\n", false),
        ("%1\r\n+ttl\r\n:100000\r\n", false),
    ] {
        for case in CASES {
            // Of the first key, or of the last.
            for at in 0..case.keys.len() {
                let mut ttls: [&[u8]; 2] = [b":-1\r\n"; 2];
                ttls[at] = ttl.as_bytes();
                let parts = answers(case, value(case), ttls);
                let (reply, upstream) = filled(&stage, &mut session, case, &parts);
                assert_eq!(shown(&reply), Some(1), "{case:?} {ttl}");
                assert_eq!(!upstream, kept, "{case:?} {ttl} at {at}");
            }
        }
    }
}

#[test]
fn nothing_is_kept_as_such_where_pttl_agrees() {
    let stage = Stage::new(|_| {});
    let mut session = stage.session();
    for (case, read, ttls, kept) in [
        (GET, "_\r\n", [":-2\r\n", ""], true),
        (GET, "_\r\n", [":-1\r\n", ""], false),
        (GET, "_\r\n", [":100000\r\n", ""], false),
        // There is a key and no such field.
        (HGET, "_\r\n", [":-1\r\n", ""], true),
        (HGET, "_\r\n", [":-2\r\n", ""], true),
        (SUNION, "~0\r\n", [":-2\r\n", ":-2\r\n"], true),
        (MGET, "*2\r\n_\r\n_\r\n", [":-2\r\n", ":-2\r\n"], true),
        (MGET, "*2\r\n_\r\n$1\r\n1\r\n", [":-2\r\n", ":-1\r\n"], true),
        (
            MGET,
            "*2\r\n_\r\n$1\r\n1\r\n",
            [":-1\r\n", ":-2\r\n"],
            false,
        ),
        (
            MGET,
            "*2\r\n$1\r\n1\r\n_\r\n",
            [":-1\r\n", ":100000\r\n"],
            false,
        ),
    ] {
        let ttls = ttls.map(str::as_bytes);
        let parts = answers(case, read.as_bytes(), ttls);
        let (_, upstream) = filled(&stage, &mut session, case, &parts);
        assert_eq!(!upstream, kept, "{case:?} {read} {ttls:?}");
    }
}

#[test]
fn an_error_is_relayed_and_never_kept() {
    let stage = Stage::new(|_| {});
    let mut session = stage.session();
    for error in [
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        "-ERR\r\n",
        "-BUSY Redis is busy running a script.\r\n",
        "-NOPERM no\r\n",
        "-\r\n",
        "!9\r\nERR a\r\nbc\r\n",
    ] {
        for case in CASES {
            for ttl in [":-1\r\n", ":-2\r\n", ":100000\r\n", error] {
                let parts = answers(case, error.as_bytes(), [ttl.as_bytes(); 2]);
                let (reply, upstream) = filled(&stage, &mut session, case, &parts);
                assert!(reply.is_error(), "{case:?} {error} got {reply:?}");
                assert!(upstream, "{case:?} {error} {ttl}");
            }
        }
    }
}

/// Arrays that no server sends for an MGET, in the client's own words, and none of them is kept as a key's value.
#[test]
fn an_mget_whose_elements_are_no_values_is_not_kept() {
    let stage = Stage::new(|_| {});
    let mut session = stage.session();
    for read in [
        "*2\r\n$1\r\n1\r\n-ERR no\r\n",
        "*2\r\n-ERR no\r\n-ERR no\r\n",
        "*2\r\n!2\r\nno\r\n!2\r\nno\r\n",
        "*2\r\n*0\r\n*0\r\n",
        "*1\r\n$1\r\n1\r\n",
        "*3\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n",
        "*0\r\n",
        "_\r\n",
        "$1\r\n1\r\n",
    ] {
        let parts = answers(MGET, read.as_bytes(), [b":-1\r\n"; 2]);
        let (_, upstream) = filled(&stage, &mut session, MGET, &parts);
        assert!(upstream, "{read}");
    }
}

/// A read that is tracked is one whose CACHING was answered with OK, to the letter.
#[test]
fn a_fill_stands_only_behind_ok() {
    let stage = Stage::new(|_| {});
    let mut session = stage.session();
    for (answer, kept) in [
        ("+OK\r\n", true),
        ("+QUEUED\r\n", false),
        ("+ok\r\n", false),
        ("$2\r\nOK\r\n", false),
        (":1\r\n", false),
        ("_\r\n", false),
        ("*1\r\n+OK\r\n", false),
        ("-BUSY Redis is busy running a script.\r\n", false),
    ] {
        for case in CASES {
            let mut parts = answers(case, value(case), [b":-1\r\n"; 2]);
            parts[0] = answer.as_bytes();
            let (reply, upstream) = filled(&stage, &mut session, case, &parts);
            assert_eq!(shown(&reply), Some(1), "{case:?} {answer}");
            assert_eq!(!upstream, kept, "{case:?} {answer}");
        }
    }
}
