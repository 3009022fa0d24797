//! Replies that more than their own session takes: those who share the read, and the comparison with what L1 would
//! have said. They are kept whole until they have ended.

use std::sync::atomic::Ordering;

use super::Reader;
use crate::l1::{L1, Space};
use crate::resp::downgrade::Downgrade;
use crate::resp::frame::FrameWalker;
use crate::telemetry::clock::now_ms;
use crate::upstream::flights::Joined;
use crate::upstream::pending::Predicted;

/// What has come of the reply under way, if somebody wants it whole.
#[derive(Debug, Default)]
pub(super) struct Shared {
    joined: Vec<Joined>,
    predicted: Option<Box<Predicted>>,
    bytes: Vec<u8>,
}

impl Shared {
    pub(super) fn into_joined(self) -> Vec<Joined> {
        self.joined
    }

    pub(super) fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.predicted.is_none()
    }
}

impl Reader {
    /// The first bytes of a reply are here.
    pub(super) fn begin_shared(&mut self) {
        let Some(head) = self.pending.front_mut() else {
            return;
        };
        if head.extra.is_empty() {
            return;
        }
        let extra = std::mem::take(&mut head.extra);
        let joined = extra.flight.map(|flight| self.flights.end(&flight));
        self.shared = Shared {
            joined: joined.unwrap_or_default(),
            predicted: extra.predicted,
            bytes: Vec::new(),
        };
    }

    /// Takes a stretch of it; the bound is that of one client's replies.
    pub(super) fn collect_shared(&mut self, bytes: &[u8]) {
        if self.shared.is_empty() {
            return;
        }
        if self.shared.bytes.len() + bytes.len() <= self.output_limit {
            self.shared.bytes.extend_from_slice(bytes);
            return;
        }
        for joined in std::mem::take(&mut self.shared).joined {
            joined.session.lock().cut =
                Some("a reply that it shared with another client is larger than output_limit");
            self.dirty.push(joined.session);
        }
    }

    /// It is thrown away: those who share it read it again over connections of their own.
    pub(super) fn discard_shared(&mut self) {
        for joined in std::mem::take(&mut self.shared).joined {
            let mut mail = joined.session.lock();
            mail.answered += 1;
            mail.too_large = true;
            drop(mail);
            self.dirty.push(joined.session);
        }
    }

    /// It has ended.
    pub(super) fn end_shared(&mut self) {
        let Shared {
            joined,
            predicted,
            bytes,
        } = std::mem::take(&mut self.shared);
        if let Some(predicted) = predicted {
            compare(&self.l1, &self.space, &predicted, &bytes);
        }
        for joined in joined {
            let mut mail = joined.session.lock();
            match joined.resp2 {
                _ if mail.cut.is_some() => {}
                Some(shape) => {
                    let mut downgrade = Downgrade::new(shape);
                    let mut sink = downgrade.into_buffer(&mut mail.out);
                    let walked = FrameWalker::default().walk(&bytes, &mut sink);
                    debug_assert!(
                        walked.is_ok_and(|walked| walked.done),
                        "it was walked before"
                    );
                }
                None => mail.out.extend_from_slice(&bytes),
            }
            mail.answered += 1;
            mail.progress = self.now;
            drop(mail);
            self.dirty.push(joined.session);
        }
    }

    /// Whether all who share the reply under way may read it again.
    pub(super) fn are_all_repeatable(&self) -> bool {
        self.shared.predicted.is_none() && self.shared.joined.iter().all(|joined| joined.repeatable)
    }
}

/// Counts whether L1 would have given the upstream's answer; an error of the upstream's says nothing.
fn compare(l1: &L1, space: &Space, predicted: &Predicted, reply: &[u8]) {
    if reply.first() == Some(&b'-') {
        return;
    }
    let counters = l1.keyspaces().counters(predicted.keyspace);
    let counter = if predicted.reply == reply {
        &counters.same
    } else if space.pushed_between(predicted.pushes, space.push_count(), &predicted.keys)
        || predicted.keys.iter().any(|&key| l1.write_in_flight(key))
        || now_ms() >= predicted.until
    {
        &counters.moved
    } else {
        &counters.different
    };
    counter.fetch_add(1, Ordering::Relaxed);
}
