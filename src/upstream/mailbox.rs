//! Where a session's replies arrive: written by the lane's reader, taken by the session.
//!
//! The mail is one mutex, held for one step. No wake-up is lost: a session registers before it looks, and who writes wakes
//! it behind that. What a session asks of itself (`idle_check`) is set before it is woken.

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::sync::Mutex;
use atomic_waker::AtomicWaker;

use super::buffers::Share;
use crate::resp::encode;
use crate::telemetry::operation::Upstream;

/// What a lane's reader has to say of one reply.
#[derive(Debug)]
pub struct Note {
    /// The reply's number among those that ended for the session, the first being 1.
    pub ordinal: u64,
    /// Hash of the (first) key, where it is known.
    pub key: Option<u64>,
    /// The way to the upstream and back, if it was taken to its end.
    pub upstream: Option<Upstream>,
    /// Bytes of the reply.
    pub bytes: u64,
    /// Its error's first word.
    pub error: Option<Box<str>>,
}

/// The first word of an error without the byte that says so: `WRONGTYPE`. What is no such word is `ERR`.
#[must_use]
pub fn first_word(error: &[u8]) -> Box<str> {
    let end = error
        .iter()
        .take(32)
        .position(|byte| !byte.is_ascii_uppercase());
    let word = end.map_or(&[][..], |end| &error[..end]);
    let word = std::str::from_utf8(word).unwrap_or_default();
    if word.is_empty() { "ERR" } else { word }.into()
}

/// What has arrived and was not taken yet.
#[derive(Debug, Default)]
pub struct Mail {
    /// Replies in the client's protocol.
    pub out: Vec<u8>,
    /// Replies that ended, ever.
    pub answered: u64,
    /// Fence markers that were answered, ever.
    pub fences: u64,
    /// Commands handed to the lane whose replies go here, ever.
    pub submitted: u64,
    /// The last command's reply is too large for the lane: the session reads it again over its own connection.
    pub too_large: bool,
    /// The last command is a read that was sent at this time, in milliseconds of the boot clock, and lost with its lane: the
    /// session sends it again.
    pub again: Option<u64>,
    /// When a reply last came, in milliseconds of the boot clock.
    pub progress: u64,
    /// By when a read that was sent again is due.
    pub due: u64,
    /// The client is to be cut off, and why.
    pub cut: Option<&'static str>,
    /// What `out` counts for among all buffers.
    pub share: Share,
    /// Of replies that took long, failed, or are to be told of.
    pub notes: Vec<Note>,
}

impl Mail {
    /// Whether the next reply to end is the last: nothing of the session comes behind it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.submitted == self.answered + 1
    }

    /// A reply has ended, as this error that is nearside's own.
    pub(super) fn end_with(&mut self, error: &str, silent: bool) {
        if !silent {
            encode::error(&mut self.out, error);
        }
        self.answered += 1;
        self.notes.push(Note {
            ordinal: self.answered,
            key: None,
            upstream: None,
            bytes: 0,
            error: Some(first_word(error.as_bytes())),
        });
    }

    /// Whether a read has to be repeated before anything else is sent.
    #[must_use]
    pub fn repeats(&self) -> bool {
        self.too_large || self.again.is_some()
    }
}

/// One session's mailbox.
#[derive(Debug, Default)]
pub struct Mailbox {
    mail: Mutex<Mail>,
    /// Somebody may have left something; set and cleared under the lock.
    news: AtomicBool,
    waker: AtomicWaker,
    /// Wakes the lane when a client that it waits for has taken its bytes.
    pub room: AtomicWaker,
    /// When the client last sent something, in milliseconds of the boot clock.
    heard: AtomicU64,
    /// The session is to see whether its client has been idle for too long.
    idle_check: AtomicBool,
}

impl Mailbox {
    /// The mail, locked. Who changes it wakes the session afterwards.
    pub fn lock(&self) -> crate::sync::MutexGuard<'_, Mail> {
        let mail = self.mail.lock();
        self.news.store(true, Ordering::Release);
        mail
    }

    /// The mail, locked, for the session to take what is there; `None` without a lock if nobody has left anything since
    /// the last time.
    #[inline]
    pub fn take_news(&self) -> Option<crate::sync::MutexGuard<'_, Mail>> {
        if !self.news.load(Ordering::Acquire) {
            return None;
        }
        let mail = self.mail.lock();
        self.news.store(false, Ordering::Release);
        Some(mail)
    }

    /// The session wants to be woken when something arrives.
    pub fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// The client has sent something.
    pub fn heard(&self, now: u64) {
        self.heard.store(now, Ordering::Relaxed);
    }

    /// When the client last sent something, in milliseconds of the boot clock.
    #[must_use]
    pub fn heard_at(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Asks the session to see whether its client has been idle for too long.
    pub fn ask_idle(&self) {
        self.idle_check.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether that was asked since the last call.
    #[must_use]
    pub fn take_idle_check(&self) -> bool {
        self.idle_check.load(Ordering::Relaxed) && self.idle_check.swap(false, Ordering::AcqRel)
    }

    /// Something arrived.
    pub fn wake(&self) {
        self.waker.wake();
    }
}
