//! A relay to an upstream that is some way off: bytes arrive this much later, in their order, and values say when.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

/// Begins what is overwritten with the time at which it is handed on.
const MARK: u8 = 0x01;
const DIGITS: usize = 16;

/// A value of `length` bytes with room for the time of its arrival.
pub fn value(length: usize) -> Vec<u8> {
    let mut value = vec![b'0'; length];
    value[0] = MARK;
    value
}

/// When a value came over the relay, in microseconds of [`micros`].
pub fn arrival(value: &[u8]) -> u64 {
    let digits = std::str::from_utf8(&value[1..=DIGITS]).expect("digits");
    digits.parse().expect("digits")
}

/// Microseconds since the first call.
pub fn micros() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_micros()).expect("not that long")
}

/// Writes the time over the digits behind each mark, also where they come in parts.
#[derive(Default)]
struct Stamp {
    left: usize,
}

impl Stamp {
    fn put(&mut self, mut bytes: &mut [u8]) {
        let now = format!("{:0DIGITS$}", micros());
        loop {
            let part = self.left.min(bytes.len());
            let from = DIGITS - self.left;
            bytes[..part].copy_from_slice(&now.as_bytes()[from..from + part]);
            self.left -= part;
            bytes = &mut bytes[part..];
            let Some(mark) = bytes.iter().position(|&byte| byte == MARK) else {
                return;
            };
            self.left = DIGITS;
            bytes = &mut bytes[mark + 1..];
        }
    }
}

type Due = (Instant, oneshot::Sender<()>);

/// Tells in turn what is due. A thread that sleeps is on time to some 50 us, a runtime's timer to a millisecond.
fn tell(due: &Receiver<Due>) {
    while let Ok((at, told)) = due.recv() {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        // Its connection may have ended.
        let _ = told.send(());
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    due: Sender<Due>,
    mut stamp: Option<Stamp>,
) {
    let (queue, mut queued) = mpsc::unbounded_channel::<(Vec<u8>, oneshot::Receiver<()>)>();
    let read = async move {
        loop {
            let mut bytes = Vec::with_capacity(16 << 10);
            if !matches!(from.read_buf(&mut bytes).await, Ok(1..)) {
                break;
            }
            let (tell, told) = oneshot::channel();
            let at = Instant::now() + delay;
            if due.send((at, tell)).is_err() || queue.send((bytes, told)).is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((mut bytes, told)) = queued.recv().await {
            let _ = told.await;
            if let Some(stamp) = &mut stamp {
                stamp.put(&mut bytes);
            }
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(read, write);
}

async fn accept(listener: TcpListener, upstream: SocketAddr, delay: Duration, due: Sender<Due>) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(upstream).await else {
            continue;
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("TCP_NODELAY");
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::spawn(pump(from_client, to_server, delay, due.clone(), None));
        let stamp = Some(Stamp::default());
        tokio::spawn(pump(from_server, to_client, delay, due.clone(), stamp));
    }
}

/// Where the relay listens. It lives until its process ends.
pub fn start(upstream: SocketAddr, round_trip: Duration) -> SocketAddr {
    micros();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let listener = runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .expect("a free port");
    let addr = listener.local_addr().expect("its address");
    let (due, dues) = channel();
    thread::spawn(move || tell(&dues));
    thread::spawn(move || runtime.block_on(accept(listener, upstream, round_trip / 2, due)));
    addr
}
