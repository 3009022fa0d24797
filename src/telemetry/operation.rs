//! What is told of one operation when it has ended: to the slow log, and to whoever follows a trace.
//!
//! Few operations are told of: those that were drawn when they began, those that took long, and those that failed. For all
//! others the data path has only compared a duration with a bound.

use super::durations::{Label, Route};

/// A key, as far as it may be told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Key {
    /// There is none, or it may not be told.
    #[default]
    None,
    /// Its hash.
    Hash(u64),
    /// The key itself.
    Plain(Box<[u8]>),
}

/// The trace that an operation belongs to, after the W3C's Trace Context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Of the trace; never 0.
    pub trace: u128,
    /// Of the span that asked; never 0.
    pub parent: u64,
    /// Whoever asked keeps its own spans of it.
    pub sampled: bool,
}

impl Context {
    /// Of a `traceparent` as <https://www.w3.org/TR/trace-context/> has it: `00-<32 hex>-<16 hex>-<2 hex>`, in lower case; a
    /// later version may have more behind that. `None` for anything else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (head, rest) = text.split_at_checked(55)?;
        let mut parts = head.split('-');
        let mut hex = |digits: usize| {
            let part = parts.next()?;
            let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            (part.len() == digits && part.bytes().all(lower)).then_some(part)
        };
        let (version, trace, parent, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let further = version != "00" && rest.starts_with('-');
        if version == "ff" || !rest.is_empty() && !further {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok()?;
        let parent = u64::from_str_radix(parent, 16).ok()?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (trace != 0 && parent != 0).then_some(Self {
            trace,
            parent,
            sampled: flags & 1 == 1,
        })
    }
}

/// Why an operation is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was drawn when it began, or whoever asked keeps its trace.
    Drawn,
    /// It took long.
    Slow,
    /// It was answered with an error.
    Failed,
}

/// An operation's way to the upstream and back; times in microseconds of the boot clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// It was handed over to the connection.
    pub sent: u64,
    /// The end of its reply had come.
    pub answered: u64,
}

/// One operation that has ended; times in microseconds of the boot clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its command.
    pub label: Label,
    /// Where it was answered.
    pub route: Route,
    /// Its (first) key.
    pub key: Key,
    /// Number of its key space, for a cacheable read.
    pub keyspace: Option<u8>,
    /// Whether L1 had it, for a cacheable read.
    pub hit: Option<bool>,
    /// The session's number, as CLIENT ID has it.
    pub session: u64,
    /// Its bytes were read from the client.
    pub began: u64,
    /// Its reply was ready for the client.
    pub ended: u64,
    /// Its way to the upstream, if it took it.
    pub upstream: Option<Upstream>,
    /// Bytes of its reply, where they were counted.
    pub reply_bytes: u64,
    /// How its error begins: the first word of the reply, as `WRONGTYPE`.
    pub error: Option<Box<str>>,
    /// Why it is told of.
    pub why: Why,
    /// What the client has said of its trace.
    pub context: Option<Context>,
}

impl Operation {
    /// How long it took, in microseconds.
    #[must_use]
    pub fn took(&self) -> u64 {
        self.ended.saturating_sub(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::Context;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn reads_what_the_standard_allows() {
        let given = format!("00-{TRACE}-b7ad6b7169203331-01");
        let context = Context::parse(given.as_bytes()).unwrap();
        assert_eq!(context.trace, u128::from_str_radix(TRACE, 16).unwrap());
        assert_eq!(context.parent, 0xb7ad_6b71_6920_3331);
        assert!(context.sampled);
        let given = format!("00-{TRACE}-b7ad6b7169203331-fe");
        assert!(!Context::parse(given.as_bytes()).unwrap().sampled);
        let later = format!("cc-{TRACE}-b7ad6b7169203331-01-more");
        assert!(Context::parse(later.as_bytes()).is_some());
    }

    #[test]
    fn refuses_what_it_does_not() {
        let zero = "0".repeat(32);
        for wrong in [
            String::new(),
            format!("00-{TRACE}-b7ad6b7169203331"),
            format!("00-{TRACE}-b7ad6b7169203331-1"),
            format!("00-{TRACE}-b7ad6b7169203331-01-more"),
            format!("cc-{TRACE}-b7ad6b7169203331-01more"),
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("00-{zero}-b7ad6b7169203331-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            format!("00-{TRACE}_b7ad6b7169203331-01"),
            format!("00-+{}-b7ad6b7169203331-01", &TRACE[1..]),
            format!("0ä-{}-b7ad6b7169203331-01", &TRACE[1..]),
        ] {
            assert_eq!(Context::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
