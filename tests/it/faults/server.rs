//! Faults of the server itself.

use std::time::Duration;

use super::scenario::{Cast, Expected, Scene};
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

/// An upstream that refuses the lane is asked again that soon, and a busy machine takes its time.
pub const BACK: Duration = Duration::from_secs(5 + 2);

/// A log of all writes that outlives the process.
const KEPT: &[&str] = &["--appendonly", "yes", "--appendfsync", "no"];

#[test]
fn killed_and_restarted() {
    let mut scene = Scene::new("killed and restarted", RedisServer::start(KEPT));
    scene.strike(|scene| scene.server.kill());
    scene.last(Duration::from_millis(1500));
    scene.heal(Scene::restart);
    scene.finish(&Expected::default());
}

#[test]
fn restarted_at_once() {
    let mut scene = Scene::new("restarted at once", RedisServer::start(KEPT));
    scene.strike(|scene| scene.server.kill());
    scene.heal(Scene::restart);
    scene.finish(&Expected {
        at_once: true,
        ..Expected::default()
    });
}

#[test]
fn restarted_empty() {
    let mut scene = Scene::new("restarted empty", RedisServer::start(&[]));
    scene.strike(Scene::empty);
    scene.heal(|_| {});
    scene.finish(&Expected {
        at_once: true,
        ..Expected::default()
    });
}

#[test]
fn stopped_and_continued() {
    let mut scene = Scene::new("stopped and continued", RedisServer::start(&[]));
    scene.strike(|scene| scene.server.freeze());
    scene.last(Duration::from_secs(4));
    scene.heal(|scene| scene.server.thaw());
    scene.finish(&Expected::default());
}

/// What is kept is loaded slowly, and the server says so meanwhile.
#[test]
fn loading_what_it_kept() {
    let mut server = RedisServer::start(&[KEPT, SLOW].concat());
    let mut direct = server.client();
    // What the log begins with, once it has been written anew, is loaded in pieces, with looks at the clients in between.
    direct.must(&["DEBUG", "POPULATE", "20000", "other", "10"]);
    direct.must(&["BGREWRITEAOF"]);
    eventually("the log written anew", || {
        let info = direct.must(&["INFO", "persistence"]);
        let info = info.text().expect("a text").to_owned();
        let done = ["aof_rewrite_in_progress:0\r", "aof_rewrite_scheduled:0\r"];
        done.iter().all(|line| info.contains(line)).then_some(())
    });
    drop(direct);
    server.kill();
    server.start_again();
    let mut direct = server.client();
    loaded(&mut direct);
    let mut scene = Scene::new("loading", server);
    scene.strike(|scene| {
        scene.server.kill();
        scene.restart();
        let info = scene.direct.must(&["INFO", "persistence"]);
        let info = info.text().expect("a text");
        assert!(info.contains("\nloading:1\r"), "{info}");
    });
    scene.last(Duration::from_millis(1500));
    scene.heal(|scene| loaded(&mut scene.direct));
    scene.finish(&Expected {
        errors: &["LOADING ", "EXECABORT "],
        at_once: true,
        ..Expected::default()
    });
}

/// 20000 keys take four seconds, with a look at the clients every thirty of them.
const SLOW: &[&str] = &[
    "--key-load-delay",
    "200",
    "--loading-process-events-interval-bytes",
    "1024",
];

/// Has the rest loaded at once, and waits for that.
fn loaded(direct: &mut Client) {
    direct.must(&["CONFIG", "SET", "key-load-delay", "0"]);
    eventually("what was kept", || {
        (!direct.call(&["DBSIZE"]).is_error()).then_some(())
    });
}

/// Writes are refused, in the server's own words, and all else is as ever.
#[test]
fn out_of_memory() {
    let server = RedisServer::start(&[]);
    let upstream = format!("redis://{}", server.addr());
    let cast = Cast {
        // A busy machine is not to be taken for a server that is gone.
        settings: &[
            ("NEARSIDE_HANDSHAKE_TIMEOUT", "10s"),
            ("NEARSIDE_REQUEST_TIMEOUT", "10s"),
            ("NEARSIDE_LANE_OVERDUE", "10s"),
        ],
        ..Cast::default()
    };
    let mut scene = Scene::with("out of memory", server, &upstream, &cast);
    scene.strike(|scene| {
        scene.direct.must(&["CONFIG", "SET", "maxmemory", "1"]);
    });
    scene.last(Duration::from_millis(1500));
    scene.heal(|scene| {
        scene.direct.must(&["CONFIG", "SET", "maxmemory", "0"]);
    });
    scene.finish(&Expected {
        errors: &["OOM ", "EXECABORT "],
        down: false,
        ..Expected::default()
    });
}

/// nearside's connections are lost while others have all that there may be. That is no reason to try again for each
/// command, nor one to ask clients for passwords.
#[test]
fn no_connection_left() {
    let mut scene = Scene::new("maxclients", RedisServer::start(&[]));
    scene.strike(|scene| {
        // Fewer than there are without nearside's.
        scene.direct.must(&["CONFIG", "SET", "maxclients", "2"]);
        scene.cut_nearside();
    });
    scene.last(Duration::from_millis(1500));
    let told = Client::connect_unix(&scene.near.socket()).call(&["NEARSIDE", "STATS"]);
    let asks = matches!(&told, Value::Error(text) if text.starts_with("NOAUTH"));
    let info = scene.direct.must(&["INFO", "stats"]);
    let info = info.text().expect("a text");
    let rejected = info
        .lines()
        .find_map(|line| line.strip_prefix("rejected_connections:"));
    let rejected: u32 = rejected
        .and_then(|count| count.parse().ok())
        .expect("a count");
    assert!(rejected < 200, "{rejected} attempts to connect");
    assert!(!asks, "{told:?}");
    scene.heal(|scene| {
        scene.direct.must(&["CONFIG", "SET", "maxclients", "1000"]);
    });
    scene.finish(&Expected {
        errors: &["ERR max number of clients reached"],
        at_once: true,
        ..Expected::default()
    });
}

/// Nothing at all is answered for a while.
#[test]
fn paused() {
    pause("paused", "ALL", &Expected::default());
}

/// Reads are.
#[test]
fn paused_for_writes() {
    let expected = Expected {
        at_once: true,
        ..Expected::default()
    };
    pause("paused for writes", "WRITE", &expected);
}

fn pause(name: &'static str, which: &str, expected: &Expected<'_>) {
    let server = RedisServer::start(&[]);
    let upstream = format!("redis://{}", server.addr());
    let cast = Cast {
        // A script might run for as long as the pause.
        settings: &[("NEARSIDE_LONG_REQUEST_TIMEOUT", "1s")],
        ..Cast::default()
    };
    let mut scene = Scene::with(name, server, &upstream, &cast);
    scene.strike(|scene| {
        scene.direct.must(&["CLIENT", "PAUSE", "4000", which]);
    });
    // Answered when the pause is over, whatever is paused.
    scene.heal(|scene| {
        scene.direct.must(&["SET", "paused", "no longer"]);
    });
    scene.finish(expected);
}
