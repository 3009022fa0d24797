//! L1: the in-memory store that follows the upstream, and the state that keeps it coherent. No I/O.
//!
//! Owns: entries, their deadlines and eviction, the counts of writes in flight, closures, the proof of life
//! and the admission window. The lane's reader fills and invalidates it by plain calls, in the order of
//! the upstream's stream; sessions look up, and announce writes before they queue them.
//!
//! Locks: each shard is one mutex, held for one look-up, one insert or one drop and never across an
//! await. What must be seen together is under it: an entry, and the count of writes in flight for its
//! key. A fill is refused under the same lock under which a write is announced, so one of the two always sees
//! the other. `closed`, `proof`, `pushes` and `epoch` are single atomics, each read on its own: a hit
//! that overlaps a change of one of them is concurrent with it, and may count as before it.
//!
//! Writes in flight are counted by hash in fixed stripes, not by key: two keys that share a stripe refuse each
//! other's fills while a write is out, which costs a miss and needs no allocation.
//!
//! Eviction is SIEVE (Zhang et al., NSDI 2024): a hit sets a bit, the hand clears it.

mod rules;
pub mod settings;
mod shard;
mod store;

pub use rules::{Rule, RuleSet};
pub use store::{Fill, L1, Lookup};
