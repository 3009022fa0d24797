//! The store as sessions and the lane's reader see it.

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::cell::RefCell;
use std::hash::BuildHasher;

use crate::sync::{Mutex, RwLock};
use foldhash::fast::RandomState;

use super::by_hand::Log;
use super::entry::{ENTRY_OVERHEAD, Entry};
use super::fill::Held;
use super::generations::{Generation, Generations};
use super::hot::HotKeys;
use super::in_flight::InFlight;
use super::keyspace::{Keyspaces, Missed};
use super::modes::Modes;
use super::read::{Ident, Read};
use super::settings::{Admit, Keyspace, Mode, Settings};
use super::spaces::Spaces;
use super::table::{Kept, Table};
use super::{Rule, RuleSet, Space};
use crate::resp::downgrade::{Downgrade, Shape};
use crate::resp::frame::FrameWalker;

/// Look-ups whose loads are waited for together.
pub const AHEAD: usize = 16;

/// What a look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The reply has been appended to the buffer.
    Hit {
        /// It is true until this time, in milliseconds of the boot clock, or a push.
        until: u64,
        /// The number of its key space.
        keyspace: u8,
    },
    /// No live entry, and why.
    Miss(Missed),
}

/// Why a read is not put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// L1 is off.
    Off,
    /// The server does not track what its lane reads.
    Untracked,
    /// Its key space is not cached.
    Policy,
    /// Its key is not in the share that is cached.
    Sample,
    /// A write of its key is in flight.
    Written,
    /// Fills of its key have not earned what they cost.
    Poor,
}

/// The counters of an L1 that belong to no key space, for tests and for the side port.
#[derive(Debug, Default)]
pub struct Counters {
    /// Keys named by pushes.
    pub invalidations: AtomicU64,
    /// Keys named by writes of ours that were about to be sent.
    pub own_writes: AtomicU64,
    /// Entries dropped by hand.
    pub by_hand: AtomicU64,
    /// Null pushes and other drops of everything.
    pub clears: AtomicU64,
    /// Entries evicted.
    pub evictions: AtomicU64,
}

/// A place in a walk through all of L1.
#[derive(Debug)]
pub struct Cursor(pub(super) Option<usize>);

impl Default for Cursor {
    fn default() -> Self {
        Self(Some(0))
    }
}

impl Cursor {
    /// Whether the walk is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.is_none()
    }
}

/// The near cache of the whole process: entries of all identities and databases under one bound.
#[derive(Debug)]
pub struct L1 {
    settings: Settings,
    hasher: RandomState,
    pub(super) table: RwLock<Table>,
    /// Several threads look up, so that they had better not wait for each other.
    shared: bool,
    pub(super) in_flight: InFlight,
    pub(super) closed: AtomicU32,
    /// Lane writes under way that may change any key.
    pub(super) barred: AtomicU32,
    pub(super) drops: AtomicU64,
    pub(super) epoch: AtomicU64,
    pub(super) by_hand: Log,
    pub(super) generations: Generations,
    pub(super) spaces: Mutex<Spaces>,
    pub(super) keyspaces: Keyspaces,
    pub(super) modes: Modes,
    /// Keys whose hash, in its lowest 32 bits, is below this are cached.
    sampled: AtomicU64,
    sample: AtomicU32,
    /// What happened.
    pub counters: Counters,
    /// Which keys are read most.
    pub hot: HotKeys,
}

impl L1 {
    /// An empty store; `workers` threads will use it.
    #[must_use]
    pub fn new(settings: Settings, workers: usize) -> Self {
        Self {
            keyspaces: Keyspaces::new(&settings),
            modes: Modes::new(settings.mode),
            sampled: AtomicU64::new(share(settings.sample)),
            sample: AtomicU32::new(settings.sample),
            table: RwLock::new(Table::new(settings.max_bytes, settings.keyspaces.len() + 1)),
            shared: workers > 1,
            in_flight: InFlight::default(),
            settings,
            hasher: RandomState::default(),
            closed: AtomicU32::new(0),
            barred: AtomicU32::new(0),
            drops: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            by_hand: Log::default(),
            generations: Generations::default(),
            spaces: Mutex::default(),
            counters: Counters::default(),
            hot: HotKeys::new(workers),
        }
    }

    /// The share of the keys that is cached, in millionths.
    #[must_use]
    pub fn sample(&self) -> u32 {
        self.sample.load(Ordering::Relaxed)
    }

    /// Changes that share. Where it falls everything is dropped, so that no other keys are served.
    pub fn set_sample(&self, millionths: u32) {
        let before = self.sample.swap(millionths, Ordering::AcqRel);
        self.sampled.store(share(millionths), Ordering::Release);
        if millionths < before {
            self.clear_and_refuse_sent();
        }
    }

    /// What was set at the start.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether `rule` was taken out by a test.
    #[inline]
    #[must_use]
    pub fn knocked_out(&self, rule: Rule) -> bool {
        RuleSet::has(self.settings.knocked_out, rule)
    }

    /// The key spaces, with what happened in each.
    #[must_use]
    pub fn keyspaces(&self) -> &Keyspaces {
        &self.keyspaces
    }

    /// GET's read of a key.
    #[inline]
    #[must_use]
    pub fn value<'a>(&self, key: &'a [u8]) -> Read<'a> {
        let hash = self.hash(key);
        Read {
            key: hash,
            hash,
            ident: Ident::Value(key),
        }
    }

    /// The read that is a command: its name, its first key, and its request behind the name.
    #[must_use]
    pub fn reply<'a>(&self, name: &'static str, key: &[u8], rest: &'a [u8]) -> Read<'a> {
        Read {
            key: self.hash(key),
            hash: self.hasher.hash_one((name, rest)),
            ident: Ident::Reply { name, rest },
        }
    }

    /// The hash by which the table, stripes and the admission window know a key.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Whether hits of `space` may be served at `now`: L1 is on, not closed, and the upstream was heard from lately.
    #[inline]
    #[must_use]
    pub fn serving(&self, space: &Space, now: u64) -> bool {
        if self.mode() == Mode::Off
            || self.closed.load(Ordering::Acquire) > 0
            || !space.is_tracked()
        {
            return false;
        }
        let bound = u64::try_from(self.settings.max_staleness.as_millis()).unwrap_or(u64::MAX);
        match space.proof() {
            Some(proof) => {
                now.saturating_sub(proof) <= bound || self.knocked_out(Rule::MaxStaleness)
            }
            None => self.knocked_out(Rule::LaneLoss),
        }
    }

    /// Looks a read up and appends its reply to `out` in the client's protocol; `shape` says how its reply differs in
    /// RESP2. Ask [`Self::serving`] first.
    #[inline]
    pub fn get(
        &self,
        space: &Space,
        read: &Read<'_>,
        now: u64,
        resp2: Option<Shape>,
        out: &mut Vec<u8>,
    ) -> Lookup {
        let append = |entry: &Entry| {
            match resp2 {
                Some(shape) if !entry.is_same_in_both() => {
                    downgrade(entry.reply(), shape, out);
                }
                _ => out.extend_from_slice(entry.reply()),
            }
            Lookup::Hit {
                until: entry.deadline(),
                keyspace: entry.keyspace(),
            }
        };
        let found = self.look_up(space, read, now, append);
        found.unwrap_or_else(Lookup::Miss)
    }

    /// Gives `take` the live entry of a read, or says why there is none; the policy is told of the read.
    #[inline]
    fn look_up<T>(
        &self,
        space: &Space,
        read: &Read<'_>,
        now: u64,
        take: impl FnOnce(&Entry) -> T,
    ) -> Result<T, Missed> {
        // A look-up changes something only where it misses, or is sampled. One thread alone need not try that first.
        if self.shared {
            let table = self.table.read();
            if let Some(entry) = table.peek(space.id, read, now, &self.generations) {
                entry.hit();
                let sampled = table.samples(read.hash);
                let found = take(entry);
                drop(table);
                if sampled {
                    self.table.write().sampled_read(space.id, read);
                }
                return Ok(found);
            }
        }
        let mut table = self.table.write();
        match table.get(space.id, read, now, &self.generations) {
            Ok(entry) => Ok(take(entry)),
            Err(Missed::NotHeld) if self.in_flight.has(read.key) => Err(Missed::Written),
            Err(why) => Err(why),
        }
    }

    /// Has what look-ups of these keys will read on its way from memory.
    #[inline]
    pub fn warm(&self, keys: &[u64]) {
        let mut slots = [None; AHEAD];
        for keys in keys.chunks(AHEAD) {
            self.table.read().warm(keys, &mut slots[..keys.len()]);
        }
    }

    /// Whether a read has a live entry.
    ///
    /// # Errors
    /// Why it has none.
    pub fn holds(&self, space: &Space, read: &Read<'_>, now: u64) -> Result<(), Missed> {
        self.look_up(space, read, now, |_| ())
    }

    /// Whether a read that missed should be a tracked one, by the policy of its key space; notes the read.
    #[must_use]
    pub fn admits(&self, space: &Space, read: &Read<'_>, policy: &Keyspace) -> bool {
        if self.standing_bar(space, read.key, policy).is_some() {
            return false;
        }
        if policy.admit == Admit::Always {
            return !self.in_flight.has_beside(read.key, space.id);
        }
        let mut table = self.table.write();
        let written = self.in_flight.has_beside(read.key, space.id);
        table.admits(read.hash) && !written && table.pays(read.key)
    }

    /// Whether the key of this hash is in the share that is cached.
    #[must_use]
    pub fn samples(&self, hash: u64) -> bool {
        hash & u64::from(u32::MAX) < self.sampled.load(Ordering::Acquire)
    }

    /// What keeps a key's reads from being put in until something is set otherwise.
    fn standing_bar(&self, space: &Space, key: u64, policy: &Keyspace) -> Option<Bar> {
        if self.mode() == Mode::Off {
            Some(Bar::Off)
        } else if !space.is_tracked() {
            Some(Bar::Untracked)
        } else if !policy.cache {
            Some(Bar::Policy)
        } else if !self.samples(key) {
            Some(Bar::Sample)
        } else {
            None
        }
    }

    /// What keeps a read from being put in now, apart from what [`Admit`] asks for; notes nothing.
    #[must_use]
    pub fn bar(&self, space: &Space, key: u64, policy: &Keyspace) -> Option<Bar> {
        self.standing_bar(space, key, policy).or_else(|| {
            if self.in_flight.has_beside(key, space.id) {
                return Some(Bar::Written);
            }
            let poor = policy.admit != Admit::Always && self.table.read().is_poor(key);
            poor.then_some(Bar::Poor)
        })
    }

    /// Where the key of this hash stands: unchanged between two looks means that nothing dropped it in between.
    #[must_use]
    pub fn generation(&self, hash: u64) -> Generation {
        self.generations.of(hash)
    }

    /// Whether a write of the key of this hash is in flight.
    #[must_use]
    pub fn write_in_flight(&self, hash: u64) -> bool {
        self.in_flight.has(hash)
    }

    /// Whether one may be of which a read that is on the lane of `space` need not know, though its client does.
    #[must_use]
    pub fn written_beside(&self, space: &Space, hash: u64) -> bool {
        self.in_flight.has_beside(hash, space.id) || self.barred.load(Ordering::Acquire) > 0
    }

    /// Whether the server tracks `key` for the lane of `space` already, because something of it is held: then a plain
    /// read can be put in.
    #[must_use]
    pub fn held(&self, space: &Space, hash: u64, key: &[u8], now: u64) -> Option<Held> {
        // What is frozen was tracked for a connection that is gone.
        if space.is_frozen() {
            return None;
        }
        let table = self.table.read();
        let until = table.known_until(space.id, hash, key, now)?;
        let generation = self.generations.of(hash);
        Some(Held { until, generation })
    }

    /// Entries and their accounted bytes.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let table = self.table.read();
        (table.len(), table.bytes())
    }

    /// The entries of a space that were read since the last time, as the requests that they answer: of the next slots,
    /// at most so many, and no more than about so many entries.
    #[must_use]
    pub fn take_read(
        &self,
        space: &Space,
        cursor: &mut Cursor,
        slots: usize,
        most: usize,
    ) -> Vec<Vec<u8>> {
        /// Under one lock.
        const STRETCH: usize = 256;
        let mut taken = Vec::new();
        let mut seen = 0;
        while seen < slots
            && taken.len() < most
            && let Some(slot) = cursor.0
        {
            let take = |entry: &Entry| taken.push(entry.request());
            cursor.0 = self.table.write().take_read(space.id, slot, STRETCH, take);
            seen += STRETCH;
        }
        taken
    }

    /// What is held of each key space, by its number.
    #[must_use]
    pub fn kept(&self) -> Vec<Kept> {
        self.table.read().kept().to_vec()
    }

    /// Every live entry: what would be asked for it, as a request, and the encoded reply.
    #[must_use]
    pub fn entries(&self, now: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let table = self.table.read();
        let live = table
            .entries()
            .filter(|entry| entry.deadline() > now && entry.is_joint_true(&self.generations));
        live.map(|entry| (entry.request(), entry.reply().to_vec()))
            .collect()
    }

    /// Accounted bytes beside an entry's key and reply.
    #[must_use]
    pub const fn entry_overhead() -> usize {
        ENTRY_OVERHEAD
    }
}

thread_local! {
    /// Between two frames; what it has allocated for one serves the next.
    static WALKER: RefCell<FrameWalker> = RefCell::default();
}

/// Below this are the lowest 32 bits of so many millionths of all hashes.
fn share(millionths: u32) -> u64 {
    (u64::from(millionths) << 32) / 1_000_000
}

/// Appends a reply as a RESP2 client gets it.
#[inline]
pub(super) fn downgrade(reply: &[u8], shape: Shape, out: &mut Vec<u8>) {
    match reply {
        b"_\r\n" if shape == Shape::Generic => out.extend_from_slice(b"$-1\r\n"),
        _ => walk_down(reply, shape, out),
    }
}

fn walk_down(reply: &[u8], shape: Shape, out: &mut Vec<u8>) {
    let mut downgrade = Downgrade::new(shape);
    WALKER.with_borrow_mut(|walker| {
        let walked = walker.walk(reply, &mut downgrade.into_buffer(out));
        if !walked.is_ok_and(|walked| walked.done) {
            debug_assert!(false, "it was walked before");
            *walker = FrameWalker::default();
        }
    });
}
