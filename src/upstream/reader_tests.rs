//! Orders that a real server rarely shows, byte by byte and whole.

use super::*;
use crate::l1::settings::{Admit, Settings};
use crate::l1::{Lookup, RuleSet};
use crate::resp::downgrade::Shape;
use crate::telemetry::Telemetry;
use crate::telemetry::settings::Settings as TelemetrySettings;
use crate::upstream::{Attempt, Extra, FillKeys, Filled};

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
    reader.pending.push_back(Pending {
        session: Some(Arc::clone(&session)),
        sent_us: 1000,
        told: false,
        keyspace: 0,
        resp2: true,
        silent: false,
        shape: Shape::Generic,
        attempt: Attempt::First,
        given_up: false,
        reads: None,
        op: Op::Fill(Box::new(keys)),
        extra: Extra::default(),
    });
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
        reader.pending.clear();
        let new: Arc<Mailbox> = Arc::default();
        let mut stream = Vec::new();
        for (reply, resp2, shape) in replies {
            stream.extend_from_slice(reply);
            let session = if resp2 { &old } else { &new };
            let ours = Pending::ours(Some(Arc::clone(session)), 1, Op::Relay);
            reader.pending.push_back(Pending {
                silent: false,
                keyspace: 0,
                resp2,
                shape,
                ..ours
            });
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
