//! Invalidation pushes, applied to L1 key by key as they are walked: one for a million keys is never held whole.

use crate::l1::{L1, Rule, Space};
use crate::resp::frame::Sink;

/// What is known of a push that is under way.
#[derive(Debug, Default)]
pub struct PushSink {
    bulks: u64,
    invalidation: bool,
    /// It said that everything is void.
    pub flushed: bool,
    current: Vec<u8>,
    /// The keys it has named since this was last emptied.
    pub named: Vec<Box<[u8]>>,
}

/// Applies a push as it is walked.
pub struct Applying<'a> {
    /// What is known of it.
    pub push: &'a mut PushSink,
    /// What it is applied to.
    pub l1: &'a L1,
    /// Whose lane it came on.
    pub space: &'a Space,
}

impl Applying<'_> {
    fn null(&mut self) {
        if self.push.invalidation && !self.l1.knocked_out(Rule::NullPush) {
            self.l1.flush(self.space);
            self.push.flushed = true;
        }
    }
}

impl Sink for Applying<'_> {
    fn header(&mut self, _: u8, n: i64) {
        if n < 0 {
            self.null();
        }
    }

    fn scalar(&mut self, kind: u8, _: &[u8]) {
        if kind == b'_' {
            self.null();
        }
    }

    fn line(&mut self, _: &[u8]) {}

    fn body(&mut self, bytes: &[u8]) {
        self.push.current.extend_from_slice(bytes);
    }

    fn body_end(&mut self) {
        let bulk = std::mem::take(&mut self.push.current);
        if self.push.bulks == 0 {
            self.push.invalidation = bulk == b"invalidate";
        } else if self.push.invalidation {
            self.l1.invalidate(self.space, &bulk);
            self.push.named.push(bulk.into_boxed_slice());
        }
        self.push.bulks += 1;
    }
}
