//! Requests to the receiver, and what their answers mean.
//!
//! One client of hyper's carries both protocols: OTLP over HTTP is a POST, and over gRPC tonic makes the same client's HTTP/2
//! into a call. The message is encoded once and sent as it is however often it takes. tonic's own channel is left out: it
//! would bring a second connector with its own TLS, and hides a connection that died, where this client is simply made anew.
//!
//! Which answers may be asked for again is the specification's: <https://opentelemetry.io/docs/specs/otlp/>.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use rustls::ClientConfig;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Status};

use super::settings::{Endpoint, Headers, Protocol, Settings, header};

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    /// What it is called.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }

    fn path(self, protocol: Protocol) -> &'static str {
        match (protocol, self) {
            (Protocol::Http, Self::Traces) => "/v1/traces",
            (Protocol::Http, Self::Metrics) => "/v1/metrics",
            (Protocol::Grpc, Self::Traces) => {
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
            }
            (Protocol::Grpc, Self::Metrics) => {
                "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
            }
        }
    }
}

/// The receiver took the request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Taken {
    /// But for so many of what was in it.
    pub(super) rejected: u64,
    /// What it has to say, for people.
    pub(super) message: String,
}

/// The receiver did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It may, another time; not before this, if it says so.
    Later(String, Option<Duration>),
    /// It will not.
    Never(String),
}

/// The way to the receiver.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    endpoint: Endpoint,
    protocol: Protocol,
    headers: Headers,
    headers_file: Option<PathBuf>,
    tls: ClientConfig,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

/// No answer that means anything is longer.
const LONGEST_ANSWER: usize = 64 << 10;

impl Wire {
    /// Nothing is connected yet. `tls` is for `https://` alone.
    pub(super) fn new(settings: &Settings, endpoint: &Endpoint, tls: ClientConfig) -> Self {
        Self {
            endpoint: endpoint.clone(),
            protocol: settings.protocol,
            headers: settings.headers.clone(),
            headers_file: settings.headers_file.clone(),
            client: client(settings.protocol, tls.clone()),
            tls,
        }
    }

    /// Leaves its connections, which may be dead without anybody having said so.
    pub(super) fn renew(&mut self) {
        self.client = client(self.protocol, self.tls.clone());
    }

    /// Sends a request once.
    pub(super) async fn send(&self, signal: Signal, message: Bytes) -> Result<Taken, Trouble> {
        let headers = self.headers().map_err(|why| Trouble::Later(why, None))?;
        match self.protocol {
            Protocol::Grpc => self.call(signal, headers, message).await,
            Protocol::Http => self.post(signal, headers, message).await,
        }
    }

    /// What goes with each request.
    ///
    /// # Errors
    /// One line on what is wrong with the file of headers, without a word out of it.
    pub(super) fn headers(&self) -> Result<HeaderMap, String> {
        let mut all = HeaderMap::new();
        let mut add = |name: &str, value: &str| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok();
            let value = HeaderValue::from_str(value).ok();
            if let (Some(name), Some(mut value)) = (name, value) {
                value.set_sensitive(true);
                all.insert(name, value);
            }
        };
        for (name, value) in self.headers.all() {
            add(name, value);
        }
        if let Some(path) = &self.headers_file {
            let wrong = |what: &str| format!("cannot use {}: {what}", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
            for (number, line) in text.lines().enumerate() {
                if !line.trim().is_empty() {
                    let (name, value) = header(line, ':')
                        .ok_or_else(|| wrong(&format!("line {} is not name: value", number + 1)))?;
                    add(name, value);
                }
            }
        }
        Ok(all)
    }

    async fn call(
        &self,
        signal: Signal,
        headers: HeaderMap,
        message: Bytes,
    ) -> Result<Taken, Trouble> {
        let origin = self.endpoint.at(self.protocol, "/");
        let mut grpc = Grpc::with_origin(self.client.clone(), origin)
            .max_decoding_message_size(LONGEST_ANSWER);
        let ready = grpc.ready().await;
        ready.map_err(|error| Trouble::Later(chain(&error), None))?;
        let metadata = MetadataMap::from_headers(headers);
        let request = tonic::Request::from_parts(metadata, Extensions::default(), message);
        let path = signal.path(self.protocol);
        let path = http::uri::PathAndQuery::from_static(path);
        match grpc.unary(request, path, Export).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(judge(&status)),
        }
    }

    async fn post(
        &self,
        signal: Signal,
        headers: HeaderMap,
        message: Bytes,
    ) -> Result<Taken, Trouble> {
        let url: Uri = self.endpoint.at(self.protocol, signal.path(self.protocol));
        let mut request = Request::new(Body::new(Full::new(message)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url;
        *request.headers_mut() = headers;
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        request.headers_mut().insert(CONTENT_TYPE, protobuf);
        let agent = HeaderValue::from_static(concat!("nearside/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let answer = self.client.request(request).await;
        let (head, body) = answer
            .map_err(|error| Trouble::Later(chain(&error), None))?
            .into_parts();
        let status = head.status;
        if status.is_success() {
            // It took the request, whatever may be wrong with the rest of its answer.
            let body = Limited::new(body, LONGEST_ANSWER).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes);
            return Ok(taken(&body.unwrap_or_default()));
        }
        let why = format!("it answered {status}");
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Trouble::Later(why, retry_after(&head.headers)),
            _ => Trouble::Never(why),
        })
    }
}

fn client(protocol: Protocol, tls: ClientConfig) -> Client<HttpsConnector<HttpConnector>, Body> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    let connector = match protocol {
        Protocol::Grpc => connector.enable_http2().wrap_connector(tcp),
        Protocol::Http => connector.enable_http1().wrap_connector(tcp),
    };
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(2)
        .http2_only(protocol == Protocol::Grpc)
        .build(connector)
}

/// An error with what it comes from, which says what is the matter.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(source) = at {
        let more = source.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        at = source.source();
    }
    text
}

/// Seconds; a date is as good as nothing said.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    Some(Duration::from_secs(seconds.parse().ok()?))
}

/// The answers for traces and for metrics have one form.
fn taken(answer: &[u8]) -> Taken {
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    let partial = answer.partial_success.unwrap_or_default();
    Taken {
        rejected: u64::try_from(partial.rejected_spans).unwrap_or(0),
        message: partial.error_message,
    }
}

/// What a failed call means.
fn judge(status: &Status) -> Trouble {
    // One that the receiver has not sent: the connection could not be had, or was lost.
    if let Some(source) = status.source() {
        return Trouble::Later(chain(source), None);
    }
    let mut why = format!("it answered {:?}", status.code());
    if !status.message().is_empty() {
        why.extend([": ", status.message()]);
    }
    let after = retry_info(status.details());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Trouble::Later(why, after),
        Code::ResourceExhausted if after.is_some() => Trouble::Later(why, after),
        _ => Trouble::Never(why),
    }
}

/// `google.rpc.Status`, as far as it is looked at.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// When a call may be tried again, where the receiver says so.
fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status
        .details
        .iter()
        .find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.delay;
    let delay = delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).unwrap_or(0);
    let nanos = u32::try_from(delay.nanos).unwrap_or(0);
    Some(Duration::new(seconds, nanos.min(999_999_999)))
}

/// A call whose message is encoded already.
#[derive(Debug, Clone, Copy)]
struct Export;

impl Codec for Export {
    type Encode = Bytes;
    type Decode = Taken;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Export {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(message.len());
        to.put(message);
        Ok(())
    }
}

impl Decoder for Export {
    type Item = Taken;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Taken>, Status> {
        Ok(Some(taken(&from.copy_to_bytes(from.remaining()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a receiver says that asks for so much time.
    fn details(seconds: i64, nanos: i32) -> Bytes {
        let info = RetryInfo {
            delay: Some(Delay { seconds, nanos }),
        };
        let other = Detail {
            type_url: "type.googleapis.com/google.rpc.DebugInfo".to_owned(),
            value: vec![1],
        };
        let info = Detail {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        };
        let details = vec![other, info];
        RpcStatus { details }.encode_to_vec().into()
    }

    #[test]
    fn calls_that_failed_are_judged_as_the_specification_has_it() {
        let after = |code| judge(&Status::with_details(code, "full", details(2, 500_000_000)));
        let plain = |code| judge(&Status::new(code, ""));
        let later = |text: &str, after| Trouble::Later(text.to_owned(), after);
        assert_eq!(
            after(Code::ResourceExhausted),
            later(
                "it answered ResourceExhausted: full",
                Some(Duration::from_millis(2500))
            )
        );
        let unavailable = later("it answered Unavailable", None);
        assert_eq!(plain(Code::Unavailable), unavailable);
        for never in [
            Code::ResourceExhausted,
            Code::InvalidArgument,
            Code::Unauthenticated,
            Code::Unimplemented,
        ] {
            let why = format!("it answered {never:?}");
            assert_eq!(plain(never), Trouble::Never(why));
        }
        let lost = Status::from_error(Box::new(std::io::Error::other("reset")));
        assert_eq!(judge(&lost), later("reset", None));
    }

    #[test]
    fn times_to_wait_are_read_and_nonsense_is_not() {
        assert_eq!(retry_info(&details(-1, -1)), Some(Duration::ZERO));
        assert_eq!(retry_info(b""), None);
        assert_eq!(retry_info(&[0xff; 9]), None);
        let header = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            retry_after(&headers)
        };
        assert_eq!(header("30"), Some(Duration::from_secs(30)));
        assert_eq!(header("Fri, 31 Dec 1999 23:59:59 GMT"), None);
    }
}
