//! What is promised, and what it looks like when a promise breaks.

use std::fmt;

use crate::support::resp::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    OwnWrites,
    Causality,
    MonotonicKeys,
    Order,
    BoundedStaleness,
    Expiry,
    Transparency,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnWrites => "own writes",
            Self::Causality => "causality",
            Self::MonotonicKeys => "monotonic keys",
            Self::Order => "order",
            Self::BoundedStaleness => "bounded staleness",
            Self::Expiry => "expiry",
            Self::Transparency => "transparency",
        })
    }
}

/// A promise that broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub promise: Promise,
    pub key: String,
    pub got: String,
    pub expected: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            promise,
            key,
            got,
            expected,
        } = self;
        write!(f, "{promise}: key {key} got {got} expected {expected}")
    }
}

pub type Checked<T = ()> = Result<T, Violation>;

impl Promise {
    /// The violation of this promise.
    pub fn broken(
        self,
        key: &str,
        got: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Violation {
        Violation {
            promise: self,
            key: key.to_owned(),
            got: got.to_string(),
            expected: expected.to_string(),
        }
    }

    /// A version may not be older than `least`.
    pub fn at_least(self, key: &str, got: u64, least: u64) -> Checked {
        if got >= least {
            Ok(())
        } else {
            Err(self.broken(key, got, format_args!(">= {least}")))
        }
    }

    /// A version may not be as new as `bound`.
    pub fn below(self, key: &str, got: u64, bound: u64) -> Checked {
        if got < bound {
            Ok(())
        } else {
            Err(self.broken(key, got, format_args!("< {bound}")))
        }
    }
}

/// The value of `key` in its `version`.
pub fn value(key: &str, version: u64) -> String {
    format!("{key}:{version}")
}

/// The version that a read of `key` gave, 0 for nil. Anything but a value of this key is some other command's reply.
pub fn version(key: &str, reply: &Value) -> Checked<u64> {
    if *reply == Value::Nil {
        return Ok(0);
    }
    let version = reply
        .text()
        .and_then(|text| text.strip_prefix(key)?.strip_prefix(':')?.parse().ok());
    version
        .ok_or_else(|| Promise::Order.broken(key, format_args!("{reply:?}"), "a value of this key"))
}
