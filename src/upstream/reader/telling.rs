//! What the reader tells of replies: how long the upstream took for each, and to their sessions, of those that took long,
//! failed or are to be told of, what only the reader knows of them.

use std::sync::Arc;

use super::relay::Reply;
use crate::telemetry::Telemetry;
use crate::telemetry::big_keys::BIG;
use crate::telemetry::durations::Recorder;
use crate::telemetry::operation::Upstream;
use crate::upstream::mailbox::{Mail, Note, first_word};
use crate::upstream::{Keys, Op, Pending};

/// See the module's header.
#[derive(Debug)]
pub(super) struct Telling {
    recorder: Option<Arc<Recorder>>,
    /// A reply that took so long, in microseconds, is told of.
    slow: u64,
    fails: bool,
    /// Now, in microseconds of the boot clock.
    now: u64,
    /// Replies that ended now to what was sent at this time.
    sent: u64,
    count: u64,
    /// They took long.
    late: bool,
}

impl Telling {
    pub(super) fn new(telemetry: &Telemetry) -> Self {
        Self {
            recorder: telemetry.recorder(),
            slow: telemetry.slow(),
            fails: telemetry.wants_failed(),
            now: 0,
            sent: 0,
            count: 0,
            late: false,
        }
    }

    /// A reply has ended that went to its session, in whose mail it is counted already, unless it is
    /// `uncounted`: a script's, which counts when its end is released. `last` is its last stretch.
    #[inline]
    pub(super) fn ended(
        &mut self,
        pending: &Pending,
        mail: &mut Mail,
        uncounted: bool,
        reply: &Reply,
        last: &[u8],
    ) {
        if pending.terms.sent_us != self.sent {
            self.turn(pending.terms.sent_us);
        }
        self.count += 1;
        let fails = matches!(last[0], b'-' | b'!') && !reply.relayed || !reply.error.is_empty();
        let big = (reply.bytes + last.len()) as u64 >= BIG && pending.reads.is_some();
        if pending.terms.told || self.late || big || fails && self.fails {
            let error = if reply.error.is_empty() && fails {
                last
            } else {
                &reply.error
            };
            let ordinal = mail.answered + u64::from(uncounted);
            let note = self.note(pending, ordinal, reply.bytes + last.len(), error);
            mail.notes.push(note);
        }
    }

    /// Whether there is nothing to tell of replies that are plain or null, and not large, to commands that were sent at this
    /// time and are not to be told of.
    #[inline]
    pub(super) fn passes(&mut self, sent: u64) -> bool {
        if sent != self.sent {
            self.turn(sent);
        }
        !self.late
    }

    /// So many of those have ended.
    #[inline]
    pub(super) fn passed(&mut self, replies: u32) {
        self.count += u64::from(replies);
    }

    /// The replies that follow are to what was sent at another time.
    fn turn(&mut self, sent: u64) {
        self.record();
        self.sent = sent;
        self.late = self.now.saturating_sub(sent) >= self.slow;
    }

    /// What there is to tell; `error` as it came, or nothing.
    #[cold]
    fn note(&self, pending: &Pending, ordinal: u64, bytes: usize, error: &[u8]) -> Note {
        let key = pending.reads.or(match &pending.op {
            Op::Write(Keys::One(hash)) => Some(*hash),
            Op::Write(Keys::Many(hashes)) => hashes.first().copied(),
            _ => None,
        });
        // What RESP3 writes as a bulk has its length first.
        let text = match error {
            [b'!', rest @ ..] => rest.splitn(2, |&byte| byte == b'\n').nth(1),
            _ => error.get(1..),
        };
        Note {
            ordinal,
            key,
            upstream: Some(Upstream {
                sent: pending.terms.sent_us,
                answered: self.now,
            }),
            bytes: bytes as u64,
            error: (!error.is_empty()).then(|| first_word(text.unwrap_or_default())),
        }
    }

    /// Records what has ended since the last time.
    #[inline]
    pub(super) fn record(&mut self) {
        if self.count > 0
            && let Some(recorder) = &self.recorder
        {
            recorder.record_upstream(self.now.saturating_sub(self.sent), self.count);
        }
        self.count = 0;
    }

    /// It is later.
    pub(super) fn set_time(&mut self, us: u64) {
        self.now = us;
        // What was sent at the same time as before may be late by now.
        self.turn(self.sent);
    }
}
