//! A session's own upstream connection: what was sent on it, what its replies mean, and its state.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::forget_written;
use crate::resp::frame::{FrameError, FrameWalker, Sink};
use crate::upstream::connect::{ConnectError, Stream};
use crate::upstream::pool::{Clean, OwnKey};
use crate::upstream::settings::Credentials;

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
    /// Users, their passwords or their rights: the same, and no accepted password is known any more.
    pub rights: bool,
}

impl Effect {
    /// Takes over what another command may have changed.
    pub fn merge(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.unknown |= other.unknown;
        self.swapped |= other.swapped;
        self.rights |= other.rights;
    }

    /// Whether it may have changed anything.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.unknown || self.swapped || self.rights || !self.keys.is_empty()
    }
}

/// What is expected back.
#[derive(Debug)]
pub enum Expect {
    /// A reply.
    Reply(Effect),
    /// The reply to a read of a key that was seen to be large; its hash.
    LargeRead(u64),
    /// The reply to a command inside MULTI: `+QUEUED`, or else it ran, and was a write if so said.
    Queued {
        /// It is a write.
        write: bool,
    },
    /// This many confirmations of the SUBSCRIBE family.
    Confirmations(u32),
    /// As many confirmations as there are subscriptions of this kind, at least one.
    Unsubscribed(Kind),
    /// The reply to a command that changes the session if it is carried out.
    Change(Change),
}

/// What the upstream's yes to a command changes.
#[derive(Debug)]
pub enum Change {
    /// RESET. Nothing is sent behind it before it has come.
    Reset,
    /// SELECT of this database.
    Db(u32),
    /// AUTH.
    User(Credentials),
    /// HELLO, asking for a protocol.
    Hello {
        /// RESP2.
        resp2: bool,
        /// Whom it authenticates.
        user: Option<Credentials>,
        /// What it calls the client.
        name: Option<Vec<u8>>,
    },
}

/// Kinds of subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By channel.
    Channel,
    /// By pattern.
    Pattern,
    /// By sharded channel.
    Sharded,
}

/// What is expected, and for whom.
#[derive(Debug)]
struct Expected {
    expect: Expect,
    /// Its reply is not for the client.
    silent: bool,
}

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

/// What is known of the frame under way.
#[derive(Debug, Default)]
pub struct Peek {
    kind: u8,
    /// Length or number of elements that its header announced.
    announced: i64,
    /// The start of a line, or of the first bulk.
    first: Vec<u8>,
    /// The second bulk of what may be a confirmation.
    second: Vec<u8>,
    bulks: u32,
}

impl Peek {
    fn confirms(&self) -> bool {
        matches!(self.kind, b'>' | b'*') && self.first.ends_with(b"subscribe")
    }
}

impl Sink for Peek {
    fn header(&mut self, kind: u8, n: i64) {
        if self.kind == 0 {
            (self.kind, self.announced) = (kind, n);
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
        }
    }
    fn body(&mut self, bytes: &[u8]) {
        if self.bulks == 0 && self.first.len() < 32 {
            self.first.extend_from_slice(&bytes[..bytes.len().min(32)]);
        } else if self.bulks == 1 && self.confirms() {
            self.second.extend_from_slice(bytes);
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
    /// A frame has begun.
    Begun,
    /// A reply whose effect is to be made known.
    Reply(Effect),
    /// The upstream said yes to what changes the session.
    Changed(Change),
    /// A key thought to be large, of this hash, was read and had a reply of this many bytes.
    Read(u64, usize),
}

impl Own {
    /// A connection that is being opened.
    #[must_use]
    pub fn opening(key: OwnKey, connecting: Connecting) -> Self {
        Self::new(key, Link::Opening(connecting), None)
    }

    /// A connection that was used before and is clean.
    #[must_use]
    pub fn clean(key: OwnKey, clean: Clean) -> Self {
        Self::new(key, Link::Open(clean.stream), clean.name)
    }

    fn new(key: OwnKey, link: Link, name: Option<Vec<u8>>) -> Self {
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
                let name = self.name;
                Some((self.key, Clean { stream, name }))
            }
            _ => None,
        }
    }

    /// Something is to come back for what was sent last; `silent` if not to the client.
    pub fn expect(&mut self, expect: Expect, silent: bool) {
        self.expected.push_back(Expected { expect, silent });
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

    /// Ends all that is expected and gives what it may have changed.
    pub fn abandon(&mut self) -> Effect {
        let mut effects = Effect::default();
        for expected in self.expected.drain(..) {
            if let Expect::Reply(effect) = expected.expect {
                effects.merge(effect);
            }
        }
        effects
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

    /// An array may be a message: in RESP3 messages are pushes. After a HELLO inside MULTI the protocol is not known.
    fn gets_messages(&self) -> bool {
        self.is_subscribed() && (!self.key.resp3 || self.tainted)
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
            if fresh {
                before(Ended::Begun);
            }
            if fresh
                && !self.is_message_kind()
                && let Some(Expected {
                    expect: Expect::Reply(effect),
                    ..
                }) = self.expected.front_mut()
            {
                // Its first byte has come, so it was carried out: said before the client can know of it.
                before(Ended::Reply(std::mem::take(effect)));
            }
            if !self.is_silenced() {
                out.extend_from_slice(&input[at..at + walked.consumed]);
            }
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

    /// Whether the frame under way is a reply that the client does not want. Confirmations and messages of pub/sub are
    /// no replies.
    fn is_silenced(&self) -> bool {
        // In RESP2 only PING's reply is of this kind too, and shorter.
        let message = self.is_message_kind()
            || self.gets_messages() && self.peek.kind == b'*' && self.peek.announced > 2;
        !message
            && self.expected.front().is_some_and(|front| {
                let confirms = matches!(
                    front.expect,
                    Expect::Confirmations(_) | Expect::Unsubscribed(_)
                );
                front.silent && (!confirms || self.peek.kind == b'-')
            })
    }

    fn is_message_kind(&self) -> bool {
        self.peek.kind == b'>'
    }

    fn frame_ended(&mut self, peek: &Peek) -> Ended {
        let expect = self.expected.front().map(|expected| &expected.expect);
        let subscribing = matches!(
            expect,
            Some(Expect::Confirmations(_) | Expect::Unsubscribed(_))
        );
        let in_push_form =
            peek.kind == b'>' || (peek.kind == b'*' && (subscribing || self.gets_messages()));
        if in_push_form && peek.confirms() {
            self.confirmed(peek);
            return Ended::Nothing;
        }
        let message = peek.kind == b'*'
            && self.gets_messages()
            && [&b"message"[..], b"pmessage", b"smessage"].contains(&peek.first.as_slice());
        if peek.kind == b'>' || message {
            return Ended::Nothing;
        }
        let Some(expected) = self.expected.pop_front() else {
            return Ended::Nothing;
        };
        match expected.expect {
            Expect::Queued { write: true } if peek.kind != b'-' && peek.first != b"+QUEUED\r\n" => {
                Ended::Reply(Effect {
                    unknown: true,
                    ..Effect::default()
                })
            }
            Expect::Change(change) if peek.kind != b'-' => Ended::Changed(change),
            Expect::LargeRead(hash) => {
                let size = usize::try_from(peek.announced).unwrap_or(0);
                Ended::Read(hash, if peek.kind == b'$' { size } else { 0 })
            }
            _ => Ended::Nothing,
        }
    }

    /// A subscription was made or ended, asked for or not.
    fn confirmed(&mut self, peek: &Peek) {
        let (kind, made) = match peek.first.as_slice() {
            b"subscribe" => (Kind::Channel, true),
            b"unsubscribe" => (Kind::Channel, false),
            b"psubscribe" => (Kind::Pattern, true),
            b"punsubscribe" => (Kind::Pattern, false),
            b"ssubscribe" => (Kind::Sharded, true),
            _ => (Kind::Sharded, false),
        };
        let names = &mut self.subscribed[kind as usize];
        if made {
            names.insert(peek.second.clone());
        } else {
            names.remove(&peek.second);
        }
        let left = names.len();
        let done = match self.expected.front_mut().map(|front| &mut front.expect) {
            Some(Expect::Confirmations(count)) => {
                *count -= 1;
                *count == 0
            }
            Some(Expect::Unsubscribed(asked)) => *asked == kind && left == 0,
            _ => false,
        };
        if done {
            self.expected.pop_front();
        }
    }
}
