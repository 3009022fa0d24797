//! No false alarm: everything that may change a key goes on at once, by every way there is, and every hit is audited.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{EVERY_HIT, verdicts};
use crate::support::PATIENCE;
use crate::support::client::{Client, Protocol};
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::relay::{Pace, Relay};
use crate::support::resp::Value;
use crate::support::rng::Rng;

/// At least so long.
const LENGTH: Duration = Duration::from_secs(3);
const READERS: usize = 4;
/// Keys of each kind; few, so that they meet.
const KEYS: usize = 6;

fn read(rng: &mut Rng) -> Vec<String> {
    let [a, b] = [rng.below(KEYS), rng.below(KEYS)];
    let text = match rng.below(16) {
        0..=4 => format!("GET s{a}"),
        5 => format!("MGET s{a} s{b} s0"),
        6 => format!("GETRANGE s{a} 0 -1"),
        7 => format!("STRLEN s{a}"),
        8 => format!("HGETALL h{a}"),
        9 => format!("HKEYS h{a}"),
        10 => format!("HMGET h{a} f0 f1"),
        11 => format!("SMEMBERS m{a}"),
        12 => format!("SUNION m{a} m{b}"),
        13 => format!("ZRANGE z{a} 0 -1 WITHSCORES"),
        14 => format!("LRANGE l{a} 0 -1"),
        _ => format!("EXISTS s{a} h{b}"),
    };
    text.split(' ').map(str::to_owned).collect()
}

/// A write, as commands that are sent together. Some fail, since a key may be of another kind by then.
fn write(rng: &mut Rng, ours: bool) -> Vec<Vec<String>> {
    let [a, b, n] = [rng.below(KEYS), rng.below(KEYS), rng.below(1000)];
    let texts = match rng.below(61) {
        0..=9 => vec![format!("SET s{a} {n}")],
        10..=13 => vec![format!("SET s{a} {n} PX {}", 1 + n % 40)],
        14..=15 => vec![format!("PEXPIRE h{a} {}", 1 + n % 20)],
        16..=18 => vec![format!("HSET h{a} f{} {n}", n % 20)],
        19..=20 => vec![format!("HDEL h{a} f{}", n % 20)],
        21..=23 => vec![format!("SADD m{a} {n}")],
        24..=25 => vec![format!("SPOP m{a}")],
        26..=27 => vec![format!("ZADD z{a} {n} v{}", n % 9)],
        28..=29 => vec![format!("LPUSH l{a} {n}"), format!("LTRIM l{a} 0 5")],
        30..=31 => vec![format!("SET tmp{a} {n}"), format!("RENAME tmp{a} s{b}")],
        32..=33 => vec![format!("DEL s{a} h{b}")],
        34 => vec![format!("COPY s{a} s{b} REPLACE")],
        35 => vec![format!("COPY s{a} s{b} DB 1 REPLACE")],
        36 => vec![format!("MOVE s{a} 1")],
        37..=38 => vec![format!("MSET s{a} {n} s{b} {n}")],
        39..=40 => vec![format!("APPEND s{a} {n}")],
        41..=43 => vec![
            "MULTI".into(),
            format!("SET s{a} {n}"),
            format!("HSET h{b} f0 {n}"),
            "EXEC".into(),
        ],
        44..=45 => vec![
            "WATCH other".into(),
            "MULTI".into(),
            format!("SET s{a} {n}"),
            "EXEC".into(),
        ],
        46..=48 => vec![format!("EVAL return|redis.call('SET','s{a}','{n}') 0")],
        49..=50 => vec![format!("EVAL return|redis.call('DEL',KEYS[1]) 1 h{a}")],
        51 => vec![format!("SUNIONSTORE m{a} m{b} m0")],
        52..=54 => vec![format!("GETDEL s{a}")],
        // Everything at once, now and then.
        55 if n < 300 => vec!["FLUSHALL".into()],
        56 if n < 300 => vec!["FLUSHDB".into()],
        // From elsewhere it is told to nobody.
        57 | 58 if ours => vec!["SWAPDB 0 1".into()],
        // What a server that is older does not know changes nothing there.
        59 => vec![format!("HPEXPIRE h{a} {} FIELDS 1 f0", 1 + n % 40)],
        _ => vec![format!("INCR s{a}")],
    };
    let words = |text: String| text.split(' ').map(|word| word.replace('|', " ")).collect();
    texts.into_iter().map(words).collect()
}

fn send_all(client: &mut Client, commands: &[Vec<String>]) {
    for command in commands {
        client.send(command);
    }
    client.flush();
    for _ in commands {
        client.read();
    }
}

/// With at least so many audits that find nothing else.
fn races(server: &RedisServer, seed: u64, workers: usize, pace: Pace, audits: u64) {
    let relay = Relay::start(server.addr());
    relay.set_pace(pace);
    let near = Nearside::start(relay.addr(), |settings| {
        settings.downstream.workers = workers;
        settings.l1.max_staleness = Duration::from_millis(500);
        settings.lane.audit = EVERY_HIT;
    });
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (over, near) = (&over, &near);
        for n in 0..READERS {
            scope.spawn(move || {
                let mut rng = Rng::new(seed + n as u64);
                let protocol = [Protocol::Resp2, Protocol::Resp3][n % 2];
                let mut client = near.session().speaking(protocol);
                if n == 3 {
                    client.must(&["SELECT", "1"]);
                }
                while !over.load(Ordering::Relaxed) {
                    let mut batch: Vec<Vec<String>> =
                        (0..=rng.below(12)).map(|_| read(&mut rng)).collect();
                    if rng.one_in(8) {
                        batch.extend(write(&mut rng, true));
                    }
                    send_all(&mut client, &batch);
                }
            });
        }
        for (n, ours) in [(10, true), (11, false), (12, false)] {
            scope.spawn(move || {
                let mut rng = Rng::new(seed + n);
                let mut client = if ours {
                    near.session()
                } else {
                    server.client()
                };
                while !over.load(Ordering::Relaxed) {
                    send_all(&mut client, &write(&mut rng, ours));
                    thread::sleep(Duration::from_micros(rng.next() % 2000));
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < LENGTH
            || near.running().audited()[0] < audits && begun.elapsed() < LENGTH + PATIENCE
        {
            thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::Relaxed);
    });
    let [same, explained, incoherent, unanswered] = verdicts(&near);
    println!(
        "{workers} workers: {same} same, {explained} explained, {unanswered} unanswered, of {} hits",
        near.hits()
    );
    assert_eq!(incoherent, 0, "a false alarm");
    assert!(same >= audits && explained > 0, "{same}, {explained}");
}

#[test]
fn one_worker() {
    races(&RedisServer::start(&[]), 1, 1, Pace::Flowing, 1000);
}

#[test]
fn two_workers() {
    races(&RedisServer::start(&[]), 100, 2, Pace::Flowing, 1000);
}

#[test]
fn two_workers_and_a_trickle() {
    let pace = Pace::Trickle(Duration::from_micros(50));
    races(&RedisServer::start(&[]), 200, 2, pace, 200);
}

/// Says so on drop, also where a test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keys go because of others, and an audit's own read may be what has them go.
#[test]
fn a_server_that_evicts() {
    let server = RedisServer::start(&["--maxmemory-policy", "allkeys-random"]);
    let mut direct = server.client();
    let number = |info: Value, name: &str| {
        let text = info.text().expect("a text");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|number| number.trim().parse::<u64>().ok())
            .expect("a number")
    };
    let used = number(direct.must(&["INFO", "memory"]), "used_memory:");
    // With room for what connections need.
    let most = used + (8 << 20);
    direct.must(&["CONFIG", "SET", "maxmemory", &most.to_string()]);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.client();
            let filler = "x".repeat(100_000);
            for n in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                client.call(&["SET", &format!("filler{}", n % 200), &filler]);
            }
        });
        let _ends = Ends(&over);
        races(&server, 300, 2, Pace::Flowing, 300);
    });
    let evicted = number(direct.must(&["INFO", "stats"]), "evicted_keys:");
    assert!(evicted > 100, "{evicted} keys evicted");
}

/// Its hashes' fields end one by one.
#[test]
#[ignore = "needs the newer Redis that make test has"]
fn a_newer_server() {
    races(&RedisServer::start_newer(&[]), 400, 2, Pace::Flowing, 1000);
}
