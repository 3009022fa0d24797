//! Random pipelines of all kinds of commands, in random pieces, over three connections that take turns.
//!
//! `NEARSIDE_FUZZ_SEEDS=1000..2000` runs those seeds in place of the few that every run has.

use std::env;
use std::ops::Range;
use std::time::Duration;

use nearside::l1::settings::Mode;
use nearside::proxy::settings::Sharing;

use super::pair::{Both, End, Pair, without_numbers};
use super::vocabulary::{FAULTS, GROUPS, INLINE};
use crate::support::resp;
use crate::support::rng::Rng;
use crate::table::wire::{shown, words};

const CONNECTIONS: usize = 3;
const ROUNDS: usize = 24;
/// Shorter scenarios that are tried once a seed has failed.
const TRIES: usize = 300;

/// What is sent at a time over one connection. The last commands see to it that there is an answer to wait for.
#[derive(Clone)]
struct Round {
    connection: usize,
    commands: Vec<Vec<u8>>,
    last: Vec<Vec<u8>>,
    /// Where it is cut into pieces.
    cuts: u64,
}

#[derive(Default, Clone)]
struct Known {
    subscribed: bool,
    off: bool,
    /// Inside MULTI, where CLIENT REPLY OFF cannot be told to the upstream.
    multi: bool,
}

fn pick<'a, T: ?Sized>(rng: &mut Rng, from: &[&'a T]) -> &'a T {
    from[rng.below(from.len())]
}

fn value(rng: &mut Rng) -> Vec<u8> {
    match rng.below(400) {
        0 => vec![b'x'; 1_200_000],
        1..8 => vec![b'y'; 70_000],
        8..80 => b"\r\n+OK\r\n\0\xff".to_vec(),
        _ => format!("v{}", rng.below(1000)).into_bytes(),
    }
}

/// One command of the vocabulary with its placeholders filled in.
fn fill(rng: &mut Rng, line: &str) -> Vec<Vec<u8>> {
    let filled = words(line.trim())
        .into_iter()
        .map(|word| match word.as_slice() {
            b"K" => format!("k{}", rng.below(4)).into_bytes(),
            b"N" => rng.below(20).to_string().into_bytes(),
            b"N-1" => format!("{}-1", rng.below(20)).into_bytes(),
            b"V" => value(rng),
            b"D" => rng.below(3).to_string().into_bytes(),
            b"C" => format!("c{}", rng.below(3)).into_bytes(),
            _ => word,
        });
    filled.collect()
}

fn encoded(words: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    resp::encode(&mut out, words);
    out
}

/// Appends a group's commands and notes what they may have done to the connection.
fn append(rng: &mut Rng, round: &mut Round, known: &mut Known) {
    let mut at = rng.below(GROUPS.iter().map(|(weight, _)| weight).sum());
    let (_, group) = GROUPS
        .iter()
        .find(|(weight, _)| {
            let found = at < *weight;
            at = at.saturating_sub(*weight);
            found
        })
        .expect("below the sum");
    for line in pick(rng, group).split(';') {
        let line = line.trim();
        match line {
            "MULTI" => known.multi = true,
            "EXEC" | "DISCARD" => known.multi = false,
            _ => {}
        }
        if known.off && (known.multi && line.starts_with("CLIENT REPLY") || line == "QUIT") {
            // A server that has nothing to write does not hang up.
            continue;
        }
        known.subscribed |= line.contains("SUBSCRIBE");
        known.off |= line == "CLIENT REPLY OFF";
        let words = fill(rng, line);
        round.commands.push(encoded(&words));
    }
}

fn round(rng: &mut Rng, number: usize, known: &mut [Known]) -> Round {
    let connection = rng.below(CONNECTIONS);
    let known = &mut known[connection];
    let mut round = Round {
        connection,
        commands: Vec::new(),
        last: Vec::new(),
        cuts: rng.next(),
    };
    for _ in 0..=rng.below(8) {
        if rng.one_in(40) {
            round.commands.push(pick(rng, INLINE).to_vec());
        } else {
            append(rng, &mut round, known);
        }
    }
    if rng.one_in(60) && !known.off {
        round.commands.push(pick(rng, FAULTS).to_vec());
    }
    let mut last = |line: &str| round.last.push(encoded(&words(line)));
    last(if rng.one_in(3) { "DISCARD" } else { "EXEC" });
    known.multi = false;
    if known.off && known.subscribed || rng.one_in(12) {
        last("RESET");
        *known = Known::default();
    } else if known.off {
        last("CLIENT REPLY ON");
        known.off = false;
    }
    // The first may be skipped.
    last("PING");
    last(&format!("PING end-{number}"));
    round
}

fn scenario(seed: u64) -> Vec<Round> {
    let mut rng = Rng::new(seed);
    let mut known = vec![Known::default(); CONNECTIONS];
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|n| round(&mut rng, n, &mut known))
        .collect();
    for connection in 0..CONNECTIONS {
        // What is still to come to it.
        rounds.push(Round {
            connection,
            commands: Vec::new(),
            last: vec![encoded(&words("RESET")), encoded(&words("PING end"))],
            cuts: 0,
        });
    }
    rounds
}

/// The round in pieces.
fn pieces(round: &Round, bytes: &[u8]) -> Vec<Range<usize>> {
    let mut rng = Rng::new(round.cuts);
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let longest = if rng.one_in(2) { bytes.len() } else { 40 };
        let end = bytes.len().min(at + 1 + rng.below(longest));
        // Not a thousand pieces of a large value.
        let end = if pieces.len() > 12 { bytes.len() } else { end };
        pieces.push(at..end);
        at = end;
    }
    pieces
}

/// Runs a scenario; the round that differed, and how.
fn run(pair: &Pair, rounds: &[Round]) -> Option<(usize, String)> {
    let fresh = [
        "FLUSHALL",
        "SCRIPT FLUSH",
        "FUNCTION FLUSH",
        "ACL DELUSER other",
        "ACL SETUSER all on >a ~* &* +@all",
        "ACL SETUSER reader on >r ~* &* +@read +@connection +@transaction",
    ];
    let requests: Vec<_> = fresh
        .iter()
        .flat_map(|line| encoded(&words(line)))
        .collect();
    let fresh = pair
        .connect()
        .exchange(&[&requests, b"PING\r\n"], b"+PONG\r\n");
    assert_eq!(fresh.0.end, fresh.1.end);
    let mut connections: Vec<Option<Both>> = (0..CONNECTIONS).map(|_| None).collect();
    for (number, round) in rounds.iter().enumerate() {
        let bytes = [round.commands.concat(), round.last.concat()].concat();
        let pieces = pieces(round, &bytes);
        let pieces: Vec<_> = pieces.into_iter().map(|piece| &bytes[piece]).collect();
        let last = round.last.last().expect("a PING");
        // Its argument, as it comes back in every protocol and state.
        let last = &last[last.windows(3).position(|at| at == b"end").expect("in it")..];
        let connection = &mut connections[round.connection];
        let both = connection.get_or_insert_with(|| pair.connect());
        let (ours, bare) = both.exchange(&pieces, last);
        let (seen, right) = (without_numbers(&ours.bytes), without_numbers(&bare.bytes));
        if seen != right || ours.end != bare.end {
            let at = seen.iter().zip(&right).take_while(|(a, b)| a == b).count();
            let from = at.saturating_sub(60);
            let seen = format!("{} ({:?})", shown(&seen[from..]), ours.end);
            let right = format!("{} ({:?})", shown(&right[from..]), bare.end);
            return Some((number, format!("nearside: {seen}\n   Redis: {right}")));
        }
        if ours.end != End::Complete {
            *connection = None;
        }
    }
    None
}

/// Leaves out what the difference does not need.
fn shorten(pair: &mut Pair, mut rounds: Vec<Round>) -> (Vec<Round>, String) {
    let mut tries = TRIES;
    let patience = std::mem::replace(&mut pair.patience, Duration::from_secs(1));
    let (number, mut how) = run(pair, &rounds).unwrap_or((rounds.len(), "not seen again".into()));
    rounds.truncate(number + 1);
    let mut fails = |rounds: &[Round]| {
        tries = tries.checked_sub(1)?;
        run(&*pair, rounds)
    };
    let mut at = 0;
    while at < rounds.len() {
        let mut fewer = rounds.clone();
        fewer.remove(at);
        match fails(&fewer) {
            Some((number, now)) => {
                fewer.truncate(number + 1);
                (rounds, how) = (fewer, now);
            }
            None => at += 1,
        }
    }
    for round in 0..rounds.len() {
        let mut at = 0;
        while round < rounds.len() && at < rounds[round].commands.len() {
            let mut fewer = rounds.clone();
            fewer[round].commands.remove(at);
            match fails(&fewer) {
                Some((number, now)) => {
                    fewer.truncate(number + 1);
                    (rounds, how) = (fewer, now);
                }
                None => at += 1,
            }
        }
    }
    pair.patience = patience;
    (rounds, how)
}

fn explain(pair: &mut Pair, seed: u64, rounds: Vec<Round>, first: &str) -> String {
    let (rounds, how) = shorten(pair, rounds);
    let mut text = format!("seed {seed} at first:\n{first}\nshortened:\n");
    for round in &rounds {
        let of = round.connection;
        for command in round.commands.iter().chain(&round.last) {
            text.extend(["  ", &of.to_string(), ": ", &shown(command), "\n"]);
        }
        let bytes = [round.commands.concat(), round.last.concat()].concat();
        text.extend(["     cut ", &format!("{:?}", pieces(round, &bytes)), "\n"]);
    }
    text + &how
}

fn seeds(few: Range<u64>) -> Range<u64> {
    let Ok(text) = env::var("NEARSIDE_FUZZ_SEEDS") else {
        return few;
    };
    let (from, to) = text.split_once("..").expect("FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

fn fuzz(sharing: Sharing, mode: Mode, workers: usize, few: Range<u64>) {
    let mut pair = Pair::start(&[], |settings| {
        settings.proxy.sharing = sharing;
        settings.l1.mode = mode;
        settings.downstream.workers = workers;
    });
    let going_on = env::var("NEARSIDE_FUZZ_SEEDS").is_ok();
    let mut failed = 0;
    for seed in seeds(few) {
        let rounds = scenario(seed);
        if let Some((_, how)) = run(&pair, &rounds) {
            let text = explain(&mut pair, seed, rounds, &how);
            assert!(going_on, "{text}");
            eprintln!("{text}\n");
            failed += 1;
        }
    }
    assert_eq!(failed, 0, "seeds failed");
}

#[test]
fn lane() {
    fuzz(Sharing::Lane, Mode::On, 1, 0..40);
}

#[test]
fn lane_with_two_workers() {
    fuzz(Sharing::Lane, Mode::On, 2, 100..130);
}

#[test]
fn lane_without_l1() {
    fuzz(Sharing::Lane, Mode::Off, 1, 200..220);
}

#[test]
fn dedicated() {
    fuzz(Sharing::Dedicated, Mode::On, 1, 300..330);
}

#[test]
fn dedicated_without_l1() {
    fuzz(Sharing::Dedicated, Mode::Off, 1, 400..410);
}
