//! What is expected back for what was sent on an own connection, and what it will have changed.

use std::time::Duration;

use crate::proxy::session::telling::Ask;
use crate::upstream::settings::{Credentials, Settings};

/// What a command sent here may have changed.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about the command"
)]
pub struct Effect {
    /// Hashes of keys counted in flight; released at the marker behind the reply.
    pub keys: Vec<u64>,
    /// Some of them may be of another database than the session's.
    pub elsewhere: bool,
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
        self.elsewhere |= other.elsewhere;
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

impl Change {
    /// Whether it may lead to another user or database.
    #[must_use]
    pub fn moves(&self) -> bool {
        !matches!(self, Self::Hello { user: None, .. })
    }
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
pub(super) struct Expected {
    pub(super) expect: Expect,
    /// Its reply is not for the client.
    pub(super) silent: bool,
    /// Within which time.
    pub(super) limit: Limit,
    /// The client's command, if it is one.
    pub(super) ask: Option<Ask>,
}

/// Within which time a reply is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `request_timeout`.
    Request,
    /// `long_request_timeout`.
    Long,
    /// That much more than it may block for.
    Blocking(Duration),
    /// It may block for ever.
    Never,
}

impl Limit {
    /// The time; where the node does not answer anybody (`cut`), what may run long is not waited for any longer either.
    pub(super) fn within(self, settings: &Settings, cut: bool) -> Option<Duration> {
        match self {
            Self::Long if !cut => Some(settings.long_request_timeout),
            Self::Request | Self::Long => Some(settings.request_timeout),
            Self::Blocking(time) => Some(settings.request_timeout.saturating_add(time)),
            Self::Never => None,
        }
    }
}
