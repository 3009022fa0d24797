//! Causality at speed: what a session is told on its own connection, against what it then reads from L1, with the lane slowed down.

use std::thread;
use std::time::Duration;

use super::promise::{Checked, Promise, value, version};
use super::rig::Rig;
use super::scenarios;
use crate::support::client::{Client, Protocol};
use crate::support::relay::Pace;

const ROUNDS: u64 = 60;
const TOLD: [&str; 3] = ["BLPOP", "SUBSCRIBE", "EXEC"];

/// Waits for word of version `n` and gives the version it was told of.
fn hear(session: &mut Client, how: &str, protocol: Protocol, n: u64) -> u64 {
    let told = |reply: &crate::support::resp::Value, at: usize| {
        let text = reply
            .elements()
            .get(at)
            .and_then(|e| e.text().map(str::to_owned));
        text.and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("{how} got {reply:?}"))
    };
    match how {
        "BLPOP" => told(&session.must(&["BLPOP", "q", "20"]), 1),
        "SUBSCRIBE" => {
            let message = match protocol {
                Protocol::Resp2 => session.read(),
                Protocol::Resp3 => session.read_push(),
            };
            session.send(&["UNSUBSCRIBE", "news"]);
            session.flush();
            let confirmed = match protocol {
                Protocol::Resp2 => session.read(),
                Protocol::Resp3 => session.read_push(),
            };
            assert_eq!(confirmed.elements()[0].text(), Some("unsubscribe"));
            told(&message, 2)
        }
        _ => {
            // Polls a counter inside MULTI until it has moved.
            session.must(&["WATCH", "unrelated"]);
            loop {
                for command in [&["MULTI"][..], &["GET", "counter"]] {
                    session.must(command);
                }
                let reply = session.must(&["EXEC"]);
                if reply.elements()[0].text() == Some(n.to_string().as_str()) {
                    return told(&reply, 0);
                }
                session.must(&["WATCH", "unrelated"]);
            }
        }
    }
}

fn told_then_read(how: &str, protocol: Protocol, pace: Pace, workers: usize) -> Checked {
    let rig = Rig::new(|settings| settings.downstream.workers = workers);
    rig.relay.set_pace(pace);
    rig.put("k", 0);
    let mut session = rig.near.session().speaking(protocol);
    let mut direct = rig.server.client();
    for n in 1..=ROUNDS {
        rig.hit(&mut session, "k");
        if how == "SUBSCRIBE" {
            session.send(&["SUBSCRIBE", "news"]);
            session.flush();
            match protocol {
                Protocol::Resp2 => session.read(),
                Protocol::Resp3 => session.read_push(),
            };
        }
        let heard = thread::scope(|scope| {
            let hearing = scope.spawn(|| hear(&mut session, how, protocol, n));
            direct.must(&["SET", "k", &value("k", n)]);
            let text = n.to_string();
            match how {
                "BLPOP" => direct.must(&["LPUSH", "q", &text]),
                "SUBSCRIBE" => direct.must(&["PUBLISH", "news", &text]),
                _ => direct.must(&["SET", "counter", &text]),
            };
            hearing.join().expect("the hearing session")
        });
        let got = version("k", &session.call(&["GET", "k"]))?;
        Promise::Causality.at_least("k", got, heard)?;
    }
    Ok(())
}

#[test]
fn nothing_is_read_that_is_older_than_what_was_relayed() {
    let slow = Pace::Delayed(Duration::from_millis(3));
    for how in TOLD {
        for (protocol, pace, workers) in [
            (Protocol::Resp2, slow, 1),
            (Protocol::Resp3, Pace::Flowing, 2),
        ] {
            if let Err(violation) = told_then_read(how, protocol, pace, workers) {
                panic!("{how}, {protocol:?}, {pace:?}: {violation}");
            }
        }
    }
}

/// The scenarios in which the fence decides, in RESP2, are among the knock-outs; here their other end: with the
/// fence lifted again, L1 serves the session as before.
#[test]
fn the_fence_is_lifted_again() {
    let rig = Rig::new(|_| {});
    scenarios::blpop_overtakes_push(&rig).expect("causality");
    let mut session = rig.session();
    rig.server.client().must(&["LPUSH", "q", "1"]);
    session.must(&["BLPOP", "q", "10"]);
    rig.hit(&mut session, "k");
}

/// Most clients select their database first, many for one command: that costs the upstream nothing, and they are served
/// as others are.
#[test]
fn a_client_that_was_shown_nothing_is_not_fenced() {
    let rig = Rig::new(|_| {});
    let mut direct = rig.server.client();
    direct.must(&["SELECT", "1"]);
    direct.must(&["SET", "k", "k:1"]);
    let mut first = rig.near.session();
    first.must(&["SELECT", "1"]);
    rig.hit(&mut first, "k");
    for _ in 0..3 {
        let (mark, hits) = (rig.relay.mark(), rig.near.hits());
        let mut client = rig.near.session();
        client.must(&["SELECT", "1"]);
        assert_eq!(version("k", &client.must(&["GET", "k"])), Ok(1));
        assert_eq!(rig.near.hits(), hits + 1);
        assert!(!rig.relay.sent(mark, |_| true), "no marker and no read");
    }
}

/// A read of several keys is nobody's to share: what is asked of a read under way is what became of its first key.
#[test]
fn a_read_of_two_keys_is_not_shared_behind_a_write_of_the_second() {
    for workers in [1, 2] {
        let rig = Rig::new(|settings| settings.downstream.workers = workers);
        scenarios::share_behind_write_of_another_key(&rig).expect("own writes");
    }
}
