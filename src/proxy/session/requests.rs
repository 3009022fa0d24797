//! The requests in hand: each is scanned and taken in turn, until one has to wait.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{CHUNK, Flow, Replies, Session, spare};
use crate::proxy::own::Own;
use crate::resp::encode;
use crate::resp::request::{RequestScanner, Scanned};

/// A request that has grown to this and is not complete is passed on over an own connection as it comes.
const STREAMED: usize = 1 << 20;

/// Bytes of replies that one pass makes.
pub(super) const ANSWERED: usize = 1 << 20;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Goes through the requests in hand; whether any was taken.
    pub(super) fn process(&mut self) -> bool {
        if self.input.is_empty() || self.closing {
            return false;
        }
        self.keep_seat();
        spare::take(&mut self.out);
        let input = std::mem::take(&mut self.input);
        let mut scanner = std::mem::take(&mut self.scanner);
        let mut at = 0;
        // Hits bring their replies at once: those that are there go out before there are more.
        let enough = self.out.len() + ANSWERED;
        let mut warmed = 0;
        while !self.closing && self.out.len() < enough {
            if at >= warmed && self.l1_on {
                let ahead = self.look_ahead(&input[at..]);
                warmed = at + ahead.warmed;
                if ahead.taken > 0 {
                    scanner.reset();
                    at += ahead.taken;
                    continue;
                }
            }
            if self.is_transparent() || self.streaming.is_some() {
                let passed = self.pass_on(&input[at..]);
                at += passed;
                if passed == 0 || at == input.len() {
                    break;
                }
                continue;
            }
            match scanner.scan(&input[at..]) {
                Ok(Scanned::Incomplete) => {
                    let held = input.len() - at;
                    let much = held >= STREAMED || held > CHUNK && self.lanes.buffers.is_over();
                    let args = (scanner.args(), scanner.announced());
                    if much && self.start_streaming(&input[at..], args) {
                        scanner.reset();
                        continue;
                    }
                    break;
                }
                Ok(Scanned::Request { end }) => {
                    self.last_in_hand = at + end == input.len();
                    if is_multi(&input[at..], scanner.args())
                        && let Some(taken) = self.take_block(&input[at..], end)
                    {
                        at += taken;
                        scanner.reset();
                        continue;
                    }
                    if self.take(&input[at..at + end], scanner.args()) == Flow::Hold {
                        break;
                    }
                    at += end;
                }
                Ok(Scanned::Inline { end, args }) => {
                    self.last_in_hand = false;
                    let parts: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                    let mut request = Vec::new();
                    encode::request(&mut request, &parts);
                    let mut inner = RequestScanner::default();
                    if parts.is_empty() {
                        self.take_blank(&input[at..at + end]);
                    } else if inner.scan(&request).is_ok()
                        && self.take(&request, inner.args()) == Flow::Hold
                    {
                        break;
                    }
                    at += end;
                }
                Err(error) => {
                    if let Some(own) = self.own.as_mut().filter(|own| own.raw) {
                        // Only the upstream knows what it has still to answer first.
                        own.send(&input[at..]);
                        at = input.len();
                    } else if self.lane_idle() && !self.own.as_ref().is_some_and(Own::awaits) {
                        if self.replies == Replies::On {
                            encode::error(&mut self.out, &format!("ERR {error}"));
                        }
                        self.closing = true;
                    }
                    break;
                }
            }
            scanner.reset();
        }
        self.scanner = scanner;
        self.input = input;
        self.input.drain(..at);
        if self.input.is_empty() {
            spare::give_back(&mut self.input);
        }
        at > 0
    }

    /// Takes one request; what it is answered with here is dropped where CLIENT REPLY asked for that.
    fn take(&mut self, request: &[u8], args: &[Range<usize>]) -> Flow {
        if self.partial.is_some() {
            return Flow::Hold;
        }
        let (before, asked) = (self.out.len(), self.replies);
        self.silent = self.take_skip();
        let flow = self.command(request, args);
        match flow {
            Flow::Hold => self.telling.hold(),
            Flow::Done => self.telling.finish(),
        }
        match flow {
            Flow::Hold => self.replies = asked,
            Flow::Done if self.silent => self.out.truncate(before),
            Flow::Done => {}
        }
        flow
    }

    /// A blank line or an array of nothing, which Redis counts as a command where replies are skipped.
    fn take_blank(&mut self, line: &[u8]) {
        match self.own.as_mut().filter(|own| own.raw) {
            Some(own) => own.send(line),
            None => {
                self.take_skip();
            }
        }
    }

    /// Whether the next reply is not for the client.
    pub(super) fn take_skip(&mut self) -> bool {
        let silent = self.replies != Replies::On;
        if self.replies == Replies::SkipNext {
            self.replies = Replies::On;
        }
        silent
    }
}

fn is_multi(request: &[u8], args: &[Range<usize>]) -> bool {
    let [name] = args else {
        return false;
    };
    request[name.clone()].eq_ignore_ascii_case(b"MULTI")
}
