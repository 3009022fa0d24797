//! Pushes at every place of a fill. One before the read's reply is reflected in it already; one behind it ends what was
//! read.

use super::{CASES, Case, GET, LRANGE, NULL_PUSH, Stage, push, shown};
use crate::support::client::Client;
use crate::support::resp::Value;

/// Up to this place in CACHING, read, PTTL.. a push is reflected in the read's reply.
const REFLECTED: usize = 1;

/// A fill with a push at a place: the read behind it shows what is true, from L1 only where the push came before the reply.
fn pushed(stage: &Stage, session: &mut Client, case: Case, push: &[u8], place: usize, apart: bool) {
    stage.clear(session);
    if place <= REFLECTED {
        stage.write_elsewhere();
    }
    let read = stage.version();
    let mut parts = stage.begin(session, case);
    if place > REFLECTED {
        stage.write_elsewhere();
    }
    parts.insert(place, push.to_vec());
    if apart {
        for part in &parts {
            stage.upstream.send_apart(stage.lane, part);
        }
    } else {
        stage.upstream.send(stage.lane, &parts.concat());
    }
    // Of an MGET the keys that the push does not name may still be held.
    let newest = |reply: &Value| match reply.elements() {
        [] => shown(reply),
        each => each.iter().filter_map(shown).max(),
    };
    let at = format!("{case:?} at {place}, {}", String::from_utf8_lossy(push));
    assert_eq!(shown(&session.read()), Some(read), "{at}");
    stage.end(session);
    let (upstream, reply) = stage.again(session, case);
    assert_eq!(newest(&reply), Some(stage.version()), "{at}");
    assert_eq!(upstream, place > REFLECTED, "{at}");
}

#[test]
fn a_push_at_any_place_of_a_fill_ends_what_was_read_before_it() {
    for workers in [1, 2] {
        let stage = Stage::new(|settings| settings.downstream.workers = workers);
        let mut session = stage.session();
        for case in CASES.into_iter().chain([LRANGE]) {
            let mut pushes: Vec<Vec<u8>> = case.keys.iter().map(|key| push(&[key])).collect();
            pushes.push(push(&["other", case.keys[case.keys.len() - 1]]));
            pushes.push(NULL_PUSH.to_vec());
            for push in &pushes {
                for place in 0..=2 + case.keys.len() {
                    pushed(&stage, &mut session, case, push, place, false);
                }
            }
            if workers == 1 {
                for place in 0..=2 + case.keys.len() {
                    pushed(&stage, &mut session, case, &pushes[0], place, true);
                }
            }
        }
    }
}

/// Without this the other tests might pass because nothing is ever kept.
#[test]
fn a_push_for_another_key_ends_nothing() {
    let stage = Stage::new(|_| {});
    let mut session = stage.session();
    for case in CASES.into_iter().chain([LRANGE]) {
        for place in 0..=2 + case.keys.len() {
            stage.clear(&mut session);
            let mut parts = stage.begin(&mut session, case);
            parts.insert(place, push(&["other"]));
            stage.upstream.send(stage.lane, &parts.concat());
            assert_eq!(shown(&session.read()), Some(stage.version()));
            stage.end(&mut session);
            let (upstream, _) = stage.again(&mut session, case);
            assert!(!upstream, "{case:?} at {place}");
        }
    }
}

/// A field of a hash of which something is held is read without CACHING and PTTL; then any push for it that comes before the
/// reply leaves the key untracked, and what was read must not be kept either.
#[test]
fn a_plain_read_of_a_key_that_was_held_is_ended_by_a_push_on_either_side() {
    let stage = Stage::new(|_| {});
    let mut session = stage.session();
    let other: &[&str] = &["HGET", "k", "other"];
    for push in [push(&["k"]), NULL_PUSH.to_vec()] {
        for place in [None, Some(0), Some(1)] {
            stage.clear(&mut session);
            session.must(&["HGET", "k", "f"]);
            session.must(&["PING"]);
            stage.upstream.hold(stage.lane);
            session.send(other);
            session.flush();
            let mut parts = vec![stage.upstream.take(stage.lane)];
            assert_eq!(parts[0][0], b'$', "no CACHING");
            if let Some(place) = place {
                parts.insert(place, push.clone());
            }
            stage.upstream.send(stage.lane, &parts.concat());
            session.read();
            stage.end(&mut session);
            let before = stage.upstream.count(other);
            session.must(other);
            let upstream = stage.upstream.count(other) > before;
            assert_eq!(upstream, place.is_some(), "{place:?}");
            session.must(&["PING"]);
        }
    }
}

/// Sends a stream in two reads.
fn in_two(stage: &Stage, stream: &[u8], at: usize) {
    let (first, second) = stream.split_at(at);
    stage.upstream.send_apart(stage.lane, first);
    stage.upstream.send(stage.lane, second);
}

#[test]
fn a_push_in_a_fill_may_be_split_at_every_byte() {
    let stage = Stage::new(|_| {});
    let mut session = stage.session();
    for case in CASES {
        for push in [push(case.keys), NULL_PUSH.to_vec()] {
            // The pieces are the same whatever is read.
            let step = if case.read == GET.read { 1 } else { 5 };
            for cut in (0..=push.len()).step_by(step) {
                stage.clear(&mut session);
                let mut parts = stage.begin(&mut session, case);
                let before = parts[0].len() + parts[1].len();
                parts.insert(2, push.clone());
                in_two(&stage, &parts.concat(), before + cut);
                assert_eq!(shown(&session.read()), Some(stage.version()));
                stage.end(&mut session);
                let (upstream, _) = stage.again(&mut session, case);
                assert!(upstream, "{case:?} split at {cut}");
            }
        }
    }
}

/// Before the reply, where the fill stands, too.
#[test]
fn a_fill_with_a_push_in_it_may_be_split_at_every_byte() {
    let stage = Stage::new(|_| {});
    let mut session = stage.session();
    let mut at = 1;
    loop {
        stage.clear(&mut session);
        let mut parts = stage.begin(&mut session, GET);
        parts.insert(REFLECTED, push(&["k"]));
        let stream = parts.concat();
        in_two(&stage, &stream, at);
        assert_eq!(shown(&session.read()), Some(stage.version()));
        stage.end(&mut session);
        assert!(!stage.again(&mut session, GET).0, "split at {at}");
        at += 1;
        if at == stream.len() {
            break;
        }
    }
}

/// The same behind the fill, where the push drops what was put in, and byte by byte.
#[test]
fn a_push_behind_a_fill_may_come_in_any_pieces() {
    let stage = Stage::new(|_| {});
    let mut session = stage.session();
    for push in [push(&["k"]), push(&["a", "k", "b"]), NULL_PUSH.to_vec()] {
        for size in [1, 7] {
            stage.clear(&mut session);
            session.must(GET.read);
            session.must(&["PING"]);
            assert!(!stage.again(&mut session, GET).0);
            for piece in push.chunks(size) {
                stage.upstream.send_apart(stage.lane, piece);
            }
            stage.end(&mut session);
            assert!(stage.again(&mut session, GET).0, "in pieces of {size}");
        }
    }
}

/// A push between an aggregate of more than one read and the reply behind it, with the reads ending around it.
#[test]
fn a_push_at_the_boundary_of_a_large_aggregate() {
    let stage = Stage::new(|_| {});
    let mut session = stage.session();
    let push = push(&["k"]);
    for cut in 0..push.len() + 6 {
        stage.clear(&mut session);
        let read = stage.version();
        stage.upstream.hold(stage.lane);
        session.send(LRANGE.read);
        session.send(&["GET", "l"]);
        session.flush();
        let mut parts: Vec<Vec<u8>> = (0..6).map(|_| stage.upstream.take(stage.lane)).collect();
        stage.write_elsewhere();
        let boundary = parts[0].len() + parts[1].len();
        parts.insert(2, push.clone());
        in_two(&stage, &parts.concat(), boundary - 3 + cut);
        assert_eq!(shown(&session.read()), Some(read));
        assert_eq!(shown(&session.read()), Some(read));
        stage.end(&mut session);
        let (upstream, reply) = stage.again(&mut session, LRANGE);
        assert_eq!((upstream, shown(&reply)), (true, Some(stage.version())));
        let before = stage.upstream.count(&["GET", "l"]);
        assert_eq!(shown(&session.must(&["GET", "l"])), Some(read));
        assert_eq!(stage.upstream.count(&["GET", "l"]), before, "kept");
    }
}
