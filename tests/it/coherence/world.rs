//! What a random run knows of its keys: who has written which version, and who has seen which.
//!
//! A server that starts without its data begins another *life* of the keys: what was known of them is void, and versions
//! go on above all that were there before, so that each says in which life it was written.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::promise::{Checked, Promise, version};
use crate::support::resp::Value;

/// Keys that anybody writes.
pub const HOT: usize = 6;
/// `b` is written, then `a`, with the same version: who has seen `a` may not then see an older `b`.
pub const PAIR: [usize; 2] = [HOT, HOT + 1];
/// Always written by one MSET.
pub const TWINS: [&str; 2] = ["x", "y"];
pub const TWIN: [usize; 2] = [HOT + 2, HOT + 3];
/// All keys.
pub const KEYS: usize = HOT + 4;

/// Most users of one nearside.
pub const USERS: usize = 2;

/// Whose reads: through which nearside, and as which user.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub near: usize,
    pub user: usize,
}

pub struct Key {
    pub name: String,
    /// The version issued last; locked by who writes the key.
    pub writer: Mutex<u64>,
    /// By nearside, the newest version that was written through it and acknowledged.
    pub acknowledged: [AtomicU64; 2],
    /// By nearside and user, the newest version that its lane or L1 has answered to anybody.
    pub seen: [[AtomicU64; USERS]; 2],
    /// Acknowledged writes, whichever way they went, until they are old enough to be visible everywhere.
    recent: Mutex<(VecDeque<(Instant, u64)>, u64)>,
}

/// What a read of a key may not be older than, and why.
#[derive(Debug, Clone, Copy, Default)]
pub struct Floor {
    pub acknowledged: u64,
    pub seen: u64,
    pub settled: u64,
}

pub struct World {
    pub keys: Vec<Key>,
    bound: Duration,
    /// Versions of this life are above it.
    base: AtomicU64,
    /// When this life began, if it is not the first.
    born: Mutex<Option<Instant>>,
}

/// How many versions a life has room for.
const LIFE: u64 = 1 << 32;

impl World {
    /// `max_staleness` is that of all nearsides.
    pub fn new(max_staleness: Duration) -> Self {
        let hot = (0..HOT).map(|n| format!("k{n}"));
        let others = ["a", "b", TWINS[0], TWINS[1]].map(str::to_owned);
        let key = |name| Key {
            name,
            writer: Mutex::new(0),
            acknowledged: Default::default(),
            seen: Default::default(),
            recent: Mutex::default(),
        };
        Self {
            keys: hot.chain(others).map(key).collect(),
            // Clocks of whole milliseconds are compared on both ends.
            bound: max_staleness + Duration::from_millis(5),
            base: AtomicU64::new(0),
            born: Mutex::default(),
        }
    }

    /// Versions of the present life are above this.
    pub fn base(&self) -> u64 {
        self.base.load(Ordering::SeqCst)
    }

    /// The server is gone, and its data with it; the next has not been started yet.
    pub fn begin_life(&self) {
        let base = self.base.fetch_add(LIFE, Ordering::SeqCst) + LIFE;
        *self.born.lock().expect("unpoisoned") = Some(Instant::now());
        for key in &self.keys {
            // Who holds it waits for the server that is gone, and fails.
            *key.writer.lock().expect("unpoisoned") = base;
        }
    }

    /// What a read that started at `begun` in the life above `base` gave, as a version of that life: one of an earlier
    /// life is none, and until the bound has passed it may still be seen.
    pub fn of_this_life(&self, name: &str, got: u64, base: u64, begun: Instant) -> Checked<u64> {
        if got > base || got == 0 {
            return Ok(got);
        }
        let born = *self.born.lock().expect("unpoisoned");
        let age = born.map(|born| begun.saturating_duration_since(born));
        if age.is_some_and(|age| age > self.bound) {
            let got = format_args!("{got} {age:?} after the server has lost it").to_string();
            return Err(Promise::BoundedStaleness.broken(name, got, "nothing of before"));
        }
        Ok(0)
    }

    /// Version `n` of `key` was acknowledged, through `near` or straight by the server.
    pub fn wrote(&self, key: usize, near: Option<usize>, n: u64) {
        let key = &self.keys[key];
        if let Some(near) = near {
            key.acknowledged[near].fetch_max(n, Ordering::SeqCst);
        }
        let mut recent = key.recent.lock().expect("unpoisoned");
        recent.0.push_back((Instant::now(), n));
    }

    /// Locks `key` for a writer, if nobody is writing it.
    pub fn try_writer(&self, key: usize) -> Option<MutexGuard<'_, u64>> {
        self.keys[key].writer.try_lock().ok()
    }

    /// What a read of `key` that starts now may not be older than.
    pub fn floor(&self, key: usize, view: View) -> Floor {
        let key = &self.keys[key];
        let mut recent = key.recent.lock().expect("unpoisoned");
        while let Some(&(at, n)) = recent.0.front()
            && at.elapsed() > self.bound
        {
            recent.0.pop_front();
            recent.1 = recent.1.max(n);
        }
        let base = self.base();
        let of_this_life = |version: u64| if version > base { version } else { 0 };
        Floor {
            acknowledged: of_this_life(key.acknowledged[view.near].load(Ordering::SeqCst)),
            seen: of_this_life(key.seen[view.near][view.user].load(Ordering::SeqCst)),
            settled: of_this_life(recent.1),
        }
    }

    pub fn name(&self, key: usize) -> &str {
        &self.keys[key].name
    }
}

/// The key that was written no later than the given one with the same version.
pub fn no_older(key: usize) -> Option<usize> {
    [(PAIR[0], PAIR[1]), (TWIN[0], TWIN[1]), (TWIN[1], TWIN[0])]
        .into_iter()
        .find_map(|(first, second)| (first == key).then_some(second))
}

/// The twins have one version in one reply.
pub fn twins_agree(reply: &[(&str, &Value)]) -> Checked {
    let mut versions = Vec::new();
    for (key, value) in reply.iter().filter(|(key, _)| TWINS.contains(key)) {
        versions.push((*key, version(key, value)?));
    }
    for pair in versions.windows(2) {
        let ((_, first), (key, second)) = (pair[0], pair[1]);
        if first != second {
            let got = format_args!("{second} beside {first} in one MGET").to_string();
            return Err(Promise::Transparency.broken(
                key,
                got,
                "one version, both written by one MSET",
            ));
        }
    }
    Ok(())
}
