//! What an operator can set about L1.

use std::time::Duration;

/// Whether reads are answered from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Hits are answered here.
    On,
    /// Everything is forwarded.
    Off,
}

/// When a key's reply is put into L1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    /// On the second read within the admission window; a tracked read costs the upstream more than a plain one.
    SecondRead,
    /// On the first read.
    Always,
}

/// L1's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// On or off.
    pub mode: Mode,
    /// Bound in bytes on keys, values and their overhead together.
    pub max_bytes: usize,
    /// A hit is served only while the upstream was heard from within this time.
    pub max_staleness: Duration,
    /// Longest life of an entry, whatever its TTL upstream.
    pub entry_max_ttl: Duration,
    /// Replies longer than this many bytes are not kept.
    pub max_entry_bytes: usize,
    /// When a key is filled.
    pub admit: Admit,
    /// Coherence rules taken out by a test; see [`super::Rule`].
    pub knocked_out: super::RuleSet,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::On,
            max_bytes: 64 << 20,
            max_staleness: Duration::from_secs(1),
            entry_max_ttl: Duration::from_secs(60),
            max_entry_bytes: 256 << 10,
            admit: Admit::SecondRead,
            knocked_out: super::RuleSet::none(),
        }
    }
}
