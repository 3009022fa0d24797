//! Faults of the way to the server, which itself goes on: whoever reaches it another way writes meanwhile.

use std::time::Duration;

use super::gate::{Gate, Way};
use super::scenario::{Cast, Expected, Scene};
use crate::support::redis::RedisServer;

/// For that long, with those clients at work.
fn run(name: &'static str, way: Way, length: Duration, cast: &Cast<'_>) {
    let server = RedisServer::start(&[]);
    let gate = Gate::before(server.addr());
    let upstream = format!("redis://{}", gate.addr());
    let mut scene = Scene::with(name, server, &upstream, cast);
    scene.strike(|_| gate.set(way));
    scene.last(length);
    scene.heal(|_| gate.set(Way::Open));
    scene.finish(&Expected::default());
}

#[test]
fn a_black_hole() {
    let length = Duration::from_secs(3);
    run("a black hole", Way::Hole, length, &Cast::default());
}

#[test]
fn half_closed() {
    let length = Duration::from_millis(1500);
    run("half-closed", Way::HalfClosed, length, &Cast::default());
}

#[test]
fn garbage() {
    let length = Duration::from_millis(1500);
    run("garbage", Way::Garbage, length, &Cast::default());
}
