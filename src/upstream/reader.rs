//! The lane's reader: a fold over the stream. It knows the pending commands in order, relays each reply to its
//! session, applies pushes to L1 where they stand, and fills L1 itself, so that no push can come between.
//! No I/O here: bytes in, effects out.
//!
//! Here is the fold itself, and what the end of each reply means; handing a reply over is in `relay`, several at a time in
//! `plain`, fills are in `filling`.

use std::sync::Arc;

use self::audits::Suspect;
use self::filling::{Filling, Late};
use self::relay::Reply;
use self::shared::Shared;
use self::telling::Telling;
use super::buffers::Buffers;
use super::connect::{Hello, is_unready};
use super::flights::Flights;
use super::lanes::Beside;
use super::large::LargeKeys;
use super::mailbox::Mailbox;
use super::pending::{Failure, fail_joined, fail_one};
use super::push::{Applying, PushSink};
use super::{Awaited, Keys, Op, Pending, touch};
use crate::l1::keyspace::Refusal;
use crate::l1::{L1, Rule, Space, Unsettled};
use crate::resp::downgrade::Downgrade;
use crate::resp::frame::{FrameError, FrameWalker};
use crate::telemetry::Telemetry;

mod audits;
mod filling;
mod late;
mod plain;
mod relay;
mod shared;
mod telling;

/// Why a lane came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneEnd {
    /// The connection was lost, or what came over it made no sense.
    Lost(String),
    /// Nobody gets a reply any more within `request_timeout`.
    TimedOut,
    /// The node no longer is what it was, or says that it is a replica.
    RoleChanged,
    /// Nobody needs it any more and nothing is outstanding on it.
    Finished,
}

/// What frame is under way.
#[derive(Debug)]
enum Frame {
    None,
    Push(PushSink),
    Reply,
}

/// What replies say of the node.
#[derive(Debug, Default, Clone, Copy)]
pub struct Outcomes {
    /// Replies that came.
    pub replies: u32,
    /// Those of them that took longer than a reply should.
    pub slow: u32,
    /// Others, which said that the node is not ready to serve.
    pub unready: u32,
}

/// What a reader works with.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// What it fills and invalidates.
    pub l1: Arc<L1>,
    /// Its lane's part of that.
    pub space: Arc<Space>,
    /// Where it remembers keys with large replies.
    pub large: Arc<LargeKeys>,
    /// What all clients' buffers hold.
    pub buffers: Arc<Buffers>,
    /// The lane's reads that sessions share.
    pub flights: Arc<Flights>,
    /// Most bytes of replies kept for one client.
    pub output_limit: usize,
    /// A reply that announces more than this is large.
    pub large_reply: usize,
    /// One that takes longer than so many milliseconds is slow; 0 for none.
    pub slow_after: u64,
    /// What is told of the work.
    pub telemetry: Arc<Telemetry>,
}

/// See the module's header.
#[derive(Debug)]
pub struct Reader {
    l1: Arc<L1>,
    space: Arc<Space>,
    large: Arc<LargeKeys>,
    buffers: Arc<Buffers>,
    flights: Arc<Flights>,
    shared: Shared,
    role: String,
    output_limit: usize,
    large_reply: usize,
    slow_after: u64,
    outcomes: Outcomes,
    /// When what the newest reply answers was sent, in microseconds, and that it took long; 0 where it is later by now.
    proved: u64,
    was_slow: bool,
    telling: Telling,
    /// Which other lanes are up: where none can hold a push for a write back, its own reply settles it.
    beside: Beside,
    unsettled: Unsettled,
    walker: FrameWalker,
    frame: Frame,
    /// The end of a script's reply, until L1 has seen its writes.
    held_back: Option<Vec<u8>>,
    reply: Reply,
    downgrade: Downgrade,
    filling: Filling,
    late: Vec<Late>,
    suspects: Vec<Suspect>,
    dirty: Vec<Arc<Mailbox>>,
    /// What the upstream has just said of that.
    evicts_by_use: Option<bool>,
    /// The upstream, which said that it is a replica, has refused a write.
    pub read_only: bool,
    /// Now, in milliseconds of the boot clock.
    now: u64,
    pub pending: Awaited,
}

impl Reader {
    pub fn new(surroundings: Surroundings, role: String) -> Self {
        Self {
            l1: surroundings.l1,
            space: surroundings.space,
            large: surroundings.large,
            buffers: surroundings.buffers,
            flights: surroundings.flights,
            shared: Shared::default(),
            role,
            output_limit: surroundings.output_limit,
            large_reply: surroundings.large_reply,
            slow_after: surroundings.slow_after,
            outcomes: Outcomes::default(),
            proved: 0,
            was_slow: false,
            telling: Telling::new(&surroundings.telemetry),
            beside: Beside::Nobody,
            unsettled: Unsettled::default(),
            walker: FrameWalker::default(),
            frame: Frame::None,
            held_back: None,
            reply: Reply::default(),
            downgrade: Downgrade::default(),
            filling: Filling::default(),
            late: Vec::new(),
            suspects: Vec::new(),
            dirty: Vec::new(),
            evicts_by_use: None,
            read_only: false,
            now: 0,
            pending: Awaited::default(),
        }
    }

    /// It is so many microseconds of the boot clock: whoever calls says so.
    pub fn set_time(&mut self, us: u64) {
        self.now = us / 1000;
        self.proved = 0;
        self.telling.set_time(us);
    }

    /// Whether the upstream evicts what is not used, if it has said so since this was last asked.
    pub fn take_evicts_by_use(&mut self) -> Option<bool> {
        self.evicts_by_use.take()
    }

    /// What has come since the last time.
    pub fn take_outcomes(&mut self) -> Outcomes {
        std::mem::take(&mut self.outcomes)
    }

    /// The writes that were answered and that other lanes may not have seen yet.
    pub fn take_unsettled(&mut self) -> Option<Unsettled> {
        (!self.unsettled.is_empty()).then(|| std::mem::take(&mut self.unsettled))
    }

    /// Whether a script was sent whose writes L1 may not have seen, whatever became of it.
    pub fn awaits_script(&self) -> bool {
        let script = |pending: &Pending| matches!(pending.op, Op::Script | Op::ScriptEnd);
        self.pending.iter().any(script)
    }

    /// Takes in what arrived, with the lanes `beside` that were up when it had arrived; the bytes used. What is left is an
    /// incomplete header and comes again with more behind it.
    pub fn take(&mut self, buf: &[u8], beside: Beside) -> Result<usize, LaneEnd> {
        self.beside = beside;
        self.fill_late();
        let taken = self.steps(buf);
        self.answer_refused();
        self.telling.record();
        // Also where the lane ends here: what came before is theirs.
        for session in self.dirty.drain(..) {
            session.wake();
        }
        taken
    }

    fn steps(&mut self, buf: &[u8]) -> Result<usize, LaneEnd> {
        let mut at = 0;
        while at < buf.len() {
            let mut used = self.plain(&buf[at..]);
            if used == 0 {
                used = self.step(&buf[at..])?;
            }
            if used == 0 {
                break;
            }
            at += used;
        }
        Ok(at)
    }

    fn step(&mut self, buf: &[u8]) -> Result<usize, LaneEnd> {
        let broken =
            |error: FrameError| LaneEnd::Lost(format!("the upstream broke the protocol: {error}"));
        if matches!(self.frame, Frame::None) {
            self.frame = if buf[0] == b'>' {
                Frame::Push(PushSink::default())
            } else {
                Frame::Reply
            };
        }
        if let Frame::Push(sink) = &mut self.frame {
            let poison = if self.filling.was_read() && !self.l1.knocked_out(Rule::PushInFill) {
                self.pending.front()
            } else {
                None
            };
            let walked = self
                .walker
                .walk(
                    buf,
                    &mut Applying {
                        push: sink,
                        l1: &self.l1,
                        space: &self.space,
                    },
                )
                .map_err(broken)?;
            if let Some(Pending {
                op: Op::Fill(fill), ..
            }) = poison
                && (sink.flushed || fill.keys.iter().any(|key| sink.named.contains(key)))
            {
                self.filling.refuse(Refusal::Pushed);
            }
            sink.named.clear();
            if !self.walker.in_frame() {
                self.frame = Frame::None;
            }
            return Ok(walked.consumed);
        }
        let Some(head) = self.pending.front() else {
            return Err(LaneEnd::Lost(
                "the upstream answered what nobody asked".into(),
            ));
        };
        let relays = match &head.op {
            Op::Relay | Op::Write(_) | Op::Exec(_) | Op::Script => true,
            Op::Fill(fill) => fill.held.is_some() || self.filling.is_reading(),
            Op::Marker(_) | Op::ScriptEnd | Op::Probe | Op::Memory | Op::Audit(_) => false,
            Op::Refused(_) => {
                self.answer_refused();
                return self.step(buf);
            }
        };
        if relays && head.given_up {
            self.discard(buf).map_err(broken)
        } else if relays {
            self.relay(buf).map_err(broken)
        } else if let Op::Audit(_) = head.op {
            self.hear(buf).map_err(broken)
        } else {
            self.keep(buf).map_err(broken)
        }?
        .map_or(Ok(0), |(used, done)| {
            if done {
                self.ended()?;
            }
            Ok(used)
        })
    }

    /// The reply under way has ended.
    fn ended(&mut self) -> Result<(), LaneEnd> {
        self.frame = Frame::None;
        let Reply {
            mut error, parts, ..
        } = std::mem::take(&mut self.reply);
        let head = self.pending.front();
        let sent_us = head
            .expect("a reply has ended, so a command was pending")
            .terms
            .sent_us;
        if sent_us != self.proved {
            self.prove(sent_us);
        }
        let head = self.pending.front().expect("looked at above");
        if !error.is_empty() && is_unready(&error[1..]) {
            self.outcomes.unready += 1;
        } else {
            self.outcomes.replies += 1;
            self.outcomes.slow += u32::from(self.was_slow);
        }
        if let Op::Fill(fill) = &head.op {
            if head.given_up {
                self.filling.refuse(Refusal::Late);
            }
            if fill.held.is_none()
                && self.filling.is_asking()
                && let Some(reason) = parts.error()
            {
                refused_caching(&self.space, &reason);
            }
            let timing = self
                .filling
                .is_timing()
                .filter(|_| error.starts_with(b"-NOPERM"));
            let whole = self.filling.advance(&parts, !error.is_empty(), fill);
            match timing {
                Some("HPTTL") => {
                    self.space.refuse_field_ttls();
                    error.clear();
                }
                Some(_) => refused_caching(&self.space, &String::from_utf8_lossy(&error[1..])),
                None => {}
            }
            if !whole {
                return self.judge(&error);
            }
        }
        let head = self.pending.pop().expect("looked at above");
        let sent = head.sent();
        match head.op {
            Op::Relay => {}
            Op::Write(keys) => self.answered_write(&keys),
            Op::Exec(block) => self.answered_write(&block.keys),
            // Only this lane's pushes come before the reply of the marker behind it.
            Op::Script => {
                if self.beside == Beside::Nobody {
                    // Nobody hears of its writes on behalf of a lane that is lost.
                    self.l1.drop_frozen();
                } else {
                    self.l1.close();
                    self.unsettled.closures += 1;
                }
            }
            Op::ScriptEnd => {
                if let Some(session) = head.session {
                    self.release_script(&session);
                }
            }
            Op::Fill(fill) => {
                let filling = std::mem::take(&mut self.filling);
                self.fill(&fill, filling, head.terms.shape, sent);
            }
            Op::Marker(settling) => {
                drop(settling);
                if let Some(session) = head.session {
                    session.lock().fences += 1;
                }
            }
            Op::Memory => {
                let info = parts.bulks.first().map_or(&[][..], Vec::as_slice);
                self.evicts_by_use = Some(touch::evicts_by_use(info));
            }
            Op::Probe => {
                let role = Hello::from_parts(&parts.bulks).role;
                if parts.error().is_none() && role != self.role {
                    return Err(LaneEnd::RoleChanged);
                }
            }
            Op::Audit(audit) => self.audited(audit),
            Op::Refused(_) => unreachable!("it is taken out before a reply is looked at"),
        }
        if error.is_empty() {
            return Ok(());
        }
        self.judge(&error)
    }

    /// A command that was sent at this time, in microseconds, was answered.
    fn prove(&mut self, sent_us: u64) {
        let sent = sent_us / 1000;
        self.proved = sent_us;
        self.space.prove(sent);
        self.was_slow = self.slow_after > 0 && self.now.saturating_sub(sent) > self.slow_after;
    }

    /// A write's reply has come.
    fn answered_write(&mut self, keys: &Keys) {
        answered_write(&self.l1, self.beside, &mut self.unsettled, keys);
    }

    /// What an error reply says about the lane itself.
    fn judge(&mut self, error: &[u8]) -> Result<(), LaneEnd> {
        if error.starts_with(b"-READONLY") {
            if self.role == "master" {
                return Err(LaneEnd::RoleChanged);
            }
            self.read_only = true;
        }
        if error.starts_with(b"-NOPERM") {
            self.l1.clear_space(&self.space);
        }
        Ok(())
    }

    /// The lane is lost: every command that was sent is answered with `error`, but for reads sent after a time, which their
    /// sessions may send `again`. Its part of L1 has been dropped before; the writes, which may have been carried out, are the caller's to
    /// settle with the other lanes.
    #[must_use]
    pub fn fail(&mut self, error: &str, again: Option<u64>) -> Unsettled {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        let partial = self.reply.relayed;
        for joined in std::mem::take(&mut self.shared).into_joined() {
            fail_joined(&joined, error, again);
        }
        for (at, pending) in std::mem::take(&mut self.pending).into_each().enumerate() {
            if let (Op::ScriptEnd, Some(session)) = (&pending.op, &pending.session) {
                self.release_script(session);
                session.wake();
                continue;
            }
            let read_done = at == 0 && (self.filling.was_read() || self.reply.discarding);
            let failure = Failure {
                error,
                partial: at == 0 && partial,
                answered: read_done,
                again,
            };
            fail_one(pending, failure, &mut unsettled);
        }
        unsettled
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;

/// A write's reply has come: where another lane may hold a push for it back, it stays in flight for now.
#[inline]
fn answered_write(l1: &L1, beside: Beside, unsettled: &mut Unsettled, keys: &Keys) {
    let stays = matches!(keys, Keys::One(_) | Keys::Many(_));
    match beside {
        Beside::Nobody => {}
        Beside::OtherDatabases if stays => {}
        _ => return keys.settle_later(unsettled),
    }
    if let Keys::Any = keys {
        l1.end_write_of_any();
    }
    for &hash in keys.as_slice() {
        l1.end_write(hash);
    }
}

/// A session has been left something, and is to be woken.
fn note_dirty(dirty: &mut Vec<Arc<Mailbox>>, session: &Arc<Mailbox>) {
    let last = dirty.last();
    if !last.is_some_and(|last| Arc::ptr_eq(last, session)) {
        dirty.push(Arc::clone(session));
    }
}

/// A refusal of CLIENT CACHING, unless the server is only busy, holds for all fills: none is tried on this lane any more.
fn refused_caching(space: &Space, reason: &str) {
    if !reason.starts_with("BUSY ") && space.is_tracked() {
        space.set_tracked(false);
        tracing::warn!(
            reason,
            "L1 is off: the upstream does not let us have reads tracked"
        );
    }
}
