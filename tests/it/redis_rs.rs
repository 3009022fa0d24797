//! redis-rs over TCP and a Unix socket, in RESP2 and RESP3.

use std::thread;

use nearside::downstream::settings::ListenAddress;
use redis::streams::{StreamId, StreamReadOptions, StreamReadReply};
use redis::{Client, Commands, Connection, RedisResult, Script, Value, cmd, pipe};

use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::{PATIENCE, TempDir, eventually};

const MANY: usize = 10_000;

/// 8 MiB of every byte there is.
fn large() -> Vec<u8> {
    (0..=255).cycle().take(8 << 20).collect()
}

/// nearside in front of a server, and one way to reach it.
struct Rig {
    nearside: Nearside,
    server: RedisServer,
    dir: TempDir,
    transport: &'static str,
    protocol: u8,
}

impl Rig {
    fn start(transport: &'static str, protocol: u8) -> Self {
        let (server, dir) = (RedisServer::start(&[]), TempDir::new());
        let nearside = Nearside::start(server.addr(), |settings| {
            let listen = &mut settings.downstream.listen;
            listen.push(ListenAddress::Unix(dir.path().join("nearside.sock")));
        });
        eventually("the lane", || nearside.running().lane_is_up().then_some(()));
        Self {
            nearside,
            server,
            dir,
            transport,
            protocol,
        }
    }

    fn connect_as(&self, user: &str, password: &str, db: u8) -> RedisResult<Connection> {
        let protocol = self.protocol;
        let url = if self.transport == "tcp" {
            let login = if user.is_empty() {
                String::new()
            } else {
                format!("{user}:{password}@")
            };
            let addr = self.nearside.addr();
            format!("redis://{login}{addr}/{db}?protocol={protocol}")
        } else {
            let login = if user.is_empty() {
                String::new()
            } else {
                format!("&user={user}&pass={password}")
            };
            let dir = self.dir.path().display();
            format!("unix://{dir}/nearside.sock?db={db}&protocol={protocol}{login}")
        };
        let connection = Client::open(url)?.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(connection)
    }

    fn connect(&self) -> Connection {
        self.connect_as("", "", 0).expect("a connection")
    }
}

/// Waits until a client is blocked in the server.
fn somebody_waits(server: &RedisServer) {
    let mut asking = server.client();
    eventually("a client to wait", || {
        let info = asking.call(&["INFO", "clients"]);
        info.text()?.contains("blocked_clients:1").then_some(())
    });
}

/// Runs `test` in each way to reach nearside.
fn each_way(test: impl Fn(&mut Rig) -> RedisResult<()>) {
    for (transport, protocol) in [("tcp", 2), ("tcp", 3), ("unix", 2), ("unix", 3)] {
        println!("{transport}, RESP{protocol}");
        let mut rig = Rig::start(transport, protocol);
        test(&mut rig).expect("no error");
    }
}

#[test]
fn strings_to_sorted_sets() {
    each_way(|rig| {
        let mut client = rig.connect();
        let () = client.set("s", "v")?;
        assert_eq!(client.get::<_, String>("s")?, "v");
        assert_eq!(client.incr::<_, _, i64>("n", 5)?, 5);
        let () = client.mset(&[("a", 1), ("b", 2)])?;
        let values: Vec<Option<i64>> = client.mget(&["a", "b", "none"])?;
        assert_eq!(values, [Some(1), Some(2), None]);
        let () = client.hset_multiple("h", &[("f", 1), ("g", 2)])?;
        let mut pairs: Vec<(String, i64)> = client.hgetall("h")?;
        pairs.sort();
        assert_eq!(pairs, [("f".into(), 1), ("g".into(), 2)]);
        let () = client.rpush("l", &[1, 2, 3])?;
        assert_eq!(client.lrange::<_, Vec<i64>>("l", 0, -1)?, [1, 2, 3]);
        let () = client.sadd("t", "x")?;
        assert!(client.sismember::<_, _, bool>("t", "x")?);
        let () = client.zadd_multiple("z", &[(1.5, "m"), (f64::INFINITY, "inf")])?;
        let scores: Vec<(String, f64)> = client.zrange_withscores("z", 0, -1)?;
        assert_eq!(scores, [("m".into(), 1.5), ("inf".into(), f64::INFINITY)]);
        let error = client.lpush::<_, _, i64>("s", 1).unwrap_err();
        assert_eq!(error.code(), Some("WRONGTYPE"));
        let error = cmd("NOSUCH").arg("x").exec(&mut client).unwrap_err();
        assert!(error.to_string().contains("unknown command"), "{error}");
        for n in 0..100 {
            let () = client.set(format!("scan:{n}"), n)?;
        }
        let mut seen: Vec<String> = client.scan_match("scan:*")?.collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 100);
        Ok(())
    });
}

#[test]
fn streams() {
    each_way(|rig| {
        let mut client = rig.connect();
        let () = client.xadd("s", "1-1", &[("f", 1)])?;
        let () = client.xadd("s", "2-1", &[("f", 2)])?;
        let () = client.xgroup_create("s", "g", "0")?;
        let options = StreamReadOptions::default().group("g", "one");
        let read: StreamReadReply = client.xread_options(&["s"], &[">"], &options)?;
        assert_eq!(ids(&read), ["1-1", "2-1"]);
        let nothing: Option<StreamReadReply> = client.xread_options(&["s"], &[">"], &options)?;
        assert!(nothing.is_none_or(|read| read.keys.is_empty()));
        assert_eq!(client.xack::<_, _, _, i64>("s", "g", &["1-1", "2-1"])?, 2);
        let mut other = rig.connect();
        let waiting = thread::spawn(move || {
            let options = StreamReadOptions::default().block(0);
            client.xread_options::<_, _, StreamReadReply>(&["s"], &["2-1"], &options)
        });
        somebody_waits(&rig.server);
        let () = other.xadd("s", "3-1", &[("f", 3)])?;
        let read = waiting.join().expect("the reader")?;
        assert_eq!(ids(&read), ["3-1"]);
        Ok(())
    });
}

fn ids(read: &StreamReadReply) -> Vec<&str> {
    let entries = read.keys.iter().flat_map(|key| &key.ids);
    entries.map(|StreamId { id, .. }| id.as_str()).collect()
}

#[test]
fn pipelines_and_transactions() {
    each_way(|rig| {
        let mut client = rig.connect();
        for atomic in [false, true] {
            let mut pipeline = pipe();
            if atomic {
                pipeline.atomic();
            }
            pipeline.del("n").ignore();
            for n in 0..MANY / 2 {
                pipeline.set("k", n).ignore().get("k").incr("n", 1);
            }
            let replies: Vec<usize> = pipeline.query(&mut client)?;
            let expected: Vec<usize> = (0..MANY / 2).flat_map(|n| [n, n + 1]).collect();
            assert_eq!(replies, expected);
        }
        let mut other = rig.connect();
        let mut tries = 0;
        let (value,): (i64,) = redis::transaction(&mut client, &["w"], |client, pipeline| {
            tries += 1;
            if tries == 1 {
                let () = other.set("w", 10)?;
            }
            let old: i64 = client.get("w")?;
            pipeline.set("w", old + 1).ignore().get("w").query(client)
        })?;
        assert_eq!((value, tries), (11, 2));
        Ok(())
    });
}

#[test]
fn large_values() {
    each_way(|rig| {
        let (mut client, large) = (rig.connect(), large());
        let () = client.set("k", &large)?;
        for _ in 0..3 {
            assert!(client.get::<_, Vec<u8>>("k")? == large);
        }
        let () = client.rpush("l", &[&large[..], b"small", &large[..]])?;
        let list: Vec<Vec<u8>> = client.lrange("l", 0, -1)?;
        assert!(list == [&large[..], b"small", &large[..]]);
        Ok(())
    });
}

#[test]
fn publish_and_subscribe() {
    each_way(|rig| {
        let (mut client, mut listener) = (rig.connect(), rig.connect());
        let mut pubsub = listener.as_pubsub();
        pubsub.subscribe("c")?;
        pubsub.psubscribe("c*")?;
        assert_eq!(client.publish::<_, _, i64>("c", "hello")?, 2);
        let (plain, by_pattern) = (pubsub.get_message()?, pubsub.get_message()?);
        assert_eq!(plain.get_payload::<String>()?, "hello");
        assert_eq!(by_pattern.get_pattern::<String>()?, "c*");
        drop(pubsub);
        let () = listener.set("k", "after")?;
        assert_eq!(listener.get::<_, String>("k")?, "after");
        Ok(())
    });
}

#[test]
fn blocking() {
    each_way(|rig| {
        let (mut client, mut other) = (rig.connect(), rig.connect());
        let waiting = thread::spawn(move || {
            let got: RedisResult<(String, String)> = client.blpop("q", 0.0);
            (client, got)
        });
        somebody_waits(&rig.server);
        let () = other.rpush("q", "late")?;
        let (mut client, got) = waiting.join().expect("the waiter");
        assert_eq!(got?, ("q".into(), "late".into()));
        assert_eq!(client.blpop::<_, Value>("q", 0.01)?, Value::Nil);
        assert_eq!(client.get::<_, Value>("q")?, Value::Nil);
        Ok(())
    });
}

#[test]
fn scripts() {
    each_way(|rig| {
        let mut client = rig.connect();
        let script = Script::new("return redis.call('incrby', KEYS[1], ARGV[1])");
        let () = client.set("n", 1)?;
        for n in [3, 5, 7] {
            assert_eq!(script.key("n").arg(2).invoke::<i64>(&mut client)?, n);
            assert_eq!(client.get::<_, i64>("n")?, n);
        }
        Ok(())
    });
}

#[test]
fn databases_and_users() {
    each_way(|rig| {
        let rules = ["someone", "on", ">secret", "~open:*", "+@all"];
        let mut client = rig.connect();
        cmd("ACL").arg("SETUSER").arg(&rules).exec(&mut client)?;
        let () = client.set("open:k", "zero")?;
        let mut one = rig.connect_as("", "", 1)?;
        assert_eq!(one.get::<_, Value>("open:k")?, Value::Nil);
        let () = one.set("open:k", "one")?;
        let mut someone = rig.connect_as("someone", "secret", 0)?;
        assert_eq!(someone.get::<_, String>("open:k")?, "zero");
        assert_eq!(one.get::<_, String>("open:k")?, "one");
        let error = someone.get::<_, Value>("shut:k").unwrap_err();
        assert_eq!(error.code(), Some("NOPERM"));
        let refused = rig.connect_as("someone", "wrong", 0).err();
        let refused = refused.expect("an error").to_string();
        // The library has words of its own for it in RESP2.
        let words = ["WRONGPASS", "AuthenticationFailed"];
        let told = words.iter().any(|word| refused.contains(word));
        assert!(told, "{refused}");
        Ok(())
    });
}

#[test]
fn the_upstream_restarts() {
    each_way(|rig| {
        let mut client = rig.connect();
        let () = client.set("k", 1)?;
        rig.server.restart();
        eventually("service again", || client.set::<_, _, ()>("k", 2).ok());
        assert_eq!(client.get::<_, i64>("k")?, 2);
        Ok(())
    });
}

/// What a client costs the upstream: nothing, for the library's defaults and simple commands go by the shared lane.
#[test]
fn fresh_clients_cost_the_upstream_no_connection() {
    each_way(|rig| {
        let mut asking = rig.server.client();
        let mut connections = || {
            let list = asking.call(&["CLIENT", "LIST"]);
            let lines = list.text().expect("a list").lines();
            let ids = lines.filter_map(|line| line.strip_prefix("id=")?.split(' ').next());
            ids.map(str::to_owned).collect::<Vec<_>>()
        };
        let before = connections();
        assert_eq!(before.len(), 2, "the lane's and this one");
        let mut clients: Vec<_> = (0..5).map(|_| rig.connect()).collect();
        for client in &mut clients {
            let () = client.set("k", "v")?;
            assert_eq!(client.get::<_, String>("k")?, "v");
        }
        assert_eq!(connections(), before);
        Ok(())
    });
}
