//! An upstream that breaks the protocol: its lane is given up, with all that it has brought, and the next one works.

use super::super::rig::QUIET;
use super::{Case, GET, MGET, SUNION, Stage, push, shown};
use crate::support::eventually;
use crate::support::resp::Value;

/// What is no RESP, and what nobody asked for where nobody did.
const BROKEN: [&[u8]; 19] = [
    b"garbage\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\0",
    b"\r\n",
    b"\xff\xfe\r\n",
    b"$x\r\n",
    b"$-7\r\n",
    b"$99999999999999999999\r\n",
    b"$0000000000000000000000000000000000",
    b"*-5\r\n",
    b"*1 \r\n",
    b"%x\r\n",
    b"#x\r\n",
    b"_x\r\n",
    b"_\n",
    b"*2\r\n$1\r\na\r\n?",
    b">x\r\n",
    b">2\r\n$10\r\ninvalidate\r\n*2\r\n$5\r\nother\r\n?",
    b">2\r\n$10\r\ninvalidate\r\n*x\r\n",
];

/// What belongs to another lane stays.
const OTHER: [&str; 2] = ["GET", "of another database"];

fn broken_at(stage: &mut Stage, case: Case, place: usize, broken: &[u8], apart: bool) {
    let at = format!("{case:?} at {place}, {}", broken.escape_ascii());
    let mut session = stage.near.session();
    session.must(&["GET", "held"]);
    session.must(&["PING"]);
    let lanes = stage.lanes();
    let parts = stage.begin(&mut session, case);
    let before = parts[..place].concat();
    let stream = [&before, broken].concat();
    let (first, last) = stream.split_at(if apart { stream.len() - 1 } else { 0 });
    if apart {
        stage.upstream.send_apart(stage.lane, first);
    }
    stage.upstream.send(stage.lane, last);
    // The upstream does not close it by itself.
    match session.try_read() {
        Ok(Value::Error(error)) => {
            assert!(place < 2, "{at}: {error}");
            assert!(error.starts_with("UNAVAILABLE"), "{at}: {error}");
        }
        Ok(reply) => assert!(
            place >= 2 && shown(&reply) == Some(stage.version()),
            "{at}: {reply:?}"
        ),
        // A client that has got a part of a reply is cut off.
        Err(_) => assert!(place == 1 && apart && broken.starts_with(b"*2"), "{at}"),
    }
    stage.await_lane(lanes, 2);
    let mut session = stage.near.session();
    let entries = stage.near.running().l1_entries();
    let mut request = Vec::new();
    crate::support::resp::encode(&mut request, &OTHER);
    let requests: Vec<Vec<u8>> = entries.into_iter().map(|(request, _)| request).collect();
    assert_eq!(requests, [request], "{at}");
    // The new one works.
    stage.write_elsewhere();
    assert_eq!(
        shown(&session.must(case.read)),
        Some(stage.version()),
        "{at}"
    );
    session.must(&["PING"]);
    assert!(!stage.again(&mut session, case).0, "{at}");
    stage.upstream.send(stage.lane, &push(case.keys));
    session.must(&["PING"]);
}

#[test]
fn a_lane_that_breaks_the_protocol_is_given_up_with_all_that_it_has_brought() {
    let mut stage = Stage::new(|settings| settings.lane.handshake_timeout = QUIET);
    let first = stage.lane;
    let mut other = stage.near.session();
    other.must(&["SELECT", "1"]);
    let read = eventually("a hit on another lane", || {
        let before = stage.upstream.count(&OTHER);
        let reply = other.must(&OTHER);
        (stage.upstream.count(&OTHER) == before).then_some(reply)
    });
    stage.lane = first;
    for case in [GET, MGET, SUNION] {
        for place in 0..=2 + case.keys.len() {
            for broken in BROKEN {
                broken_at(&mut stage, case, place, broken, false);
                if case.read == GET.read && place == 1 {
                    broken_at(&mut stage, case, place, broken, true);
                }
            }
        }
    }
    for unasked in [
        &b"+OK\r\n"[..],
        b":1\r\n",
        b"_\r\n",
        b"*0\r\n",
        b"-ERR no\r\n",
    ] {
        broken_at(&mut stage, GET, 3, unasked, false);
    }
    let before = stage.upstream.count(&OTHER);
    assert_eq!(other.must(&OTHER), read);
    assert_eq!(stage.upstream.count(&OTHER), before, "a hit");
}

#[test]
fn writes_on_a_lane_that_breaks_are_answered_with_an_error_and_not_sent_again() {
    let mut stage = Stage::new(|_| {});
    for broken in BROKEN {
        let (lanes, sets) = (stage.lanes(), stage.upstream.count(&["SET"]));
        let (mut writer, mut reader) = (stage.near.session(), stage.near.session());
        stage.upstream.hold(stage.lane);
        writer.send(&["SET", "k", "x"]);
        writer.flush();
        stage.upstream.await_command(&["SET"], sets);
        let gets = stage.upstream.count(GET.read);
        reader.send(GET.read);
        reader.flush();
        stage.upstream.await_command(GET.read, gets);
        stage.upstream.send(stage.lane, broken);
        for session in [&mut writer, &mut reader] {
            let reply = session.read();
            assert!(reply.is_error(), "{} got {reply:?}", broken.escape_ascii());
        }
        stage.await_lane(lanes, 1);
        let mut session = stage.near.session();
        assert_eq!(
            shown(&session.must(GET.read)),
            Some(stage.version()),
            "{}",
            broken.escape_ascii()
        );
        session.must(&["PING"]);
        assert!(!stage.again(&mut session, GET).0, "nothing is in flight");
        assert_eq!(stage.upstream.count(&["SET"]), sets + 1);
        stage.clear(&mut session);
    }
}
