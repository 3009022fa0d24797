//! The table of everything that can be set: a row a key.

use std::path::PathBuf;
use std::time::Duration;

use crate::l1::settings::{Admit, Mode};
use crate::proxy::settings::{Causality, Sharing};
use crate::telemetry::settings::LogFormat;
use crate::upstream::settings::{Choice, Endpoint, PasswordFile, Tls};

use super::draft::Draft;
use super::failure::{Failure, Origin};
use super::{Settings, address, value};

/// One key.
#[derive(Debug)]
pub(super) struct Row {
    /// Its name; what stands before the dot is the file's section.
    pub(super) key: &'static str,
    /// One line of documentation.
    pub(super) doc: &'static str,
    /// What a right value is; follows "is not".
    pub(super) expects: &'static str,
    /// Its value may hold a password: messages never repeat it.
    pub(super) secret: bool,
    /// What the example file has for it.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the test of the example file reads it")
    )]
    pub(super) example: Example,
    /// How to parse it.
    pub(super) set: Set,
    /// Its value for people to read, redacted; parses to the same value otherwise.
    pub(super) show: fn(&Settings) -> String,
}

/// How a key's text becomes a value.
#[derive(Debug)]
pub(super) enum Set {
    /// One value.
    One(fn(&mut Draft, &str) -> Result<(), Wrong>),
    /// Several values: `clear`, then `add` for each.
    Many {
        /// Takes out what an earlier source gave.
        clear: fn(&mut Draft),
        /// Adds one value.
        add: fn(&mut Draft, &str) -> Result<(), Wrong>,
    },
}

/// Why a value is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not what [`Row::expects`] says.
    Shape,
    /// This, in place of "is not ..." after the value.
    Because(&'static str),
}

/// What the example file shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Example {
    /// The default.
    Default,
    /// `"auto"`, which is the default and depends on the machine.
    Auto,
    /// There is no default; this, commented out.
    None(&'static str),
}

/// Shared by rows of one kind.
const DURATION: &str = "a duration such as 250ms, 2s or 1m, at most 24h";
const DURATION_ABOVE_ZERO: &str = "a duration above 0 such as 250ms, 2s or 1m, at most 24h";
const SIZE: &str = "a size above 0 such as 256KiB, 64MiB, 1GiB or a number of bytes";

const MODES: [(&str, Mode); 2] = [("on", Mode::On), ("off", Mode::Off)];
const ADMITS: [(&str, Admit); 2] = [
    ("second-read", Admit::SecondRead),
    ("always", Admit::Always),
];
const SHARINGS: [(&str, Sharing); 2] = [("lane", Sharing::Lane), ("dedicated", Sharing::Dedicated)];
const CAUSALITIES: [(&str, Option<Causality>); 3] = [
    (AUTO, None),
    ("session", Some(Causality::Session)),
    ("process", Some(Causality::Process)),
];
const SCRIPT_ROUTES: [(&str, bool); 2] = [("own", false), ("lane", true)];
const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// What stands for "as this machine's limits have it".
const AUTO: &str = "auto";

fn put<T>(place: &mut T, parsed: Option<T>) -> Result<(), Wrong> {
    *place = parsed.ok_or(Wrong::Shape)?;
    Ok(())
}

/// Takes a text that may not be empty.
fn put_some<T: for<'a> From<&'a str>>(place: &mut Option<T>, text: &str) -> Result<(), Wrong> {
    put(place, (!text.is_empty()).then(|| Some(T::from(text))))
}

fn show_some(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

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

/// Every key. Keys without a section come first, as TOML wants it.
pub(super) static TABLE: &[Row] = &[
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
        key: "drain_timeout",
        doc: "How long open sessions get to finish after SIGTERM or SIGINT.",
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
        doc: "Bound on waiting for a reply on the lane while nothing at all arrives on it.",
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
    Row {
        key: "fleet.name",
        doc: "Nearsides of one upstream with the same name here tell each other what is dropped by hand for the fleet.",
        expects: "a name of 1 to 64 letters, digits, dots, dashes and underscores",
        secret: false,
        example: Example::None("shop"),
        set: Set::One(|draft, text| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
            let right = (1..=64).contains(&text.len()) && text.bytes().all(fits);
            put(&mut draft.proxy.fleet, right.then(|| Some(text.to_owned())))
        }),
        show: |settings| show_some(settings.proxy.fleet.as_ref()),
    },
    Row {
        key: "l1.mode",
        doc: "Whether reads are answered from memory.",
        expects: "one of on, off",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.l1.mode, value::word(text, &MODES))),
        show: |settings| value::show_word(&settings.l1.mode, &MODES),
    },
    Row {
        key: "l1.max_bytes",
        doc: "Bound on keys, values and overhead; auto is a quarter of the cgroup's memory, at most 256MiB, and 64MiB without a limit.",
        expects: "a size above 0 such as 256KiB, 64MiB, 1GiB or a number of bytes, or auto",
        secret: false,
        example: Example::Auto,
        set: Set::One(|draft, text| {
            let parsed = match text {
                AUTO => Some(draft.limits.l1_max_bytes()),
                _ => value::size_above_zero(text),
            };
            put(&mut draft.l1.max_bytes, parsed)
        }),
        show: |settings| value::show_size(settings.l1.max_bytes),
    },
    Row {
        key: "l1.max_staleness",
        doc: "A hit is served only while the upstream was heard from within this time.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.l1.max_staleness,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.l1.max_staleness),
    },
    Row {
        key: "l1.entry_max_ttl",
        doc: "Longest life of an entry, whatever its TTL upstream.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.l1.entry_max_ttl,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.l1.entry_max_ttl),
    },
    Row {
        key: "l1.max_entry_bytes",
        doc: "Replies longer than this are not kept.",
        expects: SIZE,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(&mut draft.l1.max_entry_bytes, value::size_above_zero(text))
        }),
        show: |settings| value::show_size(settings.l1.max_entry_bytes),
    },
    Row {
        key: "l1.admit",
        doc: "When a key is put into L1: on its second-read within the admission window, or always on the first.",
        expects: "one of second-read, always",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.l1.admit, value::word(text, &ADMITS))),
        show: |settings| value::show_word(&settings.l1.admit, &ADMITS),
    },
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
];

impl Row {
    /// `l1.mode` is `NEARSIDE_L1_MODE`.
    pub(super) fn variable(&self) -> String {
        format!("NEARSIDE_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// The failure for a value at `origin` that reads `shown`.
    pub(super) fn refuse(&self, origin: &Origin, shown: &str, wrong: Wrong) -> Failure {
        let shown = if self.secret { "the value" } else { shown };
        let what = match wrong {
            Wrong::Shape => format!("{shown} is not {}", self.expects),
            Wrong::Because(reason) => format!("{shown} {reason}"),
        };
        origin.says(self.key, &what)
    }
}

/// The row of a key.
pub(super) fn find(key: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.key == key)
}

/// The row of a key that the program itself names.
pub(super) fn row(key: &str) -> &'static Row {
    find(key).expect("the program names only keys of its table")
}
