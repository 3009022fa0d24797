//! Sorted sets and the geographic commands over them.

use super::{
    Access, R_COUNTED, R1, Shape, W_BUT_LAST, W_COUNTED, W_COUNTED_2, W1, W1_R_COUNTED, W1_R2, key,
    option, row,
};
use crate::command::Class::{LaneRead, LaneWrite, OwnWrite};
use crate::command::{Row, Spec};

const GEORADIUS: &[Spec] = &[
    key(1, Access::Read),
    option("STORE", 6, &[("STOREDIST", 1)], Access::Write),
    option("STOREDIST", 6, &[("STORE", 1)], Access::Write),
];
const GEORADIUSBYMEMBER: &[Spec] = &[
    key(1, Access::Read),
    option("STORE", 5, &[("STOREDIST", 1)], Access::Write),
    option("STOREDIST", 5, &[("STORE", 1)], Access::Write),
];

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("BZMPOP", -5, "wb", W_COUNTED_2, OwnWrite),
    row("BZPOPMAX", -3, "wb", W_BUT_LAST, OwnWrite),
    row("BZPOPMIN", -3, "wb", W_BUT_LAST, OwnWrite),
    row("ZADD", -4, "w", W1, LaneWrite),
    row("ZCARD", 2, "r", R1, LaneRead).cached(),
    row("ZCOUNT", 4, "r", R1, LaneRead).cached(),
    row("ZDIFF", -3, "r", R_COUNTED, LaneRead).shaped(Shape::Pairs).cached(),
    row("ZDIFFSTORE", -4, "w", W1_R_COUNTED, LaneWrite),
    row("ZINCRBY", 4, "w", W1, LaneWrite),
    row("ZINTER", -3, "r", R_COUNTED, LaneRead).shaped(Shape::Pairs).cached(),
    row("ZINTERCARD", -3, "r", R_COUNTED, LaneRead).cached(),
    row("ZINTERSTORE", -4, "w", W1_R_COUNTED, LaneWrite),
    row("ZLEXCOUNT", 4, "r", R1, LaneRead).cached(),
    row("ZMPOP", -4, "w", W_COUNTED, LaneWrite).shaped(Shape::NullArray),
    row("ZMSCORE", -3, "r", R1, LaneRead).cached(),
    row("ZPOPMAX", -2, "w", W1, LaneWrite).shaped(Shape::Pairs),
    row("ZPOPMIN", -2, "w", W1, LaneWrite).shaped(Shape::Pairs),
    row("ZRANDMEMBER", -2, "rn", R1, LaneRead).shaped(Shape::Pairs),
    row("ZRANGE", -4, "r", R1, LaneRead).shaped(Shape::Pairs).cached(),
    row("ZRANGEBYLEX", -4, "r", R1, LaneRead).cached(),
    row("ZRANGEBYSCORE", -4, "r", R1, LaneRead).shaped(Shape::Pairs).cached(),
    row("ZRANGESTORE", -5, "w", W1_R2, LaneWrite),
    // With WITHSCORE, of Redis 7.2, a null is an array.
    row("ZRANK", -3, "r", R1, LaneRead).shaped_from(4, Shape::NullArray).cached(),
    row("ZREM", -3, "w", W1, LaneWrite),
    row("ZREMRANGEBYLEX", 4, "w", W1, LaneWrite),
    row("ZREMRANGEBYRANK", 4, "w", W1, LaneWrite),
    row("ZREMRANGEBYSCORE", 4, "w", W1, LaneWrite),
    row("ZREVRANGE", -4, "r", R1, LaneRead).shaped(Shape::Pairs).cached(),
    row("ZREVRANGEBYLEX", -4, "r", R1, LaneRead).cached(),
    row("ZREVRANGEBYSCORE", -4, "r", R1, LaneRead).shaped(Shape::Pairs).cached(),
    row("ZREVRANK", -3, "r", R1, LaneRead).shaped_from(4, Shape::NullArray).cached(),
    row("ZSCAN", -3, "rn", R1, LaneRead),
    row("ZSCORE", 3, "r", R1, LaneRead).cached(),
    row("ZUNION", -3, "r", R_COUNTED, LaneRead).shaped(Shape::Pairs).cached(),
    row("ZUNIONSTORE", -4, "w", W1_R_COUNTED, LaneWrite),

    row("GEOADD", -5, "w", W1, LaneWrite),
    row("GEODIST", -4, "r", R1, LaneRead).cached(),
    row("GEOHASH", -2, "r", R1, LaneRead).cached(),
    row("GEOPOS", -2, "r", R1, LaneRead).shaped(Shape::NullElements).cached(),
    row("GEORADIUS", -6, "w", GEORADIUS, LaneWrite),
    row("GEORADIUS_RO", -6, "r", R1, LaneRead).cached(),
    row("GEORADIUSBYMEMBER", -5, "w", GEORADIUSBYMEMBER, LaneWrite),
    row("GEORADIUSBYMEMBER_RO", -5, "r", R1, LaneRead).cached(),
    row("GEOSEARCH", -7, "r", R1, LaneRead).cached(),
    row("GEOSEARCHSTORE", -8, "w", W1_R2, LaneWrite),
];
