//! The commands of the fuzz test, by what they are to nearside. Words are as in the table's samples; `K` is a key, `N` a
//! number, `V` a value, `D` a database and `C` a channel. A `;` parts commands that stay together.
//!
//! None has a reply that depends on time, chance or the order of a hash table (as UNSUBSCRIBE of several channels), or sleeps, or changes the server for good.

/// How often a group is chosen, and its commands.
pub type Group = (usize, &'static [&'static str]);

#[rustfmt::skip]
pub const GROUPS: &[Group] = &[
    (24, READS),
    (22, WRITES),
    (14, LANE),
    (10, OWN),
    (10, SESSION),
    (6, TRANSACTIONS),
    (5, PUBSUB),
    (4, REPLIES),
    (2, INVALID),
];

const READS: &[&str] = &[
    "GET K",
    "GET K",
    "GET K",
    "MGET K K",
    "MGET K",
    "MGET K K K",
    "get K",
    "GET K extra",
    "MGET",
    "GETRANGE K 0 2",
    "STRLEN K",
    "EXISTS K",
    "EXISTS K K",
    "TYPE K",
];

#[rustfmt::skip]
const WRITES: &[&str] = &[
    "SET K V", "SET K V", "SET K N", "SET K V NX", "SET K V XX GET", "SET K V GET", "SET K V PXAT 4102444800000", "SET K V PXAT 1",
    "SETNX K V", "SETEX K 1000 V", "PSETEX K 0 V", "GETSET K V", "GETDEL K", "GETEX K PERSIST", "GETEX K EX 1000", "MSET K V K V",
    "MSET K V K", "MSETNX K V K V", "INCR K", "DECRBY K N", "INCRBYFLOAT K 1.5", "APPEND K V", "SETRANGE K 3 V", "SETBIT K N 1",
    "BITOP OR K K K", "BITFIELD K INCRBY u8 0 N GET i5 3", "DEL K", "DEL K K", "UNLINK K", "RENAME K K", "RENAMENX K K",
    "COPY K K REPLACE", "COPY K K DB D", "MOVE K D", "EXPIRE K 1000", "EXPIRE K -1", "PEXPIREAT K 1", "EXPIREAT K 4102444800",
    "PERSIST K", "FLUSHDB", "FLUSHALL", "FLUSHALL ASYNC", "SWAPDB 0 1", "SWAPDB D D", "RESTORE K 0 x",
];

#[rustfmt::skip]
const LANE: &[&str] = &[
    "EXPIRETIME K", "DUMP K", "OBJECT ENCODING K", "OBJECT HELP", "PING", "PING V", "ECHO V", "ECHO", "PING a b", "TOUCH K",
    "LPUSH K N V", "RPUSH K V", "LPOP K", "LPOP K 2", "RPOP K 0", "RPOPLPUSH K K", "LMOVE K K LEFT RIGHT", "LRANGE K 0 -1", "LLEN K",
    "LPOS K N COUNT 0", "LMPOP 2 K K LEFT COUNT 2", "LINSERT K BEFORE N V", "LSET K 0 V", "LTRIM K 0 2", "LREM K 0 N", "LINDEX K 0",
    "SADD K N", "SADD K N N", "SREM K N", "SMEMBERS K", "SISMEMBER K N", "SMISMEMBER K N N", "SINTER K K", "SUNIONSTORE K K K",
    "SMOVE K K N", "SCARD K", "SPOP K 0", "SRANDMEMBER K 0", "SRANDMEMBER K",
    "HSET K f N", "HSET K f N g V", "HGET K f", "HMGET K f g h", "HGETALL K", "HDEL K f", "HINCRBY K f N", "HINCRBYFLOAT K f 0.1",
    "HRANDFIELD K 0 WITHVALUES", "HKEYS K", "HEXISTS K g", "HSTRLEN K g",
    "ZADD K N m", "ZADD K 1.5 a inf b", "ZADD K INCR N m", "ZSCORE K m", "ZMSCORE K m a x", "ZRANGE K 0 -1 WITHSCORES", "ZRANGE K 0 -1",
    "ZPOPMIN K", "ZPOPMAX K 2", "ZRANK K m", "ZRANGESTORE K K 0 -1", "ZUNION 2 K K WITHSCORES", "ZINTERSTORE K 2 K K", "ZDIFF 2 K K",
    "ZRANGEBYSCORE K -inf +inf WITHSCORES LIMIT 0 1", "ZMPOP 2 K K MIN", "ZINCRBY K 0.25 m", "ZRANDMEMBER K 0 WITHSCORES", "ZSCAN K 0",
    "GEOADD K 13.361389 38.115556 Palermo", "GEOPOS K Palermo m", "GEODIST K Palermo m", "PFADD K N", "PFCOUNT K K", "PFMERGE K K",
    "XADD K N-1 f V", "XRANGE K - +", "XRANGE K - + COUNT 0", "XREAD COUNT 2 STREAMS K K 0 0", "XLEN K", "XTRIM K MAXLEN 1", "XDEL K N-1",
    "XGROUP CREATE K g 0", "XREADGROUP GROUP g c STREAMS K >", "XREADGROUP GROUP g c STREAMS K 0", "XPENDING K g", "XACK K g N-1",
    "XAUTOCLAIM K g d 0 0 JUSTID", "PUBLISH C V", "SPUBLISH C V", "PUBSUB NUMSUB C C", "PUBSUB CHANNELS C", "PUBSUB NUMPAT",
    "COMMAND INFO get nosuch", "COMMAND COUNT", "COMMAND GETKEYS MSET a b c d", "LOLWUT VERSION x", "LCS K K", "GETBIT K N", "BITCOUNT K",
    "SCAN 0 MATCH none COUNT 1000", "ROLE", "TIME x", "INFO nosuch",
];

#[rustfmt::skip]
const OWN: &[&str] = &[
    "EVAL return{1,'two',false,{}} 0", "EVAL return(redis.call('SET',KEYS[1],ARGV[1])) 1 K V", "EVAL return(redis.call('GET',KEYS[1])) 1 K",
    "EVAL redis.call('DEL','k1','k2')return(1) 0", "EVAL return(redis.call('NOSUCH')) 0", "EVAL x 0", "EVAL return(1) 2 K",
    "EVAL_RO return(redis.call('GET',KEYS[1])) 1 K", "EVAL_RO return(redis.call('SET',KEYS[1],1)) 1 K", "SCRIPT LOAD return(redis.call('INCR',KEYS[1]))",
    "EVALSHA 0fd0d4d3ed6a8ec7f1a2bcbc96c80bb5dae7d3b4 1 K", "SCRIPT EXISTS 0fd0d4d3ed6a8ec7f1a2bcbc96c80bb5dae7d3b4", "SCRIPT FLUSH", "SCRIPT KILL",
    "FUNCTION LOAD REPLACE #!lua\\x20name=lib\\nredis.register_function('put',function(k,a)return\\x20redis.call('SET',k[1],a[1])\\x20end)",
    "FCALL put 1 K V", "FCALL nosuch 0", "FUNCTION LIST", "FUNCTION DELETE lib", "FUNCTION STATS", "FUNCTION KILL",
    "BLPOP K K 0.001", "BRPOP K 0.001", "BLMOVE K K LEFT RIGHT 0.001", "BZPOPMIN K 0.001", "BLMPOP 0.001 2 K K LEFT", "BLPOP K x", "BRPOPLPUSH K K 0.001",
    "XREAD BLOCK 1 STREAMS K $", "XREADGROUP GROUP g c BLOCK 1 STREAMS K >", "BZMPOP 0.001 1 K MIN",
    "SORT K", "SORT K ALPHA DESC", "SORT K BY nosort GET # STORE K", "SORT_RO K LIMIT 0 1", "KEYS k1", "KEYS nosuch", "KEYS",
    "WAIT 0 0", "WAIT 1 1", "WAIT x 0", "CONFIG GET maxmemory-policy", "CONFIG SET lfu-log-factor 10", "CONFIG SET nosuch 1", "CONFIG RESETSTAT",
    "CLUSTER INFO", "READONLY", "ASKING", "MEMORY HELP", "LATENCY RESET", "SLOWLOG RESET", "SLOWLOG HELP", "ACL WHOAMI", "ACL CAT nosuch", "ACL HELP",
    "ACL SETUSER other on >pw ~* &* +@all", "ACL GETUSER reader", "ACL USERS", "DEBUG PROTOCOL map", "DEBUG PROTOCOL attrib", "DEBUG PROTOCOL push",
    "DEBUG PROTOCOL verbatim", "DEBUG PROTOCOL double", "DEBUG PROTOCOL bignum", "DEBUG PROTOCOL null", "DEBUG PROTOCOL set", "DEBUG JMAP",
    "SHUTDOWN ABORT", "REPLICAOF NO ONE", "FAILOVER ABORT", "MODULE LIST", "PFSELFTEST x", "MIGRATE h 1 K 0",
];

#[rustfmt::skip]
const SESSION: &[&str] = &[
    "SELECT D", "SELECT D", "SELECT 0", "SELECT 16", "SELECT x", "SELECT", "HELLO", "HELLO 2", "HELLO 3", "HELLO 3", "HELLO 4", "HELLO x", "HELLO 3 SETNAME name",
    "HELLO 2 AUTH all a", "HELLO 3 AUTH reader r SETNAME r", "HELLO 3 AUTH reader wrong", "HELLO 3 BOGUS", "HELLO 2 SETNAME bad\\x20name",
    "AUTH all a", "AUTH all a", "AUTH all wrong", "AUTH reader r", "AUTH default x", "AUTH x", "AUTH", "AUTH nosuch x", "AUTH a b c",
    "RESET", "RESET", "RESET x", "CLIENT SETNAME name", "CLIENT SETNAME \"\"", "CLIENT SETNAME bad\\nname", "CLIENT GETNAME", "CLIENT GETNAME x",
    "PING; ECHO client-id; CLIENT ID", "CLIENT INFO", "CLIENT LIST", "CLIENT LIST ID 999999999", "CLIENT NO-EVICT on", "CLIENT NO-EVICT maybe", "CLIENT SETINFO lib-name x",
    "CLIENT NO-TOUCH on", "CLIENT GETREDIR", "CLIENT TRACKINGINFO", "CLIENT TRACKING on", "CLIENT TRACKING on OPTIN", "CLIENT TRACKING off",
    "CLIENT CACHING yes", "CLIENT UNBLOCK 999999999", "CLIENT KILL ID 999999999", "CLIENT KILL 1.2.3.4:5", "CLIENT UNPAUSE", "CLIENT HELP", "CLIENT NOSUCH", "CLIENT",
    "QUIT", "QUIT x",
];

#[rustfmt::skip]
const TRANSACTIONS: &[&str] = &[
    "MULTI; SET K V; GET K; INCR K; EXEC", "MULTI; GET K; GET K; EXEC", "MULTI; EXEC", "MULTI; HGETALL K; ZPOPMIN K 2; LPOP K 2; EXEC", "MULTI; SET K V; DISCARD",
    "MULTI; NOSUCH; SET K V; EXEC", "MULTI; SET K; EXEC", "MULTI; INCR K; LPUSH K V; EXEC", "WATCH K; GET K; MULTI; SET K V; EXEC", "WATCH K", "WATCH K K", "UNWATCH",
    "MULTI; MULTI; EXEC", "EXEC", "DISCARD", "MULTI x", "MULTI; SELECT D; GET K; EXEC", "MULTI; HELLO 3; GET K; EXEC; GET K; RESET", "HELLO 3; MULTI; HELLO 2; GET K; EXEC; RESET",
    "MULTI; AUTH all a; SET K V; EXEC", "MULTI; SUBSCRIBE C; EXEC", "MULTI; PUBLISH C V; EXEC", "MULTI; EVAL return(1) 0; SET K V; EXEC", "MULTI; BLPOP K 0; EXEC",
    "MULTI; FLUSHALL; GET K; EXEC", "MULTI; SWAPDB 0 1; EXEC", "MULTI; WATCH K; EXEC", "MULTI; WAIT 0 0; EXEC", "MULTI; CLIENT SETNAME m; CLIENT GETNAME; EXEC",
    "MULTI; PING V; ECHO V; EXEC", "MULTI; SET K V; RESET", "MULTI; GET K", "MULTI", "MULTI; SET K V; EXEC extra; EXEC", "MULTI; CLIENT TRACKING on; GET K; EXEC",
    "MULTI; MGET K K; DEL K; MGET K K; EXEC", "MULTI; QUIT; EXEC", "MULTI; CLIENT REPLY OFF; GET K; EXEC", "MULTI; CLIENT REPLY SKIP; GET K; EXEC",
    "MULTI; UNWATCH; SET K V; EXEC",
];

#[rustfmt::skip]
const PUBSUB: &[&str] = &[
    "SUBSCRIBE C", "SUBSCRIBE C C", "PSUBSCRIBE c*", "SSUBSCRIBE C", "UNSUBSCRIBE C", "PUNSUBSCRIBE", "SUNSUBSCRIBE C C", "RESET; UNSUBSCRIBE", "RESET; SUNSUBSCRIBE",
    "SUBSCRIBE", "PUBLISH C V", "SUBSCRIBE C; GET K; PING; UNSUBSCRIBE C", "RESET; SUBSCRIBE C; PUBLISH C V; UNSUBSCRIBE", "RESET; SSUBSCRIBE C; SPUBLISH C V; SUNSUBSCRIBE",
    "PSUBSCRIBE c*; PUBLISH C V; PUNSUBSCRIBE c*; GET K", "SUBSCRIBE C; SET K V; GET K; RESET",
];

#[rustfmt::skip]
const REPLIES: &[&str] = &[
    "CLIENT REPLY OFF", "CLIENT REPLY SKIP", "CLIENT REPLY SKIP; GET K", "CLIENT REPLY SKIP; SET K V", "CLIENT REPLY ON", "CLIENT REPLY OFF; SET K V; GET K; CLIENT REPLY ON",
    "CLIENT REPLY OFF; MULTI; SET K V; EXEC; CLIENT REPLY ON", "CLIENT REPLY SKIP; MULTI; SET K V; EXEC", "CLIENT REPLY SKIP; NOSUCH", "CLIENT REPLY MAYBE", "CLIENT REPLY",
    "CLIENT REPLY SKIP; CLIENT REPLY SKIP; GET K", "CLIENT REPLY OFF; EVAL return(1) 0; SELECT D; CLIENT REPLY ON", "CLIENT REPLY SKIP; SELECT D", "CLIENT REPLY SKIP; HELLO 3",
    "CLIENT REPLY OFF; SUBSCRIBE C; CLIENT REPLY ON", "CLIENT REPLY SKIP; EVAL return(1) 0", "CLIENT REPLY OFF; RESET", "CLIENT REPLY SKIP; MGET K K", "CLIENT REPLY SKIP; WAIT 0 0",
    "CLIENT REPLY OFF; BLPOP K 0.001; CLIENT REPLY ON",
];

#[rustfmt::skip]
const INVALID: &[&str] = &[
    "NOSUCH", "NOSUCH a b c", "\"\"", "\\x00\\xff\\r\\n a", "NOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCHNOSUCH V V V",
    "SET", "SET K", "CONFIG", "CONFIG NOSUCH x", "XGROUP NOSUCH", "OBJECT NOSUCH K", "OBJECT", "SCRIPT", "ACL", "CLIENT|ID", "CONFIG|GET x", "HSET K f", "GET \"\"",
    "SET \"\" V", "MGET \"\" K",
];

/// Bytes that no client library sends: inline commands that are taken, and faults after which a server hangs up.
pub const INLINE: &[&[u8]] = &[
    b"PING\r\n",
    b"PING\n",
    b"\r\n",
    b"\n",
    b"  GET   k1  \r\n",
    b"SET k1 \"a\\x41\\n b\"\r\n",
    b"SET k2 'it\\'s'\r\n",
    b"GET \"k1\"\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*-5\r\n",
    b"ECHO \"\"\r\n",
    b"MULTI\r\n",
    b"EXEC\r\n",
    b"nosuch\tx\r\n",
];

pub const FAULTS: &[&[u8]] = &[
    b"*x\r\n",
    b"*1\r\nPING\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$x\r\n",
    b"*2\r\n$3\r\nGET\r\n:1\r\n",
    b"GET \"k1\r\n",
    b"GET 'k1'x\r\n",
    b"*2147483648\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$99999999999999999999\r\n",
    b"*\r\n",
    b"*1\r\n$\r\n",
];
