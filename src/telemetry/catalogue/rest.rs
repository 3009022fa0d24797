//! Metrics of commands, sessions, the upstream and the process.

use super::{Dimension, Kind, Metric, Unit};
use crate::telemetry::names;

const COMMAND: Dimension = Dimension {
    name: "command",
    meaning: "the command, with its sub-command, as Redis documents it; `other` for any that nearside has no row for",
    values: &[],
};
const ROUTE: Dimension = Dimension {
    name: "route",
    meaning: "where it was answered: from `l1`, by the upstream over a shared `lane` or over the client's `own` connection, or `here` by nearside itself",
    values: &["l1", "lane", "own", "here"],
};
const NODE: Dimension = Dimension {
    name: "node",
    meaning: "the upstream's address",
    values: &[],
};

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: &[],
        help,
        absent: None,
    }
}

/// When there is nothing to tell of traces.
const NO_TRACES: Option<&str> = Some("where `tracing.endpoint` is not set");

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric {
        kind: Kind::Counter,
        ..gauge(name, help)
    }
}

const fn of_node(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric {
        kind,
        labels: &[NODE],
        ..gauge(name, help)
    }
}

const fn of_process(name: &'static str, unit: Unit, help: &'static str) -> Metric {
    Metric {
        unit,
        absent: Some("where `/proc` cannot be read"),
        ..gauge(name, help)
    }
}

pub(super) const TABLE: &[Metric] = &[
    Metric {
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: &[COMMAND, ROUTE],
        absent: Some("of a command and route before its first"),
        ..gauge(
            names::COMMAND_DURATION,
            "How long commands took, from when their bytes were read until their reply was ready for the client.",
        )
    },
    Metric {
        kind: Kind::Counter,
        labels: &[COMMAND, ROUTE],
        absent: Some("of a command and route before its first"),
        ..gauge(
            names::COMMAND_ERRORS,
            "Commands of those whose duration was recorded that were answered with an error.",
        )
    },
    gauge(names::SESSIONS, "Open client sessions."),
    Metric {
        unit: Unit::Bytes,
        ..gauge(
            names::BUFFERED,
            "Bytes held for clients, requests and replies; a client's count in steps of 16 KiB.",
        )
    },
    gauge(
        names::TASKS,
        "Tasks of sessions, lanes and what watches over them.",
    ),
    gauge(
        names::DRAINING,
        "1 from the time on that SIGTERM, SIGINT or POST /v1/quit has come, else 0.",
    ),
    gauge(
        names::LANE_UP,
        "Lanes that are up: shared upstream connections, one for each identity and database in use.",
    ),
    Metric {
        labels: &[Dimension {
            name: "tracked",
            meaning: "whether the upstream tracks what they read; without that L1 is off for them",
            values: &["true", "false"],
        }],
        ..gauge(
            names::LANES,
            "Lanes that are up, by whether the upstream tracks what they read.",
        )
    },
    Metric {
        unit: Unit::Seconds,
        absent: Some("while no lane is up"),
        ..gauge(
            names::PROOF_AGE,
            "Seconds since the last proof of life of the lane that was heard longest ago; it grows also where nobody reads, since nothing is asked then.",
        )
    },
    Metric {
        unit: Unit::Seconds,
        ..of_node(
            names::UPSTREAM_DURATION,
            Kind::Histogram,
            "How long requests on lanes took, from when they were handed over to the connection until their reply had come.",
        )
    },
    Metric {
        labels: &[
            NODE,
            Dimension {
                name: "kind",
                meaning: "`lane`: shared by sessions; `own`: in use by one session, those included that are being opened and have been reached; `pooled`: clean, for the next session that needs one; `statistics`: what `nearside_upstream_tracking_total_items` is asked over",
                values: &["lane", "own", "pooled", "statistics"],
            },
        ],
        ..gauge(
            names::CONNECTIONS,
            "Connections to the upstream; a fleet's subscription is not among them.",
        )
    },
    of_node(
        names::IN_FLIGHT,
        Kind::Gauge,
        "Requests on lanes that wait for their reply; those on clients' own connections are not among them.",
    ),
    of_node(
        names::OVERLOADED,
        Kind::Counter,
        "Batches of requests refused because max_in_flight or max_lane_in_flight was reached.",
    ),
    Metric {
        labels: &[
            NODE,
            Dimension {
                name: "outcome",
                meaning: "sent again (`granted`), answered with one that is (`shared`), or answered with an error since too many were (`refused`)",
                values: &["granted", "refused", "shared"],
            },
        ],
        ..of_node(
            names::RETRIES,
            Kind::Counter,
            "Reads whose lane was lost before their reply.",
        )
    },
    Metric {
        absent: Some(
            "before the second scrape, and where the upstream does not tell it: it was lost, or nearside's user may not use INFO",
        ),
        ..of_node(
            names::TRACKING_ITEMS,
            Kind::Gauge,
            "The upstream's tracking_total_items: keys that it tracks, by client, for all its clients; asked every 10 s while somebody scrapes.",
        )
    },
    of_node(
        names::BREAKER,
        Kind::Gauge,
        "0 closed or forced-closed, 1 half-open, 2 open or forced-open.",
    ),
    of_node(
        names::BREAKER_FORCED,
        Kind::Gauge,
        "1 while an operator's order holds the circuit open or closed.",
    ),
    Metric {
        labels: &[
            NODE,
            Dimension {
                name: "to",
                meaning: "where it went",
                values: &[
                    "closed",
                    "open",
                    "half-open",
                    "forced-open",
                    "forced-closed",
                ],
            },
            Dimension {
                name: "cause",
                meaning: "why",
                values: &[
                    "consecutive_failures",
                    "failure_rate",
                    "slow_calls",
                    "wait_over",
                    "probe_failed",
                    "probe_succeeded",
                    "forced",
                    "released",
                ],
            },
        ],
        ..of_node(
            names::BREAKER_TRANSITIONS,
            Kind::Counter,
            "Steps of the circuit breaker.",
        )
    },
    Metric {
        labels: &[
            Dimension {
                name: "version",
                meaning: "nearside's version",
                values: &[],
            },
            Dimension {
                name: "architecture",
                meaning: "the processor that it was built for",
                values: &[],
            },
        ],
        ..gauge(names::BUILD_INFO, "1, with what runs here in its labels.")
    },
    Metric {
        absent: NO_TRACES,
        ..counter(
            names::TRACES_SAMPLED,
            "Operations that were to be sent to a receiver of traces.",
        )
    },
    Metric {
        absent: NO_TRACES,
        ..gauge(
            names::TRACES_WAITING,
            "Of these, those that wait to be sent.",
        )
    },
    Metric {
        absent: NO_TRACES,
        ..counter(
            names::TRACES_REJECTED_SPANS,
            "Spans that the receiver refused out of requests that it took.",
        )
    },
    Metric {
        absent: NO_TRACES,
        ..counter(names::TRACES_EXPORTED, "Operations that the receiver took.")
    },
    Metric {
        labels: &[Dimension {
            name: "reason",
            meaning: "`too_many`: more than `tracing.max_per_second`; `queue_full`: more were sampled than could be sent; `unreachable`: the receiver could not be reached in time, or did not answer in time; `refused`: it refused the whole request; `rejected`: it took the request and refused a part of it; `shutdown`: nearside ended before",
            values: &[
                "too_many",
                "queue_full",
                "unreachable",
                "refused",
                "rejected",
                "shutdown",
            ],
        }],
        absent: NO_TRACES,
        ..counter(
            names::TRACES_DROPPED,
            "Operations that the receiver of traces did not get, or did not take.",
        )
    },
    Metric {
        kind: Kind::Counter,
        ..of_process(
            names::PROCESS_CPU,
            Unit::Seconds,
            "User and system CPU time of the process.",
        )
    },
    of_process(
        names::PROCESS_RESIDENT,
        Unit::Bytes,
        "Resident memory of the process.",
    ),
    of_process(
        names::PROCESS_VIRTUAL,
        Unit::Bytes,
        "Address space of the process.",
    ),
    of_process(
        names::PROCESS_FDS,
        Unit::None,
        "Open file descriptors of the process.",
    ),
    of_process(
        names::PROCESS_MAX_FDS,
        Unit::None,
        "File descriptors that the process may have open.",
    ),
    of_process(
        names::PROCESS_START,
        Unit::Seconds,
        "When the process began, in seconds since 1970.",
    ),
    of_process(
        names::PROCESS_THREADS,
        Unit::None,
        "Threads of the process.",
    ),
];
