//! A relay between nearside and its upstream that can bend time on the lane.
//!
//! A *lane* is a connection on which `CLIENT TRACKING ON` is sent. What the server sends on it is
//! taken apart into frames and queued here; a thread of its own forwards the queue at the chosen
//! pace, or a test holds it, looks at what has arrived, lets a part through, and goes on. All other
//! connections pass undelayed. Order within a connection is always kept, but for
//! [`rearrange`](Relay::rearrange). Lanes are held all together or one alone; they count from 0 in the order in which
//! they came.
//!
//! One mutex guards all queues, and lane bytes are written under it: after `hold()` has returned, nothing
//! is on its way any more.

mod wire;

use std::collections::VecDeque;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::resp::Value;
use super::{PATIENCE, eventually};

/// How lane frames are forwarded while they are not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// All there is, in one write.
    Flowing,
    /// Each frame this long after its arrival.
    Delayed(Duration),
    /// One frame a write, with this pause after it: a reply and the push behind it arrive in separate reads.
    Trickle(Duration),
}

/// One frame on its way to nearside.
#[derive(Debug)]
pub struct Frame {
    pub value: Value,
    bytes: Vec<u8>,
    arrived: Instant,
}

impl Frame {
    pub fn is_push(&self) -> bool {
        self.value.is_push()
    }

    pub fn is_text(&self, text: &str) -> bool {
        self.value.text() == Some(text)
    }
}

/// One command as nearside sent it.
pub type Sent = Vec<Vec<u8>>;

struct Lane {
    queue: VecDeque<Frame>,
    client: TcpStream,
    server: TcpStream,
    /// Bytes to the server, kept back while stalled.
    pending: Vec<u8>,
    alive: bool,
}

/// Which lanes are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    None,
    All,
    Only(usize),
}

struct State {
    held: Held,
    stalled: bool,
    stopping: bool,
    pace: Pace,
    lanes: Vec<Lane>,
    /// Commands received on lanes, since the start.
    sent: Vec<Sent>,
    streams: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    upstream: SocketAddr,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that fails under the lock still wants its relay ended.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends with all its connections on drop.
pub struct Relay {
    shared: Arc<Shared>,
    addr: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

impl Relay {
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                held: Held::None,
                stalled: false,
                stopping: false,
                pace: Pace::Flowing,
                lanes: Vec::new(),
                sent: Vec::new(),
                streams: Vec::new(),
                threads: Vec::new(),
            }),
            changed: Condvar::new(),
            upstream,
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || wire::accept(&shared, &listener))
        };
        Self {
            shared,
            addr,
            acceptor: Some(acceptor),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn set_pace(&self, pace: Pace) {
        self.shared.lock().pace = pace;
        self.shared.changed.notify_all();
    }

    /// Nothing reaches nearside on any lane any more.
    pub fn hold(&self) {
        self.shared.lock().held = Held::All;
    }

    /// Nothing reaches nearside on this lane any more.
    pub fn hold_only(&self, lane: usize) {
        self.shared.lock().held = Held::Only(lane);
    }

    /// How many lanes there have been.
    pub fn lanes(&self) -> usize {
        self.shared.lock().lanes.len()
    }

    /// What was held goes on, in one write where the pace is [`Pace::Flowing`].
    pub fn release(&self) {
        self.shared.lock().held = Held::None;
        self.shared.changed.notify_all();
    }

    /// Nothing reaches the server on the lane any more; [`sent`](Self::sent) still shows it.
    pub fn stall(&self) {
        self.shared.lock().stalled = true;
    }

    /// What was stalled goes on.
    pub fn unstall(&self) {
        let mut state = self.shared.lock();
        state.stalled = false;
        for lane in &mut state.lanes {
            let pending = std::mem::take(&mut lane.pending);
            let _ = lane.server.write_all(&pending);
        }
    }

    /// Lets held frames through from the front for as long as they satisfy `which`.
    pub fn pass_while(&self, mut which: impl FnMut(&Frame) -> bool) {
        let mut state = self.shared.lock();
        for lane in state.lanes.iter_mut().filter(|lane| lane.alive) {
            while lane.queue.front().is_some_and(&mut which) {
                let frame = lane.queue.pop_front().expect("looked at above");
                let _ = lane.client.write_all(&frame.bytes);
            }
        }
    }

    /// Waits until the held frames of one lane satisfy `enough`.
    pub fn await_held(&self, what: &str, enough: impl Fn(&VecDeque<Frame>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        loop {
            let alive = state.lanes.iter().filter(|lane| lane.alive);
            let queues: Vec<_> = alive.map(|lane| &lane.queue).collect();
            if queues.iter().any(|queue| enough(queue)) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let held = format!("{queues:?}");
                let lanes = state.lanes.len();
                // The relay's threads are not to fail too.
                drop(state);
                panic!(
                    "waited in vain for {what}; {lanes} lanes so far, held on those alive: {held}"
                );
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .expect("unpoisoned")
                .0;
        }
    }

    /// Changes the order of the newest lane's held frames.
    pub fn rearrange(&self, change: impl FnOnce(&mut VecDeque<Frame>)) {
        let mut state = self.shared.lock();
        let lane = state.lanes.iter_mut().rfind(|lane| lane.alive);
        change(&mut lane.expect("a live lane").queue);
    }

    /// Ends all lanes; what is held on them is lost.
    pub fn kill_lane(&self) {
        let mut state = self.shared.lock();
        for lane in &mut state.lanes {
            lane.end();
        }
        self.shared.changed.notify_all();
    }

    /// How many commands have come on lanes so far: the place to search [`sent`](Self::sent) from.
    pub fn mark(&self) -> usize {
        self.shared.lock().sent.len()
    }

    /// Whether a command that satisfies `which` came on a lane since `mark`.
    pub fn sent(&self, mark: usize, which: impl Fn(&[Vec<u8>]) -> bool) -> bool {
        self.shared.lock().sent[mark..]
            .iter()
            .any(|command| which(command))
    }

    /// Whether a read of `key` came on a lane since `mark`.
    pub fn sent_read(&self, mark: usize, key: &str) -> bool {
        self.sent(mark, |command| {
            let read = ["GET", "MGET"].iter().any(|name| is(&command[0], name));
            read && command[1..]
                .iter()
                .any(|argument| argument == key.as_bytes())
        })
    }

    /// Waits until a command that satisfies `which` has come on a lane since `mark`.
    pub fn await_sent(&self, mark: usize, what: &str, which: impl Fn(&[Vec<u8>]) -> bool) {
        eventually(&format!("{what} on the lane"), || {
            self.sent(mark, &which).then_some(())
        });
    }

    /// Waits until a read of `key` has come on a lane since `mark`.
    pub fn await_read(&self, mark: usize, key: &str) {
        eventually(&format!("a read of {key} on the lane"), || {
            self.sent_read(mark, key).then_some(())
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.stopping = true;
            for lane in &mut state.lanes {
                lane.end();
            }
            for stream in &state.streams {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
        // Wakes the acceptor, which then sees that it is to stop.
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let threads = std::mem::take(&mut self.shared.lock().threads);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Lane {
    fn end(&mut self) {
        self.alive = false;
        self.queue.clear();
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}
