//! The open sessions: how a drain reaches them, and which upstream connection stands for a session's number.
//!
//! CLIENT ID is answered here, so the upstream does not know the number. Where a command names one (CLIENT KILL, LIST,
//! UNBLOCK, TRACKING with REDIRECT), it is put into the number of the session's own connection, if it has one. The
//! numbers start far above those of any server, so the two are never taken for each other.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::upstream::mailbox::Mailbox;

/// The first session's number.
const FIRST: u64 = 1 << 40;

#[derive(Debug)]
struct Open {
    mailbox: Arc<Mailbox>,
    /// The upstream's number of the session's own connection, where the session has asked for its number.
    upstream: Option<u64>,
}

/// What a session's number stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// No session's number.
    Nobody,
    /// A session without an own connection.
    Session,
    /// The upstream's number of its own connection.
    Connection(u64),
}

/// See the module's header.
#[derive(Debug)]
pub struct Sessions {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            next: AtomicU64::new(FIRST),
            open: Mutex::default(),
        }
    }
}

impl Sessions {
    /// A number that no session had before.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A session has begun.
    pub fn add(&self, id: u64, mailbox: Arc<Mailbox>) {
        let open = Open {
            mailbox,
            upstream: None,
        };
        self.open.lock().insert(id, open);
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
        let open = self.open.lock();
        open.values()
            .map(|open| Arc::clone(&open.mailbox))
            .collect()
    }

    /// A session's own connection has this number upstream, or none any more.
    pub fn connected(&self, id: u64, upstream: Option<u64>) {
        if let Some(open) = self.open.lock().get_mut(&id) {
            open.upstream = upstream;
        }
    }

    /// What a number stands for.
    #[must_use]
    pub fn named(&self, id: u64) -> Named {
        if id < FIRST {
            return Named::Nobody;
        }
        match self.open.lock().get(&id) {
            None => Named::Nobody,
            Some(Open { upstream: None, .. }) => Named::Session,
            Some(Open {
                upstream: Some(upstream),
                ..
            }) => Named::Connection(*upstream),
        }
    }

    /// Cuts a session off; whether there was one.
    #[must_use]
    pub fn kill(&self, id: u64) -> bool {
        let mailbox = self
            .open
            .lock()
            .get(&id)
            .map(|open| Arc::clone(&open.mailbox));
        let Some(mailbox) = mailbox else {
            return false;
        };
        mailbox.lock().cut = Some("CLIENT KILL");
        mailbox.wake();
        true
    }
}
