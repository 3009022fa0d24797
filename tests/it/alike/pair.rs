//! The same bytes to nearside and to a bare server of the same kind.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nearside::config::Settings;

use crate::support::PATIENCE;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;

/// nearside in front of a server, and another server.
pub struct Pair {
    pub nearside: Nearside,
    pub bare: RedisServer,
    /// How long an answer may take.
    pub patience: Duration,
    /// Behind nearside; ends with it.
    _behind: RedisServer,
}

impl Pair {
    /// Both servers with `extra` arguments.
    pub fn start(extra: &[&str], adjust: impl FnOnce(&mut Settings)) -> Self {
        let (bare, behind) = (RedisServer::start(extra), RedisServer::start(extra));
        let nearside = Nearside::start(behind.addr(), adjust);
        Self {
            nearside,
            bare,
            patience: PATIENCE,
            _behind: behind,
        }
    }

    pub fn connect(&self) -> Both {
        Both {
            nearside: Raw::connect(self.nearside.addr(), self.patience),
            bare: Raw::connect(self.bare.addr(), self.patience),
        }
    }
}

/// A connection to each.
pub struct Both {
    nearside: Raw,
    bare: Raw,
}

impl Both {
    /// Sends the pieces to both, nearside first, and gives what comes from nearside and from the bare server until
    /// `last` is the end of it, or the connection's.
    pub fn exchange(&mut self, pieces: &[&[u8]], last: &[u8]) -> (Answer, Answer) {
        (
            self.nearside.exchange(pieces, last),
            self.bare.exchange(pieces, last),
        )
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub end: End,
}

/// Why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Complete,
    Closed,
    TimedOut,
}

struct Raw {
    stream: TcpStream,
    patience: Duration,
}

impl Raw {
    fn connect(addr: SocketAddr, patience: Duration) -> Self {
        let stream = TcpStream::connect(addr).expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Self { stream, patience }
    }

    fn exchange(&mut self, pieces: &[&[u8]], last: &[u8]) -> Answer {
        let mut writer = self.stream.try_clone().expect("a second handle");
        thread::scope(|scope| {
            scope.spawn(move || {
                for (n, piece) in pieces.iter().enumerate() {
                    if n > 0 {
                        // So that the piece before is read on its own, mostly.
                        thread::sleep(Duration::from_micros(100));
                    }
                    // Where the other side has closed, what it said before tells why.
                    if writer.write_all(piece).is_err() {
                        return;
                    }
                }
            });
            let answer = self.read(last);
            if answer.end != End::Complete {
                let _ = self.stream.shutdown(Shutdown::Both);
            }
            answer
        })
    }

    fn read(&mut self, last: &[u8]) -> Answer {
        let deadline = Instant::now() + self.patience;
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        loop {
            if bytes.ends_with(last) {
                let end = End::Complete;
                return Answer { bytes, end };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let end = End::TimedOut;
                return Answer { bytes, end };
            }
            self.stream.set_read_timeout(Some(left)).expect("a timeout");
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    let end = End::Closed;
                    return Answer { bytes, end };
                }
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    // Closed with something unread.
                    _ => {
                        let end = End::Closed;
                        return Answer { bytes, end };
                    }
                },
            }
        }
    }
}

/// The bytes without what is a connection's own: its number, and the server's lines on its clients.
pub fn without_numbers(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        if let Some(line) = client_lines(rest) {
            out.extend_from_slice(b"<clients>");
            rest = &rest[line..];
            continue;
        }
        let number = [&b"$2\r\nid\r\n:"[..], NUMBERED]
            .into_iter()
            .find(|before| rest.starts_with(before));
        if let Some(before) = number {
            out.extend_from_slice(before);
            let digits = rest[before.len()..]
                .iter()
                .take_while(|b| b.is_ascii_digit());
            rest = &rest[before.len() + digits.count()..];
            continue;
        }
        out.push(*first);
        rest = &rest[1..];
    }
    out
}

/// What comes before the answer to a CLIENT ID behind an ECHO of `client-id`.
const NUMBERED: &[u8] = b"$9\r\nclient-id\r\n:";

/// The length of the reply to CLIENT LIST or CLIENT INFO that `bytes` start with.
fn client_lines(bytes: &[u8]) -> Option<usize> {
    if !matches!(bytes[0], b'$' | b'=') {
        return None;
    }
    let header = bytes.windows(2).take(16).position(|pair| pair == b"\r\n")?;
    let length: usize = std::str::from_utf8(&bytes[1..header]).ok()?.parse().ok()?;
    let body = bytes.get(header + 2..header + 2 + length)?;
    let body = body.strip_prefix(b"txt:").unwrap_or(body);
    body.starts_with(b"id=").then_some(header + 2 + length + 2)
}
