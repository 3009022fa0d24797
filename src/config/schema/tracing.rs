//! `[tracing]`: traces, and metrics over OTLP.

use std::time::Duration;

use super::{
    DURATION, DURATION_ABOVE_ZERO, Example, Row, SHARE, Set, Wrong, put, put_some, show_some,
};
use crate::config::value;
use crate::telemetry::traces::settings::{Endpoint, Keys, Protocol};

const PROTOCOLS: [(&str, Protocol); 2] = [("grpc", Protocol::Grpc), ("http", Protocol::Http)];
const KEYS: [(&str, Keys); 3] = [
    ("plain", Keys::Plain),
    ("hash", Keys::Hash),
    ("off", Keys::Off),
];

/// `[tracing]`.
pub(super) static TABLE: &[Row] = &[
    Row {
        key: "tracing.endpoint",
        doc: "An OpenTelemetry receiver; without one nothing is traced. The port is 4317 for grpc and 4318 for http where none is given.",
        expects: "http://host[:port][/path] or the same with https://, without a user or a query",
        secret: true,
        example: Example::None("http://127.0.0.1:4317"),
        set: Set::One(|draft, text| {
            let parsed = Endpoint::parse(text).map(Some);
            put(&mut draft.telemetry.traces.endpoint, parsed)
        }),
        show: |settings| show_some(settings.telemetry.traces.endpoint.as_ref()),
    },
    Row {
        key: "tracing.protocol",
        doc: "OTLP over gRPC, or over HTTP as protobuf.",
        expects: "one of grpc, http",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.telemetry.traces.protocol,
                value::word(text, &PROTOCOLS),
            )
        }),
        show: |settings| value::show_word(&settings.telemetry.traces.protocol, &PROTOCOLS),
    },
    Row {
        key: "tracing.headers",
        doc: "Headers for each request to the receiver, each as name=value; in this file alone, and their values are shown nowhere.",
        expects: "a list of name=value",
        secret: true,
        example: Example::None("x-tenant=a"),
        set: Set::Many {
            clear: |draft| draft.telemetry.traces.headers.clear(),
            add: |draft, text| {
                let right = draft.telemetry.traces.headers.add(text);
                right.then_some(()).ok_or(Wrong::Shape)
            },
        },
        show: |settings| {
            let names = settings.telemetry.traces.headers.names();
            let shown: Vec<_> = names.map(|name| format!("{name}=(redacted)")).collect();
            shown.join(", ")
        },
    },
    Row {
        key: "tracing.headers_file",
        doc: "A file with more of them, each as name: value on a line; read again for each request.",
        expects: "a path",
        secret: false,
        example: Example::None("/run/secrets/otlp/headers"),
        set: Set::One(|draft, text| put_some(&mut draft.telemetry.traces.headers_file, text)),
        show: |settings| {
            let path = settings.telemetry.traces.headers_file.as_ref();
            show_some(path.map(|path| path.display()))
        },
    },
    Row {
        key: "tracing.ca_file",
        doc: "PEM file with the authorities to trust for an https:// receiver, in place of the system's.",
        expects: "a path",
        secret: false,
        example: Example::None("/etc/nearside/otlp-ca.pem"),
        set: Set::One(|draft, text| put_some(&mut draft.telemetry.traces.ca_file, text)),
        show: |settings| {
            let path = settings.telemetry.traces.ca_file.as_ref();
            show_some(path.map(|path| path.display()))
        },
    },
    Row {
        key: "tracing.ratio",
        doc: "Share of the operations to trace; where a client has said which trace it belongs to, that decides instead.",
        expects: SHARE,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.telemetry.traces.ratio, value::share(text))),
        show: |settings| value::show_share(settings.telemetry.traces.ratio),
    },
    Row {
        key: "tracing.slow_threshold",
        doc: "An operation that takes this long is traced as well, like one that fails; 0s: not for that.",
        expects: DURATION,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            let some = |slow: Duration| (!slow.is_zero()).then_some(slow);
            let parsed = value::duration(text).map(some);
            put(&mut draft.telemetry.traces.slow_threshold, parsed)
        }),
        show: |settings| {
            let slow = settings.telemetry.traces.slow_threshold;
            value::show_duration(slow.unwrap_or_default())
        },
    },
    Row {
        key: "tracing.trace_keys",
        doc: "How cache.key tells a key: plain, as it is; hash, so that the same key can be recognised; off. An operation that is traced only because it was slow or failed has the hash at most.",
        expects: "one of plain, hash, off",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(&mut draft.telemetry.traces.keys, value::word(text, &KEYS))
        }),
        show: |settings| value::show_word(&settings.telemetry.traces.keys, &KEYS),
    },
    Row {
        key: "tracing.max_per_second",
        doc: "Operations that are sent in a second at most, of those that the ratio chooses, and as many of those that failed or were slow; the rest is dropped and counted.",
        expects: "a whole number from 1 to 1000000000",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.telemetry.traces.max_per_second,
                value::whole(text, 1..=1_000_000_000),
            )
        }),
        show: |settings| settings.telemetry.traces.max_per_second.to_string(),
    },
    Row {
        key: "tracing.queue_size",
        doc: "Operations that wait to be sent at most, about 300 bytes each; what has no room is dropped and counted.",
        expects: "a whole number from 1 to 1000000",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.telemetry.traces.queue_size,
                value::whole(text, 1..=1_000_000),
            )
        }),
        show: |settings| settings.telemetry.traces.queue_size.to_string(),
    },
    Row {
        key: "tracing.export_interval",
        doc: "How long an operation waits for others to be sent with; a full batch is sent at once.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.telemetry.traces.export_interval,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.telemetry.traces.export_interval),
    },
    Row {
        key: "tracing.timeout",
        doc: "Bound on sending a batch, trying again included; what has not arrived by then is dropped and counted.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.telemetry.traces.timeout,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.telemetry.traces.timeout),
    },
    Row {
        key: "tracing.metrics_interval",
        doc: "How often the metrics of /metrics are sent to the same receiver; 0s is never.",
        expects: DURATION,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            let some = |every: Duration| (!every.is_zero()).then_some(every);
            let parsed = value::duration(text).map(some);
            put(&mut draft.telemetry.traces.metrics_interval, parsed)
        }),
        show: |settings| {
            let every = settings.telemetry.traces.metrics_interval;
            value::show_duration(every.unwrap_or_default())
        },
    },
    Row {
        key: "tracing.service_name",
        doc: "What the receiver knows this service by.",
        expects: "a name",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            let parsed = (!text.is_empty()).then(|| text.to_owned());
            put(&mut draft.telemetry.traces.service_name, parsed)
        }),
        show: |settings| settings.telemetry.traces.service_name.clone(),
    },
];
