//! Requests too large to be held whole, and all requests of a transparent session: passed on over the own connection as
//! they come, as fast as it takes them. Such a request goes upstream before its keys are known, so it counts for a write
//! of any key.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{STREAM_WINDOW, Session};
use crate::command::{self, Class};
use crate::proxy::own::Own;
use crate::proxy::own::expected::{Effect, Expect};
use crate::resp::frame::{FrameWalker, Ignore};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Turns to passing a large request on as it comes, over the own connection; false while it has to wait. Its first
    /// arguments are here, and so is the number of all.
    pub(super) fn start_streaming(
        &mut self,
        request: &[u8],
        args: (&[Range<usize>], usize),
    ) -> bool {
        let place = &self.place;
        let elsewhere = |own: &Own| own.is_changing() || own.key.place != *place;
        if !self.lane_idle() || self.own.as_ref().is_some_and(elsewhere) {
            return false;
        }
        self.silent = self.take_skip();
        self.expect_streamed(request, args);
        self.streaming = Some(FrameWalker::default());
        true
    }

    /// A request is passed on before it is whole, so its keys are not known. What it leaves on the connection is.
    fn expect_streamed(&mut self, request: &[u8], (args, announced): (&[Range<usize>], usize)) {
        let row = command::of(request, args);
        let class = row.map_or(Class::OwnUnknown, |row| row.class);
        self.begin(row, request, args);
        if !self.open_own() {
            self.telling.finish();
            self.closing |= self.decides_what_follows(row, class, request, args);
            return;
        }
        match class {
            Class::Subscribe | Class::Unsubscribe if self.bound.transaction.is_none() => {
                let count = u32::try_from(announced - 1).unwrap_or(u32::MAX);
                if let Some(own) = &mut self.own {
                    own.asking = Some(self.telling.ask_at(self.now_us));
                    own.expect(Expect::Confirmations(count), self.silent);
                }
                return;
            }
            Class::Watch => self.bound.watching = true,
            class if class.is_lane() || class == Class::Nearside => {}
            Class::OwnRead | Class::OwnWrite | Class::OwnUnknown | Class::Swapdb
                if row.is_some() => {}
            // The session stays with it.
            _ => self.bound.pinned = true,
        }
        let mut effect = Effect {
            unknown: true,
            ..Effect::default()
        };
        let expect = match &mut self.bound.transaction {
            Some(queued) => {
                queued.merge(std::mem::take(&mut effect));
                Expect::Queued { write: true }
            }
            None => Expect::Reply(effect),
        };
        if let Some(own) = &mut self.own {
            own.asking = Some(self.telling.ask_at(self.now_us));
            own.expect(expect, self.silent);
        }
    }

    /// Passes on what there is room for; the bytes taken.
    pub(super) fn pass_on(&mut self, bytes: &[u8]) -> usize {
        if self.is_transparent() && !self.open_own() {
            self.closing = true;
            return bytes.len();
        }
        // Where the connection is gone, the rest of the request is swallowed.
        let room = self
            .own
            .as_ref()
            .map_or(usize::MAX, |own| STREAM_WINDOW.saturating_sub(own.unsent()));
        let mut bytes = &bytes[..bytes.len().min(room)];
        if let Some(walker) = &mut self.streaming {
            match walker.walk(bytes, &mut Ignore) {
                Ok(walked) => {
                    bytes = &bytes[..walked.consumed];
                    if walked.done {
                        self.streaming = None;
                    }
                }
                // The upstream will say what is wrong with it, and close.
                Err(_) => self.bound.pinned = true,
            }
        }
        if let Some(own) = &mut self.own {
            own.raw |= self.transparent;
            own.send(bytes);
        }
        bytes.len()
    }
}
