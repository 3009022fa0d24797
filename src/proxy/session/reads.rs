//! Cacheable reads: from L1 now, from L1 when their turn comes, or from the lane.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Flow, Session};
use crate::l1::{Lookup, Rule};
use crate::proxy::own::expected::Expect;
use crate::resp::downgrade::Shape;
use crate::resp::encode;
use crate::upstream::{FillKeys, Op};

/// Requests of waiting hits above which further ones do not wait but go to the lane.
const DEFERRED_WINDOW: usize = 256 * 1024;

/// A cacheable read that waits for its turn behind outstanding replies.
pub(super) struct Deferred {
    request: Vec<u8>,
    keys: Vec<Range<usize>>,
    array: bool,
    silent: bool,
    /// What L1 said when it came; used by a knock-out alone.
    captured: Option<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Looks reads up whose turn has come, or sends them.
    pub(super) fn serve_deferred(&mut self) {
        if self.deferred.is_empty() || self.sent != self.answered || !self.own_idle() {
            return;
        }
        self.last_in_hand = false;
        self.deferred_bytes = 0;
        // With the list taken, the first is looked up at once; one that misses makes those behind it wait again.
        for read in std::mem::take(&mut self.deferred) {
            let before = self.out.len();
            self.silent = read.silent;
            match read.captured {
                Some(captured) => self.out.extend_from_slice(&captured),
                None => self.look_up(&read.request, &read.keys, read.array),
            }
            if read.silent {
                self.out.truncate(before);
            }
        }
    }

    /// Sends the reads that waited, because a later lane command is about to be sent.
    pub(super) fn flush_deferred(&mut self) {
        if self.l1.knocked_out(Rule::WaitAtTail) {
            return;
        }
        let silent = self.silent;
        self.deferred_bytes = 0;
        for read in std::mem::take(&mut self.deferred) {
            self.misses += 1;
            self.silent = read.silent;
            let reads = (!read.array).then(|| self.l1.hash(&read.request[read.keys[0].clone()]));
            self.queue(&read.request, !read.array, reads, Shape::Generic, Op::Relay);
        }
        self.silent = silent;
    }

    /// A cacheable read.
    pub(super) fn read(&mut self, request: &[u8], keys: &[Range<usize>], array: bool) -> Flow {
        if !array
            && self
                .lanes
                .large
                .contains(self.l1.hash(&request[keys[0].clone()]))
        {
            return self.read_large(request, &keys[0]);
        }
        self.look_up(request, keys, array);
        Flow::Done
    }

    /// A read of a key that was seen to be large goes over an own connection, where back-pressure reaches the upstream.
    pub(super) fn read_large(&mut self, request: &[u8], key: &Range<usize>) -> Flow {
        if !self.lane_idle() {
            return Flow::Hold;
        }
        if self.open_own()
            && let Some(own) = &mut self.own
        {
            own.send(request);
            let hash = self.l1.hash(&request[key.clone()]);
            own.expect(Expect::LargeRead(hash), self.silent);
        }
        Flow::Done
    }

    /// From L1 now, from L1 when its turn comes, or from the lane.
    fn look_up(&mut self, request: &[u8], keys: &[Range<usize>], array: bool) {
        let Some(seat) = &self.seat else {
            return;
        };
        let space = seat.space();
        // A lane that was left has not read what the one in its place has shown to others.
        let serving =
            self.l1_on && !self.fenced() && !seat.is_retired() && self.l1.serving(space, self.now);
        if serving && self.sent == self.answered && self.deferred.is_empty() {
            if self.answer(request, keys, array) {
                self.hits += 1;
                return;
            }
            if array && self.last_in_hand && self.ask_for_missing(request, keys) {
                return;
            }
        } else if serving
            && self.deferred_bytes <= DEFERRED_WINDOW
            && keys.iter().all(|key| {
                let key = &request[key.clone()];
                self.l1.contains(space, self.l1.hash(key), key, self.now)
            })
        {
            let captured = self.l1.knocked_out(Rule::WaitingHit).then(|| {
                let before = self.out.len();
                self.answer(request, keys, array);
                self.out.split_off(before)
            });
            self.deferred_bytes += request.len();
            self.deferred.push(Deferred {
                request: request.to_vec(),
                keys: keys.to_vec(),
                array,
                silent: self.silent,
                captured,
            });
            return;
        }
        self.flush_deferred();
        self.misses += 1;
        self.send_read(request, keys, array);
    }

    /// Sends a read that missed, as a fill where that pays.
    pub(super) fn send_read(&mut self, request: &[u8], keys: &[Range<usize>], array: bool) {
        let reads = (!array).then(|| self.l1.hash(&request[keys[0].clone()]));
        let admitted = self.l1_on
            && self.seat.as_ref().is_some_and(|seat| {
                let space = seat.space();
                let admits = |key: &&Range<usize>| {
                    self.l1
                        .admits(space, self.l1.hash(&request[(*key).clone()]))
                };
                // Every key notes the read.
                keys.iter().filter(admits).count() > 0
            });
        if !admitted {
            self.queue(request, !array, reads, Shape::Generic, Op::Relay);
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
        let fill = Op::Fill(Box::new(FillKeys { keys, array, epoch }));
        self.queue(request, !array, reads, Shape::Generic, fill);
        self.bytes.extend_from_slice(&ttls);
    }

    /// Answers from L1, if it has every key; what it has is a snapshot, or it is not used.
    fn answer(&mut self, request: &[u8], keys: &[Range<usize>], array: bool) -> bool {
        let Some(seat) = &self.seat else {
            return false;
        };
        let before = self.out.len();
        let drops = self.l1.drops();
        if array {
            encode::header(&mut self.out, b'*', keys.len() as u64);
        }
        for key in keys {
            let key = &request[key.clone()];
            let hash = self.l1.hash(key);
            let found = self
                .l1
                .get(seat.space(), hash, key, self.now, self.resp2, &mut self.out);
            if found == Lookup::Miss {
                self.out.truncate(before);
                return false;
            }
        }
        if array && self.l1.drops() != drops {
            self.out.truncate(before);
            return false;
        }
        true
    }
}
