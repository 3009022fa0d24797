//! Misses, over an upstream 1 ms away: nearside, and a naive near cache ([`naive`]), each on one thread, in turn. Prints
//! Markdown: the 99th percentile of the misses, and what the upstream had to read.
//!
//! ```text
//! cargo bench --bench misses -- [ROUNDS]
//!
//! clients --Unix socket--> nearside, or the naive one --TCP--> relay, 0.5 ms each way --> redis-server
//! ```
//!
//! A read counts as a miss if its value came over the relay while it waited; the relay writes into each value when it
//! passed ([`relay`]).

mod load;
mod naive;
mod relay;
#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use load::Zipf;
use nearside::downstream::settings::ListenAddress;
use nearside::l1::settings::Admit;
use support::TempDir;
use support::nearside::Nearside;
use support::redis::RedisServer;

const ROUND_TRIP: Duration = Duration::from_millis(1);
const STAMPEDES: usize = 200;
const KEYS: u32 = 100_000;
/// Of about a fifth of the keys.
const MAX_BYTES: usize = 4 << 20;
const COMMANDS_EACH: usize = 5_000;
const ONE_WRITE_IN: usize = 20;

/// What was found in one run.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// Microseconds.
    median: f64,
    p99: f64,
    /// Reads upstream, for each key or each read.
    upstream: f64,
    /// Of all reads.
    missed: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Nearside,
    Naive,
}

#[derive(Clone)]
enum Workload {
    Stampede,
    Zipf(Arc<Zipf>),
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn float(n: usize) -> f64 {
    n as f64
}

/// GETs alone: neither contender sends MGET here.
fn upstream_reads(server: &RedisServer) -> usize {
    let info = server.client().call(&["INFO", "commandstats"]);
    let text = info.text().expect("text").to_owned();
    let row = text
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    let calls = row.and_then(|row| row.split(',').next()).unwrap_or("0");
    calls.parse().expect("a number")
}

fn fill(server: &RedisServer) {
    let mut client = server.client();
    let value = relay::value(load::VALUE);
    for n in 0..KEYS as usize {
        client.send(&[b"SET", load::key(n).as_bytes(), value.as_slice()]);
        if n % 1000 == 999 {
            client.flush();
            for _ in 0..1000 {
                client.read();
            }
        }
    }
}

fn run(contender: Contender, workload: &Workload) -> Found {
    let server = RedisServer::start(&[]);
    fill(&server);
    let upstream = relay::start(server.addr(), ROUND_TRIP);
    let dir = TempDir::new();
    let path = dir.path().join("bench.sock");
    let nearside = (contender == Contender::Nearside).then(|| {
        Nearside::start(upstream, |settings| {
            let socket = ListenAddress::Unix(path.clone());
            settings.downstream.listen.push(socket);
            settings.l1.admit = Admit::SecondRead;
            settings.l1.max_bytes = MAX_BYTES;
        })
    });
    if nearside.is_none() {
        naive::start(&path, upstream, MAX_BYTES);
    }
    let server = Arc::new(server);
    let before = Arc::new(AtomicUsize::new(0));
    let mut seen = match workload {
        Workload::Stampede => load::stampede(&path, STAMPEDES),
        Workload::Zipf(law) => {
            let (server, before) = (Arc::clone(&server), Arc::clone(&before));
            let count = move || before.store(upstream_reads(&server), Ordering::Relaxed);
            load::zipf(&path, law, COMMANDS_EACH, ONE_WRITE_IN, count)
        }
    };
    let reads = upstream_reads(&server) - before.load(Ordering::Relaxed);
    let of = match workload {
        Workload::Stampede => STAMPEDES,
        Workload::Zipf(_) => seen.reads,
    };
    seen.misses.sort_unstable();
    let at = |share: usize| {
        let last = seen.misses.len() - 1;
        let micros = seen.misses[(seen.misses.len() * share / 100).min(last)];
        float(usize::try_from(micros).expect("64 bits"))
    };
    Found {
        median: at(50),
        p99: at(99),
        upstream: float(reads) / float(of),
        missed: float(seen.misses.len()) / float(seen.reads),
    }
}

fn median(rounds: &[Found], of: impl Fn(&Found) -> f64) -> f64 {
    let mut all: Vec<f64> = rounds.iter().map(of).collect();
    all.sort_unstable_by(f64::total_cmp);
    all[all.len() / 2]
}

fn least_and_most(all: impl Iterator<Item = f64>) -> (f64, f64) {
    all.fold((f64::MAX, 0.0), |(least, most), one| {
        (one.min(least), one.max(most))
    })
}

fn compare(name: &str, workload: &Workload, rounds: usize) {
    let (mut ours, mut naive) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Each comes first once in a while.
        for first in [round % 2 == 0, round % 2 != 0] {
            if first {
                ours.push(run(Contender::Nearside, workload));
            } else {
                naive.push(run(Contender::Naive, workload));
            }
        }
    }
    for (contender, all) in [("nearside", &ours), ("naive", &naive)] {
        println!(
            "| {name}, {contender} | {:.0} % | {:.2} | {:.2} | {:.3} |",
            median(all, |one| one.missed) * 100.0,
            median(all, |one| one.median) / 1000.0,
            median(all, |one| one.p99) / 1000.0,
            median(all, |one| one.upstream),
        );
    }
    let ratio = |of: fn(&Found) -> f64| {
        let each = ours.iter().zip(&naive).map(|(a, b)| of(a) / of(b));
        let (least, most) = least_and_most(each);
        let middle = median(&ours, of) / median(&naive, of);
        format!("{middle:.2} ({least:.2} to {most:.2})")
    };
    println!(
        "| {name}, nearside of naive | {} | {} | {} | {} |",
        ratio(|one| one.missed),
        ratio(|one| one.median),
        ratio(|one| one.p99),
        ratio(|one| one.upstream),
    );
}

fn main() {
    // Cargo adds flags of its own.
    let rounds = std::env::args().find_map(|argument| argument.parse().ok());
    let rounds = rounds.unwrap_or(3);
    println!(
        "{} clients, medians of {rounds} rounds (ratios: least to most)\n",
        load::CLIENTS
    );
    println!(
        "| workload | reads that missed | their median, ms | their 99th percentile, ms | upstream reads |"
    );
    println!("|---|---|---|---|---|");
    compare("stampede, by key", &Workload::Stampede, rounds);
    for (name, keys) in [
        ("Zipf, all keys fit, by read", KEYS / 10),
        ("Zipf, a fifth of the keys fits, by read", KEYS),
    ] {
        let law = Arc::new(Zipf::new(keys));
        compare(name, &Workload::Zipf(law), rounds);
    }
}
