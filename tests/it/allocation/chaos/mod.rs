//! Leases under faults: holders ask many nearsides for parts of one pool, and what they were promised is added up.
//!
//! A holder may rely on a lease from when it has the answer until it gives it back, or until its ttl after it asked: these
//! spans are written down, and at no moment may they hold more than there is.

mod faults;
mod loss;
mod owners;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::{Answer, ask, if_match};
use crate::support::rng::Rng;

/// What was promised, from when to when.
#[derive(Debug, Clone)]
pub struct Promise {
    pub id: String,
    pub amount: u64,
    pub fence: u64,
    pub asked: Instant,
    pub from: Instant,
    pub until: Instant,
    /// It was asked for under a key.
    pub key: Option<String>,
}

/// Everything that was promised, and what was refused.
#[derive(Debug, Default)]
pub struct Book {
    promises: Mutex<Vec<Promise>>,
    pub refusals: Mutex<Vec<Answer>>,
}

impl Book {
    pub fn promises(&self) -> Vec<Promise> {
        self.promises.lock().expect("no panic").clone()
    }

    pub fn refused(&self) -> usize {
        self.refusals.lock().expect("no panic").len()
    }

    fn add(&self, promise: Promise) {
        self.promises.lock().expect("no panic").push(promise);
    }

    /// Never more than there is, fences that grow, one lease for a request and for a key.
    pub fn assert_kept(&self, capacity: u64) {
        let promises = self.promises();
        let mut events: Vec<(Instant, i64, &Promise)> = Vec::new();
        for one in promises.iter().filter(|one| one.from < one.until) {
            let amount = i64::try_from(one.amount).expect("small");
            events.extend([(one.from, amount, one), (one.until, -amount, one)]);
        }
        // What ends at a moment ends before what begins then.
        events.sort_by_key(|(at, amount, _)| (*at, *amount));
        let mut held = 0;
        for (_, amount, one) in &events {
            held += amount;
            let most = i64::try_from(capacity).expect("small");
            assert!(held <= most, "{held} of {capacity} promised with {one:?}");
        }
        let mut by_end = promises.clone();
        by_end.sort_by_key(|one| one.from);
        let mut by_start: Vec<&Promise> = promises.iter().collect();
        by_start.sort_by_key(|one| one.asked);
        let (mut done, mut newest) = (by_end.iter().peekable(), 0);
        for one in by_start {
            while let Some(before) = done.next_if(|before| before.from < one.asked) {
                newest = newest.max(before.fence);
            }
            assert!(one.fence > newest, "a fence of before {newest}: {one:?}");
        }
        for (at, one) in promises.iter().enumerate() {
            for other in &promises[..at] {
                assert!(
                    one.id != other.id,
                    "one lease for two: {one:?} and {other:?}"
                );
                assert!(
                    one.key.is_none() || one.key != other.key,
                    "{one:?} {other:?}"
                );
            }
        }
    }
}

/// What a holder does.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Asks for up to so much.
    pub most: usize,
    /// Holds it for up to so many milliseconds.
    pub holds: usize,
    /// One in so many leases is left to expire; 0 is none.
    pub leaves: usize,
    /// One in so many requests has a key and is asked twice; 0 is none.
    pub keys: usize,
    /// A lease's time to live in milliseconds, where it is not left to expire.
    pub ttl: u64,
    /// How often it asks.
    pub rounds: usize,
}

/// Asks, holds and gives back, round after round.
pub fn hold(http: SocketAddr, seed: u64, manner: Manner, book: &Book) {
    let mut rng = Rng::new(seed);
    let one_in = |rng: &mut Rng, n: usize| n > 0 && rng.one_in(n);
    for round in 0..manner.rounds {
        let amount = 1 + rng.below(manner.most) as u64;
        let leaves = one_in(&mut rng, manner.leaves);
        let ttl = if leaves { 300 } else { manner.ttl };
        let key = one_in(&mut rng, manner.keys).then(|| format!("{seed}-{round}"));
        let head = key.as_ref();
        let head = head.map_or(String::new(), |key| format!("Idempotency-Key: {key}\r\n"));
        let body = json!({
            "resources": [{ "type": "pool:p", "amount": amount }], "ttl_ms": ttl, "wait_ms": 5000,
        });
        let asked = Instant::now();
        let mut answer = ask(http, "POST", "/v1/allocations", &head, &body);
        if key.is_some() {
            let first = answer;
            answer = ask(http, "POST", "/v1/allocations", &head, &body);
            if first.status == 201 {
                assert!(matches!(answer.status, 200 | 503), "{answer:?}");
                if answer.status == 200 {
                    assert_eq!(first.id(), answer.id(), "one lease for a key");
                }
                answer = first;
            }
        }
        if !matches!(answer.status, 200 | 201) {
            book.refusals.lock().expect("no panic").push(answer);
            continue;
        }
        let mut promise = Promise {
            id: answer.id(),
            amount,
            fence: answer.fence().parse().expect("a number"),
            asked,
            from: Instant::now(),
            until: asked + Duration::from_millis(ttl),
            key,
        };
        thread::sleep(Duration::from_millis(rng.below(manner.holds) as u64));
        if rng.one_in(3) {
            let path = format!("/v1/allocations/{}/renew", promise.id);
            let renewing = Instant::now();
            let renewed = ask(
                http,
                "POST",
                &path,
                &if_match(&answer.fence()),
                &Value::Null,
            );
            match renewed.status {
                200 => promise.until = renewing + Duration::from_millis(ttl),
                503 => {}
                // Only what has expired may be gone.
                410 => assert!(Instant::now() > promise.until, "{renewed:?} {promise:?}"),
                _ => panic!("{renewed:?} {promise:?}"),
            }
        }
        if !leaves {
            give_back(http, &answer, &mut promise);
        }
        book.add(promise);
    }
}

/// Until it is heard.
fn give_back(http: SocketAddr, lease: &Answer, promise: &mut Promise) {
    let path = format!("/v1/allocations/{}", promise.id);
    let expires = promise.until;
    promise.until = expires.min(Instant::now());
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let released = ask(
            http,
            "DELETE",
            &path,
            &if_match(&lease.fence()),
            &Value::Null,
        );
        match (released.status, released.body["reason"].as_str()) {
            // The answer to an earlier try may have been lost.
            (204, _) | (410, Some("released")) => return,
            (410, Some("expired")) if Instant::now() > expires => return,
            (503, _) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            _ => panic!("{released:?} {promise:?}"),
        }
    }
}
