//! A blocking client: commands are queued, flushed and read apart, so that a test decides what
//! travels together. Pushes are kept apart from replies.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::resp::{self, Value};

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Self::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

/// Which protocol a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Resp2,
    Resp3,
}

pub struct Client {
    stream: Stream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    replies: VecDeque<Value>,
    pushes: VecDeque<Value>,
    /// What went out last, for the message of a failure.
    last: String,
}

impl Client {
    /// A RESP2 client over TCP.
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|e| panic!("connect {addr}: {e}"))
    }

    /// The same where nobody may listen.
    pub fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        Ok(Self::new(Stream::Tcp(stream)))
    }

    /// A RESP2 client over a Unix socket.
    pub fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path);
        let stream = stream.unwrap_or_else(|e| panic!("connect {}: {e}", path.display()));
        Self::new(Stream::Unix(stream))
    }

    fn new(stream: Stream) -> Self {
        Self {
            stream,
            inbox: Vec::new(),
            outbox: Vec::new(),
            replies: VecDeque::new(),
            pushes: VecDeque::new(),
            last: String::new(),
        }
    }

    /// The same client, speaking `protocol` from here on.
    pub fn speaking(mut self, protocol: Protocol) -> Self {
        if protocol == Protocol::Resp3 {
            let reply = self.call(&["HELLO", "3"]);
            assert!(matches!(reply, Value::Map(_)), "HELLO 3 got {reply:?}");
        }
        self
    }

    /// Queues a command; nothing is written before [`flush`](Self::flush).
    pub fn send<A: AsRef<[u8]>>(&mut self, command: &[A]) {
        let start = |a: &A| {
            let a = a.as_ref();
            String::from_utf8_lossy(&a[..a.len().min(60)]).into_owned()
        };
        let words = command.iter().take(10).map(start);
        self.last = words.collect::<Vec<_>>().join(" ");
        resp::encode(&mut self.outbox, command);
    }

    /// Queues bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.last = String::from_utf8_lossy(bytes).into_owned();
        self.outbox.extend_from_slice(bytes);
    }

    /// Sends nothing any more, and still reads.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a half-close");
    }

    /// Writes all that was queued in one go.
    pub fn flush(&mut self) {
        if let Err(error) = self.try_flush() {
            panic!("writing up to {:?}: {error}", self.last);
        }
    }

    /// [`flush`](Self::flush) where the connection may have been closed.
    pub fn try_flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.outbox)?;
        self.outbox.clear();
        Ok(())
    }

    /// The next reply; fails the test when none comes.
    pub fn read(&mut self) -> Value {
        match self.try_read() {
            Ok(value) => value,
            Err(error) => panic!("no reply, last command sent {:?}: {error}", self.last),
        }
    }

    /// The next reply, or the connection's end. `TimedOut` when none came within the patience.
    pub fn try_read(&mut self) -> io::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = self.replies.pop_front() {
                return Ok(value);
            }
            if !self.receive(deadline)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// The next push.
    pub fn read_push(&mut self) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = self.pushes.pop_front() {
                return value;
            }
            match self.receive(deadline) {
                Ok(true) => {}
                Ok(false) => panic!("no push, last command sent {:?}", self.last),
                Err(error) => panic!("no push: {error}"),
            }
        }
    }

    /// Whether a reply is there, waiting up to `patience` for one.
    pub fn has_reply(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.replies.is_empty() {
            match self.receive(deadline) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => panic!("waiting for {:?}: {error}", self.last),
            }
        }
        true
    }

    /// Sends one command and reads its reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Value {
        self.send(command);
        self.flush();
        self.read()
    }

    /// Sends one command that must be answered with anything but an error.
    pub fn must<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Value {
        let reply = self.call(command);
        assert!(!reply.is_error(), "{:?} got {reply:?}", self.last);
        reply
    }

    /// Reads once and sorts what came; false at the deadline.
    fn receive(&mut self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = left.max(Duration::from_micros(100));
        self.stream.set_read_timeout(timeout)?;
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.inbox.extend_from_slice(&chunk[..count]),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(left > timeout),
                io::ErrorKind::Interrupted => return Ok(true),
                _ => return Err(error),
            },
        }
        let mut done = 0;
        while let Some((value, length)) = resp::parse(&self.inbox[done..]) {
            done += length;
            if value.is_push() {
                self.pushes.push_back(value);
            } else {
                self.replies.push_back(value);
            }
        }
        self.inbox.drain(..done);
        Ok(true)
    }
}
