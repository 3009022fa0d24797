//! Replies on their way to their sessions: each is handed over as it comes, converted where its client speaks RESP2. Here
//! too is what bounds that: replies too large to hold everybody up, and clients that do not take theirs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::plain::{NULL, whole_plain};
use super::{Reader, note_dirty};
use crate::l1::L1;
use crate::l1::keyspace::Refusal;
use crate::resp::downgrade::Downgrade;
use crate::resp::frame::{FrameError, FrameWalker, Ignore, Walked, parse_integer};
use crate::upstream::connect::Parts;
use crate::upstream::mailbox::{Mail, Mailbox};
use crate::upstream::{Attempt, NO_KEYSPACE, Op, Pending};

/// A bulk that announces more than this holds up everybody behind it for too long to wait.
const HUGE: usize = 64 << 20;

/// Bytes waiting for one client from which on they are counted and bounded.
const HEAVY: usize = 256 << 10;

/// What has come of the reply under way.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// Its session has been given bytes of it.
    pub(super) relayed: bool,
    /// It is thrown away, because its session reads it again elsewhere.
    pub(super) discarding: bool,
    /// It is a bulk that holds up everybody behind it.
    huge: bool,
    pub(super) bytes: usize,
    /// Its first bytes, if it is an error that was handed over.
    pub(super) error: Vec<u8>,
    /// What it says, if it is for nobody.
    pub(super) parts: Parts,
}

impl Reader {
    /// Whether a reply has begun to be handed over and has not ended.
    pub fn relaying(&self) -> bool {
        self.reply.relayed
    }

    /// The session whose reply is under way, if it has more than `window` bytes to take.
    pub fn congested(&self, window: usize) -> Option<Arc<Mailbox>> {
        let session = self
            .pending
            .front()?
            .session
            .as_ref()
            .filter(|_| self.reply.relayed)?;
        let mail = session.lock();
        (mail.cut.is_none() && mail.out.len() > window).then(|| Arc::clone(session))
    }

    /// Whether a bulk is under way that holds up everybody behind it.
    pub fn is_huge(&self) -> bool {
        self.reply.huge
    }

    /// Notes whether the reply that `buf` begins with is such a bulk.
    pub(super) fn note_size(&mut self, buf: &[u8]) {
        self.reply.huge = announced(buf).is_some_and(|size| size > HUGE);
    }

    /// Goes on through a reply that is for nobody, keeping what is needed of it.
    pub(super) fn keep(&mut self, buf: &[u8]) -> Result<Option<(usize, bool)>, FrameError> {
        let walked = self.walker.walk(buf, &mut self.reply.parts)?;
        if walked.consumed == 0 {
            return Ok(None);
        }
        Ok(Some((walked.consumed, walked.done)))
    }

    /// Goes on through a reply whose session has been told that it will get none; what it says of the lane is kept.
    pub(super) fn discard(&mut self, buf: &[u8]) -> Result<Option<(usize, bool)>, FrameError> {
        let tells = matches!(buf[0], b'-' | b'!') && !self.walker.in_frame();
        let walked = self.walker.walk(buf, &mut Ignore)?;
        if tells && walked.consumed > 0 {
            let said = &buf[..walked.consumed.min(64)];
            self.reply.error.extend_from_slice(said);
        }
        Ok((walked.consumed > 0).then_some((walked.consumed, walked.done)))
    }

    /// Goes on through a reply and hands it to its session.
    pub(super) fn relay(&mut self, buf: &[u8]) -> Result<Option<(usize, bool)>, FrameError> {
        if !self.reply.relayed && !self.walker.in_frame() {
            self.begin_shared();
        }
        let all_repeatable = self.are_all_repeatable();
        let head = self.pending.front().expect("the caller has looked");
        let session = head
            .session
            .as_ref()
            .expect("a relayed command has a session");
        let mut mail = session.lock();
        if self.reply.discarding {
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
            self.reply.huge = size > HUGE;
            if let Some(hash) = head.reads {
                self.large.add(hash);
            }
            if head.terms.attempt == Attempt::First && all_repeatable && mail.is_last() {
                // Nothing of its session comes behind it, so a second read of it changes no order.
                mail.answered += 1;
                mail.too_large = true;
                drop(mail);
                self.dirty.push(Arc::clone(session));
                self.reply.discarding = true;
                if let Op::Fill(_) = head.op {
                    self.filling.refuse(Refusal::Large);
                }
                self.discard_shared();
                let walked = self.walker.walk(buf, &mut Ignore)?;
                return Ok(Some((walked.consumed, walked.done)));
            }
        }
        if buf.starts_with(NULL) && !self.walker.in_frame() {
            count_absent(&self.l1, head.terms.keyspace);
        }
        mail.progress = self.now;
        let (fresh, before) = (!self.reply.relayed, mail.out.len());
        let cut = mail.cut.is_some() || head.terms.silent;
        let walked = match plain {
            Some(consumed) => Walked {
                consumed,
                done: true,
            },
            None if head.terms.resp2 && !cut => convert(
                &mut self.walker,
                &mut self.downgrade,
                head,
                buf,
                &mut mail.out,
            )?,
            None => self.walker.walk(buf, &mut Ignore)?,
        };
        if walked.consumed == 0 {
            return Ok(None);
        }
        let bytes = &buf[..walked.consumed];
        if (plain.is_some() || !head.terms.resp2) && !cut {
            mail.out.extend_from_slice(bytes);
        }
        self.weigh_if_heavy(&mut mail);
        match head.op {
            Op::Script if walked.done => {
                // At most the line break: more of it may be the client's already.
                let end = mail.out.len() - mail.out.len().saturating_sub(before).min(2);
                self.held_back = Some(mail.out.split_off(end));
            }
            _ => mail.answered += u64::from(walked.done),
        }
        if walked.done {
            let uncounted = self.held_back.is_some();
            let telling = &mut self.telling;
            telling.ended(head, &mut mail, uncounted, &self.reply, bytes);
        }
        drop(mail);
        note_dirty(&mut self.dirty, session);
        self.went_through(bytes, fresh, walked.done);
        Ok(Some((walked.consumed, walked.done)))
    }

    /// A stretch of the reply under way was handed over.
    fn went_through(&mut self, bytes: &[u8], fresh: bool, done: bool) {
        if fresh && matches!(bytes[0], b'-' | b'!') || !self.reply.error.is_empty() {
            self.reply
                .error
                .extend_from_slice(&bytes[..bytes.len().min(64)]);
        }
        let head = self.pending.front().expect("the caller has looked");
        let reads = head.reads;
        if let Op::Fill(_) = head.op {
            let limit = self.l1.keyspaces().largest_entry().saturating_mul(64);
            self.filling.collect(bytes, limit);
        }
        if !self.shared.is_empty() {
            self.collect_shared(bytes);
        }
        self.reply.relayed = true;
        self.reply.bytes += bytes.len();
        if done
            && self.reply.bytes > self.large_reply
            && let Some(hash) = reads
        {
            self.large.add(hash);
        }
        if done && !self.shared.is_empty() {
            self.end_shared();
        }
    }

    #[inline]
    pub(super) fn weigh_if_heavy(&self, mail: &mut Mail) {
        if mail.out.len() > HEAVY {
            self.weigh(mail);
        }
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

    /// L1 has seen what a script wrote: its client gets the end of the reply.
    pub(super) fn release_script(&mut self, session: &Arc<Mailbox>) {
        if let Some(mut end) = self.held_back.take() {
            let mut mail = session.lock();
            mail.out.append(&mut end);
            mail.answered += 1;
            drop(mail);
            self.dirty.push(Arc::clone(session));
        }
    }
}

/// Goes on through a reply and appends it as RESP2 has it.
fn convert(
    walker: &mut FrameWalker,
    downgrade: &mut Downgrade,
    head: &Pending,
    buf: &[u8],
    out: &mut Vec<u8>,
) -> Result<Walked, FrameError> {
    if !walker.in_frame() {
        *downgrade = match &head.op {
            Op::Exec(block) => Downgrade::exec(block.shapes.clone()),
            _ => Downgrade::new(head.terms.shape),
        };
    }
    let before = out.len();
    let gone_through = walker.walk(buf, &mut downgrade.into_buffer(out));
    if gone_through.is_err() {
        // What comes in its place must not stand behind a part of it.
        out.truncate(before);
    }
    gone_through
}

/// The upstream has none of what a cacheable read asks for.
pub(super) fn count_absent(l1: &L1, keyspace: u8) {
    if keyspace != NO_KEYSPACE {
        let counters = l1.keyspaces().counters(keyspace);
        counters.absent.fetch_add(1, Ordering::Relaxed);
    }
}

/// The length that a bulk's header announces, if it is whole.
pub(super) fn announced(buf: &[u8]) -> Option<usize> {
    let text = buf.strip_prefix(b"$")?;
    let end = text.iter().take(24).position(|&b| b == b'\r')?;
    parse_integer(&text[..end]).and_then(|n| usize::try_from(n).ok())
}
