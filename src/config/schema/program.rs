//! Clients, the side port and the program itself: keys without a section.

use std::time::Duration;

use super::{AUTO, DURATION, Example, Row, Set, TRUTH, TRUTHS, put};
use crate::config::{address, value};
use crate::downstream::settings::Drain;
use crate::proxy::settings::{Causality, Sharing};
use crate::telemetry::settings::{LogFormat, LogLevel};

const SHARINGS: [(&str, Sharing); 2] = [("lane", Sharing::Lane), ("dedicated", Sharing::Dedicated)];
const CAUSALITIES: [(&str, Option<Causality>); 3] = [
    (AUTO, None),
    ("session", Some(Causality::Session)),
    ("process", Some(Causality::Process)),
];
const SCRIPT_ROUTES: [(&str, bool); 2] = [("own", false), ("lane", true)];
const LOG_LEVELS: [(&str, LogLevel); 4] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
];
const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Clients and the program.
pub(super) static TABLE: &[Row] = &[
    Row {
        key: "listen",
        doc: "Where clients connect; host:port or unix:/path, several if need be.",
        expects: "host:port or unix:/path",
        secret: false,
        example: Example::Default,
        set: Set::Many {
            clear: |draft| draft.downstream.listen.clear(),
            add: |draft, text| {
                draft.downstream.listen.push(address::listen(text)?);
                Ok(())
            },
        },
        show: |settings| {
            let all: Vec<String> = settings
                .downstream
                .listen
                .iter()
                .map(ToString::to_string)
                .collect();
            all.join(", ")
        },
    },
    Row {
        key: "http",
        doc: "The HTTP side port, loopback only, or off.",
        expects: "a loopback ip:port or off",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            draft.admin.http = address::side_port(text)?;
            Ok(())
        }),
        show: |settings| address::show_port(settings.admin.http),
    },
    Row {
        key: "metrics_listen",
        doc: "A second port with /metrics and the probes alone, for kubelet and Prometheus; any address, or off.",
        expects: "ip:port or off",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            draft.admin.metrics_listen = address::port(text)?;
            Ok(())
        }),
        show: |settings| address::show_port(settings.admin.metrics_listen),
    },
    Row {
        key: "ready_requires_upstream",
        doc: "Whether /readiness is false while no shared connection to the upstream is up; a short outage then takes every pod out of service.",
        expects: TRUTH,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.admin.ready_requires_upstream,
                value::word(text, &TRUTHS),
            )
        }),
        show: |settings| value::show_word(&settings.admin.ready_requires_upstream, &TRUTHS),
    },
    Row {
        key: "workers",
        doc: "Threads that serve clients; auto is the cgroup's CPU limit rounded up, at most 4, and 1 without one.",
        expects: "a whole number from 1 to 64, or auto",
        secret: false,
        example: Example::Auto,
        set: Set::One(|draft, text| {
            let parsed = match text {
                AUTO => Some(draft.limits.workers()),
                _ => value::whole(text, 1..=64),
            };
            put(&mut draft.downstream.workers, parsed)
        }),
        show: |settings| settings.downstream.workers.to_string(),
    },
    Row {
        key: "log",
        doc: "The log's form: text for people, json for collectors.",
        expects: "one of text, json",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.telemetry.log, value::word(text, &LOG_FORMATS))),
        show: |settings| value::show_word(&settings.telemetry.log, &LOG_FORMATS),
    },
    Row {
        key: "log_level",
        doc: "What is logged: this, and what is worse.",
        expects: "one of error, warn, info, debug",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.telemetry.log_level,
                value::word(text, &LOG_LEVELS),
            )
        }),
        show: |settings| value::show_word(&settings.telemetry.log_level, &LOG_LEVELS),
    },
    Row {
        key: "drain",
        doc: "After SIGTERM, SIGINT or POST /v1/quit: at-once takes no new connection and ends each client when it has its answers; wait-clients serves all, new ones too, until the last has left.",
        expects: "one of at-once, wait-clients",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.downstream.drain,
                value::word(text, &Drain::NAMES),
            )
        }),
        show: |settings| value::show_word(&settings.downstream.drain, &Drain::NAMES),
    },
    Row {
        key: "drain_timeout",
        doc: "Bound on all of that; of it, wait-clients leaves the last fifth, 5s at most, for clients that are still there to get their answers.",
        expects: DURATION,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(&mut draft.downstream.drain_timeout, value::duration(text))
        }),
        show: |settings| value::show_duration(settings.downstream.drain_timeout),
    },
    Row {
        key: "max_clients",
        doc: "Most client connections at a time.",
        expects: "a whole number from 1 to 1000000",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.downstream.max_clients,
                value::whole(text, 1..=1_000_000),
            )
        }),
        show: |settings| settings.downstream.max_clients.to_string(),
    },
    Row {
        key: "idle_timeout",
        doc: "A client that has sent nothing for this long, and waits for nothing, is closed; 0s is never.",
        expects: DURATION,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            let parsed = value::duration(text);
            let some = |timeout: Duration| (!timeout.is_zero()).then_some(timeout);
            put(&mut draft.proxy.idle_timeout, parsed.map(some))
        }),
        show: |settings| value::show_duration(settings.proxy.idle_timeout.unwrap_or_default()),
    },
    Row {
        key: "sharing",
        doc: "lane: what needs no connection state shares connections; dedicated: only cacheable reads do, all else goes as it is.",
        expects: "one of lane, dedicated",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.proxy.sharing, value::word(text, &SHARINGS))),
        show: |settings| value::show_word(&settings.proxy.sharing, &SHARINGS),
    },
    Row {
        key: "scripts",
        doc: "Where EVAL and FCALL go: own, a connection of the client's own for the time, or lane, where a long one delays everybody.",
        expects: "one of own, lane",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.proxy.scripts_by_lane,
                value::word(text, &SCRIPT_ROUTES),
            )
        }),
        show: |settings| value::show_word(&settings.proxy.scripts_by_lane, &SCRIPT_ROUTES),
    },
    Row {
        key: "causality",
        doc: "Whom it concerns that something newer was relayed to a client: its session, or all of the process; auto is session, and process where sharing is dedicated.",
        expects: "one of auto, session, process",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(&mut draft.proxy.causality, value::word(text, &CAUSALITIES))
        }),
        show: |settings| value::show_word(&settings.proxy.causality, &CAUSALITIES),
    },
];
