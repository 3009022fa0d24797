//! One session's decisions: where its commands go, what it may be answered from L1, what its writes mean for L1.
//!
//! Owns: the [`session`] (a future that is polled by hand: one pass reads, decides, sends and writes, with no
//! await in it), and the session's own upstream connection ([`own`]).
//!
//! ```text
//!          lane command, nothing outstanding on the own connection, no state there
//!   Lane <------------------------------------------------------------------------- Own
//!     |  own command: waits until every lane reply has come, then                    ^
//!     +------------------------------------------------------------------------------+
//! ```
//!
//! A hit behind outstanding lane replies is deferred: it is looked up when its turn comes, so it needs no watch
//! on pushes. It may only be deferred at the tail; before any later lane command it is sent as a plain read.
//!
//! While replies are outstanding on the own connection every command goes there: it is always right, and a
//! pipeline of scripts and reads is not held up at each change.

pub mod control;
pub mod fleet;
pub mod own;
pub mod registry;
pub mod session;
pub mod settings;

/// Gives back the written part of a buffer whose reader is always a little behind, so that it is never empty. Only where
/// that part is the larger one, so that all moving together costs no more than the writing.
fn forget_written(out: &mut Vec<u8>, written: &mut usize) {
    if *written > out.len() / 2 {
        out.drain(..*written);
        *written = 0;
    }
}
