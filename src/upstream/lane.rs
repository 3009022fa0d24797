//! The lane: the shared connection of one identity, and the task that drives it.
//!
//! ```text
//!   Connecting --handshake--> Up --lost, role changed--> Connecting
//!       | failed: wait with jitter                          (L1 dropped, what was sent is answered with an error)
//!       v
//!     Down --wait over--> Connecting        Refused: the upstream does not let us in as a lane;
//!                                           sessions use own connections, and it is tried again now and then
//! ```
//!
//! While a first attempt is under way commands are queued; while it is known to be down they are answered at once.
//! Reader and writer are one task: DESIGN's pair of tasks was measured at the same speed and would need
//! the pending queue to be shared between them.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Interval, MissedTickBehavior, Sleep, interval, sleep};

use super::breaker::{Breaker, State};
use super::clock::now_ms;
use super::connect::{ConnectError, Hello, LaneConnection, Stream, open_lane};
use super::reader::{LaneEnd, Reader, fail_one};
use super::settings::{Endpoint, Settings};
use super::{Op, Pending};
use crate::l1::L1;
use crate::l1::settings::Mode;
use crate::resp::downgrade::Shape;

/// Bytes read from the upstream at a time.
const READ_CHUNK: usize = 64 * 1024;
/// Bytes waiting for one client above which the reader waits for it.
const CLIENT_WINDOW: usize = 1 << 20;
/// How long until a lane that was refused is tried again.
const REFUSED_RETRY: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Connecting,
    Up,
    Down { reason: String },
    Refused,
}

#[derive(Debug)]
struct Queue {
    standing: Standing,
    out: Vec<u8>,
    pending: Vec<Pending>,
    woken: bool,
    hello: Hello,
}

/// A lane, as sessions see it.
#[derive(Debug)]
pub struct Lane {
    endpoint: Endpoint,
    settings: Settings,
    l1: Arc<L1>,
    queue: Mutex<Queue>,
    waker: AtomicWaker,
    breaker: Mutex<Breaker>,
}

impl Lane {
    /// A lane that [`Self::run`] will drive.
    #[must_use]
    pub fn new(endpoint: Endpoint, settings: Settings, l1: Arc<L1>) -> Self {
        let breaker = Mutex::new(Breaker::new(settings.breaker.clone()));
        let queue = Queue {
            standing: Standing::Connecting,
            out: Vec::new(),
            pending: Vec::new(),
            woken: false,
            hello: Hello::default(),
        };
        Self {
            endpoint,
            settings,
            l1,
            queue: Mutex::new(queue),
            waker: AtomicWaker::new(),
            breaker,
        }
    }

    /// Where it leads.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The settings of the way there.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The L1 that it keeps.
    #[must_use]
    pub fn l1(&self) -> &Arc<L1> {
        &self.l1
    }

    /// Whether it is connected.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.queue.lock().standing == Standing::Up
    }

    /// Whether the upstream does not let us in as a lane, so that sessions need own connections.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.queue.lock().standing == Standing::Refused
    }

    /// What the server said of itself when it was last connected to.
    #[must_use]
    pub fn hello(&self) -> Hello {
        self.queue.lock().hello.clone()
    }

    /// Where the breaker stands.
    #[must_use]
    pub fn breaker_state(&self) -> State {
        self.breaker.lock().state()
    }

    /// The error for commands that cannot be sent now, if they cannot: circuit open or connection down.
    #[must_use]
    pub fn unavailable(&self) -> Option<String> {
        match &self.queue.lock().standing {
            Standing::Down { reason } => Some(self.error(reason)),
            _ => None,
        }
    }

    fn error(&self, reason: &str) -> String {
        let address = &self.endpoint.address;
        match self.breaker.lock().opens_in(now_ms()) {
            Some(wait) => {
                format!(
                    "UNAVAILABLE upstream {address}: circuit open, next attempt in {}s",
                    wait.div_ceil(1000)
                )
            }
            None => format!("UNAVAILABLE upstream {address}: {reason}"),
        }
    }

    /// An own connection's attempt ended.
    pub fn attempted(&self, outcome: Result<(), &ConnectError>) {
        if let Err(ConnectError::Unreachable(_)) = outcome {
            self.breaker.lock().failed(now_ms());
        }
    }

    /// Queues commands in order: their bytes, and what is to be done with their replies. Where the lane is down,
    /// each is answered with an error at once. Both are taken out; the buffers stay the caller's.
    pub fn submit(&self, bytes: &mut Vec<u8>, pending: &mut Vec<Pending>) {
        let mut queue = self.queue.lock();
        if let Standing::Down { .. } | Standing::Refused = queue.standing {
            let reason = match &queue.standing {
                Standing::Down { reason } => reason.clone(),
                _ => "it refuses nearside".to_owned(),
            };
            drop(queue);
            let error = self.error(&reason);
            for pending in pending.drain(..) {
                fail_one(&self.l1, pending, &error, false, false);
            }
            bytes.clear();
            return;
        }
        queue.out.append(bytes);
        queue.pending.append(pending);
        let wake = !std::mem::replace(&mut queue.woken, true);
        drop(queue);
        if wake {
            self.waker.wake();
        }
    }

    /// Connects, drives, and connects again, for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut wait = Duration::from_millis(20);
        loop {
            while !self.breaker.lock().admit(now_ms()) {
                let left = self.breaker.lock().opens_in(now_ms()).unwrap_or(10);
                sleep(Duration::from_millis(left.clamp(1, 1000))).await;
            }
            match open_lane(
                &self.endpoint,
                &self.settings,
                self.l1.settings().mode != Mode::Off,
            )
            .await
            {
                Ok(connection) => {
                    self.breaker.lock().succeeded();
                    wait = Duration::from_millis(20);
                    self.drive(connection).await;
                }
                Err(ConnectError::Refused(reason)) => {
                    self.breaker.lock().succeeded();
                    let was = std::mem::replace(&mut self.queue.lock().standing, Standing::Refused);
                    if was != Standing::Refused {
                        tracing::warn!(upstream = %self.endpoint.address, reason, "no lane: L1 is off, each session gets a connection of its own");
                    }
                    self.fail_queued(&format!(
                        "UNAVAILABLE upstream {}: {reason}",
                        self.endpoint.address
                    ));
                    sleep(REFUSED_RETRY).await;
                }
                Err(ConnectError::Unreachable(reason)) => {
                    self.breaker.lock().failed(now_ms());
                    self.go_down(&reason);
                    // Full jitter; the hash of the time is random enough for it.
                    let jitter = self.l1.hash(&now_ms().to_le_bytes()) % 1000;
                    sleep(wait.mul_f64(0.5 + jitter_share(jitter))).await;
                    wait = (wait * 2).min(Duration::from_secs(1));
                }
            }
        }
    }

    fn go_down(&self, reason: &str) {
        let was = std::mem::replace(
            &mut self.queue.lock().standing,
            Standing::Down {
                reason: reason.to_owned(),
            },
        );
        if !matches!(was, Standing::Down { .. }) {
            tracing::warn!(upstream = %self.endpoint.address, reason, "the upstream is not reachable");
        }
        let error = self.error(reason);
        self.fail_queued(&error);
    }

    fn fail_queued(&self, error: &str) {
        let pending = {
            let mut queue = self.queue.lock();
            queue.out.clear();
            std::mem::take(&mut queue.pending)
        };
        for pending in pending {
            fail_one(&self.l1, pending, error, false, false);
        }
    }

    async fn drive(&self, connection: LaneConnection) {
        let LaneConnection {
            stream,
            hello,
            untracked,
        } = connection;
        tracing::info!(upstream = %self.endpoint.address, server = hello.server, version = hello.version, role = hello.role, "lane up");
        if let Some(reason) = &untracked {
            tracing::warn!(upstream = %self.endpoint.address, reason, "L1 is off: the upstream does not track for us");
            self.l1.close();
        }
        let reader = Reader::new(
            Arc::clone(&self.l1),
            hello.role.clone(),
            self.settings.output_limit,
            self.settings.large_reply,
        );
        {
            let mut queue = self.queue.lock();
            queue.standing = Standing::Up;
            queue.hello = hello;
        }
        let third = self.l1.settings().max_staleness / 6;
        let mut tick = interval(third.max(Duration::from_millis(5)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut driver = Driver {
            lane: self,
            stream,
            reader,
            out: Vec::new(),
            written: 0,
            input: vec![0; READ_CHUNK].into_boxed_slice(),
            filled: 0,
            tick,
            heard: now_ms(),
            stalled: Duration::ZERO,
            stall: None,
        };
        let end = poll_fn(|cx| driver.poll(cx)).await;
        self.queue.lock().standing = Standing::Connecting;
        self.l1.lane_lost();
        let reason = match end {
            LaneEnd::Lost(reason) => reason,
            LaneEnd::RoleChanged => "it is no longer the server that it was".to_owned(),
        };
        tracing::warn!(upstream = %self.endpoint.address, reason, "lane lost");
        if !driver.reader.pending.is_empty() {
            self.breaker.lock().failed(now_ms());
        }
        driver.reader.fail(&format!(
            "UNAVAILABLE upstream {}: connection lost before the reply, the command may have been carried out",
            self.endpoint.address
        ));
        if untracked.is_some() {
            self.l1.open(1);
        }
    }
}

fn jitter_share(thousandths: u64) -> f64 {
    f64::from(u32::try_from(thousandths).unwrap_or(0)) / 1000.0
}

/// One connection at work.
struct Driver<'a> {
    lane: &'a Lane,
    stream: Stream,
    reader: Reader,
    out: Vec<u8>,
    written: usize,
    input: Box<[u8]>,
    filled: usize,
    tick: Interval,
    /// When bytes last came.
    heard: u64,
    /// How long the reader has waited for the client of the reply under way.
    stalled: Duration,
    stall: Option<(Pin<Box<Sleep>>, std::time::Instant)>,
}

impl Driver<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LaneEnd> {
        self.lane.waker.register(cx.waker());
        if self.tick.poll_tick(cx).is_ready() {
            // Polled again at once, so that the next tick is waited for.
            cx.waker().wake_by_ref();
            if let Some(end) = self.on_tick() {
                return Poll::Ready(end);
            }
        }
        if let Err(error) = self.write(cx) {
            return Poll::Ready(LaneEnd::Lost(error.to_string()));
        }
        match self.read(cx) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    /// Sends a sign of life where one is due; ends a lane that has been silent for too long.
    fn on_tick(&mut self) -> Option<LaneEnd> {
        let now = now_ms();
        if let Some(oldest) = self.reader.pending.front() {
            let limit =
                u64::try_from(self.lane.settings.request_timeout.as_millis()).unwrap_or(u64::MAX);
            if self.stall.is_none() && now.saturating_sub(oldest.sent.max(self.heard)) > limit {
                return Some(LaneEnd::Lost("no reply within request_timeout".into()));
            }
        }
        let settings = self.lane.l1.settings();
        let third = u64::try_from(settings.max_staleness.as_millis() / 3).unwrap_or(u64::MAX);
        let quiet = self
            .lane
            .l1
            .proof()
            .is_none_or(|proof| now.saturating_sub(proof) >= third);
        let probing = self
            .reader
            .pending
            .iter()
            .any(|pending| matches!(pending.op, Op::Probe));
        if quiet && !probing && settings.mode == Mode::On && self.lane.l1.take_used() {
            let mut bytes = b"*1\r\n$5\r\nHELLO\r\n".to_vec();
            let mut pending = vec![Pending {
                session: None,
                sent: now,
                resp2: false,
                shape: Shape::Generic,
                repeatable: false,
                op: Op::Probe,
            }];
            self.lane.submit(&mut bytes, &mut pending);
        }
        None
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
                if self.out.capacity() > 4 * READ_CHUNK {
                    self.out = Vec::new();
                }
                let mut queue = self.lane.queue.lock();
                queue.woken = false;
                if queue.out.is_empty() {
                    return Ok(());
                }
                std::mem::swap(&mut queue.out, &mut self.out);
                self.reader.pending.extend(queue.pending.drain(..));
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => self.written += n,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), LaneEnd> {
        // A few chunks at a time, then the other tasks of this thread get their turn.
        for _ in 0..8 {
            if self.wait_for_client(cx) {
                return Ok(());
            }
            if self.filled == self.input.len() {
                let mut larger = vec![0; self.input.len() * 2];
                larger[..self.filled].copy_from_slice(&self.input[..self.filled]);
                self.input = larger.into_boxed_slice();
            }
            let mut buf = ReadBuf::new(&mut self.input[self.filled..]);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(LaneEnd::Lost(error.to_string())),
                Poll::Ready(Ok(())) => {
                    let n = buf.filled().len();
                    if n == 0 {
                        return Err(LaneEnd::Lost("the upstream closed the connection".into()));
                    }
                    self.filled += n;
                    self.heard = now_ms();
                    let used = self.reader.take(&self.input[..self.filled])?;
                    self.input.copy_within(used..self.filled, 0);
                    self.filled -= used;
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Whether to read no further for now, because the client of the reply under way is behind and the wait is not used up.
    fn wait_for_client(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(session) = self.reader.congested(CLIENT_WINDOW) else {
            if let Some((_, since)) = self.stall.take() {
                self.stalled += since.elapsed();
            }
            if !self.reader.relaying() {
                self.stalled = Duration::ZERO;
            }
            return false;
        };
        let others = self.reader.pending.len() > 1;
        let limit = self.lane.settings.lane_stall_limit;
        // With nobody behind it, a slow client delays nobody: it may take its time.
        if others && self.stalled >= limit {
            self.stall = None;
            return false;
        }
        session.room.register(cx.waker());
        let left = limit
            .saturating_sub(self.stalled)
            .max(Duration::from_millis(1));
        let (timer, since) = self
            .stall
            .get_or_insert_with(|| (Box::pin(sleep(left)), std::time::Instant::now()));
        if others && since.elapsed() >= left {
            self.stalled += since.elapsed();
            self.stall = None;
            return false;
        }
        if timer.as_mut().poll(cx).is_ready() {
            *timer = Box::pin(sleep(limit));
            let _ = timer.as_mut().poll(cx);
        }
        session.lock().out.len() > CLIENT_WINDOW
    }
}
