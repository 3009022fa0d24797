//! An upstream that answers as a test says, byte for byte and, where the test [holds](Scripted::hold) a connection, at the
//! moment that it says.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fs, mem};

use super::{PATIENCE, eventually, resp};

/// A command as it came: its words.
pub type Words = Vec<String>;

/// What is answered to a command of the n-th connection, counted from 0; `None` ends the connection.
type Script = dyn Fn(usize, &[&str]) -> Option<Vec<u8>> + Send + Sync;

#[derive(Default)]
struct Log {
    commands: Vec<(usize, Words)>,
    streams: BTreeMap<usize, TcpStream>,
    /// The answers that are kept back, by connection.
    held: BTreeMap<usize, VecDeque<Vec<u8>>>,
    threads: Vec<JoinHandle<()>>,
    stopping: bool,
}

/// Ends with all its connections on drop.
pub struct Scripted {
    addr: SocketAddr,
    log: Arc<Mutex<Log>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Scripted {
    /// What `script` does not answer, by giving [`usual`]'s answer, is up to it.
    pub fn start(
        script: impl Fn(usize, &[&str]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let log: Arc<Mutex<Log>> = Arc::default();
        let script: Arc<Script> = Arc::new(script);
        let acceptor = {
            let log = Arc::clone(&log);
            thread::spawn(move || accept(&listener, &log, &script))
        };
        Self {
            addr,
            log,
            acceptor: Some(acceptor),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// All commands so far, with their connections' numbers.
    pub fn commands(&self) -> Vec<(usize, Words)> {
        self.log.lock().expect("unpoisoned").commands.clone()
    }

    /// How many commands so far begin with these words.
    pub fn count(&self, words: &[&str]) -> usize {
        let begins = |(_, command): &&(usize, Words)| {
            command.len() >= words.len() && words.iter().zip(command).all(|(a, b)| a == b)
        };
        self.commands().iter().filter(begins).count()
    }

    /// The connection of the last command that begins with these words, once more than `before` of them have come.
    pub fn await_command(&self, words: &[&str], before: usize) -> usize {
        eventually(&format!("{words:?}"), || {
            let commands = self.commands();
            let mut found = commands.iter().rev().filter(|(_, command)| {
                command.len() >= words.len() && words.iter().zip(command).all(|(a, b)| a == b)
            });
            let last = found.next()?.0;
            (found.count() >= before).then_some(last)
        })
    }

    /// Keeps the answers on a connection back from here on.
    pub fn hold(&self, connection: usize) {
        let mut log = self.log.lock().expect("unpoisoned");
        log.held.entry(connection).or_default();
    }

    /// The next answer that was kept back, for the test to send or not; waits for it.
    pub fn take(&self, connection: usize) -> Vec<u8> {
        eventually("an answer that is kept back", || {
            let mut log = self.log.lock().expect("unpoisoned");
            log.held.get_mut(&connection)?.pop_front()
        })
    }

    /// Sends what is still kept back, and keeps nothing back any more.
    pub fn release(&self, connection: usize) {
        let mut log = self.log.lock().expect("unpoisoned");
        let held = log.held.remove(&connection).unwrap_or_default();
        for answer in held {
            log.write(connection, &answer);
        }
    }

    /// Sends bytes of the test's own.
    pub fn send(&self, connection: usize, bytes: &[u8]) {
        self.log
            .lock()
            .expect("unpoisoned")
            .write(connection, bytes);
    }

    /// Sends bytes of the test's own and waits until the other side has read them, so that what is sent next comes with
    /// another read.
    pub fn send_apart(&self, connection: usize, bytes: &[u8]) {
        self.send(connection, bytes);
        let peer = self.log.lock().expect("unpoisoned").streams[&connection].peer_addr();
        let Ok(peer) = peer else { return };
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The look costs more than the other side takes.
            thread::sleep(Duration::from_micros(100));
            if all_read(self.addr, peer) {
                return;
            }
            assert!(Instant::now() < deadline, "what was sent is not read");
        }
    }

    /// Cuts one connection.
    pub fn cut_one(&self, connection: usize) {
        let stream = self
            .log
            .lock()
            .expect("unpoisoned")
            .streams
            .remove(&connection);
        if let Some(stream) = stream {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for stream in mem::take(&mut self.log.lock().expect("unpoisoned").streams).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Log {
    /// The other side may be gone.
    fn write(&mut self, connection: usize, bytes: &[u8]) -> bool {
        let stream = self.streams.get_mut(&connection);
        stream.is_some_and(|stream| stream.write_all(bytes).is_ok())
    }
}

/// Whether nothing of what was sent from `from` to `to` waits on either side. A connection that is gone has read all.
fn all_read(from: SocketAddr, to: SocketAddr) -> bool {
    let table = fs::read_to_string("/proc/self/net/tcp").expect("Linux's table of sockets");
    let port = |field: &str| u16::from_str_radix(field.rsplit(':').next()?, 16).ok();
    let waiting = |local: SocketAddr, remote: SocketAddr, at: usize| {
        let of_it = table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let ends = (port(fields[1])?, port(fields[2])?);
            (ends == (local.port(), remote.port()))
                .then(|| fields[4].split(':').nth(at) == Some("00000000"))
        });
        !of_it.unwrap_or(true)
    };
    !waiting(from, to, 0) && !waiting(to, from, 1)
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.log.lock().expect("unpoisoned").stopping = true;
        self.cut();
        // Wakes the acceptor, which then sees that it is to stop.
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let threads = std::mem::take(&mut self.log.lock().expect("unpoisoned").threads);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, log: &Arc<Mutex<Log>>, script: &Arc<Script>) {
    for (number, stream) in listener.incoming().enumerate() {
        let Ok(stream) = stream else { continue };
        let mut state = log.lock().expect("unpoisoned");
        if state.stopping {
            return;
        }
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let second = stream.try_clone().expect("a second handle");
        state.streams.insert(number, second);
        let (log, script) = (Arc::clone(log), Arc::clone(script));
        state
            .threads
            .push(thread::spawn(move || serve(number, stream, &log, &*script)));
    }
}

fn serve(number: usize, mut stream: TcpStream, log: &Mutex<Log>, script: &Script) {
    let (mut input, mut chunk) = (Vec::new(), [0; 16 << 10]);
    'connection: while let Ok(count @ 1..) = stream.read(&mut chunk) {
        input.extend_from_slice(&chunk[..count]);
        let mut done = 0;
        while let Some((value, length)) = resp::parse(&input[done..]) {
            done += length;
            let text = |value: &resp::Value| value.text().unwrap_or_default().to_owned();
            let words: Words = value.elements().iter().map(text).collect();
            let command: Vec<&str> = words.iter().map(String::as_str).collect();
            let answer = script(number, &command);
            let mut log = log.lock().expect("unpoisoned");
            log.commands.push((number, words));
            let Some(answer) = answer else {
                break 'connection;
            };
            if let Some(held) = log.held.get_mut(&number) {
                held.push_back(answer);
            } else if !log.write(number, &answer) {
                break 'connection;
            }
        }
        input.drain(..done);
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// What a Redis 7 without data would answer to what nearside sends of its own.
pub fn usual(command: &[&str]) -> Vec<u8> {
    let name = command[0].to_ascii_uppercase();
    let answer: &[u8] = match name.as_str() {
        "HELLO" => {
            b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n\
              $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
        }
        "AUTH" | "CLIENT" | "SELECT" => b"+OK\r\n",
        "COMMAND" => b"*0\r\n",
        "PING" => b"+PONG\r\n",
        "PTTL" => b":-1\r\n",
        "GET" => b"$1\r\nv\r\n",
        _ => b"-ERR unknown command\r\n",
    };
    answer.to_vec()
}
