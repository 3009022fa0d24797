//! Metrics of leases and of their ledger.

use super::{Dimension, Kind, Metric, Unit};
use crate::telemetry::names;

/// How a request for a lease can end.
pub const OUTCOMES: &[&str] = &[
    "granted",
    "repeated",
    "exhausted",
    "queue_full",
    "wait_deadline",
    "recovering",
    "breaker_open",
    "ledger_unavailable",
    "invalid",
    "key_reused",
    "in_progress",
    "ended",
    "cancelled",
];
/// How a lease can end without being given back.
pub const EXPIRATIONS: &[&str] = &["expired", "lifetime", "lost", "preempted"];
/// What can become of a lease that is asserted again.
pub const STANDINGS: &[&str] = &["held", "restored", "fenced", "ended", "lost"];

const RESOURCE: Dimension = Dimension {
    name: "resource_type",
    meaning: "`cpu`, `memory`, or `pool:` and the name of a pool that the ledger knows, as far as the first 100 go; `other` for any other",
    values: &[],
};
/// The same where there is nothing to tell of what has no name.
const KNOWN: Dimension = Dimension {
    name: "resource_type",
    meaning: "`cpu`, `memory`, or `pool:` and the name of a pool that the ledger knows; the first 100",
    values: &[],
};

/// When there is nothing to tell of leases: no ledger is opened before.
const NOT_ASKED: Option<&str> = Some("before anybody asks for a lease or a pool");
const NOT_HEARD: Option<&str> =
    Some("before anybody asks for a lease or a pool, and while the ledger was not heard for 5 s");

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: &[],
        help,
        absent: NOT_ASKED,
    }
}

const fn counter(name: &'static str, labels: &'static [Dimension], help: &'static str) -> Metric {
    Metric {
        kind: Kind::Counter,
        labels,
        ..gauge(name, help)
    }
}

const fn durations(name: &'static str, labels: &'static [Dimension], help: &'static str) -> Metric {
    Metric {
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels,
        ..gauge(name, help)
    }
}

const fn heard(name: &'static str, labels: &'static [Dimension], help: &'static str) -> Metric {
    Metric {
        labels,
        absent: NOT_HEARD,
        ..gauge(name, help)
    }
}

const OF_PLACE: &[Dimension] = &[
    KNOWN,
    Dimension {
        name: "scope",
        meaning: "for whom there is so much: the whole `cluster`, this nearside's `node` or its `pod`",
        values: &[],
    },
];

pub(super) const TABLE: &[Metric] = &[
    Metric {
        absent: Some("of a resource before the first request for it has ended"),
        ..counter(
            names::ALLOCATIONS,
            &[
                RESOURCE,
                Dimension {
                    name: "outcome",
                    meaning: "`granted`: a lease; `repeated`: the lease that was there under the same idempotency key; `exhausted`: there is not enough; `queue_full`: too many wait; `wait_deadline`: there was none within `wait_ms`; `recovering`: grants pause since the ledger has lost data or is new; `breaker_open`: the ledger's circuit is open; `ledger_unavailable`: it does not answer, or may not be relied on; `invalid`: a member is wrong, or there is no such pool; `key_reused`: the key was used for another request; `in_progress`: a request under that key waits; `ended`: the lease under that key is over; `cancelled`: it was given up while it waited",
                    values: OUTCOMES,
                },
            ],
            "Requests for leases that have ended, once for each resource that they named; those that could not be read are `other`, `invalid`.",
        )
    },
    Metric {
        unit: Unit::Ratio,
        labels: &[
            KNOWN,
            Dimension {
                name: "component",
                meaning: "who asked, as requests say it: 100 at a time, `other` for those beyond",
                values: &[],
            },
        ],
        absent: Some("of a resource and component while no lease given here holds any"),
        ..gauge(
            names::UTILIZATION,
            "What the leases that this nearside gave hold of the resource, as a share of all that there is where this nearside's requests count; more than 1 where that was shrunk.",
        )
    },
    Metric {
        absent: Some("of a resource before the first request for it has ended"),
        ..durations(
            names::ALLOCATION_DURATION,
            &[RESOURCE],
            "How long requests for leases took until they were granted, refused or given up, waiting included.",
        )
    },
    gauge(
        names::LEASES_ACTIVE,
        "Leases that this nearside gave or renewed last and that live, as far as it knows.",
    ),
    counter(
        names::LEASE_EXPIRATIONS,
        &[Dimension {
            name: "reason",
            meaning: "`expired`: it was not renewed in time, or was renewed elsewhere; `lifetime`: it reached max_lifetime_ms; `lost`: the ledger lost it, and it no longer fitted when it was asserted again; `preempted`: it made room for a request of a higher priority",
            values: EXPIRATIONS,
        }],
        "Leases of those that this nearside gave that ended without being given back.",
    ),
    durations(
        names::WAIT_DURATION,
        &[],
        "How long requests for leases took that were not answered at once, from their arrival until they were granted, refused or given up.",
    ),
    gauge(
        names::WAIT_QUEUE,
        "Requests for leases that this nearside is asking the ledger for again: there is no room yet, grants pause, or it does not answer.",
    ),
    heard(
        names::CAPACITY,
        OF_PLACE,
        "How much there is where this nearside's requests count: of `cpu` in thousandths of a CPU, of `memory` in MiB.",
    ),
    heard(
        names::ALLOCATED,
        OF_PLACE,
        "How much of that is promised, to whichever nearside, as the ledger said at the last heartbeat.",
    ),
    gauge(
        names::LEDGER_UP,
        "1 while there is a connection to the ledger of leases over which it has answered, else 0.",
    ),
    gauge(
        names::LEDGER_BREAKER,
        "The ledger's circuit breaker: 0 closed, 1 half-open, 2 open.",
    ),
    Metric {
        absent: Some("of a function before its first answer"),
        ..durations(
            names::LEDGER_DURATION,
            &[Dimension {
                name: "function",
                meaning: "which of the ledger's functions was asked",
                values: &[],
            }],
            "How long answers of the ledger took, from when it was asked.",
        )
    },
    counter(
        names::LEDGER_ERRORS,
        &[Dimension {
            name: "cause",
            meaning: "`unreachable`: there was no connection; `lost`: it ended before the answer; `timeout`: no answer within `ledger.timeout`; `loading`: the server reads its data; `no_replicas`: it has too few to take writes; `out_of_memory`: it has no memory left; `read_only`: it is a replica; `refused`: it said no in another way",
            values: &[
                "unreachable",
                "lost",
                "timeout",
                "loading",
                "no_replicas",
                "out_of_memory",
                "read_only",
                "refused",
            ],
        }],
        "Calls that the ledger did not answer as it should; what its open circuit keeps back is not among them.",
    ),
    counter(
        names::LEDGER_LOSSES,
        &[],
        "Times that this nearside met a ledger that had lost data, or may have: grants paused, and leases were asserted again.",
    ),
    counter(
        names::LEDGER_REASSERTED,
        &[Dimension {
            name: "outcome",
            meaning: "`held`: the ledger had it; `restored`: it has it again; `fenced`: it has a newer one; `ended`: it was over; `lost`: it no longer fitted",
            values: STANDINGS,
        }],
        "Leases that were asserted again, by what became of them.",
    ),
    heard(
        names::LEDGER_LEASES,
        &[],
        "Leases in the ledger, of all nearsides, at the last heartbeat.",
    ),
    heard(
        names::LEDGER_WAITING,
        &[],
        "Requests that wait in the ledger, of all nearsides, at the last heartbeat.",
    ),
];
