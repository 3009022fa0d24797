//! Which upstream, the way there, and the circuit breaker.

use std::path::PathBuf;
use std::time::Duration;

use super::{
    AUTO, DURATION, DURATION_ABOVE_ZERO, Example, Row, SHARE_ABOVE_ZERO, SIZE, Set, put, put_some,
    show_some,
};
use crate::config::{Settings, address, value};
use crate::upstream::settings::{Choice, Endpoint, PasswordFile, Retry, Tls};

fn endpoint(settings: &Settings) -> Option<&Endpoint> {
    match &settings.upstream {
        Choice::Endpoint(endpoint) => Some(endpoint),
        Choice::Private => None,
    }
}

fn password_file(settings: &Settings) -> Option<&PasswordFile> {
    endpoint(settings)?.password_file.as_ref()
}

fn show_tls_path(settings: &Settings, which: fn(&Tls) -> Option<&PathBuf>) -> String {
    let tls = endpoint(settings).and_then(|endpoint| endpoint.tls.as_ref());
    show_some(tls.and_then(which).map(|path| path.display()))
}

/// Which upstream.
pub(super) static WHERE: &[Row] = &[
    Row {
        key: "upstream",
        doc: "The Redis behind nearside, or `private` for a redis-server of its own for as long as it runs.",
        expects: "redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:/path or private",
        secret: true,
        example: Example::None("redis://127.0.0.1:6379"),
        set: Set::One(|draft, text| {
            draft.upstream = Some(address::upstream(text)?);
            Ok(())
        }),
        show: |settings| address::show_upstream(&settings.upstream),
    },
    Row {
        key: "username",
        doc: "Whose password is in password_file; the default user without it.",
        expects: "a user's name",
        secret: false,
        example: Example::None("nearside"),
        set: Set::One(|draft, text| put_some(&mut draft.username, text)),
        show: |settings| {
            let file = password_file(settings);
            show_some(file.and_then(|file| file.user.as_ref()))
        },
    },
    Row {
        key: "password_file",
        doc: "A file with the password for the upstream, in place of one in its URL; read again at each connect.",
        expects: "a path",
        secret: false,
        example: Example::None("/run/secrets/redis/password"),
        set: Set::One(|draft, text| put_some(&mut draft.password_file, text)),
        show: |settings| show_some(password_file(settings).map(|file| file.path.display())),
    },
];

/// The way there.
pub(super) static WAY: &[Row] = &[
    Row {
        key: "connect_timeout",
        doc: "Bound on resolving the upstream's name and connecting.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.connect_timeout,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.lane.connect_timeout),
    },
    Row {
        key: "handshake_timeout",
        doc: "Bound on the handshake after that.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.handshake_timeout,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.lane.handshake_timeout),
    },
    Row {
        key: "request_timeout",
        doc: "Bound on waiting for a reply, since it was asked for or since the client's reply before it; then the client gets an error. What blocks has its own timeout on top.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.request_timeout,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.lane.request_timeout),
    },
    Row {
        key: "long_request_timeout",
        doc: "The same for what may run long: scripts, EXEC, KEYS, SORT, commands that administer, and those that are not known.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.long_request_timeout,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.lane.long_request_timeout),
    },
    Row {
        key: "retry",
        doc: "reads: a read whose connection was lost is sent again once, if its client has sent nothing after it; never: the client gets an error. Writes are never sent again.",
        expects: "reads or never",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            let parsed = match text {
                "reads" => Some(Retry::Reads),
                "never" => Some(Retry::Never),
                _ => None,
            };
            put(&mut draft.lane.retry, parsed)
        }),
        show: |settings| match settings.lane.retry {
            Retry::Reads => "reads".into(),
            Retry::Never => "never".into(),
        },
    },
    Row {
        key: "max_lane_in_flight",
        doc: "Requests in flight on one shared connection from which on new ones are refused with an error.",
        expects: "a whole number from 1 to 100000000",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.max_lane_in_flight,
                value::whole(text, 1..=100_000_000),
            )
        }),
        show: |settings| settings.lane.max_lane_in_flight.to_string(),
    },
    Row {
        key: "max_in_flight",
        doc: "The same for all shared connections together.",
        expects: "a whole number from 1 to 100000000",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.max_in_flight,
                value::whole(text, 1..=100_000_000),
            )
        }),
        show: |settings| settings.lane.max_in_flight.to_string(),
    },
    Row {
        key: "output_limit",
        doc: "Most bytes of replies kept for one client that reads slower than they come; past it the client is cut off.",
        expects: SIZE,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(&mut draft.lane.output_limit, value::size_above_zero(text))
        }),
        show: |settings| value::show_size(settings.lane.output_limit),
    },
    Row {
        key: "max_buffer_bytes",
        doc: "Most bytes held for all clients together; auto is a quarter of the cgroup's memory, and 256MiB without a limit.",
        expects: "a size above 0 such as 256KiB, 64MiB, 1GiB or a number of bytes, or auto",
        secret: false,
        example: Example::Auto,
        set: Set::One(|draft, text| {
            let parsed = match text {
                AUTO => Some(draft.limits.max_buffer_bytes()),
                _ => value::size_above_zero(text),
            };
            put(&mut draft.lane.max_buffer_bytes, parsed)
        }),
        show: |settings| value::show_size(settings.lane.max_buffer_bytes),
    },
    Row {
        key: "large_reply",
        doc: "Keys whose replies are larger are read over a connection of the client's own, where back-pressure applies.",
        expects: SIZE,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.lane.large_reply, value::size_above_zero(text))),
        show: |settings| value::show_size(settings.lane.large_reply),
    },
    Row {
        key: "lane_stall_limit",
        doc: "How long, in all, the shared connection waits for one client that takes a reply slower than it arrives.",
        expects: DURATION,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.lane.lane_stall_limit, value::duration(text))),
        show: |settings| value::show_duration(settings.lane.lane_stall_limit),
    },
    Row {
        key: "lane_overdue",
        doc: "A shared connection whose oldest reply is older than this takes no new commands: a fresh one does.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.lane_overdue,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.lane.lane_overdue),
    },
    Row {
        key: "lane_idle",
        doc: "A shared connection of a user or database that no client uses closes after this.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(&mut draft.lane.lane_idle, value::duration_above_zero(text))
        }),
        show: |settings| value::show_duration(settings.lane.lane_idle),
    },
    Row {
        key: "max_lanes",
        doc: "Most shared connections at a time, one for each user and database; further ones get connections of their own.",
        expects: "a whole number from 1 to 10000",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.lane.max_lanes, value::whole(text, 1..=10_000))),
        show: |settings| settings.lane.max_lanes.to_string(),
    },
];

/// `[tls]`.
pub(super) static TLS: &[Row] = &[
    Row {
        key: "tls.ca_file",
        doc: "PEM file with the authorities to trust for a rediss:// upstream, in place of the system's.",
        expects: "a path",
        secret: false,
        example: Example::None("/etc/nearside/ca.pem"),
        set: Set::One(|draft, text| put_some(&mut draft.tls.ca_file, text)),
        show: |settings| show_tls_path(settings, |tls| tls.ca_file.as_ref()),
    },
    Row {
        key: "tls.cert_file",
        doc: "PEM file with nearside's own certificate chain, where the upstream asks for one.",
        expects: "a path",
        secret: false,
        example: Example::None("/etc/nearside/tls.crt"),
        set: Set::One(|draft, text| put_some(&mut draft.tls.cert_file, text)),
        show: |settings| show_tls_path(settings, |tls| tls.cert_file.as_ref()),
    },
    Row {
        key: "tls.key_file",
        doc: "PEM file with the key of that certificate.",
        expects: "a path",
        secret: false,
        example: Example::None("/etc/nearside/tls.key"),
        set: Set::One(|draft, text| put_some(&mut draft.tls.key_file, text)),
        show: |settings| show_tls_path(settings, |tls| tls.key_file.as_ref()),
    },
    Row {
        key: "tls.server_name",
        doc: "The name that the upstream's certificate must have, in place of its host.",
        expects: "a host name",
        secret: false,
        example: Example::None("redis.example"),
        set: Set::One(|draft, text| put_some(&mut draft.tls.server_name, text)),
        show: |settings| {
            let tls = endpoint(settings).and_then(|endpoint| endpoint.tls.as_ref());
            show_some(tls.and_then(|tls| tls.server_name.as_ref()))
        },
    },
];

/// `[breaker]`.
pub(super) static BREAKER: &[Row] = &[
    Row {
        key: "breaker.failure_threshold",
        doc: "Failures in a row that open the circuit to the upstream.",
        expects: "a whole number from 1 to 1000000",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.breaker.failure_threshold,
                value::whole(text, 1..=1_000_000),
            )
        }),
        show: |settings| settings.lane.breaker.failure_threshold.to_string(),
    },
    Row {
        key: "breaker.recovery_timeout",
        doc: "Longest wait between probes of an open circuit; the first comes after 1s and each failure doubles it.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.breaker.recovery_timeout,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.lane.breaker.recovery_timeout),
    },
    Row {
        key: "breaker.half_open_max_calls",
        doc: "Probes under way at a time while the circuit is half-open.",
        expects: "a whole number from 1 to 1000000",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.breaker.half_open_max_calls,
                value::whole(text, 1..=1_000_000),
            )
        }),
        show: |settings| settings.lane.breaker.half_open_max_calls.to_string(),
    },
    Row {
        key: "breaker.failure_rate",
        doc: "Share of the calls in the window that opens the circuit too, when they failed.",
        expects: SHARE_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.breaker.failure_rate,
                value::share_above_zero(text),
            )
        }),
        show: |settings| value::show_share(settings.lane.breaker.failure_rate),
    },
    Row {
        key: "breaker.minimum_calls",
        doc: "Fewest calls in the window for failure_rate and slow_call_rate to open the circuit.",
        expects: "a whole number from 1 to 1000000",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.breaker.minimum_calls,
                value::whole(text, 1..=1_000_000),
            )
        }),
        show: |settings| settings.lane.breaker.minimum_calls.to_string(),
    },
    Row {
        key: "breaker.window",
        doc: "How long a call counts towards failure_rate and slow_call_rate.",
        expects: "a duration from 1s to 10m",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            let bounds = Duration::from_secs(1)..=Duration::from_secs(600);
            let parsed = value::duration(text).filter(|window| bounds.contains(window));
            put(&mut draft.lane.breaker.window, parsed)
        }),
        show: |settings| value::show_duration(settings.lane.breaker.window),
    },
    Row {
        key: "breaker.slow_call_duration",
        doc: "A call that is answered only after this is slow; 0s: none is.",
        expects: DURATION,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            let some = |slow: Duration| (!slow.is_zero()).then_some(slow);
            let parsed = value::duration(text).map(some);
            put(&mut draft.lane.breaker.slow_call_duration, parsed)
        }),
        show: |settings| {
            let slow = settings.lane.breaker.slow_call_duration;
            value::show_duration(slow.unwrap_or_default())
        },
    },
    Row {
        key: "breaker.slow_call_rate",
        doc: "Share of the calls in the window that opens the circuit too, when they were slow.",
        expects: SHARE_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.breaker.slow_call_rate,
                value::share_above_zero(text),
            )
        }),
        show: |settings| value::show_share(settings.lane.breaker.slow_call_rate),
    },
    Row {
        key: "breaker.error_prefix",
        doc: "First word of the error for what cannot be sent upstream; some clients try again only on one that they know, such as LOADING.",
        expects: "one word of 1 to 32 letters from A to Z",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            let right =
                (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase());
            let parsed = right.then(|| text.to_owned());
            put(&mut draft.lane.breaker.error_prefix, parsed)
        }),
        show: |settings| settings.lane.breaker.error_prefix.clone(),
    },
];
