//! The client's connection: what is read from it and written to it, what keeps the session from reading further, and
//! what all of it weighs.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{CHUNK, OUTPUT_WINDOW, STREAM_WINDOW, Session, spare};
use crate::proxy::forget_written;
use crate::proxy::own::Own;
use crate::upstream::lanes::Seat;

/// Unread requests above which a session that has to wait reads no further.
const INPUT_WINDOW: usize = 1 << 20;
/// Unsent bytes of its lane above which a session that waits for the lane reads no further.
const LANE_WINDOW: usize = 1 << 20;
/// Replies to come above which a session reads no further, where its client is not what they wait for.
const OUTSTANDING: u64 = 64 * 1024;

thread_local! {
    pub(super) static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let waiting = !(self.lane_idle() && self.own_idle())
            || self.ordered.is_some()
            || self.is_transparent();
        let window = if self.streaming.is_some() || self.is_transparent() {
            STREAM_WINDOW
        } else {
            INPUT_WINDOW
        };
        let full = || self.input.len() > window || self.is_held_back();
        let finishing = self.own.as_ref().is_some_and(Own::is_finishing);
        if self.client_gone || self.closing || finishing || waiting && full() {
            return Ok(false);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Pending => Ok(false),
                Poll::Ready(Err(error)) => Err(error),
                Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                    self.client_gone = true;
                    Ok(true)
                }
                Poll::Ready(Ok(())) => {
                    spare::take(&mut self.input);
                    self.input.extend_from_slice(buf.filled());
                    self.look_at_clock();
                    self.arrived = self.now_us;
                    self.mailbox.heard(self.now);
                    Ok(true)
                }
            }
        })
    }

    /// Whether the upstream takes commands slower than the client sends them. What is awaited wakes the session.
    fn is_held_back(&self) -> bool {
        let own = self.own.as_ref();
        if own.is_some_and(|own| own.unsent() > STREAM_WINDOW) {
            return true;
        }
        let awaited = self.sent - self.answered + own.map_or(0, Own::awaited) as u64;
        if awaited > OUTSTANDING && self.out.len() - self.written <= OUTPUT_WINDOW {
            return true;
        }
        let late = |seat: &Seat| seat.backlog() > LANE_WINDOW;
        // Not by what was taken: that waits for the client, who may be writing and not reading.
        self.seat.as_ref().is_some_and(late) && self.mailbox.lock().answered != self.sent
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut progress = false;
        while self.written < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]) {
                Poll::Pending => {
                    forget_written(&mut self.out, &mut self.written);
                    break;
                }
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    self.written += n;
                    progress = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
            spare::give_back(&mut self.out);
        } else if let Some(reason) = self.is_too_far_behind() {
            tracing::warn!(session = self.id, reason, "client cut off");
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(progress)
    }

    /// Why its client has to be cut off, if it has.
    fn is_too_far_behind(&self) -> Option<&'static str> {
        let waiting = self.out.len() - self.written;
        if waiting > self.lanes.settings().output_limit {
            Some("more than output_limit was waiting for it")
        } else if waiting > OUTPUT_WINDOW && self.lanes.buffers.is_over() {
            Some("all clients together had more than max_buffer_bytes waiting")
        } else {
            None
        }
    }

    /// Tells what its buffers hold.
    pub(super) fn weigh(&mut self) {
        let own = self.own.as_ref().map_or(0, Own::held);
        let held = self.input.capacity() + self.out.capacity() + self.bytes.capacity() + own;
        self.lanes.buffers.hold(&mut self.share, held);
    }
}
