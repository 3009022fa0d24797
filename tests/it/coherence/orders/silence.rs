//! An upstream that stops answering and closes nothing.

use std::thread;
use std::time::{Duration, Instant};

use super::{GET, Stage, shown};
use crate::support::eventually;
use crate::support::resp::Value;

const BOUND: Duration = Duration::from_millis(150);
const TIMEOUT: Duration = Duration::from_millis(600);

#[test]
fn a_lane_that_is_silent_serves_no_hits_for_longer_than_max_staleness_and_is_then_given_up() {
    for workers in [1, 2] {
        let mut stage = Stage::new(|settings| {
            settings.downstream.workers = workers;
            settings.l1.max_staleness = BOUND;
            settings.lane.request_timeout = TIMEOUT;
        });
        let lanes = stage.lanes();
        let (mut reader, mut writer) = (stage.near.session(), stage.near.session());
        let mut asking = stage.near.session();
        // Hits until the upstream falls silent.
        eventually("a hit", || (!stage.again(&mut reader, GET).0).then_some(()));
        stage.upstream.hold(stage.lane);
        let silent = Instant::now();
        stage.write_elsewhere();
        writer.send(&["SET", "other", "x"]);
        writer.flush();
        asking.send(&["HGET", "other", "f"]);
        asking.flush();
        // A proof of life is no younger than that, whatever was under way.
        while silent.elapsed() <= BOUND {
            thread::sleep(BOUND / 10);
        }
        reader.send(GET.read);
        reader.flush();
        let late = reader.read();
        // Only where the new lane was there by then is it answered.
        match &late {
            Value::Error(error) => assert!(error.starts_with("UNAVAILABLE"), "{error}"),
            reply => assert_eq!(shown(reply), Some(stage.version()), "not from L1"),
        }
        for session in [&mut writer, &mut asking] {
            let reply = session.read();
            assert!(reply.is_error(), "{reply:?}");
        }
        assert!(silent.elapsed() >= TIMEOUT, "it was waited for");
        stage.await_lane(lanes, 1);
        // Whoever was there is served again, and a hit shows what is true.
        eventually("a hit", || {
            let (upstream, reply) = stage.again(&mut reader, GET);
            assert_eq!(shown(&reply), Some(stage.version()));
            (!upstream).then_some(())
        });
        assert_eq!(stage.upstream.count(&["SET"]), 1, "not sent again");
    }
}

/// The same where a reply has begun and does not go on: bytes that come show no life of what is behind them.
#[test]
fn a_reply_that_stops_in_the_middle_is_given_up_as_well() {
    let mut stage = Stage::new(|settings| settings.lane.request_timeout = TIMEOUT);
    let lanes = stage.lanes();
    let mut session = stage.session();
    let mut behind = stage.near.session();
    let parts = stage.begin(&mut session, GET);
    behind.send(&["GET", "l"]);
    behind.flush();
    stage.upstream.await_command(&["GET", "l"], 0);
    let stream = parts.concat();
    // In the middle of the value.
    stage
        .upstream
        .send(stage.lane, &stream[..parts[0].len() + 2]);
    assert!(session.read().is_error());
    assert!(behind.read().is_error());
    stage.await_lane(lanes, 1);
    let mut session = stage.near.session();
    assert_eq!(shown(&session.must(GET.read)), Some(stage.version()));
}
