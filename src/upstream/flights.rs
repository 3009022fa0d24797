//! Single flight: reads under way that other sessions may share, so that many clients who miss the same key at the
//! same moment cost the upstream one read.
//!
//! A session joins only with nothing outstanding, outside a fence and while L1 serves it: its own order and what it was
//! told before then hold for a reply that is still to come on the lane. No push, and no write of ours, may have concerned
//! the key since the read was sent, and the read may not be older than a hit may be. From the first byte of the reply
//! nobody joins any more. If the read fails, so do all who share it, at once. Only reads of one key are shared.
//!
//! Locks: the table's, then a flight's, then a mailbox's, each for one step.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::sync::Mutex;

use super::mailbox::Mailbox;
use crate::l1::{Generation, L1, Read, Rule};
use crate::resp::downgrade::Shape;

/// Who takes part in a read.
#[derive(Debug)]
pub struct Joined {
    pub(super) session: Arc<Mailbox>,
    /// The client speaks RESP2, and the reply differs there so.
    pub(super) resp2: Option<Shape>,
    /// It may be sent again.
    pub(super) repeatable: bool,
    /// When the session asked, in milliseconds of the boot clock.
    pub(super) since: u64,
}

/// A read under way.
#[derive(Debug)]
pub struct Flight {
    hash: u64,
    /// What is asked, so that no two reads of one hash are taken for one.
    ident: Vec<u8>,
    sent: u64,
    generation: Generation,
    stage: Mutex<Stage>,
}

/// How far a read is.
#[derive(Debug)]
enum Stage {
    /// It is not in the lane's queue yet: what a session that joined sent afterwards might come before it.
    Unsent,
    /// Its reply is to come.
    Sent(Vec<Joined>),
    /// Its reply has begun, or there will be none.
    Ended,
}

/// A session that wants to take part.
#[derive(Debug, Clone, Copy)]
pub struct Join<'a> {
    /// Where its reply goes.
    pub session: &'a Arc<Mailbox>,
    /// The client speaks RESP2, and the reply differs there so.
    pub resp2: Option<Shape>,
    /// It may be sent again.
    pub repeatable: bool,
    /// Now, in milliseconds of the boot clock.
    pub now: u64,
}

/// The reads under way on one lane.
#[derive(Debug, Default)]
pub struct Flights {
    by_hash: Mutex<HashMap<u64, Arc<Flight>, foldhash::fast::FixedState>>,
}

impl Flights {
    /// A read is in the lane's queue: sessions may join it; what was under way in its place is shared no further.
    pub fn add(&self, flight: Arc<Flight>) {
        let mut by_hash = self.by_hash.lock();
        let mut stage = flight.stage.lock();
        // The reply may have been quicker.
        if let Stage::Unsent = *stage {
            *stage = Stage::Sent(Vec::new());
            drop(stage);
            by_hash.insert(flight.hash, flight);
        }
    }

    /// Whether the session now shares such a read.
    #[must_use]
    pub fn join(&self, l1: &L1, read: &Read<'_>, join: &Join<'_>) -> bool {
        let by_hash = self.by_hash.lock();
        let Some(flight) = by_hash.get(&read.hash).map(Arc::clone) else {
            return false;
        };
        drop(by_hash);
        let bound = u64::try_from(l1.settings().max_staleness.as_millis()).unwrap_or(u64::MAX);
        let dropped = flight.generation != l1.generation(read.key);
        if dropped && !l1.knocked_out(Rule::JoinDropped)
            || join.now.saturating_sub(flight.sent) > bound
            || !read.ident.is(&flight.ident)
        {
            return false;
        }
        let mut stage = flight.stage.lock();
        let Stage::Sent(joined) = &mut *stage else {
            return false;
        };
        // Under the lock, so that the reply cannot come before it.
        join.session.lock().submitted += 1;
        joined.push(Joined {
            session: Arc::clone(join.session),
            resp2: join.resp2,
            repeatable: join.repeatable,
            since: join.now,
        });
        true
    }

    /// The reply has begun, or there will be none: those who share it.
    pub(super) fn end(&self, flight: &Arc<Flight>) -> Vec<Joined> {
        let mut by_hash = self.by_hash.lock();
        if let Entry::Occupied(entry) = by_hash.entry(flight.hash)
            && Arc::ptr_eq(entry.get(), flight)
        {
            entry.remove();
        }
        flight.take()
    }
}

impl Flight {
    /// A read that is about to be sent.
    #[must_use]
    pub fn new(l1: &L1, read: &Read<'_>, now: u64) -> Arc<Self> {
        Arc::new(Self {
            hash: read.hash,
            ident: read.ident.to_bytes(),
            sent: now,
            generation: l1.generation(read.key),
            stage: Mutex::new(Stage::Unsent),
        })
    }

    /// Ends it: those who share it.
    pub(super) fn take(&self) -> Vec<Joined> {
        match std::mem::replace(&mut *self.stage.lock(), Stage::Ended) {
            Stage::Sent(joined) => joined,
            Stage::Unsent | Stage::Ended => Vec::new(),
        }
    }
}
