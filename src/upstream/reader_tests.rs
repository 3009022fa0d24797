//! Orders that a real server rarely shows, byte by byte and whole.

use super::*;
use crate::l1::settings::{Admit, Settings};
use crate::l1::{Lookup, RuleSet};
use crate::resp::downgrade::Shape;
use crate::telemetry::Telemetry;
use crate::telemetry::settings::Settings as TelemetrySettings;
use crate::upstream::{Attempt, Extra, FillKeys, Filled, NO_KEYSPACE, Terms};

/// A read's, of a client that speaks RESP3.
fn terms() -> Terms {
    Terms {
        sent_us: 1000,
        keyspace: NO_KEYSPACE,
        shape: Shape::Generic,
        attempt: Attempt::First,
        resp2: false,
        silent: false,
        told: false,
    }
}

const PUSH: &[u8] = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";

fn reader(rules: RuleSet) -> (Reader, Arc<Mailbox>) {
    let settings = Settings {
        admit: Admit::Always,
        knocked_out: rules,
        ..Settings::default()
    };
    let l1 = Arc::new(L1::new(settings, 1));
    let surroundings = Surroundings {
        space: l1.add_space(),
        l1,
        large: Arc::default(),
        buffers: Arc::new(Buffers::new(1 << 20)),
        flights: Arc::default(),
        output_limit: 1 << 20,
        large_reply: 1 << 10,
        slow_after: 0,
        telemetry: Telemetry::new(&TelemetrySettings::default()),
    };
    let mut reader = Reader::new(surroundings, "master".into());
    let session: Arc<Mailbox> = Arc::default();
    let keys = FillKeys {
        keys: vec![b"k".as_slice().into()],
        filled: Filled::Value,
        held: None,
        fields: 0,
        epoch: crate::l1::Epoch::default(),
    };
    let terms = Terms {
        resp2: true,
        keyspace: 0,
        ..terms()
    };
    let op = Op::Fill(Box::new(keys));
    let session_of = Some(Arc::clone(&session));
    let fill = Pending::new(session_of, terms, None, op, Extra::default());
    reader.pending.push(fill);
    (reader, session)
}

/// Feeds the stream in steps of `step` bytes, as a connection would: what was not used comes again.
fn feed(reader: &mut Reader, stream: &[u8], step: usize) {
    let mut waiting = Vec::new();
    for chunk in stream.chunks(step) {
        waiting.extend_from_slice(chunk);
        let used = reader
            .take(&waiting, Beside::Nobody)
            .expect("a sound stream");
        waiting.drain(..used);
    }
    assert!(waiting.is_empty());
}

fn holds(reader: &Reader) -> bool {
    let (l1, space) = (&reader.l1, &reader.space);
    matches!(
        l1.get(space, &l1.value(b"k"), 2, None, &mut Vec::new()),
        Lookup::Hit { .. }
    )
}

fn after(parts: &[&[u8]], rules: RuleSet, step: usize) -> bool {
    let (mut reader, session) = reader(rules);
    feed(&mut reader, &parts.concat(), step);
    let mail = session.lock();
    assert_eq!(
        (mail.out.as_slice(), mail.answered),
        (b"$1\r\n1\r\n".as_slice(), 1)
    );
    drop(mail);
    holds(&reader)
}

#[test]
fn a_push_decides_by_its_place() {
    let (ok, value, ttl): (&[u8], &[u8], &[u8]) = (b"+OK\r\n", b"$1\r\n1\r\n", b":-1\r\n");
    for step in [1, 7, 1000] {
        let none = RuleSet::none();
        assert!(after(&[ok, value, ttl], none, step));
        assert!(
            after(&[ok, PUSH, value, ttl], none, step),
            "a push before the reply is reflected in it"
        );
        assert!(
            !after(&[ok, value, PUSH, ttl], none, step),
            "a push between read and PTTL refuses the fill"
        );
        assert!(!after(&[ok, value, ttl, PUSH], none, step));
        assert!(!after(
            &[ok, value, b">2\r\n$10\r\ninvalidate\r\n_\r\n", ttl],
            none,
            step
        ));
        assert!(
            !after(&[b"-ERR no\r\n", value, ttl], none, step),
            "CACHING refused"
        );
        assert!(
            !after(&[ok, value, b":-2\r\n"], none, step),
            "PTTL says that there is no such key"
        );
    }
}

#[test]
fn knocked_out_rules_let_old_values_in() {
    let (ok, value, ttl): (&[u8], &[u8], &[u8]) = (b"+OK\r\n", b"$1\r\n1\r\n", b":-1\r\n");
    assert!(after(
        &[ok, value, PUSH, ttl],
        RuleSet::only(Rule::PushInFill),
        1000
    ));
    let (mut reader, _session) = reader(RuleSet::only(Rule::FillInReader));
    feed(&mut reader, &[ok, value, ttl, PUSH].concat(), 1000);
    reader.take(b"", Beside::Nobody).expect("nothing");
    assert!(
        holds(&reader),
        "a fill that was put in late outlives its push"
    );
}

#[test]
fn a_lost_lane_answers_everything_that_was_sent() {
    let (mut reader, session) = reader(RuleSet::none());
    assert!(reader.fail("UNAVAILABLE lost", None).is_empty(), "no write");
    assert_eq!(session.lock().out, b"-UNAVAILABLE lost\r\n");
}

/// Replies that are handed over together are the same as one by one: for sessions of both protocols, however they come.
#[test]
fn nulls_among_plain_replies_are_each_in_their_clients_protocol() {
    use Shape::{Generic, NullArray};
    let replies: [(&[u8], bool, Shape); 7] = [
        (b"_\r\n", true, Generic),
        (b"$1\r\n1\r\n", true, Generic),
        (b"_\r\n", true, NullArray),
        (b":7\r\n", true, Generic),
        (b"_\r\n", false, Generic),
        (b"+OK\r\n", false, Generic),
        (b"_\r\n", true, Generic),
    ];
    for step in [1, 2, 7, 1000] {
        let (mut reader, old) = reader(RuleSet::none());
        reader.pending = Awaited::default();
        let new: Arc<Mailbox> = Arc::default();
        let mut stream = Vec::new();
        for (reply, resp2, shape) in replies {
            stream.extend_from_slice(reply);
            let session = if resp2 { &old } else { &new };
            let terms = Terms {
                keyspace: 0,
                resp2,
                shape,
                ..terms()
            };
            let session = Some(Arc::clone(session));
            let relayed = Pending::new(session, terms, None, Op::Relay, Extra::default());
            reader.pending.push(relayed);
        }
        feed(&mut reader, &stream, step);
        let out = |session: &Mailbox| {
            let mail = session.lock();
            (mail.out.clone(), mail.answered)
        };
        let expected = b"$-1\r\n$1\r\n1\r\n*-1\r\n:7\r\n$-1\r\n".to_vec();
        assert_eq!(out(&old), (expected, 5));
        assert_eq!(out(&new), (b"_\r\n+OK\r\n".to_vec(), 2));
        let absent = &reader.l1.keyspaces().counters(0).absent;
        assert_eq!(absent.load(std::sync::atomic::Ordering::Relaxed), 4);
    }
}

/// Three reads and two writes that a session has sent together, all of them outstanding.
fn pipeline() -> (Reader, Arc<Mailbox>) {
    let (mut reader, session) = reader(RuleSet::none());
    reader.pending = Awaited::default();
    let [one, other] = written(&reader);
    let mut put = |terms, reads, ops: [Op; 2]| {
        let [first, further] = ops;
        let session = Some(Arc::clone(&session));
        let mut together = Pending::new(session, terms, reads, first, Extra::default());
        assert!(together.takes_in(&terms, reads.map(|key| key + 1), &further));
        if let Some(key) = reads {
            assert!(together.takes_in(&terms, Some(key + 2), &Op::Relay));
        }
        reader.pending.push(together);
    };
    put(terms(), Some(1), [Op::Relay, Op::Relay]);
    let writes = Terms {
        attempt: Attempt::Only,
        ..terms()
    };
    let write = |key| Op::Write(Keys::One(key));
    put(writes, None, [write(one), write(other)]);
    for key in [one, other] {
        reader.l1.begin_write(key, b"k");
    }
    session.lock().submitted = 5;
    (reader, session)
}

/// The hashes of the keys that it writes.
fn written(reader: &Reader) -> [u64; 2] {
    [b"one", b"two"].map(|key| reader.l1.hash(key))
}

fn mail(session: &Mailbox) -> (String, u64) {
    let mail = session.lock();
    (String::from_utf8_lossy(&mail.out).into(), mail.answered)
}

/// Each by itself, however little they differ and whatever the others are answered with.
#[test]
fn what_was_sent_together_is_answered_one_by_one() {
    let large = format!("$2000\r\n{}\r\n", "x".repeat(2000));
    let replies = [
        "$1\r\nx\r\n",
        "-ERR no\r\n",
        &large,
        "-OOM no\r\n",
        "+OK\r\n",
    ];
    for step in [1, 2, 7, 1000, 3000] {
        let (mut reader, session) = pipeline();
        let mut said = String::new();
        for (n, reply) in replies.iter().enumerate() {
            let in_flight = written(&reader).map(|key| reader.l1.write_in_flight(key));
            assert_eq!(in_flight, [n < 4, true]);
            feed(&mut reader, reply.as_bytes(), step);
            said += reply;
            assert_eq!(mail(&session), (said.clone(), n as u64 + 1));
        }
        assert!(!reader.l1.write_in_flight(written(&reader)[1]));
        assert!(reader.pending.is_empty());
        let large = [1, 2, 3].map(|key| reader.large.contains(key));
        assert_eq!(large, [false, false, true]);

        let (mut reader, session) = pipeline();
        feed(&mut reader, said.as_bytes(), step);
        assert_eq!(mail(&session), (said, 5));
        assert!(reader.large.contains(3) && !reader.l1.write_in_flight(written(&reader)[1]));
    }
}

#[test]
fn what_was_sent_together_fails_one_by_one() {
    let (mut reader, session) = pipeline();
    feed(&mut reader, b"$1\r\nx\r\n", 1000);
    let unsettled = reader.fail("UNAVAILABLE lost", Some(0));
    let error = "-UNAVAILABLE lost\r\n".repeat(4);
    assert_eq!(mail(&session), (format!("$1\r\nx\r\n{error}"), 5));
    assert_eq!(unsettled.hashes, written(&reader));
}

/// And that one is the last of all.
#[test]
fn of_reads_that_were_sent_together_one_may_be_sent_again() {
    let (mut reader, session) = pipeline();
    let mut all = std::mem::take(&mut reader.pending);
    let mut reads = all.pop().expect("three reads");
    for key in [2, 3] {
        assert!(reads.takes_in(&terms(), Some(key), &Op::Relay));
    }
    reader.pending.push(reads);
    session.lock().submitted = 3;
    assert!(reader.fail("UNAVAILABLE lost", Some(0)).is_empty());
    let error = "-UNAVAILABLE lost\r\n".repeat(2);
    assert_eq!(mail(&session), (error, 3));
    assert_eq!(session.lock().again, Some(1));
}

#[test]
fn what_was_sent_together_is_given_up_one_by_one() {
    let (mut reader, session) = pipeline();
    feed(&mut reader, b"$1\r\nx\r\n", 1000);
    reader.set_time(10_000_000);
    reader.give_up(1000, || "TIMEOUT".into());
    let said = (format!("$1\r\nx\r\n{}", "-TIMEOUT\r\n".repeat(4)), 5);
    assert_eq!(mail(&session), said);
    assert!(reader.is_given_up());
    // They come all the same, and are nobody's.
    feed(&mut reader, b"$1\r\ny\r\n_\r\n+OK\r\n", 1000);
    assert_eq!(reader.pending.commands(), 1);
    assert_eq!(
        written(&reader).map(|key| reader.l1.write_in_flight(key)),
        [false, true]
    );
    feed(&mut reader, b"+OK\r\n", 1000);
    assert_eq!(mail(&session), said);
    assert!(reader.pending.is_empty() && !reader.l1.write_in_flight(written(&reader)[1]));
}

/// What stands behind it is not answered yet, of the same session or not.
#[test]
fn a_reply_proves_no_more_than_what_it_answers() {
    let (mut reader, session) = reader(RuleSet::none());
    reader.pending = Awaited::default();
    for sent_us in [5_000_000, 9_000_000] {
        let terms = Terms { sent_us, ..terms() };
        let session = Some(Arc::clone(&session));
        let relayed = Pending::new(session, terms, None, Op::Relay, Extra::default());
        reader.pending.push(relayed);
    }
    feed(&mut reader, b"$1\r\nx\r\n", 1000);
    assert_eq!(reader.space.proof(), Some(5000));
    feed(&mut reader, b"$1\r\ny\r\n", 1000);
    assert_eq!(reader.space.proof(), Some(9000));
}
