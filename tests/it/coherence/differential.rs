//! Through nearside and straight to a server of their own, the same sessions send the same commands: every reply
//! must be the same. The sessions take turns and wait for their replies, so own writes leaves one right answer to
//! each command, whichever session wrote by whichever command; within a turn commands are pipelined.

use super::rig::Rig;
use crate::support::client::{Client, Protocol};
use crate::support::redis::RedisServer;
use crate::support::resp::Value;
use crate::support::rng::Rng;

const TURNS: usize = 1500;
const SESSIONS: usize = 3;
const KEYS: usize = 4;

/// Commands with `K` for a key and `N` for a number; a semicolon parts the commands of a block.
const COMMANDS: &[&str] = &[
    "SET K vN",
    "SET K N",
    "SET K vN NX",
    "SET K vN GET",
    "SETEX K 1000 N",
    "SETNX K N",
    "GETSET K N",
    "GETDEL K",
    "GETEX K PERSIST",
    "MSET K N K vN",
    "MSETNX K N K N",
    "INCR K",
    "DECRBY K N",
    "INCRBYFLOAT K 1.5",
    "APPEND K N",
    "SETRANGE K 2 N",
    "SETBIT K N 1",
    "BITOP OR K K K",
    "BITFIELD K SET u8 0 N",
    "DEL K",
    "UNLINK K K",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K REPLACE",
    "EXPIRE K 1000",
    "EXPIRE K -1",
    "PERSIST K",
    "LPUSH K N",
    "RPOPLPUSH K K",
    "LPOP K",
    "LLEN K",
    "SADD K N",
    "HSET K f N",
    "HGET K f",
    "ZADD K N m",
    "PFADD K N",
    "TYPE K",
    "GETRANGE K 0 3",
    "SUBSTR K 0 3",
    "BITCOUNT K",
    "BITPOS K 1",
    "LCS K K",
    "OBJECT ENCODING K",
    "DBSIZE",
    "WAIT 0 0",
    "LPOP K 2",
    "LMOVE K K LEFT RIGHT",
    "LINSERT K BEFORE N N",
    "LPOS K N",
    "LRANGE K 0 -1",
    "LMPOP 2 K K LEFT",
    "SINTERSTORE K K K",
    "SUNIONSTORE K K",
    "SMOVE K K N",
    "SISMEMBER K N",
    "SCARD K",
    "HINCRBY K f N",
    "HGETALL K",
    "HMGET K f g",
    "ZADD K INCR 1.5 m",
    "ZSCORE K m",
    "ZRANK K m",
    "ZRANGE K 0 -1 WITHSCORES",
    "ZRANGESTORE K K 0 -1",
    "ZUNIONSTORE K 2 K K",
    "ZPOPMIN K",
    "ZINCRBY K 2 m",
    "GEOADD K 1.5 2.5 m",
    "GEOPOS K m",
    "XLEN K",
    "PFCOUNT K",
    "PFMERGE K K",
    "SORT K",
    "EVALSHA 0123456789012345678901234567890123456789 0",
    "FCALL nosuch 0",
    "SCRIPT EXISTS a",
    "EVAL return{1,'two',{},false,{map={a=1}}} 0",
    "EVAL return{double=3.5} 0",
    "STRLEN K",
    "EXISTS K K",
    "EVAL redis.call('SET',KEYS[1],ARGV[1]) 1 K N",
    "EVAL return{redis.call('GET','k1'),redis.call('SET','k2','N')} 0",
    "EVAL redis.call('FLUSHDB') 0",
    "MULTI;SET K N;GET K;INCR K;EXEC",
    "MULTI;RENAME K K;MGET K K;EXEC",
    "MULTI;SET K;EXEC",
    "MULTI;SET K N;DISCARD",
    "MULTI;SELECT 1;SET K N;SELECT 0;GET K;EXEC",
    "MULTI;MULTI;EXEC",
    "MULTI;SET K N;NOSUCHCOMMAND K;EXEC",
    "WATCH K;MULTI;NOSUCHCOMMAND;EXEC",
    "SET K N NOSUCHOPTION",
    "WATCH K;GET K;MULTI;SET K N;EXEC",
    "WATCH K;SET K N;MULTI;INCR K;EXEC",
    "WATCH K;GET K;UNWATCH",
    "SELECT 1",
    "SELECT 0",
    "SELECT 99",
    "SELECT x",
    "SWAPDB 0 1",
    "MOVE K 1",
    "FLUSHDB",
    "RPUSH list N;BLPOP list 1",
    "BLPOP K 0.001",
    "SUBSCRIBE news;UNSUBSCRIBE news",
    "SORT K STORE K",
    "EXEC",
    "DISCARD",
    "PING",
    "PING N",
    "ECHO N",
    "GET",
    "MGET",
    "SET K",
    "NOSUCHCOMMAND K",
];

/// One turn's commands. Reads are frequent, so that L1 has its say.
fn turn(rng: &mut Rng) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for _ in 0..=rng.below(6) {
        let template = match rng.below(8) {
            0..4 => "GET K",
            4 => "MGET K K K",
            _ => COMMANDS[rng.below(COMMANDS.len())],
        };
        for command in template.split(';') {
            let words = command.split(' ').map(|word| match word {
                "K" => format!("k{}", rng.below(KEYS)),
                _ if word.starts_with("redis.call") || word.starts_with("return") => {
                    word.replace("'N'", &format!("'{}'", rng.below(100)))
                }
                "N" | "vN" => word.replace('N', &rng.below(100).to_string()),
                _ => word.to_owned(),
            });
            commands.push(words.collect());
        }
    }
    commands
}

/// Sends all at once; every reply, and in RESP3 the confirmations that come as pushes.
fn answers(client: &mut Client, commands: &[Vec<String>], resp3: bool) -> Vec<Value> {
    for command in commands {
        client.send(command);
    }
    client.flush();
    let mut values = Vec::new();
    for command in commands {
        let pushed = resp3 && command[0].ends_with("SUBSCRIBE");
        values.push(if pushed {
            client.read_push()
        } else {
            client.read()
        });
    }
    values
}

fn run(seed: u64, protocol: Protocol, workers: usize) {
    let plain = RedisServer::start(&[]);
    let rig = Rig::new(|settings| settings.downstream.workers = workers);
    let mut rng = Rng::new(seed);
    let resp3 = protocol == Protocol::Resp3;
    let connect = || {
        let straight = plain.client().speaking(protocol);
        let through = rig.near.session().speaking(protocol);
        (straight, through)
    };
    let mut sessions: Vec<_> = (0..SESSIONS).map(|_| connect()).collect();
    let mut before = Vec::new();
    for number in 0..TURNS {
        let pick = rng.below(SESSIONS);
        let commands = turn(&mut rng);
        // SELECT leaves a session on a connection of its own; with a new one L1 is in play again.
        if rng.one_in(15) {
            sessions[pick] = connect();
        }
        let (straight, through) = &mut sessions[pick];
        let expected = answers(straight, &commands, resp3);
        let got = answers(through, &commands, resp3);
        if let Some(at) = (0..commands.len()).find(|&at| got[at] != expected[at]) {
            panic!(
                "seed {seed}, turn {number}, session {pick}: {:?} got {:?} expected {:?}\nin {commands:?}\nbefore: {before:?}",
                commands[at], got[at], expected[at]
            );
        }
        before.push((pick, commands));
        if before.len() > 6 {
            before.remove(0);
        }
    }
    assert!(
        rig.near.hits() > 50,
        "without hits this proves nothing: {}",
        rig.near.hits()
    );
}

#[test]
fn replies_are_those_of_a_server_alone() {
    for (seed, protocol, workers) in [
        (21, Protocol::Resp2, 1),
        (22, Protocol::Resp3, 1),
        (23, Protocol::Resp2, 2),
        (24, Protocol::Resp3, 2),
    ] {
        run(seed, protocol, workers);
    }
}
