//! The connection, transactions, pub/sub, and scripts.

use super::{Access, NONE, R_ALL, R_COUNTED_2, W_COUNTED_2, key, keys, row};
use crate::command::Class::{
    Auth, Client, Discard, Exec, Hello, LaneRead, Multi, Nearside, OwnRead, OwnUnknown, Quit, Raw,
    Reset, Select, Subscribe, Unsubscribe, Unwatch, Watch,
};
use crate::command::{Row, Spec};

const CHANNEL: &[Spec] = &[key(1, Access::Channel)];
const CHANNELS: &[Spec] = &[keys(1, -1, 1, Access::Channel)];

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("AUTH", -2, "", NONE, Auth),
    row("CLIENT", -2, "", NONE, Client).subs(&[
        row("CLIENT|CACHING", 3, "", NONE, Client),
        row("CLIENT|CAPA", -3, "", NONE, Client),
        row("CLIENT|GETNAME", 2, "", NONE, Client),
        row("CLIENT|GETREDIR", 2, "", NONE, Client),
        row("CLIENT|HELP", 2, "", NONE, Client),
        row("CLIENT|ID", 2, "", NONE, Client),
        row("CLIENT|IMPORT-SOURCE", 3, "", NONE, Client),
        row("CLIENT|INFO", 2, "n", NONE, Client),
        row("CLIENT|KILL", -3, "a", NONE, Client),
        row("CLIENT|LIST", -2, "an", NONE, Client),
        row("CLIENT|NO-EVICT", 3, "a", NONE, Client),
        row("CLIENT|NO-TOUCH", 3, "", NONE, Client),
        row("CLIENT|PAUSE", -3, "a", NONE, Client),
        row("CLIENT|REPLY", 3, "", NONE, Client),
        row("CLIENT|SETINFO", 4, "", NONE, Client),
        row("CLIENT|SETNAME", 3, "", NONE, Client),
        row("CLIENT|TRACKING", -3, "", NONE, Client),
        row("CLIENT|TRACKINGINFO", 2, "", NONE, Client),
        row("CLIENT|UNBLOCK", -3, "a", NONE, Client),
        row("CLIENT|UNPAUSE", 2, "a", NONE, Client),
    ]),
    row("ECHO", 2, "", NONE, LaneRead),
    row("HELLO", -1, "", NONE, Hello),
    // nearside's own: no server has it.
    row("NEARSIDE", -2, "", NONE, Nearside).subs(&[
        row("NEARSIDE|BIGKEYS", -2, "", NONE, Nearside),
        row("NEARSIDE|EXPLAIN", -3, "", NONE, Nearside),
        row("NEARSIDE|HELP", 2, "", NONE, Nearside),
        row("NEARSIDE|HOTKEYS", -2, "", NONE, Nearside),
        row("NEARSIDE|INVALIDATE", -3, "", NONE, Nearside),
        row("NEARSIDE|SLOWLOG", -2, "", NONE, Nearside),
        row("NEARSIDE|STATS", 2, "", NONE, Nearside),
        row("NEARSIDE|TRACEPARENT", 3, "", NONE, Nearside),
        row("NEARSIDE|UPSTREAMS", 2, "", NONE, Nearside),
    ]),
    row("PING", -1, "", NONE, LaneRead),
    row("QUIT", -1, "", NONE, Quit),
    row("RESET", 1, "", NONE, Reset),
    row("SELECT", 2, "", NONE, Select),

    row("DISCARD", 1, "", NONE, Discard),
    row("EXEC", 1, "", NONE, Exec),
    row("MULTI", 1, "", NONE, Multi),
    row("UNWATCH", 1, "", NONE, Unwatch),
    row("WATCH", -2, "", R_ALL, Watch),

    row("PSUBSCRIBE", -2, "", NONE, Subscribe),
    row("PUBLISH", 3, "p", NONE, LaneRead),
    row("PUBSUB", -2, "", NONE, LaneRead).subs(&[
        row("PUBSUB|CHANNELS", -2, "", NONE, LaneRead),
        row("PUBSUB|HELP", 2, "", NONE, LaneRead),
        row("PUBSUB|NUMPAT", 2, "", NONE, LaneRead),
        row("PUBSUB|NUMSUB", -2, "", NONE, LaneRead),
        row("PUBSUB|SHARDCHANNELS", -2, "", NONE, LaneRead),
        row("PUBSUB|SHARDNUMSUB", -2, "", NONE, LaneRead),
    ]),
    row("PUNSUBSCRIBE", -1, "", NONE, Unsubscribe),
    row("SPUBLISH", 3, "p", CHANNEL, LaneRead),
    row("SSUBSCRIBE", -2, "", CHANNELS, Subscribe),
    row("SUBSCRIBE", -2, "", NONE, Subscribe),
    row("SUNSUBSCRIBE", -1, "", CHANNELS, Unsubscribe),
    row("UNSUBSCRIBE", -1, "", NONE, Unsubscribe),

    // The keys that a script declares are never taken for all that it changes.
    row("EVAL", -3, "p", W_COUNTED_2, OwnUnknown),
    row("EVAL_RO", -3, "r", R_COUNTED_2, OwnRead),
    row("EVALSHA", -3, "p", W_COUNTED_2, OwnUnknown),
    row("EVALSHA_RO", -3, "r", R_COUNTED_2, OwnRead),
    row("FCALL", -3, "p", W_COUNTED_2, OwnUnknown),
    row("FCALL_RO", -3, "r", R_COUNTED_2, OwnRead),
    row("FUNCTION", -2, "", NONE, OwnRead).subs(&[
        row("FUNCTION|DELETE", 3, "w", NONE, OwnRead),
        row("FUNCTION|DUMP", 2, "", NONE, OwnRead),
        row("FUNCTION|FLUSH", -2, "w", NONE, OwnRead),
        row("FUNCTION|HELP", 2, "", NONE, OwnRead),
        row("FUNCTION|KILL", 2, "", NONE, OwnRead),
        row("FUNCTION|LIST", -2, "", NONE, OwnRead),
        row("FUNCTION|LOAD", -3, "w", NONE, OwnRead),
        row("FUNCTION|RESTORE", -3, "w", NONE, OwnRead),
        row("FUNCTION|STATS", 2, "n", NONE, OwnRead),
    ]),
    row("SCRIPT", -2, "", NONE, OwnRead).subs(&[
        row("SCRIPT|DEBUG", -3, "", NONE, OwnRead),
        row("SCRIPT|EXISTS", -3, "", NONE, OwnRead),
        row("SCRIPT|FLUSH", -2, "", NONE, OwnRead),
        row("SCRIPT|HELP", 2, "", NONE, OwnRead),
        row("SCRIPT|KILL", 2, "", NONE, OwnRead),
        row("SCRIPT|LOAD", 3, "", NONE, OwnRead),
        row("SCRIPT|SHOW", 3, "", NONE, OwnRead),
    ]),

    row("MONITOR", 1, "a", NONE, Raw),
    row("PSYNC", -3, "a", NONE, Raw),
    row("SYNC", 1, "a", NONE, Raw),
];
