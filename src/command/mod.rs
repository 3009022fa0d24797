//! The command table: what a command means. Data; everything that asks about a command asks here.
//!
//! Arity, flags and key positions are those of Redis 7.0's own `COMMAND`; the class says where nearside sends
//! it. A command that is not in the table goes over the session's own connection.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Where a command goes and what it may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// GET: answered from L1.
    Get,
    /// MGET: answered from L1, key by key.
    Mget,
    /// By the lane; changes no key.
    LaneRead,
    /// By the lane; changes the keys that it names.
    LaneWrite,
    /// Over an own connection; changes no key.
    OwnRead,
    /// Over an own connection; changes the keys that it names.
    OwnWrite,
    /// Over an own connection; may change keys that it does not name.
    OwnUnknown,
    /// SWAPDB: changes everything and pushes nothing.
    Swapdb,
    /// MULTI.
    Multi,
    /// EXEC.
    Exec,
    /// DISCARD.
    Discard,
    /// WATCH.
    Watch,
    /// UNWATCH.
    Unwatch,
    /// The SUBSCRIBE family.
    Subscribe,
    /// The UNSUBSCRIBE family.
    Unsubscribe,
    /// MONITOR, SYNC, PSYNC: from then on the connection's bytes are passed as they are.
    Raw,
    /// SELECT.
    Select,
    /// AUTH.
    Auth,
    /// HELLO.
    Hello,
    /// RESET.
    Reset,
    /// QUIT.
    Quit,
    /// CLIENT.
    Client,
    /// WAIT: counts the writes of its connection.
    Wait,
}

/// One command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Name in upper case.
    pub name: &'static str,
    /// Number of arguments, the name included; negative for a minimum.
    pub arity: i16,
    first: u8,
    last: i8,
    step: u8,
    /// Route and effect.
    pub class: Class,
    /// May wait for another client.
    pub blocking: bool,
}

impl Row {
    /// Whether a request with this many arguments, the name included, has the right number.
    #[must_use]
    pub fn takes(&self, arguments: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 {
            arguments >= arity
        } else {
            arguments == arity
        }
    }

    /// The positions of the keys among `arguments` arguments, the name being at 0.
    pub fn key_positions(&self, arguments: usize) -> impl Iterator<Item = usize> + use<> {
        let last = if self.last < 0 {
            arguments.saturating_sub(usize::from(self.last.unsigned_abs()))
        } else {
            usize::from(self.last.unsigned_abs()).min(arguments.saturating_sub(1))
        };
        let first = usize::from(self.first);
        let end = if first == 0 { 0 } else { last + 1 };
        (first..end).step_by(usize::from(self.step).max(1))
    }
}

const fn row(
    name: &'static str,
    arity: i16,
    first: u8,
    last: i8,
    step: u8,
    class: Class,
    blocking: bool,
) -> Row {
    Row {
        name,
        arity,
        first,
        last,
        step,
        class,
        blocking,
    }
}

/// The row of the command called `name`, in any case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Row> {
    let mut upper = [0u8; LONGEST];
    let upper = upper.get_mut(..name.len())?;
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    BY_NAME.get(&*upper).copied()
}

const LONGEST: usize = 24;

static BY_NAME: LazyLock<HashMap<&'static [u8], &'static Row, foldhash::fast::FixedState>> =
    LazyLock::new(|| TABLE.iter().map(|row| (row.name.as_bytes(), row)).collect());

/// Every row, by name.
#[rustfmt::skip]
pub static TABLE: &[Row] = &[
    row("ACL", -2, 0, 0, 0, Class::OwnRead, false),
    row("APPEND", 3, 1, 1, 1, Class::LaneWrite, false),
    row("ASKING", 1, 0, 0, 0, Class::OwnRead, false),
    row("AUTH", -2, 0, 0, 0, Class::Auth, false),
    row("BGREWRITEAOF", 1, 0, 0, 0, Class::OwnRead, false),
    row("BGSAVE", -1, 0, 0, 0, Class::OwnRead, false),
    row("BITCOUNT", -2, 1, 1, 1, Class::LaneRead, false),
    row("BITFIELD", -2, 1, 1, 1, Class::LaneWrite, false),
    row("BITFIELD_RO", -2, 1, 1, 1, Class::LaneRead, false),
    row("BITOP", -4, 2, -1, 1, Class::LaneWrite, false),
    row("BITPOS", -3, 1, 1, 1, Class::LaneRead, false),
    row("BLMOVE", 6, 1, 2, 1, Class::OwnWrite, true),
    row("BLMPOP", -5, 0, 0, 0, Class::OwnUnknown, true),
    row("BLPOP", -3, 1, -2, 1, Class::OwnWrite, true),
    row("BRPOP", -3, 1, -2, 1, Class::OwnWrite, true),
    row("BRPOPLPUSH", 4, 1, 2, 1, Class::OwnWrite, true),
    row("BZMPOP", -5, 0, 0, 0, Class::OwnUnknown, true),
    row("BZPOPMAX", -3, 1, -2, 1, Class::OwnWrite, true),
    row("BZPOPMIN", -3, 1, -2, 1, Class::OwnWrite, true),
    row("CLIENT", -2, 0, 0, 0, Class::Client, false),
    row("CLUSTER", -2, 0, 0, 0, Class::OwnUnknown, false),
    row("COMMAND", -1, 0, 0, 0, Class::OwnRead, false),
    row("CONFIG", -2, 0, 0, 0, Class::OwnRead, false),
    row("COPY", -3, 1, 2, 1, Class::LaneWrite, false),
    row("DBSIZE", 1, 0, 0, 0, Class::OwnRead, false),
    row("DEBUG", -2, 0, 0, 0, Class::OwnUnknown, false),
    row("DECR", 2, 1, 1, 1, Class::LaneWrite, false),
    row("DECRBY", 3, 1, 1, 1, Class::LaneWrite, false),
    row("DEL", -2, 1, -1, 1, Class::LaneWrite, false),
    row("DISCARD", 1, 0, 0, 0, Class::Discard, false),
    row("DUMP", 2, 1, 1, 1, Class::OwnRead, false),
    row("ECHO", 2, 0, 0, 0, Class::LaneRead, false),
    row("EVAL", -3, 0, 0, 0, Class::OwnUnknown, false),
    row("EVAL_RO", -3, 0, 0, 0, Class::OwnRead, false),
    row("EVALSHA", -3, 0, 0, 0, Class::OwnUnknown, false),
    row("EVALSHA_RO", -3, 0, 0, 0, Class::OwnRead, false),
    row("EXEC", 1, 0, 0, 0, Class::Exec, false),
    row("EXISTS", -2, 1, -1, 1, Class::LaneRead, false),
    row("EXPIRE", -3, 1, 1, 1, Class::LaneWrite, false),
    row("EXPIREAT", -3, 1, 1, 1, Class::LaneWrite, false),
    row("EXPIRETIME", 2, 1, 1, 1, Class::LaneRead, false),
    row("FAILOVER", -1, 0, 0, 0, Class::OwnUnknown, false),
    row("FCALL", -3, 0, 0, 0, Class::OwnUnknown, false),
    row("FCALL_RO", -3, 0, 0, 0, Class::OwnRead, false),
    row("FLUSHALL", -1, 0, 0, 0, Class::OwnUnknown, false),
    row("FLUSHDB", -1, 0, 0, 0, Class::OwnUnknown, false),
    row("FUNCTION", -2, 0, 0, 0, Class::OwnUnknown, false),
    row("GEOADD", -5, 1, 1, 1, Class::LaneWrite, false),
    row("GEODIST", -4, 1, 1, 1, Class::LaneRead, false),
    row("GEOHASH", -2, 1, 1, 1, Class::LaneRead, false),
    row("GEOPOS", -2, 1, 1, 1, Class::OwnRead, false),
    row("GEORADIUS", -6, 1, 1, 1, Class::OwnUnknown, false),
    row("GEORADIUS_RO", -6, 1, 1, 1, Class::OwnRead, false),
    row("GEORADIUSBYMEMBER", -5, 1, 1, 1, Class::OwnUnknown, false),
    row("GEORADIUSBYMEMBER_RO", -5, 1, 1, 1, Class::OwnRead, false),
    row("GEOSEARCH", -7, 1, 1, 1, Class::OwnRead, false),
    row("GEOSEARCHSTORE", -8, 1, 2, 1, Class::LaneWrite, false),
    row("GET", 2, 1, 1, 1, Class::Get, false),
    row("GETBIT", 3, 1, 1, 1, Class::LaneRead, false),
    row("GETDEL", 2, 1, 1, 1, Class::LaneWrite, false),
    row("GETEX", -2, 1, 1, 1, Class::LaneWrite, false),
    row("GETRANGE", 4, 1, 1, 1, Class::LaneRead, false),
    row("GETSET", 3, 1, 1, 1, Class::LaneWrite, false),
    row("HDEL", -3, 1, 1, 1, Class::LaneWrite, false),
    row("HELLO", -1, 0, 0, 0, Class::Hello, false),
    row("HEXISTS", 3, 1, 1, 1, Class::LaneRead, false),
    row("HGET", 3, 1, 1, 1, Class::LaneRead, false),
    row("HGETALL", 2, 1, 1, 1, Class::LaneRead, false),
    row("HINCRBY", 4, 1, 1, 1, Class::LaneWrite, false),
    row("HINCRBYFLOAT", 4, 1, 1, 1, Class::LaneWrite, false),
    row("HKEYS", 2, 1, 1, 1, Class::LaneRead, false),
    row("HLEN", 2, 1, 1, 1, Class::LaneRead, false),
    row("HMGET", -3, 1, 1, 1, Class::LaneRead, false),
    row("HMSET", -4, 1, 1, 1, Class::LaneWrite, false),
    row("HRANDFIELD", -2, 1, 1, 1, Class::OwnRead, false),
    row("HSCAN", -3, 1, 1, 1, Class::LaneRead, false),
    row("HSET", -4, 1, 1, 1, Class::LaneWrite, false),
    row("HSETNX", 4, 1, 1, 1, Class::LaneWrite, false),
    row("HSTRLEN", 3, 1, 1, 1, Class::LaneRead, false),
    row("HVALS", 2, 1, 1, 1, Class::LaneRead, false),
    row("INCR", 2, 1, 1, 1, Class::LaneWrite, false),
    row("INCRBY", 3, 1, 1, 1, Class::LaneWrite, false),
    row("INCRBYFLOAT", 3, 1, 1, 1, Class::LaneWrite, false),
    row("INFO", -1, 0, 0, 0, Class::OwnRead, false),
    row("KEYS", 2, 0, 0, 0, Class::OwnRead, false),
    row("LASTSAVE", 1, 0, 0, 0, Class::OwnRead, false),
    row("LATENCY", -2, 0, 0, 0, Class::OwnRead, false),
    row("LCS", -3, 1, 2, 1, Class::LaneRead, false),
    row("LINDEX", 3, 1, 1, 1, Class::LaneRead, false),
    row("LINSERT", 5, 1, 1, 1, Class::LaneWrite, false),
    row("LLEN", 2, 1, 1, 1, Class::LaneRead, false),
    row("LMOVE", 5, 1, 2, 1, Class::LaneWrite, false),
    row("LMPOP", -4, 0, 0, 0, Class::OwnUnknown, false),
    row("LOLWUT", -1, 0, 0, 0, Class::OwnRead, false),
    row("LPOP", -2, 1, 1, 1, Class::OwnWrite, false),
    row("LPOS", -3, 1, 1, 1, Class::LaneRead, false),
    row("LPUSH", -3, 1, 1, 1, Class::LaneWrite, false),
    row("LPUSHX", -3, 1, 1, 1, Class::LaneWrite, false),
    row("LRANGE", 4, 1, 1, 1, Class::LaneRead, false),
    row("LREM", 4, 1, 1, 1, Class::LaneWrite, false),
    row("LSET", 4, 1, 1, 1, Class::LaneWrite, false),
    row("LTRIM", 4, 1, 1, 1, Class::LaneWrite, false),
    row("MEMORY", -2, 0, 0, 0, Class::OwnRead, false),
    row("MGET", -2, 1, -1, 1, Class::Mget, false),
    row("MIGRATE", -6, 3, 3, 1, Class::OwnUnknown, false),
    row("MODULE", -2, 0, 0, 0, Class::OwnUnknown, false),
    row("MONITOR", 1, 0, 0, 0, Class::Raw, false),
    row("MOVE", 3, 1, 1, 1, Class::LaneWrite, false),
    row("MSET", -3, 1, -1, 2, Class::LaneWrite, false),
    row("MSETNX", -3, 1, -1, 2, Class::LaneWrite, false),
    row("MULTI", 1, 0, 0, 0, Class::Multi, false),
    row("OBJECT", -2, 0, 0, 0, Class::OwnRead, false),
    row("PERSIST", 2, 1, 1, 1, Class::LaneWrite, false),
    row("PEXPIRE", -3, 1, 1, 1, Class::LaneWrite, false),
    row("PEXPIREAT", -3, 1, 1, 1, Class::LaneWrite, false),
    row("PEXPIRETIME", 2, 1, 1, 1, Class::LaneRead, false),
    row("PFADD", -2, 1, 1, 1, Class::LaneWrite, false),
    row("PFCOUNT", -2, 1, -1, 1, Class::LaneWrite, false),
    row("PFDEBUG", 3, 2, 2, 1, Class::OwnWrite, false),
    row("PFMERGE", -2, 1, -1, 1, Class::LaneWrite, false),
    row("PFSELFTEST", 1, 0, 0, 0, Class::OwnUnknown, false),
    row("PING", -1, 0, 0, 0, Class::LaneRead, false),
    row("PSETEX", 4, 1, 1, 1, Class::LaneWrite, false),
    row("PSUBSCRIBE", -2, 0, 0, 0, Class::Subscribe, false),
    row("PSYNC", -3, 0, 0, 0, Class::Raw, false),
    row("PTTL", 2, 1, 1, 1, Class::LaneRead, false),
    row("PUBLISH", 3, 0, 0, 0, Class::LaneRead, false),
    row("PUBSUB", -2, 0, 0, 0, Class::OwnRead, false),
    row("PUNSUBSCRIBE", -1, 0, 0, 0, Class::Unsubscribe, false),
    row("QUIT", -1, 0, 0, 0, Class::Quit, false),
    row("RANDOMKEY", 1, 0, 0, 0, Class::OwnRead, false),
    row("READONLY", 1, 0, 0, 0, Class::OwnRead, false),
    row("READWRITE", 1, 0, 0, 0, Class::OwnRead, false),
    row("RENAME", 3, 1, 2, 1, Class::LaneWrite, false),
    row("RENAMENX", 3, 1, 2, 1, Class::LaneWrite, false),
    row("REPLCONF", -1, 0, 0, 0, Class::OwnUnknown, false),
    row("REPLICAOF", 3, 0, 0, 0, Class::OwnUnknown, false),
    row("RESET", 1, 0, 0, 0, Class::Reset, false),
    row("RESTORE", -4, 1, 1, 1, Class::OwnWrite, false),
    row("RESTORE-ASKING", -4, 1, 1, 1, Class::OwnWrite, false),
    row("ROLE", 1, 0, 0, 0, Class::OwnRead, false),
    row("RPOP", -2, 1, 1, 1, Class::OwnWrite, false),
    row("RPOPLPUSH", 3, 1, 2, 1, Class::LaneWrite, false),
    row("RPUSH", -3, 1, 1, 1, Class::LaneWrite, false),
    row("RPUSHX", -3, 1, 1, 1, Class::LaneWrite, false),
    row("SADD", -3, 1, 1, 1, Class::LaneWrite, false),
    row("SAVE", 1, 0, 0, 0, Class::OwnRead, false),
    row("SCAN", -2, 0, 0, 0, Class::OwnRead, false),
    row("SCARD", 2, 1, 1, 1, Class::LaneRead, false),
    row("SCRIPT", -2, 0, 0, 0, Class::OwnRead, false),
    row("SDIFF", -2, 1, -1, 1, Class::LaneRead, false),
    row("SDIFFSTORE", -3, 1, -1, 1, Class::LaneWrite, false),
    row("SELECT", 2, 0, 0, 0, Class::Select, false),
    row("SET", -3, 1, 1, 1, Class::LaneWrite, false),
    row("SETBIT", 4, 1, 1, 1, Class::LaneWrite, false),
    row("SETEX", 4, 1, 1, 1, Class::LaneWrite, false),
    row("SETNX", 3, 1, 1, 1, Class::LaneWrite, false),
    row("SETRANGE", 4, 1, 1, 1, Class::LaneWrite, false),
    row("SHUTDOWN", -1, 0, 0, 0, Class::OwnUnknown, false),
    row("SINTER", -2, 1, -1, 1, Class::LaneRead, false),
    row("SINTERCARD", -3, 0, 0, 0, Class::OwnRead, false),
    row("SINTERSTORE", -3, 1, -1, 1, Class::LaneWrite, false),
    row("SISMEMBER", 3, 1, 1, 1, Class::LaneRead, false),
    row("SLAVEOF", 3, 0, 0, 0, Class::OwnUnknown, false),
    row("SLOWLOG", -2, 0, 0, 0, Class::OwnRead, false),
    row("SMEMBERS", 2, 1, 1, 1, Class::LaneRead, false),
    row("SMISMEMBER", -3, 1, 1, 1, Class::LaneRead, false),
    row("SMOVE", 4, 1, 2, 1, Class::LaneWrite, false),
    row("SORT", -2, 1, 1, 1, Class::OwnUnknown, false),
    row("SORT_RO", -2, 1, 1, 1, Class::OwnRead, false),
    row("SPOP", -2, 1, 1, 1, Class::LaneWrite, false),
    row("SPUBLISH", 3, 1, 1, 1, Class::OwnRead, false),
    row("SRANDMEMBER", -2, 1, 1, 1, Class::LaneRead, false),
    row("SREM", -3, 1, 1, 1, Class::LaneWrite, false),
    row("SSCAN", -3, 1, 1, 1, Class::LaneRead, false),
    row("SSUBSCRIBE", -2, 1, -1, 1, Class::Subscribe, false),
    row("STRLEN", 2, 1, 1, 1, Class::LaneRead, false),
    row("SUBSCRIBE", -2, 0, 0, 0, Class::Subscribe, false),
    row("SUBSTR", 4, 1, 1, 1, Class::OwnRead, false),
    row("SUNION", -2, 1, -1, 1, Class::LaneRead, false),
    row("SUNIONSTORE", -3, 1, -1, 1, Class::LaneWrite, false),
    row("SUNSUBSCRIBE", -1, 1, -1, 1, Class::Unsubscribe, false),
    row("SWAPDB", 3, 0, 0, 0, Class::Swapdb, false),
    row("SYNC", 1, 0, 0, 0, Class::Raw, false),
    row("TIME", 1, 0, 0, 0, Class::LaneRead, false),
    row("TOUCH", -2, 1, -1, 1, Class::LaneRead, false),
    row("TTL", 2, 1, 1, 1, Class::LaneRead, false),
    row("TYPE", 2, 1, 1, 1, Class::LaneRead, false),
    row("UNLINK", -2, 1, -1, 1, Class::LaneWrite, false),
    row("UNSUBSCRIBE", -1, 0, 0, 0, Class::Unsubscribe, false),
    row("UNWATCH", 1, 0, 0, 0, Class::Unwatch, false),
    row("WAIT", 3, 0, 0, 0, Class::Wait, false),
    row("WATCH", -2, 1, -1, 1, Class::Watch, false),
    row("XACK", -4, 1, 1, 1, Class::LaneWrite, false),
    row("XADD", -5, 1, 1, 1, Class::LaneWrite, false),
    row("XAUTOCLAIM", -6, 1, 1, 1, Class::OwnWrite, false),
    row("XCLAIM", -6, 1, 1, 1, Class::OwnWrite, false),
    row("XDEL", -3, 1, 1, 1, Class::LaneWrite, false),
    row("XGROUP", -2, 0, 0, 0, Class::OwnUnknown, false),
    row("XINFO", -2, 0, 0, 0, Class::OwnRead, false),
    row("XLEN", 2, 1, 1, 1, Class::LaneRead, false),
    row("XPENDING", -3, 1, 1, 1, Class::OwnRead, false),
    row("XRANGE", -4, 1, 1, 1, Class::OwnRead, false),
    row("XREAD", -4, 0, 0, 0, Class::OwnRead, true),
    row("XREADGROUP", -7, 0, 0, 0, Class::OwnUnknown, true),
    row("XREVRANGE", -4, 1, 1, 1, Class::OwnRead, false),
    row("XSETID", -3, 1, 1, 1, Class::LaneWrite, false),
    row("XTRIM", -4, 1, 1, 1, Class::LaneWrite, false),
    row("ZADD", -4, 1, 1, 1, Class::LaneWrite, false),
    row("ZCARD", 2, 1, 1, 1, Class::LaneRead, false),
    row("ZCOUNT", 4, 1, 1, 1, Class::LaneRead, false),
    row("ZDIFF", -3, 0, 0, 0, Class::OwnRead, false),
    row("ZDIFFSTORE", -4, 1, 1, 1, Class::OwnUnknown, false),
    row("ZINCRBY", 4, 1, 1, 1, Class::LaneWrite, false),
    row("ZINTER", -3, 0, 0, 0, Class::OwnRead, false),
    row("ZINTERCARD", -3, 0, 0, 0, Class::OwnRead, false),
    row("ZINTERSTORE", -4, 1, 1, 1, Class::OwnUnknown, false),
    row("ZLEXCOUNT", 4, 1, 1, 1, Class::LaneRead, false),
    row("ZMPOP", -4, 0, 0, 0, Class::OwnUnknown, false),
    row("ZMSCORE", -3, 1, 1, 1, Class::LaneRead, false),
    row("ZPOPMAX", -2, 1, 1, 1, Class::OwnWrite, false),
    row("ZPOPMIN", -2, 1, 1, 1, Class::OwnWrite, false),
    row("ZRANDMEMBER", -2, 1, 1, 1, Class::OwnRead, false),
    row("ZRANGE", -4, 1, 1, 1, Class::OwnRead, false),
    row("ZRANGEBYLEX", -4, 1, 1, 1, Class::LaneRead, false),
    row("ZRANGEBYSCORE", -4, 1, 1, 1, Class::OwnRead, false),
    row("ZRANGESTORE", -5, 1, 2, 1, Class::LaneWrite, false),
    row("ZRANK", 3, 1, 1, 1, Class::OwnRead, false),
    row("ZREM", -3, 1, 1, 1, Class::LaneWrite, false),
    row("ZREMRANGEBYLEX", 4, 1, 1, 1, Class::LaneWrite, false),
    row("ZREMRANGEBYRANK", 4, 1, 1, 1, Class::LaneWrite, false),
    row("ZREMRANGEBYSCORE", 4, 1, 1, 1, Class::LaneWrite, false),
    row("ZREVRANGE", -4, 1, 1, 1, Class::OwnRead, false),
    row("ZREVRANGEBYLEX", -4, 1, 1, 1, Class::LaneRead, false),
    row("ZREVRANGEBYSCORE", -4, 1, 1, 1, Class::OwnRead, false),
    row("ZREVRANK", 3, 1, 1, 1, Class::OwnRead, false),
    row("ZSCAN", -3, 1, 1, 1, Class::LaneRead, false),
    row("ZSCORE", 3, 1, 1, 1, Class::LaneRead, false),
    row("ZUNION", -3, 0, 0, 0, Class::OwnRead, false),
    row("ZUNIONSTORE", -4, 1, 1, 1, Class::OwnUnknown, false),
];
