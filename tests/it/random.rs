//! Random work with fixed seeds: writers by every route, readers through one nearside and through another,
//! and at the end L1 against the server.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nearside::downstream::settings::ListenAddress;

use crate::support::client::{Client, Protocol};
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::rng::Rng;

const KEYS: usize = 4;
const WRITES: u64 = 600;

/// The newest version of each key whose write through the first nearside was acknowledged.
type Floors = [AtomicU64; KEYS];

fn version(value: Option<&str>) -> u64 {
    value.map_or(0, |text| text.parse().expect("values are versions"))
}

/// Writes growing versions of one key, each by a route chosen at random.
fn write(key: usize, seed: u64, near: &mut Client, direct: &mut Client, floors: &Floors) {
    let mut rng = Rng::new(seed);
    let name = format!("k{key}");
    for n in 1..=WRITES {
        let value = n.to_string();
        match rng.below(6) {
            0 => {
                direct.must(&["SET", &name, &value]);
                continue;
            }
            1 => near.must(&["SET", &name, &value]),
            2 => near.must(&[
                "EVAL",
                "return redis.call('SET', KEYS[1], ARGV[1])",
                "1",
                &name,
                &value,
            ]),
            3 => {
                let script = format!("return redis.call('SET', '{name}', '{value}')");
                near.must(&["EVAL", &script, "0"])
            }
            4 => {
                near.send(&["MULTI"]);
                near.send(&["SET", &name, &value]);
                near.send(&["EXEC"]);
                near.flush();
                near.read();
                near.read();
                let reply = near.read();
                assert_eq!(reply.elements().len(), 1, "EXEC: {reply:?}");
                reply
            }
            _ => {
                let other = format!("other{key}");
                near.must(&["SET", &other, &value]);
                near.must(&["RENAME", &other, &name])
            }
        };
        floors[key].store(n, Ordering::SeqCst);
    }
}

/// Reads until told to stop; `floors` where the writers' nearside is this reader's.
fn read(seed: u64, client: &mut Client, floors: Option<&Floors>, over: &AtomicBool) {
    let mut rng = Rng::new(seed);
    let mut newest = [0; KEYS];
    while !over.load(Ordering::Relaxed) {
        let picks: Vec<usize> = (0..=rng.below(6)).map(|_| rng.below(KEYS)).collect();
        let least: Vec<u64> = picks
            .iter()
            .map(|&k| floors.map_or(0, |f| f[k].load(Ordering::SeqCst)))
            .collect();
        let whole = rng.one_in(4);
        let names: Vec<String> = picks.iter().map(|k| format!("k{k}")).collect();
        let found: Vec<u64> = if whole {
            let command: Vec<&str> = ["MGET"]
                .into_iter()
                .chain(names.iter().map(String::as_str))
                .collect();
            client
                .must(&command)
                .elements()
                .iter()
                .map(|value| version(value.text()))
                .collect()
        } else {
            for name in &names {
                client.send(&["GET", name]);
            }
            client.flush();
            names
                .iter()
                .map(|_| version(client.read().text()))
                .collect()
        };
        for ((&key, least), found) in picks.iter().zip(least).zip(found) {
            assert!(
                found >= least,
                "own writes: k{key} got {found} expected at least {least}"
            );
            assert!(
                found >= newest[key],
                "monotonic keys: k{key} got {found} after {}",
                newest[key]
            );
            newest[key] = found;
        }
    }
}

fn run(seed: u64, workers: usize) {
    let server = RedisServer::start(&[]);
    let path = server.dir().join("nearside.sock");
    let near = Nearside::start(server.addr(), |settings| {
        settings.downstream.workers = workers;
        settings
            .downstream
            .listen
            .push(ListenAddress::Unix(path.clone()));
    });
    let far = Nearside::start(server.addr(), |_| {});
    let (floors, over) = (Floors::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let (floors, over, near, server) = (&floors, &over, &near, &server);
        let mut readers = vec![
            near.session().speaking(Protocol::Resp2),
            near.session().speaking(Protocol::Resp3),
        ];
        readers.push(Nearside::unix_session(&path));
        for (n, mut client) in readers.into_iter().enumerate() {
            scope.spawn(move || read(seed + n as u64, &mut client, Some(floors), over));
        }
        let mut client = far.session();
        scope.spawn(move || read(seed + 100, &mut client, None, over));
        let writers: Vec<_> = (0..KEYS)
            .map(|key| {
                let (mut session, mut direct) = (near.session(), server.client());
                scope.spawn(move || {
                    write(
                        key,
                        seed + 200 + key as u64,
                        &mut session,
                        &mut direct,
                        floors,
                    );
                })
            })
            .collect();
        let outcomes: Vec<_> = writers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        over.store(true, Ordering::Relaxed);
        for outcome in outcomes {
            outcome.expect("a writer");
        }
    });
    assert!(
        near.hits() > 0 && far.hits() > 0,
        "without hits this proves nothing"
    );
    let mut direct = server.client();
    for nearside in [&near, &far] {
        eventually("L1 to agree with the server", || {
            let entries = nearside.running().l1_entries();
            let agree = entries.iter().all(|(key, value)| {
                let key = String::from_utf8_lossy(key).into_owned();
                direct
                    .call(&["GET", &key])
                    .text()
                    .map(|text| text.as_bytes().to_vec())
                    == *value
            });
            thread::sleep(Duration::from_millis(5));
            agree.then_some(())
        });
    }
}

#[test]
fn promises_hold_under_random_work() {
    for (seed, workers) in [(1, 1), (2, 2), (3, 1), (4, 2)] {
        run(seed, workers);
    }
}
