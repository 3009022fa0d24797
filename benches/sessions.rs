//! Sessions alone, without sockets: hits in pipelines of 16, of 100,000 keys with values of 100 bytes, by one and by two
//! workers, while another client of the upstream writes, so that pushes come to the first worker for entries that the
//! others read. Prints Markdown behind criterion's own figures.
//!
//! What is compared has keys of its own, of which only the ones being read are written: the lanes of the others are quiet.
//! All sessions of a run take from one stock of pipelines, as the clients of redis-benchmark do, so that no worker is idle
//! before the end.
//!
//! ```text
//! cargo bench --bench sessions -- [--noplot]
//! ```
//!
//! A session's client is its stream: it has the next pipeline as soon as the replies to the last one are written. So the
//! CPU that is told is what the sessions, L1 and the lane take, and nothing else.

#[path = "../tests/it/support/inside.rs"]
mod inside;
#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use inside::Inside;
use nearside::l1::settings::{Admit, Settings};
use rustix::time::{ClockId, clock_gettime};
use support::redis::RedisServer;
use support::resp;
use support::rng::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

const KEYS: usize = 100_000;
const DEPTH: usize = 16;
const SESSIONS: usize = 50;
/// Pipelines for each session in one iteration; it takes so many at a time.
const PIPELINES: usize = 4;
const REPLY: usize = "$100\r\n".len() + 100 + 2;
/// Writes by somebody else, in pipelines of so many: what wakes the server and the lane for each takes time from the workers
/// on a machine that has no more processors than they are.
const WRITES_A_SECOND: u64 = 1000;
const WRITES_TOGETHER: u64 = 20;
const ROUNDS: usize = 9;
/// Iterations of a round.
const ITERATIONS: u64 = 2000;

/// One of those that `case` reads.
fn key(case: usize, n: usize) -> String {
    format!("key:{case}:{n:010}")
}

/// All keys in some order, as pipelines of GETs.
fn pipelines(case: usize) -> Vec<Vec<u8>> {
    let mut keys: Vec<usize> = (0..KEYS).collect();
    let mut rng = Rng::new(1);
    for n in (1..KEYS).rev() {
        keys.swap(n, rng.below(n + 1));
    }
    let encode = |keys: &[usize]| {
        let mut pipeline = Vec::new();
        for &n in keys {
            resp::encode(&mut pipeline, &["GET", &key(case, n)]);
        }
        pipeline
    };
    keys.chunks_exact(DEPTH).map(encode).collect()
}

/// A client, and the way to it.
struct Stream {
    pipelines: Arc<Vec<Vec<u8>>>,
    next: usize,
    /// Pipelines that nobody has taken yet.
    stock: Arc<AtomicUsize>,
    /// Those that this one has taken and not sent.
    left: usize,
    /// Bytes of replies that are to come.
    awaited: usize,
    reader: Option<Waker>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.awaited > 0 {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.left == 0 {
            let take = |stock: usize| Some(stock.saturating_sub(PIPELINES));
            let stock = self
                .stock
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
            self.left = stock.unwrap_or_default().min(PIPELINES);
        }
        // At the end there is nothing to be read, which closes the connection.
        if self.left > 0 {
            self.left -= 1;
            self.next = (self.next + 1) % self.pipelines.len();
            self.awaited = DEPTH * REPLY;
            buf.put_slice(&self.pipelines[self.next]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.awaited = self
            .awaited
            .checked_sub(bytes.len())
            .expect("no more than the replies");
        if self.awaited == 0
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A thread with a runtime, as nearside's own are.
struct Worker {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(31)
            .build();
        let runtime = runtime.expect("a runtime");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let _ = runtime.block_on(stopped);
        });
        Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// What its thread has taken so far.
    fn cpu(&self) -> Duration {
        let (tell, told) = mpsc::channel();
        self.handle.spawn(async move {
            let time = clock_gettime(ClockId::ThreadCPUTime);
            let time = Duration::try_from(time).expect("a time since the start");
            tell.send(time).expect("it is awaited");
        });
        told.recv().expect("its time")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Writes one key after another, straight to the server, until it is dropped.
struct Writer {
    /// Whose keys.
    case: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(server: &RedisServer) -> Self {
        let stop: Arc<AtomicBool> = Arc::default();
        let stopped = Arc::clone(&stop);
        let case: Arc<AtomicUsize> = Arc::default();
        let written = Arc::clone(&case);
        let mut client = server.client();
        let thread = thread::spawn(move || {
            let value = "w".repeat(100);
            let mut rng = Rng::new(2);
            let pause = Duration::from_micros(1_000_000 * WRITES_TOGETHER / WRITES_A_SECOND);
            while !stopped.load(Ordering::Relaxed) {
                let case = written.load(Ordering::Relaxed);
                for _ in 0..WRITES_TOGETHER {
                    client.send(&["SET", &key(case, rng.below(KEYS)), &value]);
                }
                client.flush();
                for _ in 0..WRITES_TOGETHER {
                    assert!(!client.read().is_error(), "a write");
                }
                thread::sleep(pause);
            }
        });
        Self {
            case,
            stop,
            thread: Some(thread),
        }
    }

    fn write(&self, case: usize) {
        self.case.store(case, Ordering::Relaxed);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What some work took.
#[derive(Debug, Clone, Copy)]
struct Took {
    time: Duration,
    cpu: Duration,
}

struct Bench {
    // In the order in which they are to end.
    inside: Arc<Inside>,
    workers: Vec<Worker>,
    pipelines: Arc<Vec<Vec<u8>>>,
}

impl Bench {
    /// With so many workers on an L1 that is made for `shared` of them.
    fn new(server: &RedisServer, case: usize, workers: usize, shared: usize) -> Self {
        let workers: Vec<_> = (0..workers).map(|_| Worker::start()).collect();
        let settings = Settings {
            admit: Admit::Always,
            entry_max_ttl: Duration::from_secs(3600),
            ..Settings::default()
        };
        let inside = Inside::new(server.addr(), settings, shared, &workers[0].handle);
        let bench = Self {
            inside: Arc::new(inside),
            workers,
            pipelines: Arc::new(pipelines(case)),
        };
        // All keys twice: the first time they are filled.
        let all = (bench.pipelines.len() * 2).div_ceil(SESSIONS * PIPELINES) as u64;
        support::eventually("hits alone", || {
            let before = bench.inside.hits();
            bench.run(all);
            let whole = (all * requests()) / 10 * 9;
            (bench.inside.hits() - before > whole).then_some(())
        });
        bench
    }

    /// The sessions take so many times [`PIPELINES`] for each of them.
    fn run(&self, iterations: u64) -> Took {
        let stock = SESSIONS * PIPELINES * usize::try_from(iterations).expect("64 bits");
        let stock = Arc::new(AtomicUsize::new(stock));
        let cpu = || self.workers.iter().map(Worker::cpu).sum::<Duration>();
        let (before, start) = (cpu(), Instant::now());
        let (ended, end) = mpsc::channel();
        for n in 0..SESSIONS {
            let stream = Stream {
                pipelines: Arc::clone(&self.pipelines),
                next: n * (self.pipelines.len() / SESSIONS),
                stock: Arc::clone(&stock),
                left: 0,
                awaited: 0,
                reader: None,
            };
            let (inside, ended) = (Arc::clone(&self.inside), ended.clone());
            let worker = &self.workers[n % self.workers.len()];
            worker.handle.spawn(async move {
                inside.session(stream).await;
                ended.send(()).expect("it is awaited");
            });
        }
        for _ in 0..SESSIONS {
            end.recv().expect("its end");
        }
        Took {
            time: start.elapsed(),
            cpu: cpu().saturating_sub(before),
        }
    }
}

/// Of one iteration.
const fn requests() -> u64 {
    (SESSIONS * PIPELINES * DEPTH) as u64
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    let server = RedisServer::start(&[]);
    let mut direct = server.client();
    let cases = [
        (0, "1", 1, 1),
        (1, "1, L1 made for 2", 1, 2),
        (2, "2", 2, 2),
    ];
    let benches = cases.map(|(case, _, workers, shared)| {
        let words: Vec<_> = (0..KEYS).map(|n| key(case, n)).collect();
        let value = "v".repeat(100);
        for keys in words.chunks(1000) {
            let pairs = keys.iter().flat_map(|key| [key.as_str(), &value]);
            let mset: Vec<_> = std::iter::once("MSET").chain(pairs).collect();
            direct.must(&mset);
        }
        Bench::new(&server, case, workers, shared)
    });
    let writer = Writer::start(&server);

    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .sample_size(20)
        .configure_from_args();
    let mut group = criterion.benchmark_group("hits, -P 16");
    group.throughput(Throughput::Elements(requests()));
    for ((case, name, ..), bench) in cases.iter().zip(&benches) {
        writer.write(*case);
        group.bench_function(format!("workers: {name}"), |bencher| {
            bencher.iter_custom(|iterations| bench.run(iterations).time);
        });
    }
    group.finish();

    let mut rounds = benches.each_ref().map(|_| Vec::new());
    for round in 0..ROUNDS {
        // Each comes first once in a while.
        for n in 0..benches.len() {
            let at = (n + round) % benches.len();
            writer.write(at);
            rounds[at].push(benches[at].run(ITERATIONS));
        }
    }
    println!(
        "\n{SESSIONS} sessions, {KEYS} keys, {WRITES_A_SECOND} writes a second elsewhere, medians of {ROUNDS} rounds\n"
    );
    println!("| workers | hits a second | of one worker's | CPU a hit, us | of one worker's |");
    println!("|---|---|---|---|---|");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let requests = (ITERATIONS * requests()) as f64;
    let speeds = rounds.each_ref().map(|rounds| {
        let speeds = rounds.iter().map(|took| requests / took.time.as_secs_f64());
        median(speeds.collect())
    });
    let costs = rounds.each_ref().map(|rounds| {
        let costs = rounds
            .iter()
            .map(|took| took.cpu.as_secs_f64() / requests * 1e6);
        median(costs.collect())
    });
    for (n, (_, name, ..)) in cases.iter().enumerate() {
        println!(
            "| {name} | {:.0} | {:.2} | {:.3} | {:.2} |",
            speeds[n],
            speeds[n] / speeds[0],
            costs[n],
            costs[n] / costs[0]
        );
    }
}
