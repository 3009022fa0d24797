//! What L1 has done and holds, and which keys are read most.

use std::sync::atomic::{AtomicU64, Ordering};

use super::tree::Tree;
use crate::l1::hot::{ONE_IN, WINDOW};
use crate::l1::keyspace::{Counters, Refusal};
use crate::l1::settings::Mode;
use crate::l1::{Kept, L1};
use crate::upstream::lanes::Lanes;

fn number(counter: &AtomicU64) -> Tree {
    Tree::Number(counter.load(Ordering::Relaxed))
}

/// Everything that is counted, in all and by key space, as of `now`, in milliseconds of the boot clock.
#[must_use]
pub fn of(lanes: &Lanes, now: u64) -> Tree {
    let l1 = lanes.l1();
    let (keyspaces, counters) = (l1.keyspaces(), &l1.counters);
    let total = |of: fn(&Counters) -> u64| Tree::Number(keyspaces.total(of));
    let refused = Refusal::ALL.map(|why| {
        let count = |one: &Counters| one.refused[why as usize].load(Ordering::Relaxed);
        (why.name().to_owned(), Tree::Number(keyspaces.total(count)))
    });
    let kept = l1.kept();
    let all = kept.iter().fold(Kept::default(), |all, one| all.with(*one));
    let each = keyspaces.all().map(|(number, policy, counters)| {
        let kept = kept.get(usize::from(number)).copied().unwrap_or_default();
        let pattern = policy.pattern.clone();
        (policy.name.clone(), of_one(pattern, counters, kept))
    });
    let mode = match l1.mode() {
        Mode::On => "on",
        Mode::Off => "off",
        Mode::Shadow => "shadow",
    };
    Tree::map([
        ("mode", Tree::text(mode)),
        ("entries", Tree::Number(all.entries)),
        ("bytes", Tree::Number(all.bytes)),
        ("max_bytes", Tree::Number(l1.settings().max_bytes as u64)),
        ("hits", total(|one| one.hits.get())),
        ("misses", total(Counters::misses)),
        ("stale", total(|one| one.stale.load(Ordering::Relaxed))),
        ("stale_service", stale_service(lanes.stale_since(now), now)),
        ("fills", total(|one| one.fills.load(Ordering::Relaxed))),
        ("refused", Tree::Map(refused.into())),
        (
            "invalidations",
            Tree::map([
                ("push", number(&counters.invalidations)),
                ("own_write", number(&counters.own_writes)),
                ("by_hand", number(&counters.by_hand)),
                ("clear", number(&counters.clears)),
            ]),
        ),
        ("evictions", number(&counters.evictions)),
        ("keyspaces", Tree::Map(each.collect())),
    ])
}

/// Whether reads may be served stale now, and how old that is which would be, at most.
fn stale_service(since: Option<u64>, now: u64) -> Tree {
    let possible = if since.is_some() { "yes" } else { "no" };
    let age = since.map(|since| Tree::Number(now.saturating_sub(since)));
    let fields = [("possible", Some(Tree::text(possible))), ("age_ms", age)];
    let given = fields.into_iter();
    let given = given.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Tree::Map(given.collect())
}

fn of_one(pattern: Vec<u8>, counters: &Counters, kept: Kept) -> Tree {
    let refused = Refusal::ALL.map(|why| {
        let count = number(&counters.refused[why as usize]);
        (why.name().to_owned(), count)
    });
    Tree::map([
        ("pattern", Tree::Bytes(pattern)),
        ("entries", Tree::Number(kept.entries)),
        ("bytes", Tree::Number(kept.bytes)),
        ("hits", Tree::Number(counters.hits.get())),
        ("misses", Tree::Number(counters.misses())),
        ("stale", number(&counters.stale)),
        ("fills", number(&counters.fills)),
        ("refused", Tree::Map(refused.into())),
    ])
}

/// The `n` keys that were read most lately, and how that is known.
#[must_use]
pub fn hot_keys(l1: &L1, n: usize, now: u64) -> Tree {
    let hottest = l1.hot.hottest(n, now).into_iter().map(|hot| {
        Tree::map([
            ("reads", Tree::Number(hot.reads())),
            ("error", Tree::Number(hot.error())),
            ("key", Tree::Bytes(hot.key)),
        ])
    });
    Tree::map([
        ("sampled_one_in", Tree::Number(ONE_IN)),
        ("window_seconds", Tree::Number(WINDOW / 1000)),
        ("keys", Tree::List(hottest.collect())),
    ])
}
