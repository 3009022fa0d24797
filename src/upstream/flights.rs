//! Single flight: reads under way that other sessions may share, so that many clients who miss the same key at the
//! same moment cost the upstream one read.
//!
//! A session joins only with nothing outstanding, outside a fence and while L1 serves it: its own order and what it was
//! told before then hold for a reply that is still to come on the lane. No push, and no write of ours, may have concerned
//! the key since the read was begun, and the read may not be older than a hit may be. A write under way may have been
//! acknowledged although the read knows nothing of it, unless it goes down the same lane, whose replies come in order:
//! beside any other nobody joins. From the first byte of the reply nobody joins any more. If the read fails, so do all
//! who share it, at once. Only reads of one key are shared.
//!
//! Locks: the table's, then a flight's, then a mailbox's, each for one step.

use std::sync::Arc;

use hashbrown::HashTable;

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
#[derive(Debug, Default)]
pub struct Flight {
    hash: u64,
    /// What is asked, so that no two reads of one hash are taken for one.
    ident: Vec<u8>,
    sent: u64,
    generation: Generation,
    stage: Mutex<Stage>,
}

/// How far a read is.
#[derive(Debug, Default)]
enum Stage {
    /// It is not in the lane's queue yet: what a session that joined sent afterwards might come before it.
    #[default]
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
    under_way: Mutex<HashTable<Arc<Flight>>>,
}

/// A session's flights, of which one at most is under way: the next has the room of one that has ended, so that a miss
/// allocates nothing for being shared.
#[derive(Debug, Default)]
pub struct Departures {
    newest: Arc<Flight>,
    /// It is not under way yet.
    due: bool,
}

/// The room of a read that asked at greater length is not kept.
const LONG: usize = 1024;

impl Departures {
    /// A read that is about to be sent.
    #[must_use]
    pub fn begin(&mut self, l1: &L1, read: &Read<'_>, now: u64) -> Arc<Flight> {
        if self.newest.ident.capacity() > LONG || Arc::get_mut(&mut self.newest).is_none() {
            self.newest = Arc::default();
        }
        if let Some(flight) = Arc::get_mut(&mut self.newest) {
            flight.hash = read.hash;
            flight.ident.clear();
            read.ident.write(&mut flight.ident);
            flight.sent = now;
            flight.generation = l1.generation(read.key);
            flight.stage = Mutex::new(Stage::Unsent);
        }
        self.due = true;
        Arc::clone(&self.newest)
    }

    /// The one that was begun last, if it was not asked for since.
    pub fn take(&mut self) -> Option<Arc<Flight>> {
        std::mem::take(&mut self.due).then(|| Arc::clone(&self.newest))
    }
}

impl Flights {
    /// A read is in the lane's queue: sessions may join it; what was under way in its place is shared no further.
    pub fn add(&self, flight: Arc<Flight>) {
        let mut under_way = self.under_way.lock();
        let mut stage = flight.stage.lock();
        // The reply may have been quicker.
        if let Stage::Unsent = *stage {
            *stage = Stage::Sent(Vec::new());
            drop(stage);
            let entry = under_way.entry(
                flight.hash,
                |other| other.hash == flight.hash,
                |other| other.hash,
            );
            entry.insert(flight);
        }
    }

    /// Whether the session now shares such a read.
    #[must_use]
    pub fn join(&self, l1: &L1, read: &Read<'_>, join: &Join<'_>) -> bool {
        let is_it = |flight: &Arc<Flight>| flight.hash == read.hash;
        let found = (self.under_way.lock().find(read.hash, is_it)).map(Arc::clone);
        let Some(flight) = found else {
            return false;
        };
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
        let mut under_way = self.under_way.lock();
        let is_it = |other: &Arc<Flight>| Arc::ptr_eq(other, flight);
        if let Ok(found) = under_way.find_entry(flight.hash, is_it) {
            found.remove();
        }
        flight.take()
    }

    /// Those of a connection that is lost have ended.
    pub(super) fn forget_ended(&self) {
        let mut under_way = self.under_way.lock();
        under_way.retain(|flight| !matches!(*flight.stage.lock(), Stage::Ended));
    }
}

impl Flight {
    /// Ends it: those who share it.
    pub(super) fn take(&self) -> Vec<Joined> {
        match std::mem::replace(&mut *self.stage.lock(), Stage::Ended) {
            Stage::Sent(joined) => joined,
            Stage::Unsent | Stage::Ended => Vec::new(),
        }
    }
}
