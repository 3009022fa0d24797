//! Metrics of the cache.

use super::{Dimension, Kind, Metric, Unit};
use crate::telemetry::names;

const CACHE_TYPE: Dimension = Dimension {
    name: "cache_type",
    meaning: "the key space's name; `default` for what matches none",
    values: &[],
};
const LEVEL: Dimension = Dimension {
    name: "level",
    meaning: "`l1` is nearside's memory, `l2` the upstream",
    values: &["l1", "l2"],
};

pub(super) const TABLE: &[Metric] = &[
    Metric {
        name: names::CACHE_OPERATIONS,
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &[
            CACHE_TYPE,
            Dimension {
                name: "operation",
                meaning: "`get`: cacheable reads, at `l1` each once, hit or miss, and at `l2` again if it went upstream; `set`: at `l1` replies put in, at `l2` write commands sent upstream",
                values: &["get", "set"],
            },
            LEVEL,
        ],
        help: "Operations of the cache by key space, that of a command's first key; a command counts once, whatever number of keys it has.",
        absent: None,
    },
    Metric {
        name: names::CACHE_HIT_RATIO,
        kind: Kind::Gauge,
        unit: Unit::Ratio,
        labels: &[CACHE_TYPE, LEVEL],
        help: "Of the cacheable reads of the last 60 s, at l1 the share that was answered from memory, stale ones included, at l2 the share of those that went upstream whose reply was not null.",
        absent: Some("of a key space and level without reads in that time"),
    },
    Metric {
        name: names::HITS,
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &[CACHE_TYPE],
        help: "Cacheable reads answered from memory.",
        absent: None,
    },
    Metric {
        name: names::MISSES,
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &[
            CACHE_TYPE,
            Dimension {
                name: "reason",
                meaning: "`not_held`: nothing is held of it; `expired`: what was held has come to its end; `fenced`: the session was shown something that may be newer than what is held; `written`: a write of its key is in flight; `overtaken`: it could not wait for its turn, since a later command of its pipeline had to be sent first, or too many waited; `not_serving`: the upstream was not heard from within `max_staleness`, or a write whose keys are not known is under way; `off`: L1 is off, or the upstream does not track; `shadow`: L1 is in shadow mode",
                values: &[
                    "not_held",
                    "expired",
                    "fenced",
                    "written",
                    "overtaken",
                    "not_serving",
                    "off",
                    "shadow",
                ],
            },
        ],
        help: "Cacheable reads not answered from memory: they went upstream, or shared the reply to another session's read that did.",
        absent: None,
    },
    Metric {
        name: names::STALE_SERVED,
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &[CACHE_TYPE],
        help: "Reads answered, while the upstream was lost, with what was true before; neither hits nor misses.",
        absent: None,
    },
    Metric {
        name: names::FILLS,
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &[CACHE_TYPE],
        help: "Replies put into L1.",
        absent: None,
    },
    Metric {
        name: names::FILLS_REFUSED,
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &[
            CACHE_TYPE,
            Dimension {
                name: "reason",
                meaning: "`untracked`: the upstream does not track the read; `pushed`: a push named its key on the way, or everything was dropped; `written`: a write of its key was in flight; `expiry`: the upstream's word on its expiry did not agree with it; `large`: it is larger than `max_entry_bytes`, or than all of L1; `error`: it is an error; `negative`: it says that there is no such key, and the key space keeps none of those; `by_hand`: its key was invalidated by hand on the way; `late`: it came after `request_timeout`",
                values: &[
                    "untracked",
                    "pushed",
                    "written",
                    "expiry",
                    "large",
                    "error",
                    "negative",
                    "by_hand",
                    "late",
                ],
            },
        ],
        help: "Replies that were read for L1 and not put in.",
        absent: None,
    },
    Metric {
        name: names::SHADOW,
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &[
            CACHE_TYPE,
            Dimension {
                name: "outcome",
                meaning: "what the upstream answered: the `same`, another with an invalidation on the way (`moved`), or another without one (`different`), which should never be",
                values: &["same", "moved", "different"],
            },
        ],
        help: "Shadow mode: answers that L1 would have given, compared with the upstream's.",
        absent: None,
    },
    Metric {
        name: names::AUDITED,
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &[Dimension {
            name: "outcome",
            meaning: "what the upstream had: the `same`; something else, for a reason that L1 knows (`explained`); something else for none (`incoherent`); or it did not say (`unanswered`)",
            values: &["same", "explained", "incoherent", "unanswered"],
        }],
        help: "Hits that were read from the upstream as well: see `[audit_reads]`.",
        absent: None,
    },
    Metric {
        name: names::INCOHERENT,
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &[CACHE_TYPE],
        help: "Audited hits that were not what the upstream had, without an invalidation; this should never be.",
        absent: None,
    },
    Metric {
        name: names::INVALIDATIONS,
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &[Dimension {
            name: "cause",
            meaning: "`push`: keys named by the upstream's invalidations, held or not; `own_write`: keys of writes that went through this nearside; `by_hand`: entries dropped by an operator, by a client's NEARSIDE INVALIDATE or by the fleet",
            values: &["push", "own_write", "by_hand"],
        }],
        help: "Invalidations by what caused them.",
        absent: None,
    },
    Metric {
        name: names::CLEARS,
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &[],
        help: "Times that L1, or a lane's part of it, was dropped whole: a lost lane, FLUSHALL, a write whose keys are not known.",
        absent: None,
    },
    Metric {
        name: names::EVICTIONS,
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &[],
        help: "Entries evicted to keep L1 within its bound.",
        absent: None,
    },
    Metric {
        name: names::ENTRIES,
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: &[CACHE_TYPE],
        help: "Entries in L1; several replies that hang on one key are several entries.",
        absent: None,
    },
    Metric {
        name: names::BYTES,
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        labels: &[CACHE_TYPE],
        help: "Accounted bytes of L1: keys, replies and what they cost beside that.",
        absent: None,
    },
    Metric {
        name: names::MAX_BYTES,
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        labels: &[],
        help: "Bound on the accounted bytes of L1, of all key spaces together.",
        absent: None,
    },
];
