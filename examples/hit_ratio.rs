//! L1's hit ratio on a trace of accesses, and that of other caches.
//!
//! ```text
//! cargo run --release --example hit_ratio -- FILE --capacity N [--accesses N]
//! cargo run --release --example hit_ratio -- --compare DIR
//! ```
//!
//! FILE has one key a line, as text or compressed with xz. The first form prints the ratio alone. The second takes
//! every `*.keys` and `*.keys.xz` in DIR, at capacities of 1, 5 and 20 % of the distinct keys in the first 3,000,000
//! accesses, and prints a table with an LRU, `quick_cache` and moka.
//!
//! What is measured is L1 itself: each key filled at its first miss, every entry of the same size.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nearside::l1::settings::{Admit, Settings};
use nearside::l1::{End, Fill, L1, Lookup};
use nearside::resp::downgrade::Shape;

const ACCESSES: usize = 3_000_000;
const SHARES: [usize; 3] = [1, 5, 20];
const REPLY: &[u8] = b"$1\r\nv\r\n";

type Cache = fn(&[u32], usize) -> usize;
const CACHES: [(&str, Cache); 4] = [
    ("LRU", lru),
    ("quick_cache", quick_cache),
    ("moka", moka),
    ("L1", l1),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (mut file, mut capacity, mut directory, mut accesses) = (None, None, None, usize::MAX);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or(format!("{argument} wants a value behind it"))
        };
        match argument.as_str() {
            "--capacity" => capacity = Some(number(&value()?)?),
            "--accesses" => accesses = number(&value()?)?,
            "--compare" => directory = Some(PathBuf::from(value()?)),
            flag if flag.starts_with('-') => {
                return Err(format!("{flag} is not --capacity, --accesses or --compare").into());
            }
            _ => file = Some(PathBuf::from(argument)),
        }
    }
    match (file, capacity, directory) {
        (Some(file), Some(capacity), None) => {
            let trace = read(&file, accesses)?;
            println!("{:.4}", ratio(l1(&trace, capacity), trace.len()));
            Ok(())
        }
        (None, None, Some(directory)) => compare(&directory, accesses.min(ACCESSES)),
        _ => Err("give FILE --capacity N, or --compare DIR".into()),
    }
}

fn number(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{text} is not a whole number above 0")),
    }
}

/// The trace's keys, numbered in the order of their first use.
fn read(file: &Path, accesses: usize) -> Result<Vec<u32>, Box<dyn Error>> {
    let named = |error| format!("{}: {error}", file.display());
    let source = std::fs::File::open(file).map_err(named)?;
    let lines: Box<dyn BufRead> = if file.extension().is_some_and(|extension| extension == "xz") {
        let unpacked = Command::new("xz")
            .arg("--decompress")
            .arg("--stdout")
            .stdin(source)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("xz: {error}"))?;
        Box::new(BufReader::new(unpacked.stdout.ok_or("xz gave no output")?))
    } else {
        Box::new(BufReader::new(source))
    };
    let mut numbers = HashMap::new();
    let mut trace = Vec::new();
    for line in lines.lines().take(accesses) {
        let next = u32::try_from(numbers.len())?;
        trace.push(*numbers.entry(line.map_err(named)?).or_insert(next));
    }
    if trace.is_empty() {
        return Err(named(std::io::Error::other("no accesses in it")).into());
    }
    Ok(trace)
}

fn distinct(trace: &[u32]) -> usize {
    trace.iter().max().map_or(0, |&last| last as usize + 1)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a trace has far fewer than 2^52 accesses"
)]
fn ratio(hits: usize, accesses: usize) -> f64 {
    hits as f64 / accesses as f64
}

fn compare(directory: &Path, accesses: usize) -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some((name, "keys" | "keys.xz")) = name.split_once('.') {
            files.push((name.to_owned(), path.clone()));
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(format!("no *.keys or *.keys.xz in {}", directory.display()).into());
    }
    let row = |trace: &str, share: &str, ratios: [f64; CACHES.len()]| {
        println!(
            "| {trace} | {share} | {} |",
            ratios.map(|ratio| format!("{ratio:.4}")).join(" | ")
        );
    };
    println!(
        "| trace | keys held | {} |",
        CACHES.map(|(name, _)| name).join(" | ")
    );
    println!("|---|---|{}", "---|".repeat(CACHES.len()));
    let mut means = Vec::new();
    for (name, path) in &files {
        let trace = read(path, accesses)?;
        let mut of_trace = Vec::new();
        for share in SHARES {
            let capacity = (distinct(&trace) * share / 100).max(1);
            let ratios = CACHES.map(|(_, cache)| ratio(cache(&trace, capacity), trace.len()));
            row(name, &format!("{share} %"), ratios);
            of_trace.push(ratios);
        }
        let of_trace = mean(&of_trace);
        row(name, "mean", of_trace);
        means.push((name, of_trace));
    }
    row(
        "all",
        "mean",
        mean(&means.iter().map(|&(_, mean)| mean).collect::<Vec<_>>()),
    );
    for (name, [others @ .., ours]) in means {
        let best = others.into_iter().fold(0.0, f64::max);
        println!("{name}: {:+.4} against the best of the others", ours - best);
    }
    Ok(())
}

fn mean(rows: &[[f64; CACHES.len()]]) -> [f64; CACHES.len()] {
    std::array::from_fn(|cache| {
        let sum: f64 = rows.iter().map(|row| row[cache]).sum();
        sum / rows.iter().map(|_| 1.0).sum::<f64>()
    })
}

/// Hits of L1, with room for `capacity` entries.
fn l1(trace: &[u32], capacity: usize) -> usize {
    let l1 = L1::new(
        Settings {
            max_bytes: capacity * (size_of::<u32>() + REPLY.len() + L1::entry_overhead()),
            admit: Admit::Always,
            ..Settings::default()
        },
        1,
    );
    let space = l1.add_space();
    let mut reply = Vec::new();
    let mut hits = 0;
    for key in trace {
        let key = &key.to_le_bytes();
        reply.clear();
        let read = l1.value(key);
        match l1.get(&space, &read, 0, None, &mut reply) {
            Lookup::Hit { .. } => hits += 1,
            Lookup::Miss(_) => {
                let fill = Fill {
                    read,
                    keys: &[read.key],
                    reply: REPLY,
                    shape: Shape::Generic,
                    sent: 0,
                    end: End::Ttls(&[-1]),
                    epoch: l1.epoch(),
                    keyspace: 0,
                };
                assert!(l1.fill(&space, &fill), "nothing refuses this fill");
            }
        }
    }
    hits
}

/// Hits of a cache that evicts what was read longest ago.
fn lru(trace: &[u32], capacity: usize) -> usize {
    let mut last_read = vec![None; distinct(trace)];
    let mut held = 0;
    let mut oldest = 0;
    let mut hits = 0;
    for (time, &key) in trace.iter().enumerate() {
        if last_read[key as usize].replace(time).is_some() {
            hits += 1;
            continue;
        }
        held += 1;
        while held > capacity {
            let key = trace[oldest] as usize;
            if last_read[key] == Some(oldest) {
                last_read[key] = None;
                held -= 1;
            }
            oldest += 1;
        }
    }
    hits
}

fn quick_cache(trace: &[u32], capacity: usize) -> usize {
    let mut cache = quick_cache::unsync::Cache::new(capacity);
    let read = |&&key: &&u32| {
        let hit = cache.get(&key).is_some();
        if !hit {
            cache.insert(key, ());
        }
        hit
    };
    trace.iter().filter(read).count()
}

fn moka(trace: &[u32], capacity: usize) -> usize {
    let cache = moka::sync::Cache::new(capacity as u64);
    let read = |&&key: &&u32| {
        let hit = cache.get(&key).is_some();
        if !hit {
            cache.insert(key, ());
        }
        hit
    };
    trace.iter().filter(read).count()
}
