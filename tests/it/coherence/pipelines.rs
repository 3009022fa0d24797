//! Order within pipelines and snapshots of MGET, by interleavings in which nearside has to decide.

use std::time::Duration;

use super::promise::{Checked, Promise, version};
use super::rig::Rig;
use super::world::{TWINS, twins_agree};
use crate::support::resp::Value;

/// A session reads and writes in one pipeline, some reads waiting as hits; the replies come in order and each read
/// sees exactly the writes before it.
fn interleaved(rig: &Rig, warm: &[&str]) -> Checked {
    for key in ["a", "b", "c"] {
        rig.put(key, 1);
    }
    for key in warm {
        rig.warm(key);
    }
    let mut session = rig.session();
    let pipeline: [(&[&str], u64); 9] = [
        (&["GET", "a"], 1),
        (&["GET", "b"], 1),
        (&["SET", "a", "a:2"], 0),
        (&["GET", "b"], 1),
        (&["GET", "a"], 2),
        (&["SET", "b", "b:2"], 0),
        (&["GET", "c"], 1),
        (&["GET", "b"], 2),
        (&["GET", "a"], 2),
    ];
    for (command, _) in pipeline {
        session.send(command);
    }
    session.flush();
    for (command, expected) in pipeline {
        let reply = session.read();
        let key = command[1];
        if expected == 0 {
            if reply.text() != Some("OK") {
                return Err(Promise::Order.broken(key, format_args!("{reply:?}"), "OK"));
            }
            continue;
        }
        let got = version(key, &reply)?;
        Promise::Order.at_least(key, got, expected)?;
        Promise::Order.below(key, got, expected + 1)?;
    }
    Ok(())
}

#[test]
fn a_pipeline_takes_effect_in_its_order() {
    for workers in [1, 2] {
        let rig = Rig::new(|settings| settings.downstream.workers = workers);
        for warm in [
            &[][..],
            &["a"],
            &["b"],
            &["c"],
            &["a", "b"],
            &["a", "b", "c"],
        ] {
            if let Err(violation) = interleaved(&rig, warm) {
                panic!("{warm:?} in L1, {workers} workers: {violation}");
            }
        }
        assert!(rig.near.hits() > 0);
    }
}

/// Two keys are always written together. One push of the two is here, the other is not.
fn torn_mget(rig: &Rig, warm: &[&str], command: &[&str]) -> Checked {
    let [x, y] = TWINS;
    rig.server.client().must(&["MSET", x, "x:1", y, "y:1"]);
    let mut session = rig.session();
    for key in warm {
        rig.hit(&mut session, key);
    }
    rig.relay.hold();
    rig.server.client().must(&["MSET", x, "x:2", y, "y:2"]);
    if warm.is_empty() {
        rig.relay.release();
    } else {
        rig.relay.await_held("the pushes", |frames| {
            frames.iter().filter(|frame| frame.is_push()).count() == warm.len()
        });
        // Lets one push through, and no more.
        let mut passed = false;
        rig.relay
            .pass_while(|frame| frame.is_push() && !std::mem::replace(&mut passed, true));
    }
    let reply = rig.race(&mut session, command);
    let pairs: Vec<(&str, &Value)> = command[1..].iter().copied().zip(reply.elements()).collect();
    twins_agree(&pairs)
}

#[test]
fn an_mget_is_a_snapshot() {
    for workers in [1, 2] {
        let rig = Rig::new(|settings| settings.downstream.workers = workers);
        for warm in [&[][..], &["x"], &["y"], &["x", "y"]] {
            for command in [
                &["MGET", "x", "y"][..],
                &["MGET", "y", "x"],
                &["MGET", "x", "y", "x"],
            ] {
                if let Err(violation) = torn_mget(&rig, warm, command) {
                    panic!("{warm:?} in L1, {command:?}: {violation}");
                }
            }
        }
    }
}

/// The requests are taken in a run, and none before its last byte.
#[test]
fn hits_that_come_in_two_parts_are_answered_each_once_it_is_whole() {
    let rig = Rig::new(|_| {});
    let keys = ["a", "k", "kkkkkkkkkk"];
    for key in keys {
        rig.warm(key);
    }
    let mut session = rig.session();
    let requests = keys.map(|key| format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()));
    let bytes = requests.concat();
    for cut in 1..bytes.len() {
        let (first, rest) = bytes.as_bytes().split_at(cut);
        session.send_raw(first);
        session.flush();
        let mut ends = 0;
        let whole = |request: &&String| {
            ends += request.len();
            ends <= cut
        };
        let whole = requests.iter().take_while(whole).count();
        for key in &keys[..whole] {
            assert_eq!(version(key, &session.read()), Ok(1), "cut at {cut}");
        }
        assert!(!session.has_reply(Duration::from_millis(1)), "cut at {cut}");
        session.send_raw(rest);
        session.flush();
        for key in &keys[whole..] {
            assert_eq!(version(key, &session.read()), Ok(1), "cut at {cut}");
        }
    }
}
