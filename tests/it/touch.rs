//! An upstream that evicts by last use does not evict what L1 serves, because it is told of it.

use std::thread;
use std::time::Duration;

use nearside::l1::settings::Admit;

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;

const SERVED: usize = 200;
const ROUNDS: usize = 400;
const FRESH: usize = 24;

fn key(n: usize) -> String {
    format!("served:{n}")
}

fn evicted(direct: &mut Client) -> u64 {
    let stats = direct.must(&["INFO", "stats"]);
    let text = stats.text().unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("evicted_keys:"));
    line.and_then(|count| count.trim().parse().ok())
        .expect("a count")
}

/// How many of the keys that are read all the time are still there after many others came.
fn survivors(touch_interval: Duration) -> usize {
    let server = RedisServer::start(&[
        "--maxmemory",
        "3mb",
        "--maxmemory-policy",
        "allkeys-lru",
        "--maxmemory-samples",
        "10",
    ]);
    let near = Nearside::start(server.addr(), |settings| {
        settings.l1.admit = Admit::Always;
        settings.l1.touch_interval = touch_interval;
    });
    eventually("the lane", || near.running().lane_is_up().then_some(()));
    let (mut direct, mut through) = (server.client(), near.session());
    for n in 0..SERVED {
        direct.must(&["SET", &key(n), "v"]);
    }
    let fresh = "x".repeat(1000);
    for round in 0..ROUNDS {
        for n in 0..SERVED {
            through.send(&["GET", &key(n)]);
        }
        through.flush();
        for _ in 0..SERVED {
            through.read();
        }
        for n in 0..FRESH {
            direct.send(&["SET", &format!("fresh:{round}:{n}"), &fresh]);
        }
        direct.flush();
        for _ in 0..FRESH {
            direct.read();
        }
        // The server's clock of last uses counts seconds: it has to move on while the others come.
        thread::sleep(Duration::from_millis(25));
    }
    assert!(
        evicted(&mut direct) > 3000,
        "too little came to evict anything"
    );
    (0..SERVED)
        .filter(|&n| direct.must(&["GET", &key(n)]).text().is_some())
        .count()
}

#[test]
fn what_is_served_survives_and_does_not_without() {
    let (with, without) = thread::scope(|scope| {
        let with = scope.spawn(|| survivors(Duration::from_millis(300)));
        let without = scope.spawn(|| survivors(Duration::ZERO));
        (
            with.join().expect("no panic"),
            without.join().expect("no panic"),
        )
    });
    println!("{with} of {SERVED} survive with TOUCH, {without} without");
    assert!(with > SERVED * 9 / 10, "{with} of {SERVED}");
    assert!(without < SERVED * 2 / 3, "{without} of {SERVED}");
}
