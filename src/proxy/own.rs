//! A session's own upstream connection: its state, what was sent on it and what is read from it. What is expected back
//! is in [`expected`], what the bytes that came mean in [`stream`].

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::expected::{Effect, Expect, Expected, Limit};
use self::stream::{Peek, Said};
use self::wait::Wait;
use super::forget_written;
use super::session::telling::Ask;
use crate::resp::frame::FrameWalker;
use crate::upstream::connect::ConnectError;
use crate::upstream::pool::{Clean, OwnKey};
use crate::upstream::settings::Settings;
use crate::upstream::stream::Stream;

pub mod expected;
pub mod stream;
mod wait;

type Connecting = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

/// Where the connection stands.
enum Link {
    Opening(Connecting),
    Open(Stream),
}

/// Whether more is going to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// Nothing more is queued; the server is told so when all has been written.
    Finishing,
    Finished,
}

/// See the module's header.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about the connection"
)]
pub struct Own {
    link: Link,
    out: Vec<u8>,
    written: usize,
    walker: FrameWalker,
    peek: Peek,
    input: Vec<u8>,
    expected: VecDeque<Expected>,
    /// Whose it is; where it goes back to when it is clean.
    pub key: OwnKey,
    /// What CLIENT SETNAME last gave it.
    pub name: Option<Vec<u8>>,
    /// It has had a command whose effect on the connection is not known: it is not handed on.
    pub tainted: bool,
    /// It has led its session to another user or database.
    pub moved: bool,
    /// It was opened as nobody, for the client's own password alone, and ends with the reply to that.
    pub bare: bool,
    /// What comes is passed as it is, and nothing is expected.
    pub raw: bool,
    /// The node's generation that it belongs to.
    pub generation: u64,
    /// What has come since it was last asked.
    pub said: Said,
    /// The client's command that is sent next.
    pub(in crate::proxy) asking: Option<Ask>,
    /// The client's commands that were answered since this was last looked at, and with which error, if with one.
    pub(in crate::proxy) ended: Vec<(Ask, Option<Box<str>>)>,
    wait: Wait,
    end: End,
    subscribed: [HashSet<Vec<u8>>; 3],
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own")
            .field("key", &self.key)
            .field("expected", &self.expected)
            .field("raw", &self.raw)
            .finish_non_exhaustive()
    }
}

impl Own {
    /// A connection that is being opened.
    #[must_use]
    pub fn opening(key: OwnKey, generation: u64, connecting: Connecting) -> Self {
        Self::new(key, Link::Opening(connecting), generation, None)
    }

    /// A connection that was used before and is clean.
    #[must_use]
    pub fn clean(key: OwnKey, clean: Clean) -> Self {
        let Clean {
            stream,
            name,
            generation,
        } = clean;
        Self::new(key, Link::Open(stream), generation, name)
    }

    fn new(key: OwnKey, link: Link, generation: u64, name: Option<Vec<u8>>) -> Self {
        Self {
            link,
            out: Vec::new(),
            written: 0,
            walker: FrameWalker::default(),
            peek: Peek::default(),
            input: Vec::new(),
            expected: VecDeque::new(),
            key,
            name,
            tainted: false,
            moved: false,
            bare: false,
            raw: false,
            generation,
            said: Said::default(),
            asking: None,
            ended: Vec::new(),
            wait: Wait::default(),
            end: End::Open,
            subscribed: Default::default(),
        }
    }

    /// The connection for another use, if it is known to be clean.
    #[must_use]
    pub fn into_clean(self) -> Option<(OwnKey, Clean)> {
        let fit = self.is_idle()
            && !self.tainted
            && !self.moved
            && !self.bare
            && self.end == End::Open
            && self.out.is_empty()
            && self.input.is_empty();
        match self.link {
            Link::Open(stream) if fit => {
                let clean = Clean {
                    stream,
                    name: self.name,
                    generation: self.generation,
                };
                Some((self.key, clean))
            }
            _ => None,
        }
    }

    /// Something is to come back for what was sent last; `silent` if not to the client.
    pub fn expect(&mut self, expect: Expect, silent: bool) {
        self.expect_within(expect, silent, Limit::Request);
    }

    /// The same, within another time.
    pub fn expect_within(&mut self, expect: Expect, silent: bool, limit: Limit) {
        let expected = Expected {
            expect,
            silent,
            limit,
            ask: self.asking.take(),
        };
        self.expected.push_back(expected);
    }

    /// The client's commands that are not answered.
    pub(in crate::proxy) fn take_asks(&mut self) -> Vec<Ask> {
        let expected = self.expected.iter_mut();
        expected.filter_map(|one| one.ask.take()).collect()
    }

    /// Nothing is expected any more.
    pub fn forget(&mut self) {
        self.expected.clear();
    }

    /// Whether a part of a reply has come.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        self.walker.in_frame() || !self.input.is_empty()
    }

    /// Whether the reply that is due next has been waited for too long, by a clock that shows `now`; wakes the task when that
    /// may be so.
    pub fn is_late(
        &mut self,
        cx: &mut Context<'_>,
        now: u64,
        settings: &Settings,
        cut: bool,
    ) -> bool {
        let next = self
            .expected
            .front()
            .filter(|_| !self.raw && self.is_open());
        let within = next.and_then(|next| next.limit.within(settings, cut));
        let look = (settings.request_timeout / 4).max(Duration::from_millis(10));
        self.wait.is_over(cx, now, within, look)
    }

    /// Replies that the client is still owed.
    #[must_use]
    pub fn owes(&self) -> usize {
        self.expected
            .iter()
            .filter(|expected| !expected.silent)
            .count()
    }

    /// Whether anything is still to come for what was sent, wanted by the client or not.
    #[must_use]
    pub fn awaits(&self) -> bool {
        !self.expected.is_empty()
    }

    /// How much is still to come.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.expected.len()
    }

    /// Whether a subscription is being made or ended, and what may be sent is not known before it is.
    #[must_use]
    pub fn is_subscribing(&self) -> bool {
        self.expected.iter().any(|expected| {
            matches!(
                expected.expect,
                Expect::Confirmations(_) | Expect::Unsubscribed(_)
            )
        })
    }

    /// What may have been changed by all whose replies have not come; it is the caller's from here on.
    pub fn abandon(&mut self) -> Effect {
        let mut effects = Effect::default();
        for expected in &mut self.expected {
            if let Expect::Reply(effect) = &mut expected.expect {
                effects.merge(std::mem::take(effect));
            }
        }
        effects
    }

    /// What the replies to come stand for was not foreseen: each may have changed anything.
    pub fn doubt(&mut self) {
        for expected in &mut self.expected {
            if let Expect::Reply(effect) = &mut expected.expect {
                effect.unknown = true;
            }
        }
    }

    /// Bytes that have not been written yet.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.out.len() - self.written
    }

    /// Bytes that its buffers take.
    #[must_use]
    pub fn held(&self) -> usize {
        self.out.capacity() + self.input.capacity()
    }

    /// Whether the server holds subscriptions of it.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        self.subscribed.iter().any(|names| !names.is_empty())
    }

    /// Queues bytes for it.
    pub fn send(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Nothing is outstanding and the server holds no subscription of it.
    pub fn is_idle(&self) -> bool {
        self.expected.is_empty() && !self.raw && !self.is_subscribed() && !self.walker.in_frame()
    }

    /// What was sent last may change the session, and what comes behind it may then have to go elsewhere.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        let last = self.expected.back();
        last.is_some_and(|expected| matches!(expected.expect, Expect::Change(_)))
    }

    /// The same, where that would be for another user or database.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        let last = self.expected.back().map(|expected| &expected.expect);
        matches!(last, Some(Expect::Change(change)) if change.moves())
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
                Poll::Pending => {
                    forget_written(&mut self.out, &mut self.written);
                    return Ok(outcome);
                }
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => self.written += n,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        self.out = Vec::new();
        self.written = 0;
        // TLS may still hold a part back.
        match Pin::new(&mut *stream).poll_flush(cx)? {
            Poll::Ready(()) if self.end == End::Finishing => {}
            _ => return Ok(outcome),
        }
        if Pin::new(stream).poll_shutdown(cx)?.is_ready() {
            self.end = End::Finished;
        }
        Ok(outcome)
    }

    /// Nothing more will be sent: the server answers what it has, and closes. Whether this is news.
    pub fn finish(&mut self) -> bool {
        let open = self.end == End::Open;
        if open {
            self.end = End::Finishing;
        }
        open
    }

    /// Whether nothing more is to be sent.
    #[must_use]
    pub fn is_finishing(&self) -> bool {
        self.end != End::Open
    }

    /// Whether everything was written, and the server told that nothing more comes.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.end == End::Finished
    }

    /// Whether it is open: until then nothing was sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.link, Link::Open(_))
    }

    /// Sends nothing more, not even what is queued, and has the server close.
    pub fn cut_off(&mut self) {
        self.out.clear();
        self.written = 0;
        self.finish();
    }

    /// Ready when all that was expected has come, or when nothing more can; what comes is nobody's.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        while self.end != End::Open || self.awaits() {
            let received = match self.poll_send(cx) {
                Ok(Some(Err(_))) | Err(_) => return Poll::Ready(()),
                Ok(_) => self.poll_receive(cx, &mut scratch),
            };
            match received {
                Ok(None) => return Poll::Pending,
                Ok(Some(n)) if self.take(&scratch[..n], &mut Vec::new(), |_| ()).is_ok() => {}
                Ok(Some(_)) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
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
            Poll::Ready(Ok(())) => {
                self.wait.heard();
                Ok(Some(buf.filled().len()))
            }
        }
    }
}
