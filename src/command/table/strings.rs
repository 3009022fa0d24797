//! Strings, bitmaps, and `HyperLogLog`.

use super::{Access, NONE, R_ALL, R1, W_ALL, W1, W1_R_REST, counted, key, keys, row};
use crate::command::Class::{Get, LaneRead, LaneWrite, Mget, OwnRead, OwnWrite};
use crate::command::{Find, Row, Spec};

/// Every other argument, written.
const W_PAIRS: &[Spec] = &[keys(1, -1, 2, Access::Write)];
const BITOP: &[Spec] = &[key(2, Access::Write), keys(3, -1, 1, Access::Read)];
const LCS: &[Spec] = &[keys(1, 1, 1, Access::Read)];
const MSETEX: &[Spec] = &[Spec {
    find: Find::Count {
        number: 0,
        first: 1,
        step: 2,
    },
    ..counted(1, Access::Write)
}];

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("APPEND", 3, "w", W1, LaneWrite),
    row("BITCOUNT", -2, "r", R1, LaneRead).cached(),
    row("BITFIELD", -2, "w", W1, LaneWrite),
    row("BITFIELD_RO", -2, "r", R1, LaneRead).cached(),
    row("BITOP", -4, "w", BITOP, LaneWrite),
    row("BITPOS", -3, "r", R1, LaneRead).cached(),
    row("DECR", 2, "w", W1, LaneWrite),
    row("DECRBY", 3, "w", W1, LaneWrite),
    row("DELIFEQ", 3, "w", W1, LaneWrite),
    row("GET", 2, "r", R1, Get).cached(),
    row("GETBIT", 3, "r", R1, LaneRead).cached(),
    row("GETDEL", 2, "w", W1, LaneWrite),
    row("GETEX", -2, "w", W1, LaneWrite),
    row("GETRANGE", 4, "r", R1, LaneRead).cached(),
    row("GETSET", 3, "w", W1, LaneWrite),
    row("INCR", 2, "w", W1, LaneWrite),
    row("INCRBY", 3, "w", W1, LaneWrite),
    row("INCRBYFLOAT", 3, "w", W1, LaneWrite),
    row("LCS", -3, "r", LCS, LaneRead).cached(),
    row("MGET", -2, "r", R_ALL, Mget).cached(),
    row("MSET", -3, "w", W_PAIRS, LaneWrite),
    row("MSETEX", -4, "w", MSETEX, LaneWrite),
    row("MSETNX", -3, "w", W_PAIRS, LaneWrite),
    row("PFADD", -2, "w", W1, LaneWrite),
    // It stores the count that it has computed.
    row("PFCOUNT", -2, "rp", W_ALL, LaneWrite),
    row("PFDEBUG", 3, "wa", &[key(2, Access::Write)], OwnWrite),
    row("PFMERGE", -2, "w", W1_R_REST, LaneWrite),
    row("PFSELFTEST", 1, "a", NONE, OwnRead),
    row("PSETEX", 4, "w", W1, LaneWrite),
    row("SET", -3, "w", W1, LaneWrite),
    row("SETBIT", 4, "w", W1, LaneWrite),
    row("SETEX", 4, "w", W1, LaneWrite),
    row("SETNX", 3, "w", W1, LaneWrite),
    row("SETRANGE", 4, "w", W1, LaneWrite),
    row("STRLEN", 2, "r", R1, LaneRead).cached(),
    row("SUBSTR", 4, "r", R1, LaneRead).cached(),
];
