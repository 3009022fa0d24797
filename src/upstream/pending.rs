//! What the lane's reader does with the replies to come.

use std::sync::Arc;

use super::audit::Audit;
use super::flights::{Flight, Joined};
use super::mailbox::Mailbox;
use crate::l1::{Epoch, Held, L1, Settling, Unsettled};
use crate::resp::downgrade::Shape;

mod awaited;

pub use awaited::{Awaited, Further};

/// What a read puts into L1.
#[derive(Debug, PartialEq, Eq)]
pub enum Filled {
    /// A key's value.
    Value,
    /// The values of its keys: its reply is an array with an element a key.
    Values,
    /// Its reply, as that of a command.
    Reply {
        /// The command's name, in upper case.
        name: &'static str,
        /// The request behind its name.
        rest: Box<[u8]>,
    },
}

/// A read that is put into L1.
#[derive(Debug)]
pub struct FillKeys {
    /// Its keys, in the order of its arguments.
    pub keys: Vec<Box<[u8]>>,
    /// What goes in.
    pub filled: Filled,
    /// Something of its key was held when it was sent, so that it went without CACHING and PTTL.
    pub held: Option<Held>,
    /// It reads so many fields of a hash, and asks also how long these live.
    pub fields: usize,
    /// L1's epoch when it was sent.
    pub epoch: Epoch,
}

/// What L1 would have answered a read that the upstream answers.
#[derive(Debug)]
pub struct Predicted {
    /// The encoded reply.
    pub reply: Vec<u8>,
    /// Hashes of its keys.
    pub keys: Vec<u64>,
    /// It is true until this time, in milliseconds of the boot clock, or a push.
    pub until: u64,
    /// The lane's pushes before L1 was asked.
    pub pushes: u64,
    /// The number of its key space.
    pub keyspace: u8,
}

/// What few commands have.
#[derive(Debug, Default)]
pub struct Extra {
    /// Other sessions may share its reply.
    pub flight: Option<Arc<Flight>>,
    /// Its reply is compared with this.
    pub predicted: Option<Box<Predicted>>,
}

impl Extra {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flight.is_none() && self.predicted.is_none()
    }
}

/// A transaction that went down the lane as one block.
#[derive(Debug)]
pub struct ExecBlock {
    /// The keys that it changes.
    pub keys: Keys,
    /// How each element of EXEC's reply differs in RESP2.
    pub shapes: Vec<Shape>,
}

impl Default for ExecBlock {
    fn default() -> Self {
        Self {
            keys: Keys::Many(Box::default()),
            shapes: Vec::new(),
        }
    }
}

/// One step of the stream.
#[derive(Debug)]
pub enum Op {
    /// A reply that goes to the session as it is.
    Relay,
    /// The same, of a write: the hashes of its keys are released behind it.
    Write(Keys),
    /// A script's reply. Its writes are not known and their pushes come behind it, so its end is held back until the reply
    /// of the marker right behind it, [`Op::ScriptEnd`].
    Script,
    /// That marker's reply.
    ScriptEnd,
    /// EXEC's reply: its elements are converted each by its command, and the writes are released behind it.
    Exec(Arc<ExecBlock>),
    /// CACHING's reply, the read's, which goes to the session, one PTTL's for each key, and HPTTL's where it asks for the
    /// fields' times; or the read's alone.
    Fill(Box<FillKeys>),
    /// A reply to nobody, which says that L1 has seen all that came before on this lane.
    Marker(Option<Arc<Settling>>),
    /// The reply to a bare HELLO that was sent as a sign of life.
    Probe,
    /// What the upstream says of its memory.
    Memory,
    /// The reply to a read that was answered from L1, to nobody.
    Audit(Box<Audit>),
    /// Nothing was sent: the session gets this error when all that it sent before has been answered.
    Refused(Arc<str>),
}

/// Hashes of a write's keys; most writes have one.
#[derive(Debug)]
pub enum Keys {
    /// One key.
    One(u64),
    /// Any other number.
    Many(Box<[u64]>),
    /// Any number, some of them in another database than the lane's.
    Elsewhere(Box<[u64]>),
    /// Not known: any key may change.
    Any,
}

impl Keys {
    /// Of a write of these keys.
    #[must_use]
    pub fn of(hashes: Vec<u64>, elsewhere: bool) -> Self {
        match hashes.as_slice() {
            _ if elsewhere => Self::Elsewhere(hashes.into()),
            [hash] => Self::One(*hash),
            _ => Self::Many(hashes.into()),
        }
    }

    /// Has a write of these settled with others.
    pub(super) fn settle_later(&self, unsettled: &mut Unsettled) {
        unsettled.of_any += u32::from(matches!(self, Self::Any));
        unsettled.elsewhere |= matches!(self, Self::Elsewhere(_));
        unsettled.hashes.extend_from_slice(self.as_slice());
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Many(hashes) if hashes.is_empty())
    }

    /// The hashes.
    #[must_use]
    pub fn as_slice(&self) -> &[u64] {
        match self {
            Self::One(hash) => std::slice::from_ref(hash),
            Self::Many(hashes) | Self::Elsewhere(hashes) => hashes,
            Self::Any => &[],
        }
    }
}

/// Whether a command may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Not: it may change something, or its session keeps no copy.
    Only,
    /// A read, harmless to send again.
    First,
    /// It was sent before, and is due when its session says.
    Second,
}

/// Of a command that is no cacheable read.
pub const NO_KEYSPACE: u8 = u8::MAX;

/// How a command was sent: what is alike of those that its session sends together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// When its bytes were handed over, in microseconds of the boot clock.
    pub sent_us: u64,
    /// The number of the key space that a cacheable read is counted in; [`NO_KEYSPACE`] for what is none.
    pub keyspace: u8,
    /// How its reply differs in RESP2.
    pub shape: Shape,
    /// Whether it may be sent again.
    pub attempt: Attempt,
    /// The client speaks RESP2.
    pub resp2: bool,
    /// The client has asked for no reply.
    pub silent: bool,
    /// It is told of, whatever becomes of it.
    pub told: bool,
}

/// A command that was queued on the lane, with those behind it that are alike.
#[derive(Debug)]
pub struct Pending {
    /// Whose it is; a marker's and a probe's reply goes to nobody, but a marker lifts its session's fence.
    pub session: Option<Arc<Mailbox>>,
    /// How it was sent.
    pub terms: Terms,
    /// Its session has had an error in place of the reply, which is nobody's when it comes.
    pub given_up: bool,
    /// Hash of the key that a read names, to be remembered where its reply is large.
    pub reads: Option<u64>,
    /// What its reply does.
    pub op: Op,
    /// What few commands have.
    pub extra: Extra,
    /// Commands of its session right behind it that differ in their keys alone.
    pub further: Further,
}

impl Pending {
    /// Of one command; `reads` is the hash of the key that a read names.
    #[must_use]
    pub fn new(
        session: Option<Arc<Mailbox>>,
        terms: Terms,
        reads: Option<u64>,
        op: Op,
        extra: Extra,
    ) -> Self {
        Self {
            session,
            terms,
            given_up: false,
            reads,
            op,
            extra,
            further: Further::default(),
        }
    }

    /// Of a command of our own, whose reply no client gets; `sent` in milliseconds of the boot clock.
    #[must_use]
    pub fn ours(session: Option<Arc<Mailbox>>, sent: u64, op: Op) -> Self {
        let terms = Terms {
            sent_us: sent * 1000,
            keyspace: NO_KEYSPACE,
            shape: Shape::Generic,
            attempt: Attempt::Only,
            resp2: false,
            silent: true,
            told: false,
        };
        Self::new(session, terms, None, op, Extra::default())
    }

    /// When its bytes were handed over, in milliseconds of the boot clock.
    #[inline]
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.terms.sent_us / 1000
    }

    /// Whether its reply goes to a session.
    pub(super) fn is_relayed(&self) -> bool {
        !matches!(
            self.op,
            Op::Marker(_) | Op::ScriptEnd | Op::Probe | Op::Memory | Op::Audit(_)
        )
    }

    /// The writes that it stands for, in flight until then, are settled with others.
    fn settle_later(&self, unsettled: &mut Unsettled) {
        match &self.op {
            Op::Write(keys) => {
                keys.settle_later(unsettled);
                unsettled.hashes.extend_from_slice(self.further.keys());
            }
            Op::Exec(block) => block.keys.settle_later(unsettled),
            Op::Marker(_)
            | Op::Relay
            | Op::Script
            | Op::ScriptEnd
            | Op::Fill(_)
            | Op::Probe
            | Op::Memory
            | Op::Audit(_)
            | Op::Refused(_) => {}
        }
    }
}

/// How a command ends that will get no reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure<'a> {
    /// What its session is told.
    pub(super) error: &'a str,
    /// A part of the reply was handed over.
    pub(super) partial: bool,
    /// The reply was handed over; what follows it was not.
    pub(super) answered: bool,
    /// A read that was sent after this time, in milliseconds of the boot clock, may be sent again by its session, where
    /// nothing of that is behind it.
    pub(super) again: Option<u64>,
}

impl<'a> Failure<'a> {
    /// Nothing has come, and nothing is tried again.
    pub(super) fn of(error: &'a str) -> Self {
        Self {
            error,
            partial: false,
            answered: false,
            again: None,
        }
    }
}

/// Answers commands that were never sent with an error.
pub fn refuse(l1: &Arc<L1>, pending: impl IntoIterator<Item = Pending>, error: &str) {
    let mut unsent = Unsettled::default();
    for pending in pending.into_iter().flat_map(Pending::each) {
        fail_one(pending, Failure::of(error), &mut unsent);
    }
    drop(Settling::new(l1, unsent));
}

/// The same for commands of a session that has replies to come: the errors wait for those.
pub(super) fn refuse_in_turn(l1: &Arc<L1>, pending: &mut Vec<Pending>, error: &str) {
    let error: Arc<str> = error.into();
    let mut unsent = Unsettled::default();
    pending.retain_mut(|pending| {
        let relayed = pending.is_relayed();
        if relayed {
            pending.settle_later(&mut unsent);
            pending.op = Op::Refused(Arc::clone(&error));
            pending.extra = Extra::default();
            pending.further.forget_keys();
        }
        relayed
    });
    drop(Settling::new(l1, unsent));
}

/// Ends one command, which stands for itself alone, that will get no reply; if it is a write, `unsettled` takes it over.
pub(super) fn fail_one(pending: Pending, failure: Failure<'_>, unsettled: &mut Unsettled) {
    pending.settle_later(unsettled);
    let owed = pending.is_relayed() && !failure.answered && !pending.given_up;
    let marker = matches!(pending.op, Op::Marker(_));
    let (error, again) = match &pending.op {
        Op::Refused(error) => (&**error, None),
        _ => (failure.error, failure.again),
    };
    let sent = pending.sent();
    let flight = pending.extra.flight;
    for joined in flight.map(|flight| flight.take()).unwrap_or_default() {
        fail_joined(&joined, error, again);
    }
    let Some(session) = pending.session else {
        return;
    };
    let mut mail = session.lock();
    if failure.partial && owed {
        mail.cut = Some("the upstream was lost in the middle of a reply");
        mail.answered += 1;
    } else if owed
        && pending.terms.attempt == Attempt::First
        && mail.is_last()
        && again.is_some_and(|since| sent > since)
    {
        mail.again = Some(sent);
        mail.answered += 1;
    } else if owed {
        mail.end_with(error, pending.terms.silent);
    }
    mail.fences += u64::from(marker);
    drop(mail);
    session.wake();
}

/// The same for a session that shares another's read.
pub(super) fn fail_joined(joined: &Joined, error: &str, again: Option<u64>) {
    let mut mail = joined.session.lock();
    if joined.repeatable && mail.is_last() && again.is_some_and(|since| joined.since > since) {
        mail.again = Some(joined.since);
        mail.answered += 1;
    } else {
        mail.end_with(error, false);
    }
    drop(mail);
    joined.session.wake();
}
