//! One request and its answer, over a connection of its own.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

/// No answer of a nearside is longer.
const LONGEST: usize = 256 << 20;

/// The way to a side port.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Question {
    method: Method,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// What was answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Asking again later may help.
    pub(super) retry: bool,
    pub(super) body: Bytes,
}

impl Answer {
    /// The body, where it is JSON.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// There was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silence {
    pub(super) why: Why,
    line: String,
}

/// Why there was none, and what may have been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Nothing was reached: nothing was done.
    Unreached,
    /// It was asked, and may have done it.
    Lost,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl Question {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(super) fn with_body(mut self, body: &Value) -> Self {
        self.body = body.to_string().into();
        let json = HeaderValue::from_static("application/json");
        self.headers.push((CONTENT_TYPE, json));
        self
    }

    /// A value that no header can have is sent as an empty one, which the server refuses.
    pub(super) fn with_headers(
        mut self,
        headers: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let headers = headers.into_iter().map(|(name, value)| {
            let value = HeaderValue::from_str(&value);
            let value = value.unwrap_or_else(|_| HeaderValue::from_static(""));
            (HeaderName::from_static(name), value)
        });
        self.headers.extend(headers);
        self
    }

    /// Only where this is the lease's fence; `None` for whichever it is.
    pub(super) fn if_match(mut self, fence: Option<u64>) -> Self {
        let tag = fence.map_or_else(|| "*".to_owned(), |fence| format!("\"{fence}\""));
        let tag = HeaderValue::from_str(&tag).expect("digits in quotes");
        self.headers.push((IF_MATCH, tag));
        self
    }
}

impl Wire {
    /// Nothing is connected yet.
    pub(super) fn new(address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(HttpConnector::new());
        Self { address, client }
    }

    /// Asks once, for so long at most.
    pub(super) async fn ask(
        &self,
        question: &Question,
        within: Duration,
    ) -> Result<Answer, Silence> {
        let silence = |why, what: &str| {
            let line = format!("http://{} {what}", self.address);
            Silence { why, line }
        };
        let url = format!("http://{}{}", self.address, question.path);
        let mut request = Request::builder()
            .method(question.method.clone())
            .uri(url)
            .header(
                USER_AGENT,
                concat!("nearside-alloc/", env!("CARGO_PKG_VERSION")),
            )
            .body(Full::new(question.body.clone()))
            .expect("a path of which every segment is encoded");
        request
            .headers_mut()
            .extend(question.headers.iter().cloned());
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| {
                let (why, what) = judge(&error);
                silence(why, &what)
            })?;
            let status = answer.status();
            let retry = answer.headers().contains_key(RETRY_AFTER);
            let body = Limited::new(answer.into_body(), LONGEST).collect().await;
            let body = body
                .map_err(|error| silence(Why::Lost, &format!("broke off its answer: {error}")))?;
            Ok(Answer {
                status,
                retry,
                body: body.to_bytes(),
            })
        };
        let late = |_| silence(Why::Lost, "did not answer in time");
        timeout(within, exchange).await.map_err(late)?
    }
}

/// Why there is no answer, and what follows the address in a sentence.
fn judge(error: &hyper_util::client::legacy::Error) -> (Why, String) {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    if !error.is_connect() {
        return (Why::Lost, format!("gave no answer: {deepest}"));
    }
    let refused = deepest
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
    let what = if refused {
        "refused the connection: no nearside listens there".to_owned()
    } else {
        format!("cannot be reached: {deepest}")
    };
    (Why::Unreached, what)
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes all");
        }
    }
    encoded
}
