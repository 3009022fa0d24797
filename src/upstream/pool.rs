//! Clean own connections between two uses, each worker thread its own: a connection stays with the runtime that
//! opened it, and taking one needs no lock.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};

use super::identity::LaneKey;
use super::stream::Stream;

/// Connections kept by one thread.
const KEPT: usize = 64;
/// How long an unused one is kept.
const IDLE: Duration = Duration::from_secs(10);

/// What a connection is fit for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnKey {
    /// Its user and database.
    pub place: LaneKey,
    /// It speaks RESP3.
    pub resp3: bool,
}

/// A connection whose state is as after its handshake, but for its name.
#[derive(Debug)]
pub struct Clean {
    /// The connection.
    pub stream: Stream,
    /// What CLIENT SETNAME last gave it.
    pub name: Option<Vec<u8>>,
    /// The node's generation that it belongs to.
    pub generation: u64,
}

struct Idle {
    key: OwnKey,
    clean: Clean,
    since: Instant,
}

thread_local! {
    static POOL: RefCell<Vec<Idle>> = const { RefCell::new(Vec::new()) };
}

/// The connection for `key` that was used last, if one is alive and to the server of that generation.
#[must_use]
pub fn take(key: &OwnKey, generation: u64) -> Option<Clean> {
    POOL.with_borrow_mut(|pool| {
        loop {
            let at = pool.iter().rposition(|idle| idle.key == *key)?;
            let mut idle = pool.remove(at);
            if idle.clean.generation == generation && is_quiet(&mut idle.clean.stream) {
                idle.clean.stream.set_pooled(false);
                return Some(idle.clean);
            }
        }
    })
}

/// Keeps a clean connection for later.
pub fn put(key: OwnKey, mut clean: Clean) {
    clean.stream.set_pooled(true);
    POOL.with_borrow_mut(|pool| {
        if pool.len() >= KEPT {
            pool.remove(0);
        }
        let since = Instant::now();
        pool.push(Idle { key, clean, since });
    });
}

/// Closes what has been unused for too long.
pub fn sweep() {
    POOL.with_borrow_mut(|pool| pool.retain(|idle| idle.since.elapsed() < IDLE));
}

/// Closes all of this thread's.
pub fn clear() {
    POOL.with_borrow_mut(Vec::clear);
}

/// Nothing has come on it: neither its end nor anything unasked.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut buf = ReadBuf::new(&mut byte);
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(stream).poll_read(&mut cx, &mut buf).is_pending()
}
