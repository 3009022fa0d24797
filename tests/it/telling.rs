//! What sessions and lanes tell of their commands: each is counted once, by its name and by where it was answered.

use std::collections::BTreeMap;
use std::time::Duration;

use nearside::telemetry::durations::Route;

use crate::support::client::{Client, Protocol};
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::rng::Rng;

/// Commands answered and those answered with an error, by name.
type Counts = BTreeMap<&'static str, (u64, u64)>;

/// By name, over all routes.
fn counts(near: &Nearside) -> Counts {
    let mut counts = Counts::new();
    for (name, _, durations) in near.running().durations() {
        let (all, failed) = counts.entry(name).or_default();
        *all += durations.count();
        *failed += durations.errors;
    }
    counts
}

fn of(near: &Nearside, name: &str, route: Route) -> (u64, u64) {
    let all = near.running().durations();
    let found = all.iter().find(|one| (one.0, one.1) == (name, route));
    found.map_or((0, 0), |(_, _, durations)| {
        (durations.count(), durations.errors)
    })
}

fn await_counts(near: &Nearside, name: &str, route: Route, wanted: (u64, u64)) {
    let mut seen = (0, 0);
    let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("the counts", || {
            seen = of(near, name, route);
            (seen == wanted).then_some(())
        });
    }));
    let all = near.running().durations().into_iter();
    let all: Vec<_> = all.map(|one| (one.0, one.1, one.2.count())).collect();
    assert!(
        right.is_ok(),
        "{name} by {route:?}: {seen:?}, not {wanted:?}; there are {all:?}"
    );
}

#[test]
fn a_command_is_counted_where_it_is_answered() {
    let server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |_| {});
    eventually("a lane", || near.running().lane_is_up().then_some(()));
    let mut client = near.session().speaking(Protocol::Resp3);
    client.must(&["CLIENT", "SETNAME", "x"]);
    client.must(&["SET", "k", "v"]);
    client.must(&["RPUSH", "list", "1"]);
    for _ in 0..3 {
        client.must(&["GET", "k"]);
    }
    eventually("a hit", || {
        client.must(&["GET", "k"]);
        (near.hits() > 4).then_some(())
    });
    client.call(&["GET", "list"]);
    client.call(&["EVAL", "return 1", "0"]);
    client.call(&["EVAL", "return redis.error_reply('MINE x')", "0"]);
    client.must(&["BLPOP", "list", "1"]);
    client.call(&["NOSUCH", "a"]);
    client.must(&["NEARSIDE", "STATS"]);
    await_counts(&near, "CLIENT|SETNAME", Route::Here, (1, 0));
    await_counts(&near, "NEARSIDE|STATS", Route::Here, (1, 0));
    await_counts(&near, "SET", Route::Lane, (1, 0));
    await_counts(&near, "EVAL", Route::Own, (2, 1));
    await_counts(&near, "BLPOP", Route::Own, (1, 0));
    await_counts(&near, "other", Route::Own, (1, 1));
    await_counts(&near, "GET", Route::L1, (near.hits(), 0));
    let misses = near.running().misses();
    await_counts(&near, "GET", Route::Lane, (misses, 1));
}

/// A few thousand commands of all kinds, pipelined: as many are counted as were answered, by name.
#[test]
fn nothing_is_counted_twice_or_not_at_all() {
    let server = RedisServer::start(&[]);
    for workers in [1, 2] {
        let near = Nearside::start(server.addr(), |settings| {
            settings.downstream.workers = workers;
            settings.lane.large_reply = 4096;
        });
        let mut sent = Counts::new();
        let mut clients: Vec<Client> = (0..6).map(|_| near.session()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            if n % 2 == 0 {
                client.call(&["HELLO", "3"]);
                sent.entry("HELLO").or_default().0 += 1;
            }
        }
        let mut rng = Rng::new(7 + workers as u64);
        for round in 0..400 {
            let client = &mut clients[round % 6];
            let depth = 1 + rng.below(12);
            let mut replies = 0;
            for _ in 0..depth {
                for command in some_command(&mut rng) {
                    let words: Vec<&str> = command.iter().map(String::as_str).collect();
                    client.send(&words);
                    *sent.entry(name_of(&words)).or_default() = {
                        let (all, failed) = sent.get(name_of(&words)).copied().unwrap_or_default();
                        (all + 1, failed)
                    };
                    replies += 1;
                }
            }
            client.flush();
            for _ in 0..replies {
                client.read();
            }
        }
        let mut seen = Counts::new();
        let names = |counts: &Counts| {
            let counts = counts.iter().map(|(name, (all, _))| (*name, *all));
            counts.collect::<BTreeMap<_, _>>()
        };
        let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("all are counted", || {
                seen = counts(&near);
                (names(&seen) == names(&sent)).then_some(())
            });
        }));
        assert!(right.is_ok(), "{seen:?}\n not {sent:?}");
        assert!(seen["GET"].1 > 0, "some were of another type");
    }
}

fn name_of(words: &[&str]) -> &'static str {
    let full = match words {
        ["CLIENT" | "NEARSIDE", sub, ..] => format!("{}|{sub}", words[0]),
        words => words[0].to_owned(),
    };
    let row = nearside::command::all_rows().find(|row| row.name == full);
    row.map_or("other", |row| row.name)
}

/// One command, or a transaction's.
fn some_command(rng: &mut Rng) -> Vec<Vec<String>> {
    let key = |rng: &mut Rng| format!("k{}", rng.below(12));
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let one = |text: String| vec![words(text)];
    match rng.below(16) {
        0..=3 => one(format!("GET {}", key(rng))),
        4 => one(format!("MGET {} {} {}", key(rng), key(rng), key(rng))),
        5 => one(format!("SET {} {}", key(rng), rng.below(100))),
        6 => one(format!("SET {} {}", key(rng), "x".repeat(9000))),
        7 => one(format!("STRLEN {}", key(rng))),
        8 => one("GET list".into()),
        9 => one(format!("LPUSH list {}", rng.below(9))),
        10 => one("CLIENT GETNAME".into()),
        11 => one("BLPOP list 0.01".into()),
        12 => one("NEARSIDE EXPLAIN GET k".into()),
        13 => one("NO.SUCH x".into()),
        14 => vec![
            words("MULTI".into()),
            words(format!("GET {}", key(rng))),
            words(format!("INCR {}", key(rng))),
            words("EXEC".into()),
        ],
        _ => vec![
            words(format!("WATCH {}", key(rng))),
            words("MULTI".into()),
            words(format!("SET {} 1", key(rng))),
            words("EXEC".into()),
        ],
    }
}

/// Those that the upstream never answered are counted too, as errors.
#[test]
fn what_the_upstream_does_not_answer_is_an_error() {
    let mut server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |settings| {
        settings.lane.request_timeout = Duration::from_millis(300);
    });
    let mut client = near.session();
    client.must(&["SET", "k", "v"]);
    await_counts(&near, "SET", Route::Lane, (1, 0));
    server.freeze();
    for _ in 0..3 {
        client.send(&["SET", "k", "w"]);
    }
    client.flush();
    for _ in 0..3 {
        assert!(client.read().is_error());
    }
    await_counts(&near, "SET", Route::Lane, (4, 3));
    server.thaw();
    server.kill();
    let mut failed = 0;
    eventually("the circuit is open", || {
        let reply = client.call(&["INCR", "n"]);
        failed += u64::from(reply.is_error());
        let text = format!("{reply:?}");
        text.contains("circuit open").then_some(())
    });
    let all = || {
        let (lane, here) = (Route::Lane, Route::Here);
        of(&near, "INCR", lane).1 + of(&near, "INCR", here).1
    };
    eventually("each failure is counted", || {
        (all() == failed).then_some(())
    });
}
