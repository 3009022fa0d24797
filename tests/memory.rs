//! What L1 takes: each measurement is made in a process of its own, which is this binary again.

#[path = "it/support/rng.rs"]
mod rng;

use std::process::Command;

use nearside::l1::settings::Settings;
use nearside::l1::{End, Fill, L1, Lookup, Space};
use nearside::resp::downgrade::Shape;
use rng::Rng;

/// Names the measurement that a process of its own makes.
const MEASURED: &str = "NEARSIDE_MEASURED";

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("its status");
    let row = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = row.and_then(|row| row.trim().strip_suffix(" kB"));
    kib.expect("the row").parse::<usize>().expect("a number") << 10
}

/// Has `measure` called in a process of its own, by the test of this name; what it says, or `None` in that process.
fn apart(test: &str, measure: impl FnOnce() -> Vec<f64>) -> Option<Vec<f64>> {
    if std::env::var_os(MEASURED).is_some() {
        let figures = measure();
        let words: Vec<_> = figures.iter().map(f64::to_string).collect();
        println!("\nfigures: {}", words.join(" "));
        return None;
    }
    let this = std::env::current_exe().expect("this binary");
    let ran = Command::new(this)
        .args(["--exact", test, "--nocapture"])
        .env(MEASURED, "1")
        .output()
        .expect("this binary once more");
    let said = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}{errors}");
    let figures = said.lines().find_map(|line| line.strip_prefix("figures: "));
    let figures = figures.unwrap_or_else(|| panic!("no figures: {said}{errors}"));
    let parsed = figures.split(' ').map(|one| one.parse().expect("a number"));
    Some(parsed.collect())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

fn encoded(length: usize, into: &mut Vec<u8>) {
    into.clear();
    into.extend_from_slice(format!("${length}\r\n").as_bytes());
    into.resize(into.len() + length, b'v');
    into.extend_from_slice(b"\r\n");
}

/// A read that misses, noted as one, and its fill.
fn read(l1: &L1, space: &Space, key: &[u8], reply: &[u8], out: &mut Vec<u8>) {
    let read = l1.value(key);
    out.clear();
    if matches!(l1.get(space, &read, 0, None, out), Lookup::Hit { .. }) {
        return;
    }
    let _ = l1.admits(space, &read, l1.keyspaces().policy(0));
    let fill = Fill {
        read,
        keys: &[read.key],
        reply,
        shape: Shape::Generic,
        sent: 0,
        end: End::Ttls(&[-1]),
        epoch: l1.epoch(),
        keyspace: 0,
    };
    assert!(l1.fill(space, &fill), "nothing refuses this fill");
}

/// Values of 8 bytes to 16 KiB come and go, evicted, dropped or read again: growth of the resident memory, and accounted
/// bytes at the end, of the bound.
fn churn(workers: usize) -> Vec<f64> {
    const KEYS: usize = 400_000;
    const TURNOVERS: usize = 15;
    let max_bytes = 64 << 20;
    let settings = Settings {
        max_bytes,
        ..Settings::default()
    };
    let mut rng = Rng::new(7);
    let (mut reply, mut out) = (Vec::new(), Vec::new());
    let before = resident();
    let l1 = L1::new(settings, workers);
    let space = l1.add_space();
    let mut read_bytes = 0;
    while read_bytes < TURNOVERS * max_bytes {
        let key = format!("key:{:012}", rng.below(KEYS));
        if rng.one_in(20) {
            l1.invalidate(&space, key.as_bytes());
            continue;
        }
        let power = 3 + rng.below(11);
        encoded((1 << power) + rng.below(1 << power), &mut reply);
        read(&l1, &space, key.as_bytes(), &reply, &mut out);
        read_bytes += reply.len() + key.len() + L1::entry_overhead();
        assert!(l1.size().1 <= max_bytes, "{} bytes", l1.size().1);
    }
    vec![
        ratio(resident() - before, max_bytes),
        ratio(l1.size().1, max_bytes),
    ]
}

fn holds_its_bound(figures: &[f64]) {
    let [resident, accounted] = *figures else {
        panic!("{figures:?}");
    };
    println!("resident {resident:.3}, accounted {accounted:.4} of the bound");
    assert!(resident <= 1.15, "{resident}");
    assert!((0.99..=1.0).contains(&accounted), "{accounted}");
}

#[test]
fn churn_stays_within_the_bound() {
    if let Some(figures) = apart("churn_stays_within_the_bound", || churn(1)) {
        holds_its_bound(&figures);
    }
}

#[test]
fn churn_stays_within_the_bound_with_several_workers() {
    if let Some(figures) = apart("churn_stays_within_the_bound_with_several_workers", || {
        churn(2)
    }) {
        holds_its_bound(&figures);
    }
}

/// Bytes of resident and of accounted memory for each entry, beside its key and value.
fn overhead(workers: usize) -> Vec<f64> {
    const ENTRIES: usize = 1_000_000;
    let settings = Settings {
        max_bytes: 1 << 30,
        ..Settings::default()
    };
    let (mut reply, mut out) = (Vec::new(), Vec::new());
    encoded(100, &mut reply);
    let before = resident();
    let l1 = L1::new(settings, workers);
    let space = l1.add_space();
    for n in 0..ENTRIES {
        let key = format!("key:{n:012}");
        read(&l1, &space, key.as_bytes(), &reply, &mut out);
    }
    let (entries, bytes) = l1.size();
    assert_eq!(entries, ENTRIES);
    let beside = |bytes: usize| ratio(bytes, ENTRIES) - 116.0;
    vec![beside(resident() - before), beside(bytes)]
}

#[test]
fn an_entry_costs_little_beside_its_key_and_value() {
    let name = "an_entry_costs_little_beside_its_key_and_value";
    if let Some(figures) = apart(name, || overhead(1)) {
        println!("resident and accounted bytes an entry: {figures:.1?}");
        assert!(figures.iter().all(|&bytes| bytes <= 96.0), "{figures:?}");
    }
}
