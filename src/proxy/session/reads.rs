//! Cacheable reads: from L1 now, from L1 when their turn comes, or from the lane.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Deferred, Session};
use crate::l1::{Lookup, Rule};
use crate::resp::downgrade::Shape;
use crate::resp::encode;
use crate::upstream::{FillKeys, Op};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Looks reads up whose turn has come, or sends them.
    pub(super) fn serve_deferred(&mut self) {
        if self.sent != self.answered || !self.own_idle() {
            return;
        }
        // With the list taken, the first is looked up at once; one that misses makes those behind it wait again.
        for read in std::mem::take(&mut self.deferred) {
            match read.captured {
                Some(captured) => self.out.extend_from_slice(&captured),
                None => self.read(&read.request, &read.keys, read.array),
            }
        }
    }

    /// Sends the reads that waited, because a later lane command is about to be sent.
    pub(super) fn flush_deferred(&mut self) {
        if self.l1.knocked_out(Rule::WaitAtTail) {
            return;
        }
        for read in std::mem::take(&mut self.deferred) {
            self.misses += 1;
            self.queue(&read.request, Shape::Generic, !read.array, Op::Relay);
        }
    }

    /// A cacheable read: from L1 now, from L1 when its turn comes, or from the lane.
    pub(super) fn read(&mut self, request: &[u8], keys: &[Range<usize>], array: bool) {
        let serving = self.l1_on && !self.fenced() && self.l1.serving(self.now);
        if serving && self.sent == self.answered && self.deferred.is_empty() {
            if self.answer(request, keys, array) {
                self.hits += 1;
                return;
            }
        } else if serving
            && keys.iter().all(|key| {
                self.l1.contains(
                    self.l1.hash(&request[key.clone()]),
                    &request[key.clone()],
                    self.now,
                )
            })
        {
            let captured = self.l1.knocked_out(Rule::WaitingHit).then(|| {
                let before = self.out.len();
                self.answer(request, keys, array);
                self.out.split_off(before)
            });
            self.deferred.push(Deferred {
                request: request.to_vec(),
                keys: keys.to_vec(),
                array,
                captured,
            });
            return;
        }
        self.flush_deferred();
        self.misses += 1;
        let admitted = self.l1_on
            && keys
                .iter()
                .filter(|key| self.l1.admits(self.l1.hash(&request[(*key).clone()])))
                .count()
                > 0;
        if !admitted {
            self.queue(request, Shape::Generic, !array, Op::Relay);
            return;
        }
        let keys: Vec<Box<[u8]>> = keys.iter().map(|key| request[key.clone()].into()).collect();
        self.bytes
            .extend_from_slice(b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n");
        let mut ttls = Vec::new();
        for key in &keys {
            encode::request(&mut ttls, &[b"PTTL", key]);
        }
        let epoch = self.l1.epoch();
        self.queue(
            request,
            Shape::Generic,
            !array,
            Op::Fill(Box::new(FillKeys { keys, array, epoch })),
        );
        self.bytes.extend_from_slice(&ttls);
    }

    /// Answers from L1, if it has every key; what it has is a snapshot, or it is not used.
    pub(super) fn answer(&mut self, request: &[u8], keys: &[Range<usize>], array: bool) -> bool {
        let before = self.out.len();
        let pushes = self.l1.pushes();
        if array {
            encode::header(&mut self.out, b'*', keys.len() as u64);
        }
        for key in keys {
            let key = &request[key.clone()];
            if self
                .l1
                .get(self.l1.hash(key), key, self.now, self.resp2, &mut self.out)
                == Lookup::Miss
            {
                self.out.truncate(before);
                return false;
            }
        }
        if array && self.l1.pushes() != pushes {
            self.out.truncate(before);
            return false;
        }
        true
    }
}
