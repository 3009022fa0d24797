//! The store as sessions and the lane's reader see it.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::settings::{Admit, Mode, Settings};
use super::shard::{ENTRY_OVERHEAD, Shard};
use super::{Rule, RuleSet, Space};

/// What a look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The reply has been appended to the buffer; it is true until this time, in milliseconds of the boot clock, or a push.
    Hit(u64),
    /// No live entry.
    Miss,
}

/// A reply to be put in, with what decides whether it may be.
#[derive(Debug, Clone, Copy)]
pub struct Fill<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The encoded reply, as the lane brought it.
    pub reply: &'a [u8],
    /// When the read was sent, in milliseconds of the boot clock.
    pub sent: u64,
    /// PTTL's reply: -1 no expiry, -2 no such key.
    pub pttl: i64,
    /// [`L1::epoch`] when the read was sent.
    pub epoch: u64,
}

/// The counters of an L1, for tests and for the side port.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reads answered from memory.
    pub hits: AtomicU64,
    /// Cacheable reads that went upstream.
    pub misses: AtomicU64,
    /// Replies put in.
    pub fills: AtomicU64,
    /// Fills refused, for whatever reason.
    pub refused: AtomicU64,
    /// Keys named by pushes.
    pub invalidations: AtomicU64,
    /// Null pushes and other drops of everything.
    pub clears: AtomicU64,
    /// Entries evicted.
    pub evictions: AtomicU64,
}

/// Writes that L1 may not have seen yet.
#[derive(Debug, Default)]
pub struct Unsettled {
    /// Hashes of the keys in flight.
    pub hashes: Vec<u64>,
    /// Closures.
    pub closures: u32,
    /// Writes that may change any key.
    pub of_any: u32,
}

impl Unsettled {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty() && self.closures == 0 && self.of_any == 0
    }
}

/// Holds writes in flight; L1 is taken to have seen them when the last holder drops this. The holders
/// are the markers that follow the writes, one down each live lane.
#[derive(Debug)]
pub struct Settling {
    l1: Arc<L1>,
    writes: Unsettled,
}

impl Settling {
    /// Of these writes.
    #[must_use]
    pub fn new(l1: &Arc<L1>, writes: Unsettled) -> Arc<Self> {
        let l1 = Arc::clone(l1);
        Arc::new(Self { l1, writes })
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        for &hash in &self.writes.hashes {
            self.l1.end_write(hash);
        }
        if self.writes.closures > 0 {
            self.l1.open(self.writes.closures);
        }
        for _ in 0..self.writes.of_any {
            self.l1.end_write_of_any();
        }
    }
}

/// The numbers of the live spaces.
#[derive(Debug, Default)]
struct Spaces {
    live: HashSet<u16>,
    /// Where the search for a free one begins: one that was given back is taken again as late as possible, since a
    /// session may be about to look up in a space whose lane has just ended.
    next: u16,
}

/// The near cache of the whole process: entries of all identities and databases under one bound.
#[derive(Debug)]
pub struct L1 {
    settings: Settings,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    closed: AtomicU32,
    /// Lane writes under way that may change any key.
    barred: AtomicU32,
    pushes: AtomicU64,
    epoch: AtomicU64,
    spaces: Mutex<Spaces>,
    /// What happened.
    pub counters: Counters,
}

impl L1 {
    /// An empty store; `workers` threads will use it.
    #[must_use]
    pub fn new(settings: Settings, workers: usize) -> Self {
        let shards = if workers <= 1 {
            1
        } else {
            (settings.max_bytes >> 20).next_power_of_two().clamp(1, 16)
        };
        let each = settings.max_bytes / shards;
        Self {
            shards: (0..shards).map(|_| Mutex::new(Shard::new(each))).collect(),
            settings,
            hasher: RandomState::default(),
            closed: AtomicU32::new(0),
            barred: AtomicU32::new(0),
            pushes: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            spaces: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// What was set.
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

    /// The hash by which shards, stripes and the admission window know a key.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        &self.shards[usize::try_from(hash >> 20).unwrap_or_default() & (self.shards.len() - 1)]
    }

    /// A space of its own for a lane, empty.
    ///
    /// # Panics
    /// Above 65,535 live spaces, far beyond what `max_lanes` lets through.
    #[must_use]
    pub fn add_space(&self) -> Arc<Space> {
        let mut spaces = self.spaces.lock();
        let from = spaces.next;
        let id = (0..=u16::MAX)
            .map(|n| from.wrapping_add(n))
            .find(|id| !spaces.live.contains(id))
            .expect("max_lanes bounds the spaces");
        spaces.live.insert(id);
        spaces.next = id.wrapping_add(1);
        Arc::new(Space::new(id))
    }

    /// Drops what is in a space whose lane has ended for good.
    pub fn remove_space(&self, space: &Space) {
        self.lane_lost(space);
        self.spaces.lock().live.remove(&space.id);
    }

    /// Whether hits of `space` may be served at `now`: L1 is on, not closed, and the upstream was heard from lately.
    #[inline]
    #[must_use]
    pub fn serving(&self, space: &Space, now: u64) -> bool {
        if self.settings.mode == Mode::Off
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

    /// Looks `key` up and appends its reply to `out` in the client's protocol. Ask [`Self::serving`] first.
    #[inline]
    pub fn get(
        &self,
        space: &Space,
        hash: u64,
        key: &[u8],
        now: u64,
        resp2: bool,
        out: &mut Vec<u8>,
    ) -> Lookup {
        let mut shard = self.shard(hash).lock();
        let Some(entry) = shard.get(space.id, hash, key, now) else {
            return Lookup::Miss;
        };
        match entry.reply() {
            b"_\r\n" if resp2 => out.extend_from_slice(b"$-1\r\n"),
            reply => out.extend_from_slice(reply),
        }
        Lookup::Hit(entry.deadline())
    }

    /// Whether `key` has a live entry.
    #[must_use]
    pub fn contains(&self, space: &Space, hash: u64, key: &[u8], now: u64) -> bool {
        let mut shard = self.shard(hash).lock();
        shard.get(space.id, hash, key, now).is_some()
    }

    /// Whether a read that missed should be a tracked one; notes the read.
    #[must_use]
    pub fn admits(&self, space: &Space, hash: u64) -> bool {
        if self.settings.mode == Mode::Off || !space.is_tracked() {
            return false;
        }
        let mut shard = self.shard(hash).lock();
        (self.settings.admit == Admit::Always || shard.admits(hash)) && !shard.write_in_flight(hash)
    }

    /// A write of `key` is about to be sent: drops its entry and refuses fills until [`Self::end_write`].
    pub fn begin_write(&self, hash: u64, key: &[u8]) {
        let mut shard = self.shard(hash).lock();
        shard.remove(hash, key);
        shard.begin_write(hash);
    }

    /// As [`Self::begin_write`], of a key known by its hash alone: what shares the hash is dropped.
    pub fn begin_write_of(&self, hash: u64) {
        let mut shard = self.shard(hash).lock();
        shard.remove_hash(hash);
        shard.begin_write(hash);
    }

    /// L1 is known to have seen the write that began with the key of this hash.
    pub fn end_write(&self, hash: u64) {
        self.shard(hash).lock().end_write(hash);
    }

    /// A write that may change any key is about to be sent down a lane: drops everything and refuses fills until
    /// [`Self::end_write_of_any`].
    pub fn begin_write_of_any(&self) {
        self.barred.fetch_add(1, Ordering::AcqRel);
        self.clear();
    }

    /// L1 is known to have seen that write.
    pub fn end_write_of_any(&self) {
        self.barred.fetch_sub(1, Ordering::AcqRel);
    }

    /// A push on the lane of `space` named `key`.
    pub fn invalidate(&self, space: &Space, key: &[u8]) {
        let hash = self.hash(key);
        self.shard(hash).lock().remove(hash, key);
        space.note_push(hash);
        self.note_drop();
        self.counters.invalidations.fetch_add(1, Ordering::Relaxed);
    }

    /// A push on the lane of `space` said that everything is void.
    pub fn flush(&self, space: &Space) {
        self.clear();
        space.note_flush();
    }

    /// Drops everything.
    pub fn clear(&self) {
        for shard in &self.shards {
            shard.lock().clear();
        }
        self.note_drop();
        self.counters.clears.fetch_add(1, Ordering::Relaxed);
    }

    /// Entries were dropped, and what is put in from here on may be newer than what was there. Said after the drop:
    /// whoever has found one of them, and finds a newer one beside it, looked before this.
    fn note_drop(&self) {
        self.pushes.fetch_add(1, Ordering::AcqRel);
    }

    /// Drops everything and refuses every fill that was sent before: after SWAPDB, which pushes nothing.
    pub fn clear_and_refuse_sent(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.clear();
    }

    /// Changes when everything sent before has become unfit for fills.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// How many pushes and other drops were applied: unchanged between two looks means that what was read in between is a
    /// snapshot.
    #[must_use]
    pub fn pushes(&self) -> u64 {
        self.pushes.load(Ordering::Acquire)
    }

    /// Puts a reply in, unless a write is in flight for its key, its PTTL disagrees with it, or it was sent too long ago.
    /// Whether it was put in.
    pub fn fill(&self, space: &Space, fill: &Fill<'_>) -> bool {
        let nil = fill.reply == b"_\r\n";
        let cap = fill.sent
            + u64::try_from(self.settings.entry_max_ttl.as_millis()).unwrap_or(u64::MAX / 2);
        let deadline = match fill.pttl {
            -2 if nil => cap,
            -1 if !nil => cap,
            ttl if ttl >= 0 && !nil => cap.min(fill.sent + ttl.unsigned_abs()),
            _ if self.knocked_out(Rule::Pttl) => cap,
            _ => return self.refuse(),
        };
        let deadline = if self.knocked_out(Rule::Pttl) {
            cap
        } else {
            deadline
        };
        if fill.reply.len() > self.settings.max_entry_bytes {
            return self.refuse();
        }
        let hash = self.hash(fill.key);
        let mut shard = self.shard(hash).lock();
        // Under the lock: a drop of everything raises the epoch first and then comes through each shard.
        let stale = fill.epoch != self.epoch() || self.barred.load(Ordering::Acquire) > 0;
        if stale || shard.write_in_flight(hash) && !self.knocked_out(Rule::InFlight) {
            drop(shard);
            return self.refuse();
        }
        let evicted = shard.insert(space.id, hash, fill.key, fill.reply, deadline);
        drop(shard);
        self.counters
            .evictions
            .fetch_add(evicted, Ordering::Relaxed);
        self.counters.fills.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Counts a fill that was refused.
    pub fn refuse(&self) -> bool {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// No hits for anyone until the matching [`Self::open`].
    pub fn close(&self) {
        self.closed.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends `n` closures.
    pub fn open(&self, n: u32) {
        self.closed.fetch_sub(n, Ordering::AcqRel);
    }

    /// The lane of `space` is gone: nothing of it is true any more.
    pub fn lane_lost(&self, space: &Space) {
        space.silence();
        if !self.knocked_out(Rule::LaneLoss) {
            self.clear_space(space);
        }
        space.note_flush();
    }

    /// Drops what is in `space`.
    pub fn clear_space(&self, space: &Space) {
        for shard in &self.shards {
            shard.lock().remove_space(space.id);
        }
        self.note_drop();
        self.counters.clears.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts hits and misses, once for each batch of commands.
    pub fn count(&self, hits: u64, misses: u64) {
        if hits > 0 {
            self.counters.hits.fetch_add(hits, Ordering::Relaxed);
        }
        if misses > 0 {
            self.counters.misses.fetch_add(misses, Ordering::Relaxed);
        }
    }

    /// Entries and their accounted bytes.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.shards.iter().fold((0, 0), |(entries, bytes), shard| {
            let shard = shard.lock();
            (entries + shard.len(), bytes + shard.bytes())
        })
    }

    /// Every live entry: key and value, `None` for nil.
    #[must_use]
    pub fn entries(&self, now: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            for entry in shard
                .lock()
                .entries()
                .filter(|entry| entry.deadline() > now)
            {
                let reply = entry.reply();
                let value = reply
                    .iter()
                    .position(|&b| b == b'\n')
                    .filter(|_| reply[0] == b'$');
                all.push((
                    entry.key().to_vec(),
                    value.map(|lf| reply[lf + 1..reply.len() - 2].to_vec()),
                ));
            }
        }
        all
    }

    /// Accounted bytes beside an entry's key and reply.
    #[must_use]
    pub const fn entry_overhead() -> usize {
        ENTRY_OVERHEAD
    }
}
