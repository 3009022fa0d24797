//! What went wrong with a request, as RFC 9457 has it.

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// A problem document's media type.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";
/// What each `type` begins with.
pub(super) const URN: &str = "urn:nearside:problem:";

/// A kind of problem, which has one status and one title. What an operation may answer is described by these, in
/// `/openapi.json`, and answered by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// The answer's status.
    pub(super) status: StatusCode,
    /// Its name for programs: `type` is [`URN`] and this.
    pub(super) name: &'static str,
    /// The same for people.
    pub(super) title: &'static str,
}

impl Kind {
    /// With this status, name and title.
    pub(super) const fn new(status: StatusCode, name: &'static str, title: &'static str) -> Self {
        Self {
            status,
            name,
            title,
        }
    }
}

/// The request says something wrong.
pub(super) const INVALID: Kind = Kind::new(
    StatusCode::BAD_REQUEST,
    "invalid-request",
    "The request is not valid",
);
/// The request is sound, and what it asks for is not.
pub(super) const UNPROCESSABLE: Kind = Kind {
    status: StatusCode::UNPROCESSABLE_ENTITY,
    ..INVALID
};
/// The body did not come.
pub(super) const UNREADABLE: Kind = Kind::new(
    StatusCode::BAD_REQUEST,
    "unreadable-body",
    "The body cannot be read",
);
/// The body is too long.
pub(super) const TOO_LONG: Kind = Kind {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    ..UNREADABLE
};
/// There is no such path.
pub(super) const NO_SUCH_PATH: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "no-such-path",
    "There is nothing here",
);
const METHOD: Kind = Kind::new(
    StatusCode::METHOD_NOT_ALLOWED,
    "method-not-allowed",
    "The method is not allowed here",
);

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// What kind of problem it is.
    pub(super) kind: Kind,
    /// What is wrong this time, and what would be right.
    pub(super) detail: String,
    /// The methods that would be right, where the method is wrong.
    pub(super) allow: Option<Box<str>>,
    /// Seconds after which asking again may help.
    pub(super) retry_after: Option<u64>,
    /// What else a program may want to know.
    pub(super) more: Map<String, Value>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

impl Problem {
    /// Of this kind.
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            allow: None,
            retry_after: None,
            more: Map::new(),
        }
    }

    /// The request says something wrong.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(INVALID, detail)
    }

    /// The request is sound, and what it asks for is not.
    pub(super) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(UNPROCESSABLE, detail)
    }

    /// The body did not come, or is too long.
    pub(super) fn unreadable(refused: &BytesRejection) -> Self {
        let kind = if refused.status() == TOO_LONG.status {
            TOO_LONG
        } else {
            UNREADABLE
        };
        Self::new(kind, refused.body_text())
    }

    /// A part of the path is no text.
    pub(super) fn path(refused: &PathRejection) -> Self {
        Self::invalid(refused.body_text())
    }

    /// Asking again may help after so many milliseconds.
    pub(super) fn retry_after(self, ms: u64) -> Self {
        let seconds = Some(ms.div_ceil(1000).max(1));
        Self {
            retry_after: seconds,
            ..self
        }
    }

    /// With one more member.
    pub(super) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.more.insert(member.to_owned(), value.into());
        self
    }

    /// The path takes other methods, which are listed as `Allow` has them.
    pub(super) fn method(allow: &str) -> Self {
        Self {
            allow: Some(allow.into()),
            ..Self::new(METHOD, format!("this path takes {allow}"))
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Kind {
            status,
            name,
            title,
        } = self.kind;
        let document = Document {
            r#type: format!("{URN}{name}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            more: &self.more,
        };
        let body = serde_json::to_string(&document).expect("texts and a number");
        let mut response = (status, [(CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(allow) = self.allow {
            let allow = HeaderValue::from_str(&allow).expect("names of methods");
            response.headers_mut().insert(ALLOW, allow);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
