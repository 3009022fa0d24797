//! One connection of a lane at work: writes what sessions queue, reads, and hands what came to the reader.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Interval, MissedTickBehavior, Sleep, interval, sleep};

use super::breaker::Kind;
use super::lane::{Lane, NO_REPLY, may_have_been};
use super::reader::{LaneEnd, Outcomes, Reader};
use super::stream::Stream;
use super::touch::{self, Due, Touch};
use super::{Op, Pending};
use crate::l1::Settling;
use crate::l1::settings::Mode;
use crate::telemetry::clock::{millis, now_ms, now_us};

/// Bytes read from the upstream at a time.
const READ_CHUNK: usize = 64 * 1024;
/// How long a replica in the place of a primary is put up with, in milliseconds.
const AGAIN: u64 = 1000;
/// The least time between two signs of life that are asked for on behalf of stale service alone, in milliseconds.
const STALE_PROBE: u64 = 1000;
/// Bytes waiting for one client above which the reader waits for it.
const CLIENT_WINDOW: usize = 1 << 20;

/// One connection at work.
pub struct Driver<'a> {
    lane: &'a Arc<Lane>,
    stream: Stream,
    pub reader: Reader,
    out: Vec<u8>,
    written: usize,
    input: Box<[u8]>,
    filled: usize,
    tick: Interval,
    touch: Touch,
    /// What is queued waits for what other sessions send at the same moment.
    gathering: bool,
    overdue: bool,
    quiet: bool,
    /// Replies to come, as they were last told.
    told: usize,
    /// The node's generation that it belongs to, and since when.
    generation: u64,
    since: u64,
    /// When bytes last came.
    heard: u64,
    /// How long the reader has waited for the client of the reply under way.
    stalled: Duration,
    stall: Option<(Pin<Box<Sleep>>, std::time::Instant)>,
}

impl<'a> Driver<'a> {
    pub fn new(lane: &'a Arc<Lane>, stream: Stream, reader: Reader, generation: u64) -> Self {
        let period = lane.lanes().l1().settings().max_staleness / 6;
        let mut tick = interval(period.clamp(Duration::from_millis(5), Duration::from_millis(250)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            lane,
            stream,
            reader,
            out: Vec::new(),
            written: 0,
            input: vec![0; READ_CHUNK].into_boxed_slice(),
            filled: 0,
            tick,
            touch: Touch::new(lane.lanes().l1().settings().touch_interval, now_ms()),
            gathering: false,
            overdue: false,
            quiet: true,
            told: 0,
            generation,
            since: now_ms(),
            heard: now_ms(),
            stalled: Duration::ZERO,
            stall: None,
        }
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LaneEnd> {
        self.lane.waker.register(cx.waker());
        if self.tick.poll_tick(cx).is_ready() {
            // Polled again at once, so that the next tick is waited for.
            cx.waker().wake_by_ref();
            if let Some(end) = self.on_tick() {
                return Poll::Ready(end);
            }
        }
        if !self.gathers(cx)
            && let Err(error) = self.write(cx)
        {
            return Poll::Ready(LaneEnd::Lost(error.to_string()));
        }
        self.reader.answer_refused();
        if let Err(end) = self.read(cx) {
            return Poll::Ready(self.leave(end));
        }
        if self.lane.lanes().node().generation() != self.generation {
            return Poll::Ready(LaneEnd::RoleChanged);
        }
        if self.reader.read_only && self.is_wrong_node() {
            return Poll::Ready(self.leave(LaneEnd::RoleChanged));
        }
        self.tell_outstanding(self.reader.pending.commands());
        let quiet = self.is_drained();
        if quiet != self.quiet {
            self.quiet = quiet;
            self.lane.set_quiet(quiet);
        }
        if self.lane.is_retired() && self.is_drained() && self.lane.close_if_empty() {
            return Poll::Ready(LaneEnd::Finished);
        }
        Poll::Pending
    }

    /// Whether a replica stands where there was a primary. The name may soon lead to that again: once in a while it is looked
    /// up anew.
    fn is_wrong_node(&self) -> bool {
        self.lane.lanes().node().was_primary() && now_ms().saturating_sub(self.since) >= AGAIN
    }

    /// Where the node is no longer what it was, all of its connections are left.
    fn leave(&self, end: LaneEnd) -> LaneEnd {
        if end == LaneEnd::RoleChanged {
            self.lane.lanes().left(self.generation);
        }
        end
    }

    /// Says how many replies are to come.
    pub fn tell_outstanding(&mut self, replies: usize) {
        if replies != self.told {
            self.lane.set_outstanding(replies, self.told);
            self.told = replies;
        }
    }

    fn is_drained(&self) -> bool {
        self.reader.pending.is_empty() && self.written == self.out.len()
    }

    /// Says whether sessions should take to a fresh lane.
    fn watch_overdue(&mut self, now: u64) {
        let limit = self.lane.lanes().settings().lane_overdue.as_millis();
        let late = |oldest: &Pending| u128::from(now.saturating_sub(oldest.sent())) >= limit;
        let overdue = self.reader.is_huge() || self.reader.pending.front().is_some_and(late);
        if overdue != self.overdue {
            self.overdue = overdue;
            self.lane.set_overdue(overdue);
        }
    }

    /// Sends a sign of life where one is due; ends a lane that has been silent for too long.
    fn on_tick(&mut self) -> Option<LaneEnd> {
        let now = now_ms();
        self.watch_overdue(now);
        if let Some(end) = self.keep_deadlines(now) {
            return Some(end);
        }
        let (lanes, space) = (self.lane.lanes(), self.lane.space());
        if self.is_drained() && self.lane.is_unused() && lanes.withdraw(self.lane) {
            self.lane.retire();
        }
        let settings = lanes.l1().settings();
        let third = u64::try_from(settings.max_staleness.as_millis() / 3).unwrap_or(u64::MAX);
        let quiet = space
            .proof()
            .is_none_or(|proof| now.saturating_sub(proof) >= third);
        let probing = self
            .reader
            .pending
            .iter()
            .any(|pending| matches!(pending.op, Op::Probe));
        let cut = lanes.node().is_cut();
        let asks = || quiet && space.take_used() || self.ages(now);
        if !probing && !cut && lanes.l1().mode() != Mode::Off && asks() {
            self.send_ours(b"*1\r\n$5\r\nHELLO\r\n", [Op::Probe], now);
        }
        self.touch(now);
        self.reader.judge_audits(now);
        None
    }

    /// Whether what is held has to be shown to be true although nobody reads it, since it may be served stale for no longer
    /// than so long after.
    fn ages(&self, now: u64) -> bool {
        let stale = self.lane.lanes().l1().keyspaces().stale();
        let third = stale.map(|(shortest, _)| (shortest / 3).max(STALE_PROBE));
        let since = self
            .lane
            .space()
            .proof()
            .map(|proof| now.saturating_sub(proof));
        third
            .zip(since)
            .is_some_and(|(third, since)| since >= third)
    }

    /// Answers who has waited too long; ends a lane that does not answer any more.
    fn keep_deadlines(&mut self, now: u64) -> Option<LaneEnd> {
        let oldest = self.reader.pending.front()?;
        let lanes = self.lane.lanes();
        let limit = millis(lanes.settings().request_timeout);
        let silent = now.saturating_sub(oldest.sent().max(self.heard)) > limit;
        if silent && self.stall.is_none() {
            return Some(LaneEnd::TimedOut);
        }
        self.reader.set_time(now * 1000);
        let error = || lanes.node().error(&may_have_been(NO_REPLY));
        self.reader.give_up(limit, error);
        self.reader.is_given_up().then_some(LaneEnd::TimedOut)
    }

    /// Tells the upstream of the keys that L1 has served, where it would evict them else.
    fn touch(&mut self, now: u64) {
        if let Some(evicts) = self.reader.take_evicts_by_use() {
            self.touch.answered(evicts);
        }
        if self.lane.is_retired() || self.lane.lanes().node().is_cut() {
            return;
        }
        match self
            .touch
            .step(self.lane.lanes().l1(), self.lane.space(), now)
        {
            Due::Nothing => {}
            Due::Question => self.send_ours(touch::QUESTION, [Op::Memory], now),
            Due::Commands(bytes, count) => {
                let replies = (0..count).map(|_| Op::Marker(None));
                self.send_ours(&bytes, replies, now);
            }
        }
    }

    /// Sends commands of our own.
    fn send_ours(&self, bytes: &[u8], replies: impl IntoIterator<Item = Op>, now: u64) {
        let pending = replies.into_iter();
        let pending = pending.map(|op| Pending::ours(None, now, op));
        self.lane.queue_ours(bytes, pending);
    }

    /// Whether what is queued waits for sessions whose clients have sent something by now: where several are at work and the
    /// upstream has something to answer meanwhile, once, until this thread has had its turn with those that are ready and has
    /// looked at its sockets. What they send goes with it: fewer and larger parts cost both sides less.
    fn gathers(&mut self, cx: &mut Context<'_>) -> bool {
        let several = self.lane.is_shared() && !self.reader.pending.is_empty();
        self.gathering = several && !self.gathering && self.written == self.out.len();
        if self.gathering {
            // Wakes this task behind that look.
            let wakes = pin!(tokio::task::yield_now()).poll(cx);
            debug_assert!(wakes.is_pending());
        }
        self.gathering
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
                if self.out.capacity() > 4 * READ_CHUNK {
                    self.out = Vec::new();
                }
                if !self
                    .lane
                    .take_queued(&mut self.out, &mut self.reader.pending)
                {
                    // TLS may still hold a part back.
                    return match Pin::new(&mut self.stream).poll_flush(cx) {
                        Poll::Ready(flushed) => flushed,
                        Poll::Pending => Ok(()),
                    };
                }
                if self.out.is_empty() {
                    // All of it was refused, and waits for its turn.
                    continue;
                }
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
                    let now = now_us();
                    self.heard = now / 1000;
                    let lanes = self.lane.lanes();
                    let beside = lanes.beside(self.lane);
                    self.reader.set_time(now);
                    let taken = self.reader.take(&self.input[..self.filled], beside);
                    self.count();
                    let used = taken?;
                    self.input.copy_within(used..self.filled, 0);
                    self.filled -= used;
                    if let Some(writes) = self.reader.take_unsettled() {
                        lanes.settle_beside(&Settling::new(lanes.l1(), writes), self.lane);
                    }
                    self.watch_overdue(self.heard);
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Hands the node what the replies say of it.
    fn count(&mut self) {
        let Outcomes {
            replies,
            slow,
            unready,
        } = self.reader.take_outcomes();
        let node = self.lane.lanes().node();
        for _ in 0..unready {
            node.failed(Kind::Loading);
        }
        if replies > 0 {
            node.replied(replies, slow);
        }
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
        let others = self.reader.pending.commands() > 1;
        let limit = self.lane.lanes().settings().lane_stall_limit;
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
