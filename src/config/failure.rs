//! The one line that ends a start.

use std::fmt;

/// What is wrong with what was set. Its `Display` is one line, without the program's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    line: String,
    code: u8,
}

impl Failure {
    /// `EX_CONFIG` of sysexits.h.
    const EXIT_CODE: u8 = 78;
    /// Of a command whose own arguments are wrong.
    const USAGE: u8 = 2;

    /// Control characters, which may come from a file or a flag, are escaped: it stays one line.
    pub(super) fn new(text: &str) -> Self {
        let mut line = String::with_capacity(text.len());
        for c in text.chars() {
            if c.is_control() {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
        }
        Self {
            line,
            code: Self::EXIT_CODE,
        }
    }

    /// As [`new`](Self::new), where it is how a command is used that is wrong, not a configuration.
    pub(super) fn usage(text: &str) -> Self {
        Self {
            code: Self::USAGE,
            ..Self::new(text)
        }
    }

    /// The process's exit code: 78, a configuration error, or 2 where a command is used wrongly.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Failure {}

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nowhere.
    Default,
    /// A line of a file.
    File {
        /// The file as it was named.
        path: String,
        /// Counted from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// A flag, dashes included.
    Flag(&'static str),
}

impl Origin {
    /// A failure here. A flag or a variable names its key by itself.
    pub(super) fn says(&self, key: &str, what: &str) -> Failure {
        Failure::new(&match self {
            Self::Default => format!("default of {key}: {what}"),
            Self::File { path, line } => format!("{path}:{line}: {key}: {what}"),
            Self::Environment(name) => format!("environment {name}: {what}"),
            Self::Flag(flag) => format!("{flag}: {what}"),
        })
    }
}
