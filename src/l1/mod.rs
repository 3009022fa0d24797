//! L1: the in-memory store that follows the upstream, and the state that keeps it coherent. No I/O.
//!
//! Owns: entries, their deadlines and eviction, the counts of writes in flight, closures, proofs of life
//! and the admission window. A lane's reader fills and invalidates it by plain calls, in the order of
//! its stream; sessions look up, and announce writes before they queue them.
//!
//! One store holds the entries of all identities and databases, so that one bound covers them. An entry carries the
//! number of its [`Space`], the part that one lane fills; look-ups are by space and key, while hashes and the counts of
//! writes in flight are by the key's name alone. So a drop by name, or a write's count, concerns every space at once:
//! pushes carry no database, and a write by one identity changes what the others hold.
//!
//! A write is in flight until every live lane has shown, by the answer to a marker sent after it, that its pushes
//! have been read: [`Settling`] is held by those markers, and the last one to go ends the count. Only where the lane
//! that carried the write is the only one does the write's own reply suffice.
//!
//! A lane that is lost takes what it has filled with it, or leaves it *frozen*, where a key space has `serve_stale`, see
//! `stale.rs`.
//!
//! Locks: the table of all entries is behind one, held for one look-up, one insert or one drop and never across an await.
//! Threads look up in it together, and so do writes of keys that are not held; who puts in, drops, or has missed holds it
//! alone. A hit takes it once, and once more if the policy samples its key; up to 16 hits of a pipeline take it once together
//! (`run.rs`). A session whose mailbox is empty takes no other, save that of its thread's hot keys for one read in 32. What
//! must be seen together is under it: an entry, and the moving on of its key's number (`generations.rs`). A fill asks for
//! writes in flight while it holds the lock, and a write counts itself before it takes it, so one of the two always sees the
//! other (`in_flight.rs`). The logs' (`by_hand.rs`, `space.rs`) and that of the spaces are taken last, for one step; that of
//! the mode asked for first, and held while the table is emptied.
//!
//! What several threads write to for each hit is in parts, one a thread (`parts.rs`), and what a hit notes in the entry is
//! written only where it changes something: two workers answer 1.8 times what one does, each hit at 1.08 of its CPU (medians
//! of five runs of `benches/sessions.rs`; a pipeline of 16 has two steps on a line that cores pass to and fro, both the
//! lock's). With four shards of a mutex each it was 0.9 times, at 1.9 of the CPU: a pipeline took four locks and waited for
//! memory four times, where it now waits once for all that it reads. A lock in parts, one a reader, would spare those two
//! steps; who misses or fills would take one for each worker, and all of that goes by one lane.
//!
//! Atomics, each a single one read on its own, and what makes that enough:
//!
//! | what | who changes it, and when | who reads it |
//! |---|---|---|
//! | `epoch` | a drop that refuses what was sent, *before* it takes the lock | a fill, under the lock: either it sees the number moved, or the drop is still to come |
//! | `barred` | a write of any key, *before* it takes the lock | the same, for the same reason |
//! | a key's writes in flight | a write, *before* it looks whether its key is held; its end, at any time | a fill, under the lock; a reply that hangs on the key further, before; a read that would share another's, and for it only those count that its lane does not carry |
//! | `drops` | every drop by others than this nearside's writes, *after* it | an MGET, before its first look-up and behind its last: unchanged, no drop has ended in between, so nothing newer has been put in behind one |
//! | a key's number | every drop of it, with the drop | a plain read, together with what is held, under the lock; its fill, under the lock. A reply that hangs on the key further: its fill *before* it asks for writes in flight, a hit at the look-up. An audit's claim: before its look-up, and when the upstream has answered (`claim.rs`) |
//! | the number of all | a drop of everything, *after* it | the same plain reads: an entry that is found was not dropped yet, so the number is still to move |
//! | `closed`, a space's proof, whether it is tracked, the mode | at any time | a hit, once: one that overlaps a change is concurrent with it, and may count as before it |
//! | whether a space is frozen | its lane, when it is lost and before it is up again; who drops what is frozen | a read, once, that found it true no longer ago than it may be; as with `closed`. Freezing, and a closure's drop of all that is frozen, take the spaces' lock, so that one of the two sees the other |
//! | the share | an operator, *before* the drop of everything | a fill; one that has seen the share as it was has the epoch against it |
//!
//! Releases and acquires pair on each of these alone; what is under a lock needs neither. `tests/interleavings` builds
//! these very sources on primitives whose order a scheduler chooses, and goes through many schedules of each of these
//! protocols; the unit tests for snapshots do it with real threads.
//!
//! Whether L1 serves at all can change while sessions are at work, see `modes.rs`.
//!
//! What stays when memory is full is the policy's business, see `policy.rs`: a hit sets a bit, no more.

mod admission;
mod by_hand;
mod claim;
mod drops;
mod earnings;
mod entry;
mod families;
mod fill;
mod generations;
pub mod glob;
pub mod hot;
mod in_flight;
pub mod keyspace;
mod modes;
mod parts;
mod policy;
mod read;
mod rules;
mod run;
pub mod settings;
mod settling;
#[cfg(test)]
mod snapshot_tests;
mod space;
mod spaces;
mod stale;
mod store;
mod table;

pub use by_hand::{Epoch, Known};
pub use claim::Claim;
pub use fill::{End, Fill, Held};
pub use generations::Generation;
pub use parts::Sum;
pub use read::{Ident, Read};
pub use rules::{Rule, RuleSet};
pub use settling::{Reach, Settling, Unsettled};
pub use space::Space;
pub use stale::Inherited;
pub use store::{AHEAD, Bar, Counters, Cursor, L1, Lookup};
pub use table::Kept;
