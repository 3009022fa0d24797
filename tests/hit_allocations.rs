//! Hits allocate nothing: the allocations of a thread are counted that runs the session, its lane and the client.

#[path = "it/support/inside.rs"]
mod inside;
#[expect(dead_code, reason = "the other tests need more of it")]
#[path = "it/support/mod.rs"]
mod support;

use std::time::Duration;

use inside::Inside;
use nearside::l1::settings::{Admit, Settings};
use support::redis::RedisServer;
use support::resp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

const KEYS: usize = 100;
const ROUNDS: u64 = 500;

/// What is sent at once, all of it hits, and the reply.
struct Exchange {
    what: String,
    request: Vec<u8>,
    reply: Vec<u8>,
    hits: u64,
}

fn key(n: usize) -> String {
    format!("key:{:012}", n % KEYS)
}

fn value(n: usize) -> String {
    format!("{:0100}", n % KEYS)
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// GETs alone and in pipelines, MGETs, reads of hashes, and a key that is not there.
fn exchanges(resp3: bool) -> Vec<Exchange> {
    let mut all = Vec::new();
    let mut add = |what: String, commands: &[Vec<String>], replies: Vec<String>, hits: usize| {
        let mut request = Vec::new();
        for command in commands {
            resp::encode(&mut request, command);
        }
        all.push(Exchange {
            what: format!("{what}, RESP{}", if resp3 { 3 } else { 2 }),
            request,
            reply: replies.concat().into_bytes(),
            hits: hits as u64,
        });
    };
    for depth in [1, 16, 300] {
        let gets: Vec<_> = (0..depth).map(|n| vec!["GET".into(), key(n)]).collect();
        let replies = (0..depth).map(|n| bulk(&value(n))).collect();
        add(format!("{depth} GET"), &gets, replies, depth);
        let hgets: Vec<_> = (0..depth)
            .map(|n| vec!["HGET".into(), "hash".into(), key(n)])
            .collect();
        let replies = (0..depth).map(|n| bulk(&value(n))).collect();
        add(format!("{depth} HGET"), &hgets, replies, depth);
    }
    for count in [3, 300] {
        let mut mget = vec!["MGET".to_owned()];
        mget.extend((0..count).map(key));
        let mut replies = vec![format!("*{count}\r\n")];
        replies.extend((0..count).map(|n| bulk(&value(n))));
        add(format!("MGET of {count}"), &[mget], replies, 1);
    }
    let nil = if resp3 { "_\r\n" } else { "$-1\r\n" };
    let missing = vec!["GET".to_owned(), "missing".to_owned()];
    add("a nil".into(), &[missing], vec![nil.to_owned()], 1);
    // Down-converted on its way where the client speaks RESP2.
    let map = vec!["HGETALL".to_owned(), "one".to_owned()];
    let head = if resp3 { "%1\r\n" } else { "*2\r\n" };
    let reply = format!("{head}{}{}", bulk("f"), bulk("v"));
    add("a map".into(), &[map], vec![reply], 1);
    all
}

/// A client of a session on the current runtime.
fn connect(inside: &Inside) -> UnixStream {
    let (client, stream) = UnixStream::pair().expect("two ends");
    tokio::spawn(inside.session(stream));
    client
}

async fn exchange(client: &mut UnixStream, exchange: &Exchange, into: &mut [u8]) {
    client.write_all(&exchange.request).await.expect("a write");
    let into = &mut into[..exchange.reply.len()];
    client.read_exact(into).await.expect("a read");
    assert!(into == exchange.reply, "{}", exchange.what);
}

/// Sends it until all of it is answered from memory, and further until what may grow has grown; one read in 32 is noted
/// for the hot keys, and each key's first note makes room for it.
async fn warm_up(inside: &Inside, client: &mut UnixStream, one: &Exchange, into: &mut [u8]) {
    let deadline = tokio::time::Instant::now() + support::PATIENCE;
    let mut whole = 0;
    while whole < 600 {
        let before = inside.hits();
        exchange(client, one, into).await;
        // Counted at the end of the session's pass.
        tokio::task::yield_now().await;
        whole += usize::from(inside.hits() - before == one.hits);
        assert!(tokio::time::Instant::now() < deadline, "{}", one.what);
    }
}

fn allocations(runtime: &Runtime, client: &mut UnixStream, one: &Exchange, into: &mut [u8]) -> u64 {
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            for _ in 0..ROUNDS {
                exchange(client, one, into).await;
            }
        });
    });
    counted.count_total
}

#[test]
fn a_hit_allocates_nothing() {
    let server = RedisServer::start(&[]);
    let mut direct = server.client();
    for n in 0..KEYS {
        direct.must(&["SET", &key(n), &value(n)]);
        direct.must(&["HSET", "hash", &key(n), &value(n)]);
    }
    direct.must(&["HSET", "one", "f", "v"]);
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let settings = Settings {
        admit: Admit::Always,
        // The lane has not to show in between that it lives, nor are entries to end.
        max_staleness: Duration::from_secs(600),
        entry_max_ttl: Duration::from_secs(600),
        ..Settings::default()
    };
    let inside = Inside::new(server.addr(), settings, 1, runtime.handle());
    let mut into = vec![0; 64 << 10];
    let mut allocating = Vec::new();
    for resp3 in [false, true] {
        let mut client = runtime.block_on(async { connect(&inside) });
        if resp3 {
            runtime.block_on(async {
                client.write_all(b"HELLO 3\r\n").await.expect("a write");
                let got = client.read(&mut into).await.expect("a reply");
                assert!(into[..got].starts_with(b"%"), "HELLO");
            });
        }
        for one in exchanges(resp3) {
            runtime.block_on(warm_up(&inside, &mut client, &one, &mut into));
            let before = inside.hits();
            let count = allocations(&runtime, &mut client, &one, &mut into);
            runtime.block_on(tokio::task::yield_now());
            assert_eq!(inside.hits() - before, one.hits * ROUNDS, "{}", one.what);
            if count > 0 {
                allocating.push(format!("{}: {count} in {ROUNDS} rounds", one.what));
            }
        }
    }
    assert!(allocating.is_empty(), "{allocating:#?}");
}

/// The counter counts: a read that misses is queued for the lane, and that allocates.
#[test]
fn a_miss_is_counted() {
    let server = RedisServer::start(&[]);
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let inside = Inside::new(server.addr(), Settings::default(), 1, runtime.handle());
    let mut client = runtime.block_on(async { connect(&inside) });
    let mut into = [0; 64];
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            client
                .write_all(b"PING\r\nGET k\r\n")
                .await
                .expect("a write");
            client.read_exact(&mut into[..12]).await.expect("a reply");
        });
    });
    assert_eq!(&into[..12], b"+PONG\r\n$-1\r\n");
    assert!(counted.count_total > 0);
}
