//! A session's own upstream connection: what was sent on it, what its replies mean, and its state.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::resp::frame::{FrameError, FrameWalker, Sink};
use crate::upstream::connect::{ConnectError, Stream};

type Connecting = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

/// What a command sent here may have changed.
#[derive(Debug, Default)]
pub struct Effect {
    /// Hashes of keys counted in flight; released at the marker behind the reply.
    pub keys: Vec<u64>,
    /// May have changed keys that are not in `keys`.
    pub unknown: bool,
    /// SWAPDB: drops everything and refuses all fills sent before.
    pub swapped: bool,
}

impl Effect {
    /// Takes over what another command may have changed.
    pub fn merge(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.unknown |= other.unknown;
        self.swapped |= other.swapped;
    }

    /// Whether it may have changed anything.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.unknown || self.swapped || !self.keys.is_empty()
    }
}

/// What is expected back.
#[derive(Debug)]
pub enum Expect {
    /// A reply.
    Reply(Effect),
    /// The reply to a command inside MULTI: `+QUEUED`, or else it ran, and was a write if so said.
    Queued {
        /// It is a write.
        write: bool,
    },
    /// This many confirmations of the SUBSCRIBE family.
    Confirmations(u32),
    /// The reply to RESET. Nothing is sent behind it before it has come.
    Reset,
    /// The reply to a HELLO that asks for a protocol.
    Hello {
        /// RESP2.
        resp2: bool,
    },
}

/// Where the connection stands.
enum Link {
    Opening(Connecting),
    Open(Stream),
}

/// See the module's header.
pub struct Own {
    link: Link,
    out: Vec<u8>,
    written: usize,
    walker: FrameWalker,
    peek: Peek,
    input: Vec<u8>,
    /// What is expected, in order.
    pub expected: VecDeque<Expect>,
    /// Bytes are passed as they are from now on, and nothing is expected.
    pub raw: bool,
    /// Channels and patterns, and sharded channels, that the server last said are subscribed to.
    pub subscribed: [i64; 2],
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own")
            .field("expected", &self.expected)
            .field("raw", &self.raw)
            .finish_non_exhaustive()
    }
}

/// What is known of the frame under way.
#[derive(Debug, Default)]
pub struct Peek {
    kind: u8,
    first: Vec<u8>,
    last_integer: Vec<u8>,
    bulks: u32,
}

impl Sink for Peek {
    fn header(&mut self, kind: u8, _: i64) {
        if self.kind == 0 {
            self.kind = kind;
        }
    }
    fn scalar(&mut self, kind: u8, _: &[u8]) {
        if self.kind == 0 {
            self.kind = kind;
        }
    }
    fn line(&mut self, bytes: &[u8]) {
        if self.kind == 0 {
            self.kind = bytes[0];
            self.first.extend_from_slice(&bytes[..bytes.len().min(32)]);
        } else {
            if bytes[0] == b':' {
                self.last_integer.clear();
            }
            self.last_integer
                .extend_from_slice(&bytes[..bytes.len().min(32)]);
        }
    }
    fn body(&mut self, bytes: &[u8]) {
        if self.bulks == 0 && self.first.len() < 32 {
            self.first.extend_from_slice(&bytes[..bytes.len().min(32)]);
        }
    }
    fn body_end(&mut self) {
        self.bulks += 1;
    }
}

/// What ended with a frame.
#[derive(Debug)]
pub enum Ended {
    /// Nothing yet, or something that was no reply.
    Nothing,
    /// A reply whose effect is to be made known.
    Reply(Effect),
    /// RESET was carried out.
    Reset,
    /// HELLO has changed the protocol.
    Hello {
        /// RESP2.
        resp2: bool,
    },
}

impl Own {
    /// A connection that is being opened.
    #[must_use]
    pub fn new(connecting: Connecting) -> Self {
        Self {
            link: Link::Opening(connecting),
            out: Vec::new(),
            written: 0,
            walker: FrameWalker::default(),
            peek: Peek::default(),
            input: Vec::new(),
            expected: VecDeque::new(),
            raw: false,
            subscribed: [0; 2],
        }
    }

    /// Queues bytes for it.
    pub fn send(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Nothing is outstanding and the server holds no subscription of it.
    pub fn is_idle(&self) -> bool {
        self.expected.is_empty()
            && !self.raw
            && self.subscribed == [0; 2]
            && !self.walker.in_frame()
    }

    /// RESET was sent and not answered: what comes behind it may have to go elsewhere.
    #[must_use]
    pub fn is_resetting(&self) -> bool {
        matches!(self.expected.back(), Some(Expect::Reset))
    }

    /// Opens, and writes what is queued. Ready when the attempt to connect has ended, with its outcome.
    ///
    /// # Errors
    /// The connection was lost.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Result<Option<Result<(), ConnectError>>, io::Error> {
        let mut outcome = None;
        if let Link::Opening(connecting) = &mut self.link {
            match connecting.as_mut().poll(cx) {
                Poll::Pending => return Ok(None),
                Poll::Ready(Ok(stream)) => {
                    self.link = Link::Open(stream);
                    outcome = Some(Ok(()));
                }
                Poll::Ready(Err(error)) => return Ok(Some(Err(error))),
            }
        }
        let Link::Open(stream) = &mut self.link else {
            return Ok(outcome);
        };
        while self.written < self.out.len() {
            match Pin::new(&mut *stream).poll_write(cx, &self.out[self.written..]) {
                Poll::Pending => return Ok(outcome),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => self.written += n,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        self.out = Vec::new();
        self.written = 0;
        Ok(outcome)
    }

    /// Reads into `scratch` what has come; `None` when nothing has.
    ///
    /// # Errors
    /// The connection was lost or closed.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> io::Result<Option<usize>> {
        let Link::Open(stream) = &mut self.link else {
            return Ok(None);
        };
        let mut buf = ReadBuf::new(scratch);
        match Pin::new(stream).poll_read(cx, &mut buf) {
            Poll::Pending => Ok(None),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Poll::Ready(Ok(())) => Ok(Some(buf.filled().len())),
        }
    }

    /// Goes through what came. `relay` gets each stretch of bytes for the client, and before the first stretch of a
    /// reply `before` is told its effect.
    ///
    /// # Errors
    /// The bytes are no RESP.
    pub fn take(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        mut before: impl FnMut(Ended),
    ) -> Result<(), FrameError> {
        if self.raw && self.expected.is_empty() {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut at = 0;
        while at < input.len() {
            let fresh = !self.walker.in_frame();
            let walked = self.walker.walk(&input[at..], &mut self.peek)?;
            if walked.consumed == 0 {
                break;
            }
            if fresh
                && !self.is_message_kind()
                && let Some(Expect::Reply(effect)) = self.expected.front_mut()
            {
                // Its first byte has come, so it was carried out: said before the client can know of it.
                before(Ended::Reply(std::mem::take(effect)));
            }
            out.extend_from_slice(&input[at..at + walked.consumed]);
            at += walked.consumed;
            if walked.done {
                let peek = std::mem::take(&mut self.peek);
                before(self.frame_ended(&peek));
            }
            if self.raw && self.expected.is_empty() {
                out.extend_from_slice(&input[at..]);
                at = input.len();
            }
        }
        input.drain(..at);
        self.input = input;
        Ok(())
    }

    fn is_message_kind(&self) -> bool {
        self.peek.kind == b'>'
    }

    fn frame_ended(&mut self, peek: &Peek) -> Ended {
        let subscribing = matches!(self.expected.front(), Some(Expect::Confirmations(_)));
        let in_push_form =
            peek.kind == b'>' || (peek.kind == b'*' && (subscribing || self.subscribed != [0; 2]));
        if in_push_form && peek.first.ends_with(b"subscribe") {
            let sharded =
                usize::from(peek.first.starts_with(b"ss") || peek.first.starts_with(b"su"));
            let sharded = if peek.first == b"subscribe" {
                0
            } else {
                sharded
            };
            let count = peek
                .last_integer
                .strip_prefix(b":")
                .unwrap_or_default()
                .trim_ascii_end();
            self.subscribed[sharded] = crate::resp::frame::parse_integer(count).unwrap_or(0);
            if let Some(Expect::Confirmations(left)) = self.expected.front_mut() {
                *left -= 1;
                if *left == 0 {
                    self.expected.pop_front();
                }
            }
            return Ended::Nothing;
        }
        let message = peek.kind == b'*'
            && self.subscribed != [0; 2]
            && [&b"message"[..], b"pmessage", b"smessage"].contains(&peek.first.as_slice());
        if peek.kind == b'>' || message {
            return Ended::Nothing;
        }
        match self.expected.pop_front() {
            Some(Expect::Queued { write })
                if write && peek.kind != b'-' && peek.first != b"+QUEUED\r\n" =>
            {
                Ended::Reply(Effect {
                    unknown: true,
                    ..Effect::default()
                })
            }
            Some(Expect::Reset) if peek.kind == b'+' => Ended::Reset,
            Some(Expect::Hello { resp2 }) if peek.kind != b'-' => Ended::Hello { resp2 },
            _ => Ended::Nothing,
        }
    }
}
