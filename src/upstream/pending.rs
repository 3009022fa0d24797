//! What the lane's reader does with the replies to come.

use std::sync::Arc;

use super::mailbox::Mailbox;
use crate::resp::downgrade::Shape;

/// The keys of a tracked read, in the order of its arguments.
#[derive(Debug)]
pub struct FillKeys {
    /// The keys.
    pub keys: Vec<Box<[u8]>>,
    /// The read is an MGET: its reply is an array with an element a key.
    pub array: bool,
    /// L1's epoch when it was sent.
    pub epoch: u64,
}

/// One step of the stream.
#[derive(Debug)]
pub enum Op {
    /// A reply that goes to the session as it is.
    Relay,
    /// The same, of a write: the hashes of its keys are released behind it.
    Write(Keys),
    /// CACHING's reply, the read's, which goes to the session, and one PTTL's for each key.
    Fill(Box<FillKeys>),
    /// A reply to nobody, which says that L1 has seen all that came before: these writes are released, this many closures end.
    Marker {
        /// Hashes of the keys that were in flight.
        release: Vec<u64>,
        /// Closures that end.
        open: u32,
    },
    /// The reply to a bare HELLO that was sent as a sign of life.
    Probe,
}

/// Hashes of a write's keys; most writes have one.
#[derive(Debug)]
pub enum Keys {
    /// One key.
    One(u64),
    /// Any other number.
    Many(Box<[u64]>),
}

impl Keys {
    /// The hashes.
    #[must_use]
    pub fn as_slice(&self) -> &[u64] {
        match self {
            Self::One(hash) => std::slice::from_ref(hash),
            Self::Many(hashes) => hashes,
        }
    }
}

/// A command that was queued on the lane.
#[derive(Debug)]
pub struct Pending {
    /// Whose it is; a marker's and a probe's reply goes to nobody, but a marker lifts its session's fence.
    pub session: Option<Arc<Mailbox>>,
    /// When its bytes were handed over, in milliseconds of the boot clock.
    pub sent: u64,
    /// The client speaks RESP2.
    pub resp2: bool,
    /// How its RESP2 reply differs.
    pub shape: Shape,
    /// A GET: harmless to send again.
    pub repeatable: bool,
    /// What its reply does.
    pub op: Op,
}
