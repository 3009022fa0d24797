//! Streams.

use super::{Access, NONE, R1, R2, Shape, W1, W2, row};
use crate::command::Class::{LaneRead, LaneWrite, OwnRead, OwnWrite};
use crate::command::{Begin, Find, Row, Spec};

/// Keys and as many ids behind STREAMS, which may be a group's or a consumer's name as well.
const STREAMS: &[Spec] = &[Spec {
    begin: Begin::Word {
        word: "STREAMS",
        from: 1,
        options: &[("COUNT", 1), ("BLOCK", 1), ("GROUP", 2), ("CLAIM", 1)],
        last: false,
    },
    find: Find::Range {
        last: -1,
        step: 1,
        limit: 2,
    },
    access: Access::Read,
}];

static XREAD_BLOCK: Row = row("XREAD", -4, "rb", STREAMS, OwnRead).shaped(Shape::Streams);
static XREADGROUP_BLOCK: Row =
    row("XREADGROUP", -7, "wb", STREAMS, OwnWrite).shaped(Shape::Streams);

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("XACK", -4, "w", W1, LaneWrite),
    row("XACKDEL", -6, "w", W1, LaneWrite),
    row("XADD", -5, "wn", W1, LaneWrite),
    row("XAUTOCLAIM", -6, "wn", W1, LaneWrite),
    row("XCLAIM", -6, "wn", W1, LaneWrite),
    row("XDEL", -3, "w", W1, LaneWrite),
    row("XDELEX", -5, "w", W1, LaneWrite),
    row("XGROUP", -2, "", NONE, LaneWrite).subs(&[
        row("XGROUP|CREATE", -5, "w", W2, LaneWrite),
        row("XGROUP|CREATECONSUMER", 5, "w", W2, LaneWrite),
        row("XGROUP|DELCONSUMER", 5, "w", W2, LaneWrite),
        row("XGROUP|DESTROY", 4, "w", W2, LaneWrite),
        row("XGROUP|HELP", 2, "", NONE, LaneRead),
        row("XGROUP|SETID", -5, "w", W2, LaneWrite),
    ]),
    row("XINFO", -2, "", NONE, LaneRead).subs(&[
        row("XINFO|CONSUMERS", 4, "rn", R2, LaneRead),
        row("XINFO|GROUPS", 3, "r", R2, LaneRead),
        row("XINFO|HELP", 2, "", NONE, LaneRead),
        row("XINFO|STREAM", -3, "r", R2, LaneRead),
    ]),
    row("XLEN", 2, "r", R1, LaneRead).cached(),
    row("XPENDING", -3, "rn", R1, LaneRead).shaped(Shape::NullFourth),
    row("XRANGE", -4, "r", R1, LaneRead).shaped(Shape::NullArray).cached(),
    row("XREAD", -4, "rb", STREAMS, LaneRead).shaped(Shape::Streams).word("BLOCK", &XREAD_BLOCK),
    // It changes what its group has seen, which no cached reply tells, and not the stream.
    row("XREADGROUP", -7, "wb", STREAMS, LaneWrite).shaped(Shape::Streams).word("BLOCK", &XREADGROUP_BLOCK),
    row("XREVRANGE", -4, "r", R1, LaneRead).shaped(Shape::NullArray).cached(),
    row("XSETID", -3, "w", W1, LaneWrite),
    row("XTRIM", -4, "wn", W1, LaneWrite),
];
