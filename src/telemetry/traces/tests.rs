//! Which operations are sent, and what they look like. Against a real receiver they are tested in `tests/it/traces.rs`.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span as Sent;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::convert::Converter;
use super::*;
use crate::telemetry::durations::Route;
use crate::telemetry::names;
use crate::telemetry::operation::{Key, Upstream};

fn about() -> About {
    About {
        names: |_| Named {
            command: "GET",
            span: "cache.get",
        },
        server: ("redis".to_owned(), Some(6379)),
    }
}

fn operation() -> Operation {
    Operation {
        label: Label(7),
        route: Route::Lane,
        key: Key::Hash(0xabc),
        keyspace: Some(0),
        hit: Some(false),
        session: 12,
        began: 1_000_000,
        ended: 1_000_700,
        upstream: Some(Upstream {
            sent: 1_000_100,
            answered: 1_000_600,
        }),
        reply_bytes: 42,
        error: None,
        why: Why::Drawn,
        context: None,
    }
}

/// What a request would carry of these.
fn sent(settings: &Settings, operations: &[Operation]) -> Vec<Sent> {
    let traces = Traces::new(settings);
    for operation in operations {
        traces.note(operation);
    }
    let batch = traces.queue.take();
    assert_eq!(traces.tally().sampled(), batch.len() as u64);
    let converter = Converter::new(about(), settings.keys, "s");
    let (request, count) = converter.request(batch);
    let spans = request.resource_spans[0].scope_spans[0].spans.clone();
    assert_eq!(spans.len() as u64, count);
    spans
}

fn attributes(span: &Sent) -> BTreeMap<&str, String> {
    let shown = |value: &Any| match value {
        Any::StringValue(text) => text.clone(),
        Any::IntValue(number) => number.to_string(),
        Any::BoolValue(truth) => truth.to_string(),
        other => panic!("{other:?}"),
    };
    let each = span.attributes.iter();
    each.map(|one| {
        let value = one.value.as_ref().and_then(|one| one.value.as_ref());
        (one.key.as_str(), shown(value.expect("a value")))
    })
    .collect()
}

fn expect(span: &Sent, expected: &[(&str, &str)]) {
    let expected: BTreeMap<_, _> = expected
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    assert_eq!(attributes(span), expected);
}

#[test]
fn an_operation_is_a_span_with_its_request_below() {
    let spans = sent(&Settings::default(), &[operation()]);
    let [get, request] = spans.as_slice() else {
        panic!("{spans:?}");
    };
    assert_eq!(
        (get.name.as_str(), get.kind()),
        ("cache.get", SpanKind::Server)
    );
    assert!(get.parent_span_id.is_empty() && get.status.is_none());
    expect(
        get,
        &[
            ("db.system.name", "redis"),
            ("db.operation.name", "GET"),
            ("server.address", "redis"),
            ("server.port", "6379"),
            ("cache.operation", "get"),
            ("cache.level", "l2"),
            ("cache.hit", "false"),
            ("cache.key", "0000000000000abc"),
            ("nearside.route", "lane"),
            ("nearside.session", "12"),
            ("nearside.reply_bytes", "42"),
        ],
    );
    assert_eq!(request.name, "upstream.request");
    assert_eq!(request.kind(), SpanKind::Client);
    assert_eq!(request.trace_id, get.trace_id);
    assert_eq!(request.parent_span_id, get.span_id);
    assert_ne!(request.span_id, get.span_id);
    expect(
        request,
        &[
            ("db.system.name", "redis"),
            ("db.operation.name", "GET"),
            ("server.address", "redis"),
            ("server.port", "6379"),
        ],
    );
    let start = get.start_time_unix_nano;
    assert_eq!(get.end_time_unix_nano - start, 700_000);
    assert_eq!(request.start_time_unix_nano - start, 100_000);
    assert_eq!(request.end_time_unix_nano - start, 600_000);
    // The boot clock's second 1 was when the machine had been up for one.
    let up = now_us() * 1000;
    let now = nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    let expected = now - up + 1_000_000_000;
    assert!(
        start.abs_diff(expected) < 1_000_000_000,
        "{start}, not {expected}"
    );
}

#[test]
fn hits_and_errors() {
    let hit = Operation {
        route: Route::L1,
        hit: Some(true),
        upstream: None,
        ..operation()
    };
    let failed = Operation {
        error: Some("WRONGTYPE".into()),
        why: Why::Failed,
        ..operation()
    };
    let spans = sent(&Settings::default(), &[hit, failed]);
    let [hit, failed, request] = spans.as_slice() else {
        panic!("{spans:?}");
    };
    assert_eq!(attributes(hit)["cache.level"], "l1");
    assert_eq!(attributes(hit)["cache.hit"], "true");
    for span in [failed, request] {
        assert_eq!(attributes(span)["db.response.status_code"], "WRONGTYPE");
        assert_eq!(attributes(span)["error.type"], "WRONGTYPE");
        assert_eq!(span.status.as_ref().unwrap().code, 2);
    }
}

#[test]
fn which_are_sent() {
    let context = |sampled| {
        Some(Context {
            trace: 5,
            parent: 6,
            sampled,
        })
    };
    let slow = 1_200_000;
    for (why, context, ended, sent) in [
        (Why::Drawn, None, 0, true),
        // Slow for the slow log alone.
        (Why::Slow, None, 0, false),
        (Why::Slow, None, slow, true),
        (Why::Failed, None, 0, true),
        (Why::Drawn, context(true), 0, true),
        (Why::Slow, context(true), 0, true),
        (Why::Drawn, context(false), 0, false),
        (Why::Drawn, context(false), slow, true),
        (Why::Failed, context(false), 0, true),
    ] {
        let traces = Traces::new(&Settings::default());
        let operation = Operation {
            why,
            context,
            ended: 1_000_000.max(ended),
            ..operation()
        };
        traces.note(&operation);
        let taken = traces.queue.take();
        assert_eq!(taken.len(), usize::from(sent), "{operation:?}");
        let place = taken.first().map(|one| one.place);
        if let (Some(place), Some(_)) = (place, context) {
            assert_eq!((place.trace, place.parent), (5, Some((6, true))));
        }
        let exemplar = traces.exemplars().get(Label(7), Route::Lane);
        assert_eq!(exemplar.map(|one| one.span), place.map(|place| place.span));
    }
}

#[test]
fn keys_are_told_as_asked() {
    let plain = |key: &[u8]| Key::Plain(key.into());
    let long = "\u{e9}".repeat(200);
    for (keys, key, told) in [
        (Keys::Hash, Key::Hash(1), Some("0000000000000001")),
        (Keys::Hash, plain(b"k"), None),
        (Keys::Plain, plain(b"user:1"), Some("user:1")),
        (Keys::Plain, plain(b"a\xffb"), Some("a\u{fffd}b")),
        (Keys::Plain, plain(long.as_bytes()), Some(&long[..256])),
        (Keys::Plain, plain(&[b'k'; 300]), Some(&"k".repeat(256))),
        (Keys::Plain, Key::Hash(1), Some("0000000000000001")),
        (Keys::Off, plain(b"k"), None),
        (Keys::Off, Key::Hash(1), None),
        (Keys::Plain, Key::None, None),
    ] {
        let settings = Settings {
            keys,
            ..Settings::default()
        };
        let operation = Operation { key, ..operation() };
        let spans = sent(&settings, &[operation]);
        let found = attributes(&spans[0]);
        assert_eq!(found.get("cache.key").map(String::as_str), told);
    }
    let bytes = Operation {
        key: plain(&[0xff; 300]),
        ..operation()
    };
    let settings = Settings {
        keys: Keys::Plain,
        ..Settings::default()
    };
    let spans = sent(&settings, &[bytes]);
    assert!(attributes(&spans[0])["cache.key"].len() <= 256);
}

#[test]
fn other_spans_have_their_own_names_and_parents() {
    let settings = Settings {
        ratio: 0,
        ..Settings::default()
    };
    let traces = Arc::new(Traces::new(&settings));
    traces.span("x", Kind::Internal, None, 0).end(1);
    drop(traces.span("x", Kind::Internal, None, 0));
    assert_eq!(traces.tally().sampled(), 0, "not drawn, not slow, no error");

    let mut parent = traces.span("resource.allocate", Kind::Internal, None, 1_000);
    parent.set("resource.amount", 512_i64);
    let context = parent.context();
    assert!(!context.sampled);
    traces
        .span("a part", Kind::Client, Some(context), 1_000)
        .end(1_001);
    assert_eq!(traces.tally().sampled(), 0);
    parent.fail("no-capacity");
    parent.end(3_000);
    let converter = Converter::new(about(), Keys::Hash, "s");
    let (request, _) = converter.request(traces.queue.take());
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(
        (span.name.as_str(), span.kind()),
        ("resource.allocate", SpanKind::Internal)
    );
    expect(
        span,
        &[("resource.amount", "512"), ("error.type", "no-capacity")],
    );
    assert_eq!(
        span.end_time_unix_nano - span.start_time_unix_nano,
        2_000_000
    );

    let context = Context {
        trace: 0xa,
        parent: 0xb,
        sampled: true,
    };
    traces
        .span("GET /v1/x", Kind::Server, Some(context), 0)
        .end(1);
    let (request, _) = converter.request(traces.queue.take());
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.trace_id, 0xa_u128.to_be_bytes());
    assert_eq!(span.parent_span_id, 0xb_u64.to_be_bytes());
    // Sampled, and the parent is known to be another process's.
    assert_eq!(span.flags, 0x301);
}

#[test]
fn the_documentation_names_all_of_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tracing.md");
    let text = std::fs::read_to_string(path).unwrap();
    let failed = Operation {
        error: Some("ERR".into()),
        ..operation()
    };
    let spans = sent(&Settings::default(), &[operation(), failed]);
    for span in &spans {
        let events = span.events.iter().map(|event| event.name.as_str());
        let attributes = attributes(span).into_keys();
        for name in attributes.chain(events).chain([span.name.as_str()]) {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }
    for reason in tally::Reason::ALL {
        assert!(text.contains(&format!("| `{}` |", reason.as_str())));
    }
    for name in [
        names::TRACES_SAMPLED,
        names::TRACES_EXPORTED,
        names::TRACES_DROPPED,
        names::TRACES_WAITING,
        names::TRACES_REJECTED_SPANS,
    ] {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
    for number in [queue::BATCH as u64, export::FLUSH.as_secs()] {
        assert!(text.contains(&format!(" {number} ")), "{number}");
    }
}
