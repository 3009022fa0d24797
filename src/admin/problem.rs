//! What went wrong with a request, as RFC 9457 has it.

use axum::extract::rejection::BytesRejection;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// A problem document. `type` is `urn:nearside:problem:` and [`Problem::kind`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// The answer's status.
    pub(super) status: StatusCode,
    /// What kind of problem it is, for programs.
    pub(super) kind: &'static str,
    /// The same for people.
    pub(super) title: &'static str,
    /// What is wrong this time, and what would be right.
    pub(super) detail: String,
    /// The methods that would be right, where the method is wrong.
    pub(super) allow: Option<&'static str>,
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
    /// The request says something wrong.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid-request",
            "The request is not valid",
            detail,
        )
    }

    /// The request is sound, and what it asks for is not.
    pub(super) fn unprocessable(detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            ..Self::invalid(detail)
        }
    }

    /// The body did not come, or is too long.
    pub(super) fn unreadable(refused: &BytesRejection) -> Self {
        Self::new(
            refused.status(),
            "unreadable-body",
            "The body cannot be read",
            refused.body_text(),
        )
    }

    /// Any other problem.
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind,
            title,
            detail: detail.into(),
            allow: None,
            retry_after: None,
            more: Map::new(),
        }
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

    /// The path takes another method.
    pub(super) fn method(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The method is not allowed here",
                format!("this path takes {allow}"),
            )
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: format!("urn:nearside:problem:{}", self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            more: &self.more,
        };
        let body = serde_json::to_string(&document).expect("texts and a number");
        let mut response = (
            self.status,
            [(CONTENT_TYPE, "application/problem+json")],
            body,
        )
            .into_response();
        if let Some(allow) = self.allow {
            let allow = HeaderValue::from_static(allow);
            response.headers_mut().insert(ALLOW, allow);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
