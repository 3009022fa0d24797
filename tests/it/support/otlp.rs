//! A receiver of OTLP, over gRPC and over HTTP, on a thread of its own; it answers as a test wants it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use nearside::telemetry::traces::settings::{Endpoint, Protocol};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// How it answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Takes it.
    Take,
    /// Takes it, and refuses so many spans of it.
    Partly(i64),
    /// Not now: `UNAVAILABLE`, 503.
    Later,
    /// Not ever: `INVALID_ARGUMENT`, 400.
    Never,
}

/// What it was sent.
#[derive(Debug, Default, Clone)]
pub struct Received {
    /// Spans of requests that it took.
    pub spans: Vec<Span>,
    /// Metrics.
    pub metrics: Vec<ExportMetricsServiceRequest>,
    /// What the newest spans are of.
    pub resource: BTreeMap<String, String>,
    /// The newest request's headers.
    pub headers: BTreeMap<String, String>,
    /// Requests with spans.
    pub requests: usize,
}

#[derive(Clone)]
struct Shared {
    received: Arc<Mutex<Received>>,
    /// Each answers one request, and then it takes all.
    answers: Arc<Mutex<VecDeque<Answer>>>,
    /// False: answers wait.
    open: watch::Receiver<bool>,
}

impl Shared {
    async fn take(&self, request: ExportTraceServiceRequest, headers: &HeaderMap) -> Answer {
        self.received.lock().requests += 1;
        let mut open = self.open.clone();
        // The receiver's end opens it too.
        let _ = open.wait_for(|open| *open).await;
        let answer = self.answers.lock().pop_front().unwrap_or(Answer::Take);
        let mut received = self.received.lock();
        received.headers = headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.to_string(), value)
            })
            .collect();
        if matches!(answer, Answer::Take | Answer::Partly(_)) {
            for of in request.resource_spans {
                received.resource = attributes(&of.resource.unwrap_or_default().attributes);
                for scope in of.scope_spans {
                    received.spans.extend(scope.spans);
                }
            }
        }
        answer
    }
}

fn answered(rejected: i64) -> ExportTraceServiceResponse {
    let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: rejected,
        error_message: "too many".to_owned(),
    });
    ExportTraceServiceResponse { partial_success }
}

#[tonic::async_trait]
impl TraceService for Shared {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let (metadata, _, request) = request.into_parts();
        match self.take(request, &metadata.into_headers()).await {
            Answer::Take => Ok(tonic::Response::new(answered(0))),
            Answer::Partly(rejected) => Ok(tonic::Response::new(answered(rejected))),
            Answer::Later => Err(tonic::Status::unavailable("busy")),
            Answer::Never => Err(tonic::Status::invalid_argument("no")),
        }
    }
}

#[tonic::async_trait]
impl MetricsService for Shared {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        self.received.lock().metrics.push(request.into_inner());
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn posted_spans(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let request = ExportTraceServiceRequest::decode(body).expect("a request");
    match shared.take(request, &headers).await {
        Answer::Take => answered(0).encode_to_vec().into_response(),
        Answer::Partly(rejected) => answered(rejected).encode_to_vec().into_response(),
        Answer::Later => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Answer::Never => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn posted_metrics(State(shared): State<Shared>, body: Bytes) -> Response {
    let request = ExportMetricsServiceRequest::decode(body).expect("a request");
    shared.received.lock().metrics.push(request);
    ExportMetricsServiceResponse::default()
        .encode_to_vec()
        .into_response()
}

/// The receiver. Ends on drop.
pub struct Receiver {
    pub addr: SocketAddr,
    shared: Shared,
    open: watch::Sender<bool>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub fn start(protocol: Protocol) -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_on(protocol, anywhere).expect("a free port")
    }

    pub fn start_on(protocol: Protocol, addr: SocketAddr) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind(addr))?;
        let addr = listener.local_addr()?;
        let (open, opened) = watch::channel(true);
        let shared = Shared {
            received: Arc::default(),
            answers: Arc::default(),
            open: opened,
        };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serving = shared.clone();
        let serve = async move {
            match protocol {
                Protocol::Grpc => Server::builder()
                    .add_service(TraceServiceServer::new(serving.clone()))
                    .add_service(MetricsServiceServer::new(serving))
                    .serve_with_incoming(TcpIncoming::from(listener))
                    .await
                    .expect("it serves"),
                Protocol::Http => {
                    let router = Router::new()
                        .route("/v1/traces", post(posted_spans))
                        .route("/v1/metrics", post(posted_metrics))
                        .layer(axum::extract::DefaultBodyLimit::max(4 << 20))
                        .with_state(serving);
                    axum::serve(listener, router).await.expect("it serves");
                }
            }
        };
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Ok(Self {
            addr,
            shared,
            open,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub fn endpoint(&self) -> Option<Endpoint> {
        Endpoint::parse(&format!("http://{}", self.addr))
    }

    /// Answers requests so, one after the other.
    pub fn answer(&self, answers: &[Answer]) {
        self.shared.answers.lock().extend(answers);
    }

    /// Answers nothing until it is opened.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub fn received(&self) -> Received {
        self.shared.received.lock().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            let _ = stop.send(());
            thread.join().expect("the receiver ends well");
        }
    }
}

/// Attributes as texts.
pub fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |one: &KeyValue| match one.value.as_ref().and_then(|one| one.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => panic!("{other:?}"),
    };
    attributes
        .iter()
        .map(|one| (one.key.clone(), text(one)))
        .collect()
}
