//! An upstream that answers as a test says, byte for byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::resp;

/// A command as it came: its words.
pub type Words = Vec<String>;

/// What is answered to a command of the n-th connection, counted from 0; `None` ends the connection.
type Script = dyn Fn(usize, &[&str]) -> Option<Vec<u8>> + Send + Sync;

#[derive(Default)]
struct Log {
    commands: Vec<(usize, Words)>,
    streams: Vec<TcpStream>,
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

    /// Cuts all connections.
    pub fn cut(&self) {
        for stream in self.log.lock().expect("unpoisoned").streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
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
        state
            .streams
            .push(stream.try_clone().expect("a second handle"));
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
        let (mut done, mut out) = (0, Vec::new());
        while let Some((value, length)) = resp::parse(&input[done..]) {
            done += length;
            let text = |value: &resp::Value| value.text().unwrap_or_default().to_owned();
            let words: Words = value.elements().iter().map(text).collect();
            let command: Vec<&str> = words.iter().map(String::as_str).collect();
            let answer = script(number, &command);
            log.lock()
                .expect("unpoisoned")
                .commands
                .push((number, words));
            match answer {
                Some(answer) => out.extend_from_slice(&answer),
                None => break 'connection,
            }
        }
        input.drain(..done);
        if stream.write_all(&out).is_err() {
            break;
        }
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
