//! What an operation looks like as spans: one for the operation, and below it one for its way to the upstream.
//!
//! The names of attributes are those of OpenTelemetry's semantic conventions for databases and for HTTP; where they say
//! nothing, `cache.` and `nearside.` stand in front. <https://opentelemetry.io/docs/specs/semconv/db/redis/>

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};

use super::queue::{Place, Queued, Work};
use super::settings::Keys;
use super::span::{Finished, Kind, Value};
use super::{About, boot_in_unix_ns, ids};
use crate::telemetry::durations::Route;
use crate::telemetry::operation::{Key, Operation, Upstream};

/// The most bytes of a key that are told.
const LONGEST_KEY: usize = 256;

/// Turns what was queued into requests.
#[derive(Debug)]
pub(super) struct Converter {
    about: About,
    keys: Keys,
    resource: Resource,
}

impl Converter {
    pub(super) fn new(about: About, keys: Keys, service: &str) -> Self {
        Self {
            about,
            keys,
            resource: resource(service),
        }
    }

    /// What all of it is told of.
    pub(super) fn resource(&self) -> &Resource {
        &self.resource
    }

    /// A request with all of it, and how many spans there are in it.
    pub(super) fn request(&self, batch: Vec<Queued>) -> (ExportTraceServiceRequest, u64) {
        let boot = boot_in_unix_ns();
        let mut spans = Vec::with_capacity(batch.len() * 2);
        for queued in batch {
            match queued.work {
                Work::Operation(operation) => {
                    self.operation(&mut spans, queued.place, &operation, boot);
                }
                Work::Span(finished) => spans.push(other(queued.place, finished, boot)),
            }
        }
        let count = spans.len() as u64;
        let scope_spans = vec![ScopeSpans {
            scope: Some(scope()),
            spans,
            schema_url: String::new(),
        }];
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans,
                schema_url: String::new(),
            }],
        };
        (request, count)
    }

    fn operation(&self, spans: &mut Vec<Span>, place: Place, operation: &Operation, boot: u64) {
        let named = (self.about.names)(operation.label);
        let mut attributes = self.database(named.command);
        if let Some(kind) = named.span.strip_prefix("cache.") {
            put(&mut attributes, "cache.operation", kind);
            match operation.route {
                Route::L1 => put(&mut attributes, "cache.level", "l1"),
                Route::Lane | Route::Own => put(&mut attributes, "cache.level", "l2"),
                Route::Here => {}
            }
        }
        if let Some(hit) = operation.hit {
            put(&mut attributes, "cache.hit", hit);
        }
        if let Some(key) = self.key(&operation.key) {
            put(&mut attributes, "cache.key", key);
        }
        put(&mut attributes, "nearside.route", operation.route.as_str());
        put(&mut attributes, "nearside.session", operation.session);
        if operation.reply_bytes > 0 {
            put(
                &mut attributes,
                "nearside.reply_bytes",
                operation.reply_bytes,
            );
        }
        let error = operation.error.as_deref();
        failed(&mut attributes, error);
        spans.push(Span {
            attributes,
            status: status(error),
            ..span(
                place,
                named.span.to_owned(),
                SpanKind::Server,
                (operation.began, operation.ended),
                boot,
            )
        });
        if let Some(upstream) = &operation.upstream {
            spans.push(self.upstream(place, named.command, upstream, error, boot));
        }
    }

    fn upstream(
        &self,
        parent: Place,
        command: &'static str,
        upstream: &Upstream,
        error: Option<&str>,
        boot: u64,
    ) -> Span {
        let place = Place {
            trace: parent.trace,
            span: ids::span(),
            parent: Some((parent.span, false)),
        };
        let mut attributes = self.database(command);
        failed(&mut attributes, error);
        Span {
            attributes,
            status: status(error),
            ..span(
                place,
                "upstream.request".to_owned(),
                SpanKind::Client,
                (upstream.sent, upstream.answered),
                boot,
            )
        }
    }

    fn database(&self, command: &'static str) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(12);
        put(&mut attributes, "db.system.name", "redis");
        put(&mut attributes, "db.operation.name", command);
        let (address, port) = &self.about.server;
        put(&mut attributes, "server.address", address.clone());
        if let Some(port) = *port {
            put(&mut attributes, "server.port", port);
        }
        attributes
    }

    fn key(&self, key: &Key) -> Option<String> {
        match (self.keys, key) {
            (Keys::Off, _) | (_, Key::None) | (Keys::Hash, Key::Plain(_)) => None,
            (Keys::Plain | Keys::Hash, Key::Hash(hash)) => Some(format!("{hash:016x}")),
            (Keys::Plain, Key::Plain(key)) => Some(shown(key)),
        }
    }
}

/// A key as text, of so many bytes at most.
fn shown(key: &[u8]) -> String {
    // Nothing behind it can be told; bytes that are no text become longer.
    let mut text = String::from_utf8_lossy(&key[..key.len().min(LONGEST_KEY)]).into_owned();
    while text.len() > LONGEST_KEY {
        text.pop();
    }
    text
}

fn put(attributes: &mut Vec<KeyValue>, name: &str, value: impl Into<Value>) {
    attributes.push(attribute(name, value.into()));
}

/// An attribute in the protocol's form.
pub(super) fn attribute(name: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => Any::StringValue(text.into_owned()),
        Value::Whole(number) => Any::IntValue(number),
        Value::Truth(truth) => Any::BoolValue(truth),
    };
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        key_strindex: 0,
    }
}

fn failed(attributes: &mut Vec<KeyValue>, error: Option<&str>) {
    if let Some(error) = error {
        put(attributes, "db.response.status_code", String::from(error));
        put(attributes, "error.type", String::from(error));
    }
}

fn status(error: Option<&str>) -> Option<Status> {
    error.map(|error| Status {
        message: error.to_owned(),
        code: StatusCode::Error.into(),
    })
}

/// A span of something else.
fn other(place: Place, finished: Finished, boot: u64) -> Span {
    let kind = match finished.kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
    };
    let status = status(finished.error.as_deref());
    let attributes = finished.attributes.into_iter();
    let mut attributes: Vec<_> = attributes
        .map(|(name, value)| attribute(name, value))
        .collect();
    if let Some(error) = finished.error {
        attributes.push(attribute("error.type", Value::Text(error)));
    }
    let times = (finished.began, finished.ended);
    Span {
        attributes,
        status,
        ..span(place, finished.name.into_owned(), kind, times, boot)
    }
}

/// A time of the boot clock in microseconds as nanoseconds since the Unix epoch.
fn unix(us: u64, boot: u64) -> u64 {
    boot.saturating_add(us.saturating_mul(1000))
}

fn span(place: Place, name: String, kind: SpanKind, times: (u64, u64), boot: u64) -> Span {
    let (began, ended) = times;
    let mut flags = 1 | SpanFlags::ContextHasIsRemoteMask as u32;
    if let Some((_, true)) = place.parent {
        flags |= SpanFlags::ContextIsRemoteMask as u32;
    }
    let parent = place.parent.map(|(id, _)| id.to_be_bytes().to_vec());
    Span {
        trace_id: place.trace.to_be_bytes().to_vec(),
        span_id: place.span.to_be_bytes().to_vec(),
        parent_span_id: parent.unwrap_or_default(),
        flags,
        name,
        kind: kind.into(),
        start_time_unix_nano: unix(began, boot),
        end_time_unix_nano: unix(ended.max(began), boot),
        ..Span::default()
    }
}

/// Who tells it.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// This process.
fn resource(service: &str) -> Resource {
    let mut attributes = Vec::new();
    put(&mut attributes, "service.name", service.to_owned());
    put(
        &mut attributes,
        "service.version",
        env!("CARGO_PKG_VERSION"),
    );
    let instance = format!("{:032x}", ids::trace());
    put(&mut attributes, "service.instance.id", instance);
    put(
        &mut attributes,
        "process.pid",
        u64::from(std::process::id()),
    );
    // In a pod this is the pod's name.
    if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        put(&mut attributes, "host.name", host.trim().to_owned());
    }
    Resource {
        attributes,
        ..Resource::default()
    }
}
