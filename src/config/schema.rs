//! The table of everything that can be set: a row a key. Its parts are in the files of this folder.

use super::Settings;
use super::draft::Draft;
use super::failure::{Failure, Origin};

pub(super) mod allocation;
mod audit;
pub(super) mod keyspace;
mod l1;
mod metrics;
mod program;
mod tracing;
mod upstream;

/// One key.
#[derive(Debug)]
pub(super) struct Row {
    /// Its name; what stands before the dot is the file's section.
    pub(super) key: &'static str,
    /// One line of documentation.
    pub(super) doc: &'static str,
    /// What a right value is; follows "is not".
    pub(super) expects: &'static str,
    /// Its value may hold a password: messages never repeat it.
    pub(super) secret: bool,
    /// What the example file has for it.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the test of the example file reads it")
    )]
    pub(super) example: Example,
    /// How to parse it.
    pub(super) set: Set,
    /// Its value for people to read, redacted; parses to the same value otherwise.
    pub(super) show: fn(&Settings) -> String,
}

/// How a key's text becomes a value.
#[derive(Debug)]
pub(super) enum Set {
    /// One value.
    One(fn(&mut Draft, &str) -> Result<(), Wrong>),
    /// Several values: `clear`, then `add` for each.
    Many {
        /// Takes out what an earlier source gave.
        clear: fn(&mut Draft),
        /// Adds one value.
        add: fn(&mut Draft, &str) -> Result<(), Wrong>,
    },
}

/// Why a value is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not what [`Row::expects`] says.
    Shape,
    /// This, in place of "is not ..." after the value.
    Because(&'static str),
}

/// What the example file shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Example {
    /// The default.
    Default,
    /// `"auto"`, which is the default and depends on the machine.
    Auto,
    /// There is no default; this, commented out.
    None(&'static str),
}

/// Shared by rows of one kind.
pub(super) const DURATION: &str = "a duration such as 250ms, 2s or 1m, at most 24h";
const DURATION_ABOVE_ZERO: &str = "a duration above 0 such as 250ms, 2s or 1m, at most 24h";
const SIZE: &str = "a size above 0 such as 256KiB, 64MiB, 1GiB or a number of bytes";
const SHARE: &str = "a share from 0 to 1 such as 0.01, with six decimals at most";
const SHARE_ABOVE_ZERO: &str = "a share above 0, at most 1, such as 0.5, with six decimals at most";

const TRUTH: &str = "true or false";
const TRUTHS: [(&str, bool); 2] = [("true", true), ("false", false)];

/// What stands for "as this machine's limits have it".
const AUTO: &str = "auto";

fn put<T>(place: &mut T, parsed: Option<T>) -> Result<(), Wrong> {
    *place = parsed.ok_or(Wrong::Shape)?;
    Ok(())
}

/// Takes a text that may not be empty.
fn put_some<T: for<'a> From<&'a str>>(place: &mut Option<T>, text: &str) -> Result<(), Wrong> {
    put(place, (!text.is_empty()).then(|| Some(T::from(text))))
}

fn show_some(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Every key. Keys without a section come first, as TOML wants it.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    [
        upstream::WHERE,
        program::TABLE,
        upstream::WAY,
        upstream::TLS,
        l1::TABLE,
        audit::TABLE,
        upstream::BREAKER,
        metrics::TABLE,
        tracing::TABLE,
        allocation::TABLE,
    ]
    .into_iter()
    .flatten()
}

/// The key that the environment, whose lists end at commas and which many can read, does not have.
const FILE_ALONE: &str = "tracing.headers";

impl Row {
    /// Whether it can be set in the file alone.
    pub(super) fn is_for_the_file(&self) -> bool {
        self.key == FILE_ALONE
    }

    /// `l1.mode` is `NEARSIDE_L1_MODE`.
    pub(super) fn variable(&self) -> String {
        format!("NEARSIDE_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// The failure for a value at `origin` that reads `shown`.
    pub(super) fn refuse(&self, origin: &Origin, shown: &str, wrong: Wrong) -> Failure {
        let shown = if self.secret { "the value" } else { shown };
        let what = match wrong {
            Wrong::Shape => format!("{shown} is not {}", self.expects),
            Wrong::Because(reason) => format!("{shown} {reason}"),
        };
        origin.says(self.key, &what)
    }
}

/// The row of a key.
pub(super) fn find(key: &str) -> Option<&'static Row> {
    rows().find(|row| row.key == key)
}

/// The row of a key that the program itself names.
pub(super) fn row(key: &str) -> &'static Row {
    find(key).expect("the program names only keys of its table")
}
