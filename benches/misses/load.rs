//! The clients: a few hundred on one thread, each with one command at a time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::relay;
use crate::support::resp;
use crate::support::rng::Rng;

pub const CLIENTS: usize = 200;
pub const VALUE: usize = 100;

pub fn key(n: usize) -> String {
    format!("key:{n:012}")
}

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub reads: usize,
    /// Of reads whose reply came over the relay while they waited, in microseconds.
    pub misses: Vec<u64>,
}

struct Client {
    stream: UnixStream,
    seen: Seen,
    request: Vec<u8>,
}

impl Client {
    async fn connect(path: &Path) -> Self {
        let stream = loop {
            match UnixStream::connect(path).await {
                Ok(stream) => break stream,
                // More at once than the listener's backlog holds.
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        let mut client = Self {
            stream,
            seen: Seen::default(),
            request: Vec::new(),
        };
        // Whatever a connection costs at first is over by now.
        client.call(&["GET", "none"], b"$-1\r\n".len()).await;
        client
    }

    async fn call(&mut self, words: &[&str], length: usize) -> [u8; 128] {
        self.request.clear();
        resp::encode(&mut self.request, words);
        self.stream.write_all(&self.request).await.expect("a write");
        let mut reply = [0; 128];
        let mut got = 0;
        while got < length {
            let read = self.stream.read(&mut reply[got..]).await;
            got += read.expect("a read");
            let text = String::from_utf8_lossy(&reply[..got]);
            assert!(got > 0 && reply[0] != b'-', "{text}");
        }
        reply
    }

    async fn get(&mut self, key: &str) {
        let header = format!("${VALUE}\r\n").len();
        let sent = relay::micros();
        let reply = self.call(&["GET", key], header + VALUE + 2).await;
        let answered = relay::micros();
        self.seen.reads += 1;
        if relay::arrival(&reply[header..]) >= sent {
            self.seen.misses.push(answered - sent);
        }
    }

    async fn set(&mut self, key: &str, value: &str) {
        self.call(&["SET", key, value], b"+OK\r\n".len()).await;
    }
}

fn run<F: Future<Output = Seen> + Send + 'static>(
    path: &Path,
    each: impl Fn(usize, Client, Arc<Barrier>) -> F,
) -> Seen {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut running = JoinSet::new();
        let barrier = Arc::new(Barrier::new(CLIENTS));
        for number in 0..CLIENTS {
            let client = Client::connect(path).await;
            running.spawn(each(number, client, Arc::clone(&barrier)));
        }
        let mut all = Seen::default();
        while let Some(seen) = running.join_next().await {
            let mut seen = seen.expect("a client that ended well");
            all.reads += seen.reads;
            all.misses.append(&mut seen.misses);
        }
        all
    })
}

/// All ask for the same key at the same moment, for one key after another.
pub fn stampede(path: &Path, keys: usize) -> Seen {
    run(path, |_, mut client, barrier| async move {
        for n in 0..keys {
            barrier.wait().await;
            client.get(&key(n)).await;
        }
        client.seen
    })
}

/// Reads by Zipf's law, so many for each client, one command in `one_write_in` a write. What was seen before `halfway` is
/// called does not count.
pub fn zipf(
    path: &Path,
    law: &Arc<Zipf>,
    each: usize,
    one_write_in: usize,
    halfway: impl Fn() + Send + Sync + 'static,
) -> Seen {
    let halfway = Arc::new(halfway);
    let value = String::from_utf8(relay::value(VALUE)).expect("text");
    let value: Arc<str> = value.into();
    run(path, |number, mut client, barrier| {
        let (law, value, halfway) = (Arc::clone(law), Arc::clone(&value), Arc::clone(&halfway));
        async move {
            let mut rng = Rng::new(number as u64);
            for n in 0..each {
                if n == each / 2 {
                    if barrier.wait().await.is_leader() {
                        halfway();
                    }
                    barrier.wait().await;
                    client.seen = Seen::default();
                }
                let key = key(law.draw(&mut rng));
                if rng.one_in(one_write_in) {
                    client.set(&key, &value).await;
                } else {
                    client.get(&key).await;
                }
            }
            client.seen
        }
    })
}

/// The nth of so many is drawn in proportion to 1/n.
pub struct Zipf {
    cumulated: Vec<f64>,
}

impl Zipf {
    pub fn new(count: u32) -> Self {
        let mut sum = 0.0;
        let cumulated = (1..=count).map(|n| {
            sum += 1.0 / f64::from(n);
            sum
        });
        Self {
            cumulated: cumulated.collect(),
        }
    }

    pub fn draw(&self, rng: &mut Rng) -> usize {
        let all = self.cumulated.last().copied().unwrap_or_default();
        let drawn = u32::try_from(rng.next() >> 32).expect("32 bits");
        let point = f64::from(drawn) / f64::from(u32::MAX) * all;
        let at = self.cumulated.partition_point(|&sum| sum < point);
        at.min(self.cumulated.len() - 1)
    }
}
