//! A write that may have reached the upstream is never sent again, and one that was acknowledged is not lost.

use super::rig::Rig;
use crate::support::eventually;
use crate::support::resp::Value;

/// The lane is lost while INCR has been carried out and its reply has not come: an error, and it counts once.
#[test]
fn a_write_whose_reply_is_lost_is_not_repeated() {
    for workers in [1, 2] {
        let rig = Rig::new(|settings| settings.downstream.workers = workers);
        let mut session = rig.session();
        rig.relay.hold();
        session.send(&["INCR", "counter"]);
        session.flush();
        rig.relay.await_held("INCR's reply", |frames| {
            frames.iter().any(|frame| frame.value == Value::Int(1))
        });
        rig.relay.kill_lane();
        rig.relay.release();
        let reply = session.read();
        assert!(reply.is_error(), "got {reply:?}");
        eventually("service again", || {
            (!session.call(&["SET", "elsewhere", "1"]).is_error()).then_some(())
        });
        assert_eq!(
            rig.server.client().call(&["GET", "counter"]).text(),
            Some("1")
        );
    }
}

/// The lane is lost before INCR got out of it: an error, and it is not sent over the next one either.
#[test]
fn a_write_that_was_lost_is_not_sent_later() {
    let rig = Rig::new(|_| {});
    let mut session = rig.session();
    let mark = rig.relay.mark();
    let incr = |command: &[Vec<u8>]| command[0] == b"INCR";
    rig.relay.stall();
    session.send(&["INCR", "counter"]);
    session.flush();
    eventually("INCR on the lane", || {
        rig.relay.sent(mark, incr).then_some(())
    });
    let after = rig.relay.mark();
    rig.relay.kill_lane();
    rig.relay.unstall();
    assert!(session.read().is_error());
    eventually("service again", || {
        (!session.call(&["SET", "elsewhere", "1"]).is_error()).then_some(())
    });
    assert!(!rig.relay.sent(after, incr), "sent again");
    assert_eq!(
        rig.server.client().call(&["EXISTS", "counter"]),
        Value::Int(0)
    );
}

/// INCR by several sessions while the lane is lost again and again: what was acknowledged counts, what got an error counts at most once.
#[test]
fn acknowledged_and_failed_writes_add_up() {
    let rig = Rig::new(|settings| settings.downstream.workers = 2);
    let mut sessions = [rig.session(), rig.session()];
    let (mut acknowledged, mut failed) = (0, 0);
    for round in 0..40 {
        for session in &mut sessions {
            for _ in 0..20 {
                session.send(&["INCR", "counter"]);
            }
            session.flush();
        }
        if round % 4 == 0 {
            rig.relay.kill_lane();
        }
        for session in &mut sessions {
            for _ in 0..20 {
                match session.read() {
                    Value::Int(_) => acknowledged += 1,
                    Value::Error(_) => failed += 1,
                    other => panic!("INCR got {other:?}"),
                }
            }
        }
        eventually("service again", || {
            sessions
                .iter_mut()
                .all(|s| !s.call(&["SET", "elsewhere", "1"]).is_error())
                .then_some(())
        });
    }
    let reply = rig.server.client().call(&["GET", "counter"]);
    let total: i64 = reply
        .text()
        .and_then(|text| text.parse().ok())
        .expect("a number");
    assert!(
        failed > 0 && acknowledged > 0,
        "{failed} failed, {acknowledged} acknowledged"
    );
    assert!(
        (acknowledged..=acknowledged + failed).contains(&total),
        "the counter is {total}, {acknowledged} were acknowledged and {failed} failed"
    );
}
