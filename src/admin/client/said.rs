//! The end of a command that did not do what it was to do: a line on standard error, and an exit code.

use std::process::ExitCode;

use http::StatusCode;
use serde_json::Value;

use super::wire::{Answer, Silence};

/// Refused, or it failed otherwise.
const FAILED: u8 = 1;
/// The lease was lost before the command ended. `EX_UNAVAILABLE` of sysexits.h.
const LOST: u8 = 69;
/// Asking again later may help. `EX_TEMPFAIL` of sysexits.h.
const LATER: u8 = 75;

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    line: String,
    code: u8,
}

impl Said {
    /// `code` is said to the shell, and the line to people; no line where it is empty.
    pub(super) fn with_code(code: u8, line: impl Into<String>) -> Self {
        let line = line.into();
        Self { line, code }
    }

    pub(super) fn failed(line: impl Into<String>) -> Self {
        Self::with_code(FAILED, line)
    }

    pub(super) fn later(line: impl Into<String>) -> Self {
        Self::with_code(LATER, line)
    }

    /// What has been said on the way; nothing is added.
    pub(super) fn lost() -> Self {
        Self::with_code(LOST, "")
    }

    /// There was no answer.
    pub(super) fn silence(silence: &Silence) -> Self {
        Self::later(silence.to_string())
    }

    /// The answer was a problem document, or something else that is no success. A 429 that no waiting would help has no
    /// Retry-After.
    pub(super) fn refused(answer: &Answer) -> Self {
        const LATER: [StatusCode; 2] =
            [StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        let line = reason(answer);
        if answer.retry || LATER.contains(&answer.status) {
            Self::later(line)
        } else {
            Self::failed(line)
        }
    }

    /// Says it.
    pub(super) fn end(&self) -> ExitCode {
        if !self.line.is_empty() {
            say(&self.line);
        }
        ExitCode::from(self.code)
    }
}

/// One line on standard error. Control characters in it, which may have come over the wire, are escaped.
pub(super) fn say(line: &str) {
    let mut escaped = String::with_capacity(line.len());
    for c in line.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    eprintln!("nearside: {escaped}");
}

/// What a problem document says, in a line.
pub(super) fn reason(answer: &Answer) -> String {
    let problem = answer.json().unwrap_or_default();
    let text = |member: &str| problem.get(member).and_then(Value::as_str);
    let (Some(title), Some(detail)) = (text("title"), text("detail")) else {
        return format!("the answer was {}, without a reason", answer.status);
    };
    let mut line = if detail.to_lowercase().starts_with(&title.to_lowercase()) {
        detail.to_owned()
    } else {
        format!("{title}: {detail}")
    };
    if let Some(expiry) = text("next_expiry_at") {
        line.extend(["; the next lease expires at ", expiry]);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry: bool, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry,
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn nothing_is_said_twice() {
        let body = r#"{"title": "The lease has ended", "detail": "the lease has ended: expired"}"#;
        let said = reason(&answer(410, false, body));
        assert_eq!(said, "the lease has ended: expired");
    }

    #[test]
    fn what_may_help_later_has_a_code_of_its_own() {
        let body =
            r#"{"title": "There is not enough", "detail": "all gone", "next_expiry_at": "soon"}"#;
        assert_eq!(
            Said::refused(&answer(429, true, body)),
            Said::later("There is not enough: all gone; the next lease expires at soon")
        );
        assert_eq!(Said::refused(&answer(429, false, body)).code, FAILED);
        for (status, code) in [(503, LATER), (504, LATER), (404, FAILED), (500, FAILED)] {
            let said = Said::refused(&answer(status, false, "<html>"));
            assert_eq!(said.code, code);
            assert!(said.line.ends_with("without a reason"), "{said:?}");
        }
    }
}
