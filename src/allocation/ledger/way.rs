//! How the ledger's functions are reached, and what goes wrong on the way there.

use std::fmt;
use std::pin::Pin;

use super::library::Function;
use crate::upstream::breaker::Kind;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// There is no connection.
    Unreachable,
    /// The connection ended before the answer: it may have been done.
    Lost,
    /// No answer in time: it may have been done, or be done yet.
    Timeout,
    /// The server reads its data.
    Loading,
    /// The server has too few replicas to take writes.
    NoReplicas,
    /// The server has no memory left.
    OutOfMemory,
    /// The server is a replica.
    ReadOnly,
    /// The server says no, and would say so again.
    Refused,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Unreachable,
        Self::Lost,
        Self::Timeout,
        Self::Loading,
        Self::NoReplicas,
        Self::OutOfMemory,
        Self::ReadOnly,
        Self::Refused,
    ];

    /// Its stable name, fit for a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Loading => "loading",
            Self::NoReplicas => "no_replicas",
            Self::OutOfMemory => "out_of_memory",
            Self::ReadOnly => "read_only",
            Self::Refused => "refused",
        }
    }

    /// What it is to the circuit breaker; `None` where it says nothing of the server's health.
    #[must_use]
    pub fn failure(self) -> Option<Kind> {
        match self {
            Self::Unreachable => Some(Kind::Connect),
            Self::Timeout => Some(Kind::Timeout),
            Self::Loading => Some(Kind::Loading),
            Self::Lost | Self::NoReplicas | Self::OutOfMemory | Self::ReadOnly => Some(Kind::Lost),
            Self::Refused => None,
        }
    }

    /// Whether it is certain that nothing was done.
    #[must_use]
    pub fn did_nothing(self) -> bool {
        !matches!(self, Self::Lost | Self::Timeout)
    }

    /// What an error reply means.
    #[must_use]
    pub fn of_reply(text: &str) -> Self {
        match text.split(' ').next() {
            Some("LOADING") => Self::Loading,
            Some("NOREPLICAS") => Self::NoReplicas,
            Some("OOM") => Self::OutOfMemory,
            Some("READONLY") => Self::ReadOnly,
            _ => Self::Refused,
        }
    }
}

/// Why the ledger did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What went wrong.
    pub cause: Cause,
    /// The same for people, on one line.
    pub detail: String,
}

impl Trouble {
    /// A trouble.
    #[must_use]
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { cause, detail }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// What a [`Way`] answers with.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send + 'a>>;

/// A way to the ledger's functions.
///
/// - Every answer MUST come within a time of the way's own: callers set no other.
/// - A call goes out over the connection that is there when it is made and MUST NOT be sent again over another one: what a
///   new connection leads to is for the caller to find out first.
/// - The function MUST be loaded where it is not there. That happens before anything is done.
pub trait Way: Send + Sync {
    /// Connects, in place of the connection before.
    fn connect(&self) -> Answer<'_, ()>;

    /// Ends when the connection does.
    fn ended(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Gives the connection up; calls that wait on it are lost.
    fn give_up(&self);

    /// Asks a function with its argument.
    fn call(&self, function: Function, argument: String) -> Answer<'_, String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_do_wrong_says_nothing_of_the_server() {
        for (text, failure) in [
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Some(Kind::Lost),
            ),
            (
                "NOREPLICAS Not enough good replicas to write.",
                Some(Kind::Lost),
            ),
            (
                "LOADING Redis is loading the dataset in memory",
                Some(Kind::Loading),
            ),
            (
                "READONLY You can't write against a read only replica.",
                Some(Kind::Lost),
            ),
            ("NOPERM this user has no permissions", None),
            ("ERR user_script:1: boom", None),
        ] {
            assert_eq!(Cause::of_reply(text).failure(), failure, "{text}");
        }
    }
}
