//! An MGET of which L1 has some keys and not others: the missing ones alone go upstream, where nothing is in hand
//! behind it. Its reply is one snapshot all the same: if a push named one of the keys that L1 had, or one of them has
//! ended, before the rest arrived, the whole MGET is sent, and what came behind it still waits.

use std::io;
use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use super::asked::{Asked, Wanted};
use crate::l1::keyspace::Missed;
use crate::l1::{Epoch, Lookup, Rule};
use crate::resp::downgrade::Shape;
use crate::resp::encode;
use crate::resp::frame::{FrameWalker, Ignore};
use crate::upstream::Op;

/// See the module's header.
#[derive(Debug)]
pub struct Partial {
    request: Vec<u8>,
    /// What L1 had, key by key.
    had: Vec<Option<Vec<u8>>>,
    /// Hashes of the keys that it had.
    hashes: Vec<u64>,
    /// When the first of them ends, in milliseconds of the boot clock.
    until: u64,
    /// The lane's pushes, and L1's epoch, before it was asked.
    pushes: u64,
    epoch: Epoch,
    silent: bool,
    /// The reply with the missing keys, as far as it is here.
    pub arrived: Vec<u8>,
}

impl Partial {
    /// The lane is another one, whose pushes say nothing of what L1 had.
    pub fn forget(&mut self) {
        self.until = 0;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Sends for the keys that L1 lacks, and `why`; false, and nothing done, if it has none of them.
    pub(super) fn ask_for_missing(&mut self, asked: Asked<'_>, why: Missed) -> bool {
        let Asked { request, args, .. } = asked;
        let Some(seat) = &self.seat else {
            return false;
        };
        let space = seat.space();
        let (pushes, epoch, all) = (space.push_count(), self.l1.epoch(), self.l1.drops());
        let (mut had, mut hashes, mut until) = (Vec::new(), Vec::new(), u64::MAX);
        let mut missing: Vec<&[u8]> = vec![b"MGET"];
        for key in &args[1..] {
            let key = &request[key.clone()];
            let read = self.l1.value(key);
            let mut value = Vec::new();
            let shape = self.resp2.then_some(Shape::Generic);
            match self.l1.get(space, &read, self.now, shape, &mut value) {
                Lookup::Hit { until: end, .. } => {
                    hashes.push(read.key);
                    until = until.min(end);
                    had.push(Some(value));
                }
                Lookup::Miss(_) => {
                    missing.push(key);
                    had.push(None);
                }
            }
        }
        if hashes.is_empty() || missing.len() == 1 || self.l1.drops() != all {
            return false;
        }
        let mut ask = Vec::new();
        encode::request(&mut ask, &missing);
        let mut at = ask.len();
        let mut ranges: Vec<Range<usize>> = Vec::with_capacity(missing.len());
        for key in missing.iter().rev() {
            let end = at - 2;
            ranges.push(end - key.len()..end);
            at = end - key.len() - format!("${}\r\n", key.len()).len();
        }
        ranges.reverse();
        self.partial = Some(Partial {
            request: request.to_vec(),
            had,
            hashes,
            until,
            pushes,
            epoch,
            silent: self.silent,
            arrived: Vec::new(),
        });
        // The reply is put together here, and only then left out if nobody wants it.
        let silent = std::mem::take(&mut self.silent);
        let ask = Asked::new(Wanted::Values, &ask, &ranges);
        self.send_read(ask, ask.first_read(&self.l1), None, false, why);
        self.silent = silent;
        true
    }

    /// Answers the MGET if the missing keys are here.
    pub(super) fn finish_partial(&mut self) -> io::Result<()> {
        let Some(partial) = &self.partial else {
            return Ok(());
        };
        if partial.arrived.len() > self.lanes.settings().output_limit {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if self.answered != self.sent {
            return Ok(());
        }
        let Some(mut partial) = self.partial.take() else {
            return Ok(());
        };
        if partial.arrived.first() != Some(&b'*') {
            // An error is one for the whole.
            if !partial.silent {
                self.out.append(&mut partial.arrived);
            }
            return Ok(());
        }
        let true_still = self.seat.as_ref().is_some_and(|seat| {
            let space = seat.space();
            let now = crate::telemetry::clock::now_ms();
            self.l1.knocked_out(Rule::PartialMget)
                || now < partial.until
                    && self.l1.epoch() == partial.epoch
                    && !space.pushed_between(partial.pushes, space.push_count(), &partial.hashes)
        });
        if true_still {
            if !partial.silent {
                put_together(&partial, &mut self.out);
            }
        } else {
            let silent = std::mem::replace(&mut self.silent, partial.silent);
            self.look_at_clock();
            self.telling.take_back(self.now_us);
            self.queue(&partial.request, false, None, Shape::Generic, Op::Relay);
            self.silent = silent;
        }
        Ok(())
    }
}

/// The reply with what L1 had and what came, each at its place.
fn put_together(partial: &Partial, out: &mut Vec<u8>) {
    let header = partial.arrived.iter().position(|&b| b == b'\n');
    let mut rest = &partial.arrived[header.map_or(0, |lf| lf + 1)..];
    encode::header(out, b'*', partial.had.len() as u64);
    let mut walker = FrameWalker::default();
    for had in &partial.had {
        if let Some(value) = had {
            out.extend_from_slice(value);
            continue;
        }
        let length = walker
            .walk(rest, &mut Ignore)
            .map_or(0, |walked| walked.consumed);
        let (element, behind) = rest.split_at(length);
        out.extend_from_slice(element);
        rest = behind;
    }
}
