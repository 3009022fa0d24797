//! What an operator can set about L1.

use std::time::Duration;

/// Whether reads are answered from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Hits are answered here.
    On,
    /// Everything is forwarded.
    Off,
    /// As on, but the upstream answers, and what L1 would have said is compared with that and counted.
    Shadow,
}

impl Mode {
    /// Every mode by its name.
    pub const NAMES: [(&str, Self); 3] = [
        ("on", Self::On),
        ("off", Self::Off),
        ("shadow", Self::Shadow),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Shadow => "shadow",
        }
    }
}

/// When a key's reply is put into L1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    /// On the second read within the admission window; a tracked read costs the upstream more than a plain one.
    SecondRead,
    /// On the first read.
    Always,
}

/// What a write of ours does to its key's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WritePolicy {
    /// Drops it.
    Invalidate,
    /// Drops it, and fills it anew right behind the write.
    WriteThrough,
}

/// Whether a hash's fields may end one by one, which no push tells before it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldTtls {
    /// They may: where the upstream has such, reads of whole hashes are not kept.
    Possible,
    /// They never do.
    None,
}

/// The policy of the keys that match a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyspace {
    /// Its name, also as a label.
    pub name: String,
    /// Redis's own pattern; see [`super::glob`].
    pub pattern: Vec<u8>,
    /// Whether its reads are cached at all.
    pub cache: bool,
    /// Longest life of an entry, whatever its TTL upstream.
    pub entry_max_ttl: Duration,
    /// Whether it is kept that there is no such key.
    pub negative: bool,
    /// Replies longer than this many bytes are not kept.
    pub max_entry_bytes: usize,
    /// When a read is filled.
    pub admit: Admit,
    /// What a write of ours does.
    pub write_policy: WritePolicy,
    /// Whether its hashes' fields may end one by one.
    pub hash_field_ttls: FieldTtls,
    /// While the upstream is lost, what was true then is served for this long after the last proof of life; zero for
    /// never.
    pub serve_stale: Duration,
}

impl Keyspace {
    /// How long it serves stale, in milliseconds; 0 for never.
    #[must_use]
    pub fn stale_ms(&self) -> u64 {
        if !self.cache {
            return 0;
        }
        u64::try_from(self.serve_stale.as_millis()).unwrap_or(u64::MAX)
    }
}

/// L1's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// On, off or in the shadow.
    pub mode: Mode,
    /// The share of the keys that is cached, by their hash, in millionths.
    pub sample: u32,
    /// Bound in bytes on keys, values and their overhead together.
    pub max_bytes: usize,
    /// A hit is served only while the upstream was heard from within this time.
    pub max_staleness: Duration,
    /// Longest life of an entry, whatever its TTL upstream; of keys in no key space.
    pub entry_max_ttl: Duration,
    /// Replies longer than this many bytes are not kept; of keys in no key space.
    pub max_entry_bytes: usize,
    /// When a key is filled; of keys in no key space.
    pub admit: Admit,
    /// How long what was held is served while the upstream is lost, zero for never; of keys in no key space.
    pub serve_stale: Duration,
    /// How often, at most, an upstream that evicts by last use is told of a key that is served; zero for never.
    pub touch_interval: Duration,
    /// Named patterns of keys with policies of their own; the first that matches holds.
    pub keyspaces: Vec<Keyspace>,
    /// Commands of modules whose reads the operator vouches for, in upper case: JSON.GET.
    pub module_reads: Vec<String>,
    /// Coherence rules taken out by a test; see [`super::Rule`].
    pub knocked_out: super::RuleSet,
}

impl Settings {
    /// The policy of keys in no key space, which is also what a key space has where it says nothing else.
    #[must_use]
    pub fn default_keyspace(&self) -> Keyspace {
        Keyspace {
            name: String::new(),
            pattern: Vec::new(),
            cache: true,
            entry_max_ttl: self.entry_max_ttl,
            negative: true,
            max_entry_bytes: self.max_entry_bytes,
            admit: self.admit,
            write_policy: WritePolicy::Invalidate,
            hash_field_ttls: FieldTtls::Possible,
            serve_stale: self.serve_stale,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::On,
            sample: 1_000_000,
            max_bytes: 64 << 20,
            max_staleness: Duration::from_secs(1),
            entry_max_ttl: Duration::from_secs(60),
            max_entry_bytes: 256 << 10,
            admit: Admit::SecondRead,
            serve_stale: Duration::ZERO,
            touch_interval: Duration::from_secs(60),
            keyspaces: Vec::new(),
            module_reads: Vec::new(),
            knocked_out: super::RuleSet::none(),
        }
    }
}
