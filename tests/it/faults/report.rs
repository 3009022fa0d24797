//! What clients were told, when, and after how long; and the line that says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use crate::support::resp::Value;

/// What a client knows of its command by what came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was carried out.
    Right,
    /// It was not.
    Refused(String),
    /// Nobody can say: the error says so.
    InDoubt(String),
    /// Nobody can say: the connection has ended.
    Closed,
    /// Nothing came for longer than any test waits.
    Nothing,
}

impl Answer {
    pub fn of(reply: &io::Result<Value>) -> Self {
        match reply {
            Ok(Value::Error(text)) if text.contains("may have been carried out") => {
                Self::InDoubt(plain(text))
            }
            Ok(Value::Error(text)) => Self::Refused(plain(text)),
            Ok(_) => Self::Right,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Self::Nothing,
            Err(_) => Self::Closed,
        }
    }

    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// What stands in the line of a test.
    fn text(&self) -> &str {
        match self {
            Self::Right => "right",
            Self::Refused(text) | Self::InDoubt(text) => text,
            Self::Closed => "(closed)",
            Self::Nothing => "(nothing)",
        }
    }
}

/// An error without what differs from one time to the next: addresses and numbers.
fn plain(text: &str) -> String {
    let (mut plain, mut before) = (Vec::new(), "");
    for word in text.split(' ') {
        if std::mem::replace(&mut before, word) != "upstream" || !word.contains(':') {
            plain.push(word.replace(|c: char| c.is_ascii_digit(), "#"));
        }
    }
    plain.join(" ")
}

/// How a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// A read, down the lane or from memory.
    Read,
    /// A write down the lane.
    Lane,
    /// A write by a script, over an own connection.
    Script,
    /// A write in a transaction that watches a key, over an own connection.
    Transaction,
}

/// What has happened to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing.
    Before,
    /// It fails.
    Fault,
    /// It is well again.
    After,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Sample {
    pub route: Route,
    pub begun: Instant,
    pub took: Duration,
    /// When it began.
    pub phase: Phase,
    pub answer: Answer,
}

/// All answers of a test.
#[derive(Debug, Default)]
pub struct Report {
    pub samples: Vec<Sample>,
}

impl Report {
    /// How often each thing was said while the upstream failed and after.
    pub fn seen(&self) -> BTreeMap<&str, usize> {
        let mut seen = BTreeMap::new();
        for sample in self.samples.iter().filter(|s| s.phase != Phase::Before) {
            *seen.entry(sample.answer.text()).or_insert(0) += 1;
        }
        seen
    }

    /// The same on one line, the frequent first.
    pub fn told(&self) -> String {
        let mut seen: Vec<_> = self.seen().into_iter().collect();
        seen.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let mut line = String::new();
        for (text, count) in seen {
            let separator = if line.is_empty() { "" } else { "; " };
            let _ = write!(line, "{separator}{text} x{count}");
        }
        line
    }

    /// The first right answer to what was asked once `healed`, by route.
    pub fn back(&self, healed: Instant) -> BTreeMap<Route, Duration> {
        let mut back = BTreeMap::new();
        for sample in &self.samples {
            if sample.begun >= healed && sample.answer == Answer::Right {
                let after = sample.begun + sample.took - healed;
                let first = back.entry(sample.route).or_insert(after);
                *first = after.min(*first);
            }
        }
        back
    }

    /// The longest that anybody waited for an answer over these routes.
    pub fn longest(&self, routes: &[Route]) -> Duration {
        let of_them = self.samples.iter().filter(|s| routes.contains(&s.route));
        of_them.map(|s| s.took).max().unwrap_or_default()
    }

    /// When it was first said that the circuit is open.
    pub fn known_down(&self) -> Option<Instant> {
        let open = |s: &&Sample| s.answer.text().contains("circuit open");
        let ends = self.samples.iter().filter(open).map(|s| s.begun + s.took);
        ends.min()
    }

    /// How long the errors took that were given between `from` and `to` to what was asked then: their 95th percentile.
    pub fn refused_within(&self, from: Instant, to: Instant) -> Option<Duration> {
        let within = |s: &&Sample| s.begun >= from && s.begun <= to && s.answer.is_refused();
        let mut took: Vec<_> = self.samples.iter().filter(within).map(|s| s.took).collect();
        took.sort_unstable();
        took.get(took.len() * 95 / 100).copied()
    }
}
