//! The lane's reader: a fold over the stream. It knows the pending commands in order, relays each reply to its
//! session, applies pushes to L1 where they stand, and fills L1 itself, so that no push can come between.
//! No I/O here: bytes in, effects out.

use std::collections::VecDeque;
use std::sync::Arc;

use super::buffers::Buffers;
use super::connect::{Hello, Parts};
use super::large::LargeKeys;
use super::mailbox::{Mail, Mailbox};
use super::push::{Applying, PushSink};
use super::{FillKeys, Keys, Op, Pending};
use crate::l1::{Fill, L1, Rule, Space, Unsettled};
use crate::resp::downgrade::Downgrade;
use crate::resp::frame::{FrameError, FrameWalker, Ignore, Walked, parse_integer};

/// Why a lane came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneEnd {
    /// The connection was lost, or what came over it made no sense.
    Lost(String),
    /// The node no longer is what it was, or says that it is a replica.
    RoleChanged,
    /// Nobody needs it any more and nothing is outstanding on it.
    Finished,
}

/// The fill at the head of the stream.
#[derive(Debug, Default)]
struct Filling {
    granted: bool,
    read: bool,
    poisoned: bool,
    value: Vec<u8>,
    ttls: Vec<Option<i64>>,
}

/// What frame is under way.
#[derive(Debug)]
enum Frame {
    None,
    Push(PushSink),
    Reply,
}

/// A bulk that announces more than this holds up everybody behind it for too long to wait.
const HUGE: usize = 64 << 20;

/// Bytes waiting for one client from which on they are counted and bounded.
const HEAVY: usize = 256 << 10;

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
    /// Most bytes of replies kept for one client.
    pub output_limit: usize,
    /// A reply that announces more than this is large.
    pub large_reply: usize,
}

/// See the module's header.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about the reply under way"
)]
pub struct Reader {
    l1: Arc<L1>,
    space: Arc<Space>,
    large: Arc<LargeKeys>,
    buffers: Arc<Buffers>,
    role: String,
    output_limit: usize,
    large_reply: usize,
    /// No other lane is up: a write's own reply settles it.
    alone: bool,
    unsettled: Unsettled,
    /// A huge bulk is under way.
    huge: bool,
    /// Bytes of the reply under way so far.
    reply_bytes: usize,
    /// The reply under way is thrown away, because its session reads it again elsewhere.
    discarding: bool,
    walker: FrameWalker,
    frame: Frame,
    /// The end of a script's reply, until L1 has seen its writes.
    held_back: Option<Vec<u8>>,
    /// The frame under way has given bytes to its session already.
    relayed: bool,
    downgrade: Downgrade,
    parts: Parts,
    /// The first bytes of the reply under way, if it is an error.
    error: Vec<u8>,
    filling: Filling,
    late: Vec<(Box<[u8]>, Vec<u8>, u64)>,
    dirty: Vec<Arc<Mailbox>>,
    pub pending: VecDeque<Pending>,
}

impl Reader {
    pub fn new(surroundings: Surroundings, role: String) -> Self {
        Self {
            l1: surroundings.l1,
            space: surroundings.space,
            large: surroundings.large,
            buffers: surroundings.buffers,
            role,
            output_limit: surroundings.output_limit,
            large_reply: surroundings.large_reply,
            alone: true,
            unsettled: Unsettled::default(),
            huge: false,
            reply_bytes: 0,
            discarding: false,
            walker: FrameWalker::default(),
            frame: Frame::None,
            held_back: None,
            relayed: false,
            downgrade: Downgrade::default(),
            parts: Parts::default(),
            error: Vec::new(),
            filling: Filling::default(),
            late: Vec::new(),
            dirty: Vec::new(),
            pending: VecDeque::new(),
        }
    }

    /// Whether a reply has begun to be handed over and has not ended.
    pub fn relaying(&self) -> bool {
        self.relayed
    }

    /// The session whose reply is under way, if it has more than `window` bytes to take.
    pub fn congested(&self, window: usize) -> Option<Arc<Mailbox>> {
        let session = self
            .pending
            .front()?
            .session
            .as_ref()
            .filter(|_| self.relayed)?;
        let mail = session.lock();
        (mail.cut.is_none() && mail.out.len() > window).then(|| Arc::clone(session))
    }

    /// Whether a bulk is under way that holds up everybody behind it.
    pub fn is_huge(&self) -> bool {
        self.huge
    }

    /// The writes that were answered and that other lanes may not have seen yet.
    pub fn take_unsettled(&mut self) -> Option<Unsettled> {
        (!self.unsettled.is_empty()).then(|| std::mem::take(&mut self.unsettled))
    }

    /// Takes in what arrived, `alone` if no other lane was up when it had arrived; the bytes used. What is left is an
    /// incomplete header and comes again with more behind it.
    pub fn take(&mut self, buf: &[u8], alone: bool) -> Result<usize, LaneEnd> {
        self.alone = alone;
        for (key, reply, sent) in std::mem::take(&mut self.late) {
            let epoch = self.l1.epoch();
            let fill = Fill {
                key: &key,
                reply: &reply,
                sent,
                pttl: -1,
                epoch,
            };
            self.l1.fill(&self.space, &fill);
        }
        let taken = self.steps(buf);
        // Also where the lane ends here: what came before is theirs.
        for session in self.dirty.drain(..) {
            session.wake();
        }
        taken
    }

    fn steps(&mut self, buf: &[u8]) -> Result<usize, LaneEnd> {
        let mut at = 0;
        while at < buf.len() {
            let used = self.step(&buf[at..])?;
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
            let poison = if self.filling.read && !self.l1.knocked_out(Rule::PushInFill) {
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
            {
                self.filling.poisoned |=
                    sink.flushed || fill.keys.iter().any(|key| sink.named.contains(key));
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
            Op::Fill(_) => self.filling.granted && !self.filling.read,
            Op::Marker(_) | Op::ScriptEnd | Op::Probe => false,
        };
        if relays {
            self.relay(buf).map_err(broken)
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

    /// Goes on through a reply that is for nobody, keeping what is needed of it.
    fn keep(&mut self, buf: &[u8]) -> Result<Option<(usize, bool)>, FrameError> {
        let walked = self.walker.walk(buf, &mut self.parts)?;
        if walked.consumed == 0 {
            return Ok(None);
        }
        Ok(Some((walked.consumed, walked.done)))
    }

    /// Goes on through a reply and hands it to its session.
    fn relay(&mut self, buf: &[u8]) -> Result<Option<(usize, bool)>, FrameError> {
        let head = self.pending.front().expect("the caller has looked");
        let session = head
            .session
            .as_ref()
            .expect("a relayed command has a session");
        let mut mail = session.lock();
        if self.discarding {
            drop(mail);
            let walked = self.walker.walk(buf, &mut Ignore)?;
            return Ok((walked.consumed > 0).then_some((walked.consumed, walked.done)));
        }
        let plain = if self.walker.in_frame() {
            None
        } else {
            whole_plain(buf)
        };
        if plain.is_none()
            && !self.walker.in_frame()
            && let Some(size) = announced(buf).filter(|&size| size > self.large_reply)
        {
            self.huge = size > HUGE;
            if let Some(hash) = head.reads {
                self.large.add(hash);
            }
            if head.repeatable && mail.submitted == mail.answered + 1 {
                // Nothing of its session comes behind it, so a second read of it changes no order.
                mail.answered += 1;
                mail.too_large = true;
                drop(mail);
                self.dirty.push(Arc::clone(session));
                self.discarding = true;
                self.filling.poisoned = matches!(head.op, Op::Fill(_));
                let walked = self.walker.walk(buf, &mut Ignore)?;
                return Ok(Some((walked.consumed, walked.done)));
            }
        }
        let fresh = !self.relayed;
        let before = mail.out.len();
        let cut = mail.cut.is_some() || head.silent;
        let walked = match plain {
            Some(consumed) => Walked {
                consumed,
                done: true,
            },
            None if head.resp2 && !cut => {
                if !self.walker.in_frame() {
                    self.downgrade = match &head.op {
                        Op::Exec(block) => Downgrade::exec(block.shapes.clone()),
                        _ => Downgrade::new(head.shape),
                    };
                }
                self.walker
                    .walk(buf, &mut self.downgrade.into_buffer(&mut mail.out))?
            }
            None => self.walker.walk(buf, &mut Ignore)?,
        };
        if walked.consumed == 0 {
            return Ok(None);
        }
        let bytes = &buf[..walked.consumed];
        if (plain.is_some() || !head.resp2) && !cut {
            mail.out.extend_from_slice(bytes);
        }
        if mail.out.len() > HEAVY {
            self.weigh(&mut mail);
        }
        match head.op {
            Op::Script if walked.done => {
                // At most the line break: more of it may be the client's already.
                let end = mail.out.len() - mail.out.len().saturating_sub(before).min(2);
                self.held_back = Some(mail.out.split_off(end));
            }
            _ => mail.answered += u64::from(walked.done),
        }
        drop(mail);
        if !self
            .dirty
            .last()
            .is_some_and(|last| Arc::ptr_eq(last, session))
        {
            self.dirty.push(Arc::clone(session));
        }
        if fresh && bytes[0] == b'-' || !self.error.is_empty() {
            self.error.extend_from_slice(&bytes[..bytes.len().min(64)]);
        }
        if let Op::Fill(_) = head.op
            && self.filling.value.len() <= self.l1.settings().max_entry_bytes.saturating_mul(64)
        {
            self.filling.value.extend_from_slice(bytes);
        }
        self.relayed = true;
        self.reply_bytes += walked.consumed;
        if walked.done
            && self.reply_bytes > self.large_reply
            && let Some(hash) = head.reads
        {
            self.large.add(hash);
        }
        Ok(Some((walked.consumed, walked.done)))
    }

    /// Cuts off a client for whom too much is waiting, by its own bound or by that of all together.
    fn weigh(&self, mail: &mut Mail) {
        let Mail { out, share, .. } = mail;
        self.buffers.hold(share, out.capacity());
        let reason = if mail.out.len() > self.output_limit {
            "it reads slower than its replies come, and more than output_limit was waiting"
        } else if self.buffers.is_over() {
            "it reads slower than its replies come, and all clients together had more than max_buffer_bytes waiting"
        } else {
            return;
        };
        mail.cut = Some(reason);
        mail.out = Vec::new();
        self.buffers.release(&mut mail.share);
    }

    /// The reply under way has ended.
    fn ended(&mut self) -> Result<(), LaneEnd> {
        self.frame = Frame::None;
        self.relayed = false;
        self.discarding = false;
        self.huge = false;
        self.reply_bytes = 0;
        let error = std::mem::take(&mut self.error);
        let parts = std::mem::take(&mut self.parts);
        let head = self
            .pending
            .front()
            .expect("a reply has ended, so a command was pending");
        self.space.prove(head.sent);
        if let Op::Fill(fill) = &head.op {
            let filling = &mut self.filling;
            if !filling.granted {
                filling.granted = true;
                filling.poisoned = parts.line != b"+OK\r\n";
                if let Some(reason) = parts.error() {
                    refused_caching(&self.space, &reason);
                }
            } else if !filling.read {
                filling.read = true;
                filling.poisoned |= !error.is_empty();
            } else {
                filling.ttls.push(
                    parts
                        .line
                        .strip_prefix(b":")
                        .and_then(|n| parse_integer(n.trim_ascii_end())),
                );
            }
            if filling.ttls.len() < fill.keys.len() {
                return self.judge(&error);
            }
        }
        let head = self.pending.pop_front().expect("looked at above");
        match head.op {
            Op::Relay => {}
            Op::Write(keys) => self.answered_write(&keys),
            Op::Exec(block) => self.answered_write(&block.keys),
            // Only this lane's pushes come before the reply of the marker behind it.
            Op::Script => {
                if !self.alone {
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
                self.fill(&fill, &filling, head.sent);
            }
            Op::Marker(settling) => {
                drop(settling);
                if let Some(session) = head.session {
                    session.lock().fences += 1;
                }
            }
            Op::Probe => {
                let role = Hello::from_parts(&parts.bulks).role;
                if parts.error().is_none() && role != self.role {
                    return Err(LaneEnd::RoleChanged);
                }
            }
        }
        self.judge(&error)
    }

    /// L1 has seen what a script wrote: its client gets the end of the reply.
    fn release_script(&mut self, session: &Arc<Mailbox>) {
        if let Some(mut end) = self.held_back.take() {
            let mut mail = session.lock();
            mail.out.append(&mut end);
            mail.answered += 1;
            drop(mail);
            self.dirty.push(Arc::clone(session));
        }
    }

    /// A write's reply has come: where another lane may hold a push for it back, it stays in flight for now.
    fn answered_write(&mut self, keys: &Keys) {
        match keys {
            Keys::Any if self.alone => self.l1.end_write_of_any(),
            Keys::Any => self.unsettled.of_any += 1,
            keys if self.alone => keys
                .as_slice()
                .iter()
                .for_each(|&hash| self.l1.end_write(hash)),
            keys => self.unsettled.hashes.extend_from_slice(keys.as_slice()),
        }
    }

    /// What an error reply says about the lane itself.
    fn judge(&self, error: &[u8]) -> Result<(), LaneEnd> {
        if error.starts_with(b"-READONLY") && self.role == "master" {
            return Err(LaneEnd::RoleChanged);
        }
        if error.starts_with(b"-NOPERM") {
            self.l1.clear_space(&self.space);
        }
        Ok(())
    }

    fn fill(&mut self, keys: &FillKeys, filling: &Filling, sent: u64) {
        if filling.poisoned {
            self.l1.refuse();
            return;
        }
        let elements = if keys.array {
            split_array(&filling.value)
        } else {
            Some(vec![filling.value.as_slice()])
        };
        let Some(elements) = elements.filter(|elements| elements.len() == keys.keys.len()) else {
            self.l1.refuse();
            return;
        };
        for ((key, reply), ttl) in keys.keys.iter().zip(elements).zip(&filling.ttls) {
            match ttl {
                Some(_) if self.l1.knocked_out(Rule::FillInReader) => {
                    self.late.push((key.clone(), reply.to_vec(), sent));
                }
                Some(pttl) => {
                    let fill = Fill {
                        key,
                        reply,
                        sent,
                        pttl: *pttl,
                        epoch: keys.epoch,
                    };
                    self.l1.fill(&self.space, &fill);
                }
                None => {
                    self.l1.refuse();
                }
            }
        }
    }

    /// The lane is lost: every command that was sent is answered with `error`. Its part of L1 has been dropped before;
    /// the writes, which may have been carried out, are the caller's to settle with the other lanes.
    #[must_use]
    pub fn fail(&mut self, error: &str) -> Unsettled {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        let partial = self.relayed;
        for (at, pending) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            if let (Op::ScriptEnd, Some(session)) = (&pending.op, &pending.session) {
                self.release_script(session);
                session.wake();
                continue;
            }
            let read_done = at == 0 && (self.filling.read || self.discarding);
            fail_one(
                pending,
                error,
                at == 0 && partial,
                read_done,
                &mut unsettled,
            );
        }
        unsettled
    }
}

/// Ends one command that will get no reply; if it is a write, `unsettled` takes it over.
pub fn fail_one(
    pending: Pending,
    error: &str,
    partial: bool,
    answered: bool,
    unsettled: &mut Unsettled,
) {
    let relayed = !matches!(pending.op, Op::Marker(_) | Op::ScriptEnd | Op::Probe) && !answered;
    let marker = matches!(pending.op, Op::Marker(_));
    match &pending.op {
        Op::Write(Keys::Any) => unsettled.of_any += 1,
        Op::Write(keys) => unsettled.hashes.extend_from_slice(keys.as_slice()),
        Op::Exec(block) => unsettled.hashes.extend_from_slice(block.keys.as_slice()),
        Op::Marker(_) | Op::Relay | Op::Script | Op::ScriptEnd | Op::Fill(_) | Op::Probe => {}
    }
    let Some(session) = pending.session else {
        return;
    };
    let mut mail = session.lock();
    if partial && relayed {
        mail.cut = Some("the upstream was lost in the middle of a reply");
    } else if relayed && !pending.silent {
        crate::resp::encode::error(&mut mail.out, error);
    }
    mail.answered += u64::from(relayed);
    mail.fences += u64::from(marker);
    drop(mail);
    session.wake();
}

/// The length of a frame that is whole and the same in both protocols: a bulk, a simple string, an integer.
fn whole_plain(buf: &[u8]) -> Option<usize> {
    match buf[0] {
        b'$' => {
            let body = announced(buf)?;
            let header = buf.iter().position(|&b| b == b'\n')? + 1;
            (buf.len() >= header + body + 2).then_some(header + body + 2)
        }
        b'+' | b':' => {
            let lf = buf.iter().take(64).position(|&b| b == b'\n')?;
            (buf[lf - 1] == b'\r').then_some(lf + 1)
        }
        _ => None,
    }
}

/// The length that a bulk's header announces, if it is whole.
fn announced(buf: &[u8]) -> Option<usize> {
    let text = buf.strip_prefix(b"$")?;
    let end = text.iter().take(24).position(|&b| b == b'\r')?;
    parse_integer(&text[..end]).and_then(|n| usize::try_from(n).ok())
}

/// The elements of an encoded array of bulks and nulls.
fn split_array(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = &reply[reply.iter().position(|&b| b == b'\n')? + 1..];
    let mut elements = Vec::new();
    let mut walker = FrameWalker::default();
    while !rest.is_empty() {
        let step = walker.walk(rest, &mut Ignore).ok()?;
        if !step.done {
            return None;
        }
        let (element, behind) = rest.split_at(step.consumed);
        elements.push(element);
        rest = behind;
    }
    Some(elements)
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;

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
