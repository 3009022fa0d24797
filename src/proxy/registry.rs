//! The open sessions: how a drain and CLIENT KILL reach them.
//!
//! A session's number is what HELLO says; it starts far above those of any server, so that the two are never taken for
//! each other. CLIENT ID is another matter: it is asked in order to be named to others (KILL, UNBLOCK, TRACKING with
//! REDIRECT), so the session gets an own connection, whose number it is, and keeps it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::control::Control;
use crate::upstream::mailbox::Mailbox;

/// The first session's number.
const FIRST: u64 = 1 << 40;

/// See the module's header.
#[derive(Debug)]
pub struct Sessions {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Mailbox>>>,
    /// What NEARSIDE asks of.
    pub control: Arc<Control>,
}

impl Sessions {
    /// None is open yet.
    #[must_use]
    pub fn new(control: Arc<Control>) -> Self {
        Self {
            next: AtomicU64::new(FIRST),
            open: Mutex::default(),
            control,
        }
    }

    /// A number that no session had before.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// So many have had one: it moves with every session that begins.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// A session has begun.
    pub fn add(&self, id: u64, mailbox: Arc<Mailbox>) {
        self.open.lock().insert(id, mailbox);
    }

    /// A session has ended.
    pub fn remove(&self, id: u64) {
        self.open.lock().remove(&id);
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The mailboxes of all.
    #[must_use]
    pub fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.open.lock().values().map(Arc::clone).collect()
    }

    /// Has all of them make a pass.
    pub fn wake_all(&self) {
        for mailbox in self.mailboxes() {
            mailbox.wake();
        }
    }

    /// Cuts a session off; whether there was one.
    #[must_use]
    pub fn kill(&self, id: u64) -> bool {
        let mailbox = self.open.lock().get(&id).map(Arc::clone);
        let Some(mailbox) = mailbox else {
            return false;
        };
        mailbox.lock().cut = Some("CLIENT KILL");
        mailbox.wake();
        true
    }
}
