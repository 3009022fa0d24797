//! Faults of the way to the server, which itself goes on: whoever reaches it another way writes meanwhile.

use std::time::Duration;

use super::gate::{Gate, Way};
use super::scenario::{Cast, Expected, Scene};
use crate::support::redis::RedisServer;

/// For that long, with those clients at work.
fn run(name: &'static str, way: Way, length: Duration, cast: &Cast<'_>, expected: &Expected<'_>) {
    let server = RedisServer::start(&[]);
    let gate = Gate::before(server.addr());
    let upstream = format!("redis://{}", gate.addr());
    let mut scene = Scene::with(name, server, &upstream, cast);
    scene.strike(|_| gate.set(way));
    scene.last(length);
    scene.heal(|_| gate.set(Way::Open));
    scene.finish(expected);
}

fn run_usual(name: &'static str, way: Way, length: Duration) {
    run(name, way, length, &Cast::default(), &Expected::default());
}

#[test]
fn a_black_hole() {
    let length = Duration::from_secs(4);
    run_usual("a black hole", Way::Hole, length);
}

/// Where nothing else gives the lane up before the bound has passed, hits end with that.
#[test]
fn a_black_hole_that_is_not_noticed() {
    let cast = Cast {
        settings: &[
            ("NEARSIDE_LANE_OVERDUE", "1m"),
            ("NEARSIDE_REQUEST_TIMEOUT", "1500ms"),
        ],
        ..Cast::default()
    };
    let expected = Expected {
        at_once: true,
        ..Expected::default()
    };
    let length = Duration::from_secs(2);
    run(
        "an unnoticed black hole",
        Way::Hole,
        length,
        &cast,
        &expected,
    );
}

#[test]
fn half_closed() {
    let length = Duration::from_millis(1500);
    run_usual("half-closed", Way::HalfClosed, length);
}

#[test]
fn garbage() {
    let length = Duration::from_millis(1500);
    run_usual("garbage", Way::Garbage, length);
}
