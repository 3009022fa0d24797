//! Where a session's replies arrive: written by the lane's reader, taken by the session.

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;

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
    /// The client is to be cut off, and why.
    pub cut: Option<&'static str>,
}

/// One session's mailbox.
#[derive(Debug, Default)]
pub struct Mailbox {
    mail: Mutex<Mail>,
    waker: AtomicWaker,
    /// Wakes the lane when a client that it waits for has taken its bytes.
    pub room: AtomicWaker,
}

impl Mailbox {
    /// The mail, locked.
    pub fn lock(&self) -> parking_lot::MutexGuard<'_, Mail> {
        self.mail.lock()
    }

    /// The session wants to be woken when something arrives.
    pub fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// Something arrived.
    pub fn wake(&self) {
        self.waker.wake();
    }
}
