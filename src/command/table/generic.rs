//! Keys of any type, and the key space.

use super::{Access, NONE, R_ALL, R1, R2, W_ALL, W1, W1_W2, key, keys, option, row};
use crate::command::Class::{LaneRead, LaneUnknown, LaneWrite, OwnRead, OwnWrite, Swapdb};
use crate::command::{Begin, Find, Row, Spec};

const COPY: &[Spec] = &[key(1, Access::Read), key(2, Access::Write)];

const SORT_OPTIONS: &[(&str, u8)] = &[("LIMIT", 2), ("GET", 1), ("BY", 1)];

/// The patterns of BY and GET name keys that only the server knows.
const fn pattern(word: &'static str, options: &'static [(&'static str, u8)]) -> Spec {
    Spec {
        find: Find::Unknown,
        ..option(word, 2, options, Access::Read)
    }
}

const SORT_RO: &[Spec] = &[
    key(1, Access::Read),
    pattern("BY", &[("LIMIT", 2), ("GET", 1)]),
    pattern("GET", &[("LIMIT", 2), ("BY", 1)]),
];
const SORT: &[Spec] = &[
    SORT_RO[0],
    SORT_RO[1],
    SORT_RO[2],
    option("STORE", 2, SORT_OPTIONS, Access::Write),
];

/// One key, or an empty one and many behind KEYS.
const MIGRATE: &[Spec] = &[
    key(3, Access::Write),
    Spec {
        begin: Begin::Word {
            word: "KEYS",
            from: 6,
            options: &[("AUTH", 1), ("AUTH2", 2)],
            last: false,
        },
        ..keys(0, -1, 1, Access::Write)
    },
];

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("COPY", -3, "w", COPY, LaneWrite),
    row("DBSIZE", 1, "r", NONE, LaneRead),
    row("DEL", -2, "w", W_ALL, LaneWrite),
    row("DUMP", 2, "rn", R1, LaneRead),
    row("EXISTS", -2, "r", R_ALL, LaneRead).cached(),
    row("EXPIRE", -3, "w", W1, LaneWrite),
    row("EXPIREAT", -3, "w", W1, LaneWrite),
    row("EXPIRETIME", 2, "r", R1, LaneRead),
    row("FLUSHALL", -1, "w", NONE, LaneUnknown),
    row("FLUSHDB", -1, "w", NONE, LaneUnknown),
    row("KEYS", 2, "r", NONE, OwnRead),
    row("MIGRATE", -6, "wn", MIGRATE, OwnWrite),
    row("MOVE", 3, "w", W1, LaneWrite),
    row("OBJECT", -2, "", NONE, LaneRead).subs(&[
        row("OBJECT|ENCODING", 3, "rn", R2, LaneRead),
        row("OBJECT|FREQ", 3, "rn", R2, LaneRead),
        row("OBJECT|HELP", 2, "", NONE, LaneRead),
        row("OBJECT|IDLETIME", 3, "rn", R2, LaneRead),
        row("OBJECT|REFCOUNT", 3, "rn", R2, LaneRead),
    ]),
    row("PERSIST", 2, "w", W1, LaneWrite),
    row("PEXPIRE", -3, "w", W1, LaneWrite),
    row("PEXPIREAT", -3, "w", W1, LaneWrite),
    row("PEXPIRETIME", 2, "r", R1, LaneRead),
    row("PTTL", 2, "rn", R1, LaneRead),
    row("RANDOMKEY", 1, "rn", NONE, LaneRead),
    row("RENAME", 3, "w", W1_W2, LaneWrite),
    row("RENAMENX", 3, "w", W1_W2, LaneWrite),
    row("RESTORE", -4, "w", W1, LaneWrite),
    row("RESTORE-ASKING", -4, "w", W1, LaneWrite),
    row("SCAN", -2, "rn", NONE, LaneRead),
    row("SORT", -2, "w", SORT, OwnWrite),
    row("SORT_RO", -2, "r", SORT_RO, OwnRead),
    row("SWAPDB", 3, "w", NONE, Swapdb),
    row("TOUCH", -2, "r", R_ALL, LaneRead),
    row("TTL", 2, "rn", R1, LaneRead),
    row("TYPE", 2, "r", R1, LaneRead).cached(),
    row("UNLINK", -2, "w", W_ALL, LaneWrite),
];
