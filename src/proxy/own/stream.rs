//! What comes over an own connection, frame by frame: which of it is a reply and which a message, whether the client gets
//! it, and what its end makes known. Subscriptions are followed here, by their confirmations.

use super::Own;
use super::expected::{Change, Effect, Expect, Expected, Kind};
use crate::resp::frame::{FrameError, Sink};
use crate::upstream::connect::is_unready;
use crate::upstream::mailbox::first_word;

/// What is known of the frame under way.
#[derive(Debug, Default)]
pub(super) struct Peek {
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
    /// The first word of the error that it is, if it is one.
    fn error(&self) -> Option<Box<str>> {
        match self.kind {
            b'-' => self.first.get(1..).map(first_word),
            b'!' => Some(first_word(&self.first)),
            _ => None,
        }
    }

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

/// What the replies that came say of the node.
#[derive(Debug, Default, Clone, Copy)]
pub struct Said {
    /// Replies.
    pub replies: u32,
    /// Others, which said that it is not ready to serve.
    pub unready: u32,
    /// One of them said that it takes no writes.
    pub read_only: bool,
}

impl Said {
    fn note(&mut self, peek: &Peek) {
        let error = peek.first.strip_prefix(b"-").filter(|_| peek.kind == b'-');
        if error.is_some_and(is_unready) {
            self.unready += 1;
        } else {
            self.replies += 1;
            self.read_only |= error.is_some_and(|error| error.starts_with(b"READONLY"));
        }
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

    /// An array may be a message: in RESP3 messages are pushes. After a HELLO inside MULTI the protocol is not known.
    fn gets_messages(&self) -> bool {
        self.is_subscribed() && (!self.key.resp3 || self.tainted)
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
        self.said.note(peek);
        if let Some(ask) = expected.ask {
            self.ended.push((ask, peek.error()));
        }
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
        if done && let Some(expected) = self.expected.pop_front() {
            self.ended.extend(expected.ask.map(|ask| (ask, None)));
        }
    }
}
