//! A connection that gives replies as the bytes that came, and samples as requests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;

use nearside::command::{self, Row};
use nearside::resp::encode;
use nearside::resp::frame::{FrameWalker, Ignore};
use nearside::resp::request::{RequestScanner, Scanned};

use crate::support::PATIENCE;
use crate::support::redis::RedisServer;

/// One request with the places of its arguments.
pub struct Request {
    pub bytes: Vec<u8>,
    pub args: Vec<Range<usize>>,
}

impl Request {
    pub fn new(words: &[Vec<u8>]) -> Self {
        let parts: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let mut bytes = Vec::new();
        encode::request(&mut bytes, &parts);
        let mut scanner = RequestScanner::default();
        let found = scanner.scan(&bytes);
        assert!(matches!(found, Ok(Scanned::Request { .. })), "{words:?}");
        let args = scanner.args().to_vec();
        Self { bytes, args }
    }

    pub fn row(&self) -> Option<&'static Row> {
        command::of(&self.bytes, &self.args)
    }
}

/// What of a reply has to be the same in both protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    Bytes,
    /// All but the numbers.
    Places,
    /// The first byte.
    Kind,
}

/// A sample taken apart.
#[derive(Clone)]
pub struct Sample {
    pub line: String,
    pub compared: Compared,
    /// What comes first.
    pub before: Vec<Vec<Vec<u8>>>,
    pub words: Vec<Vec<u8>>,
}

impl Sample {
    pub fn parse(line: &str) -> Self {
        let compared = match line.as_bytes()[0] {
            b'~' => Compared::Places,
            b'?' => Compared::Kind,
            _ => Compared::Bytes,
        };
        let mut commands: Vec<_> = line
            .trim_start_matches(['~', '?'])
            .split(" & ")
            .map(words)
            .collect();
        let words = commands.pop().expect("a command");
        Self {
            line: line.to_owned(),
            compared,
            before: commands,
            words,
        }
    }

    pub fn request(&self) -> Request {
        Request::new(&self.words)
    }
}

/// The words of a command: see the samples' header.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ')
        .map(|word| {
            if word == "\"\"" {
                Vec::new()
            } else {
                unescape(word)
            }
        })
        .collect()
}

fn unescape(word: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'x') => {
                let mut digit = || {
                    let digit = rest.next().and_then(|d| char::from(d).to_digit(16));
                    u8::try_from(digit.expect("a hex digit")).expect("below 16")
                };
                digit() * 16 + digit()
            }
            other => panic!("no such escape: {other:?} in {word}"),
        });
    }
    out
}

pub struct Wire {
    stream: TcpStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

impl Wire {
    /// Speaking RESP3 if so said, or else RESP2.
    pub fn connect(server: &RedisServer, resp3: bool) -> Self {
        Self::to(server.addr(), resp3)
    }

    pub fn to(addr: SocketAddr, resp3: bool) -> Self {
        let stream = TcpStream::connect(addr).expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut wire = Self {
            stream,
            inbox: Vec::new(),
            outbox: Vec::new(),
        };
        if resp3 {
            let hello = wire.call(&words("HELLO 3"));
            assert!(hello.starts_with(b"%"), "HELLO 3 is not taken");
        }
        wire
    }

    pub fn send(&mut self, words: &[Vec<u8>]) {
        let parts: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        encode::request(&mut self.outbox, &parts);
    }

    /// The next reply, as it came.
    pub fn read(&mut self) -> Vec<u8> {
        self.stream.write_all(&self.outbox).expect("written");
        self.outbox.clear();
        let mut walker = FrameWalker::default();
        let mut length = 0;
        loop {
            let step = walker
                .walk(&self.inbox[length..], &mut Ignore)
                .expect("RESP");
            length += step.consumed;
            if step.done {
                let behind = self.inbox.split_off(length);
                return std::mem::replace(&mut self.inbox, behind);
            }
            let mut chunk = vec![0; 64 << 10];
            let count = self.stream.read(&mut chunk).expect("a reply in time");
            assert!(count > 0, "the server closed the connection");
            self.inbox.extend_from_slice(&chunk[..count]);
        }
    }

    pub fn call(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        self.send(words);
        self.read()
    }
}

/// A server that gives the same replies to the same commands every time.
pub fn steady_server() -> RedisServer {
    RedisServer::start(&["--activerehashing", "no"])
}

/// The bytes for a message, readable.
pub fn shown(bytes: &[u8]) -> String {
    let cut = bytes.len().min(600);
    bytes[..cut].escape_ascii().to_string()
}
