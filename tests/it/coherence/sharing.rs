//! What the upstream is spared where a key is written again and again.

use std::cell::Cell;

use nearside::l1::settings::Admit;

use super::promise::version;
use super::rig::{QUIET, Rig};
use crate::support::eventually;

/// Reads of `key` that came on lanes since `mark`.
fn reads(rig: &Rig, mark: usize, key: &str) -> usize {
    let count = Cell::new(0);
    rig.relay.sent(mark, |command| {
        let is_it = command.len() == 2 && command[0] == b"GET" && command[1] == key.as_bytes();
        count.set(count.get() + usize::from(is_it));
        false
    });
    count.get()
}

/// A write is on its way when many ask for its key: one read goes behind it, all have its reply, and L1 keeps that.
#[test]
fn reads_behind_a_write_of_their_own_lane_are_one() {
    for workers in [1, 2] {
        let rig = Rig::new(|settings| {
            settings.downstream.workers = workers;
            settings.l1.max_staleness = QUIET;
        });
        rig.warm("k");
        let mut writer = rig.session();
        let mut readers: Vec<_> = (0..6).map(|_| rig.session()).collect();
        rig.relay.stall();
        let mark = rig.relay.mark();
        writer.send(&["SET", "k", "k:2"]);
        writer.flush();
        rig.relay
            .await_sent(mark, "the write", |command| command[0] == b"SET");
        for (number, reader) in readers.iter_mut().enumerate() {
            reader.send(&["GET", "k"]);
            reader.flush();
            if number == 0 {
                rig.relay.await_read(mark, "k");
            }
        }
        // With several workers the next read may be there before the first is known to be under way.
        let sent = eventually("the others' sharing", || {
            let sent = reads(&rig, mark, "k");
            let shared = usize::try_from(rig.near.running().reads_shared()).expect("few");
            (sent + shared == readers.len()).then_some(sent)
        });
        assert!(sent <= workers, "{sent} reads, {workers} workers");
        rig.relay.unstall();
        assert!(!writer.read().is_error());
        for reader in &mut readers {
            assert_eq!(version("k", &reader.read()), Ok(2));
        }
        assert_eq!(reads(&rig, mark, "k"), sent);
        rig.hit(&mut readers[0], "k");
        assert_eq!(reads(&rig, mark, "k"), sent, "its fill stands");
    }
}

/// Another write follows the read: its reply is the older one's, and L1 does not keep it.
#[test]
fn a_read_between_two_writes_is_not_kept() {
    let rig = Rig::new(|settings| settings.l1.max_staleness = QUIET);
    rig.warm("k");
    let (mut writer, mut reader) = (rig.session(), rig.session());
    rig.relay.stall();
    let mark = rig.relay.mark();
    writer.send(&["SET", "k", "k:2"]);
    writer.flush();
    rig.relay
        .await_sent(mark, "the write", |command| command[0] == b"SET");
    reader.send(&["GET", "k"]);
    reader.flush();
    rig.relay.await_read(mark, "k");
    let mark = rig.relay.mark();
    writer.send(&["SET", "k", "k:3"]);
    writer.flush();
    rig.relay
        .await_sent(mark, "the write", |command| command[0] == b"SET");
    let refused = rig.near.running().fills_refused();
    rig.relay.unstall();
    assert_eq!(version("k", &reader.read()), Ok(2));
    for _ in 0..2 {
        assert!(!writer.read().is_error());
    }
    eventually("its refusal", || {
        (rig.near.running().fills_refused() > refused).then_some(())
    });
    assert_eq!(version("k", &reader.must(&["GET", "k"])), Ok(3));
}

/// What was read often until it was written is filled by its next read; what was not has to be read twice, as at first, but for
/// the few that the admission window takes for what it has seen.
#[test]
fn what_has_paid_is_filled_again_at_once() {
    const KEYS: usize = 40;
    let rig = Rig::new(|settings| {
        settings.l1.admit = Admit::SecondRead;
        settings.l1.max_staleness = QUIET;
    });
    let mut session = rig.session();
    for (hits, least, most) in [(1, KEYS * 3 / 2, KEYS * 2), (2, KEYS, KEYS)] {
        let keys: Vec<String> = (0..KEYS).map(|n| format!("{hits}:{n}")).collect();
        for key in &keys {
            rig.put(key, 1);
            for _ in 0..2 + hits {
                session.must(&["GET", key]);
                session.must(&["PING"]);
            }
        }
        // Of what came between, enough that the reads at first are forgotten.
        for n in 0..5000 {
            session.send(&["GET", &format!("other:{n}")]);
        }
        session.flush();
        for _ in 0..5000 {
            session.read();
        }
        let mark = rig.relay.mark();
        for key in &keys {
            session.must(&["SET", key, &format!("{key}:2")]);
            for _ in 0..5 {
                assert_eq!(version(key, &session.must(&["GET", key])), Ok(2));
                session.must(&["PING"]);
            }
        }
        let sent: usize = keys.iter().map(|key| reads(&rig, mark, key)).sum();
        assert!(
            (least..=most).contains(&sent),
            "{sent} reads behind {hits} hits"
        );
    }
}
