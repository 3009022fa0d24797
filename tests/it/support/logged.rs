//! The program as a process of its own, over TCP, with its file, its log and its side port.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::process::Signal;

use super::redis::RedisServer;
use super::{PATIENCE, TempDir, eventually};

/// The program with a file and its log. Ends on drop.
pub struct Program {
    child: Child,
    pub file: PathBuf,
    log: Receiver<String>,
    seen: Vec<String>,
    all: Vec<String>,
    pub listen: SocketAddr,
    pub http: SocketAddr,
    _dir: TempDir,
}

impl Program {
    /// With `more` behind the upstream in its file.
    pub fn start(server: &RedisServer, more: &str) -> Self {
        Self::start_before(server.addr(), more)
    }

    /// The same in front of whatever is at this address.
    pub fn start_before(upstream: SocketAddr, more: &str) -> Self {
        let dir = TempDir::new();
        let file = dir.path().join("nearside.toml");
        let base = format!("upstream = 'redis://{upstream}'\nworkers = 1\n");
        std::fs::write(&file, base + more).expect("a file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_nearside"))
            .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program");
        let log = follow(child.stderr.take().expect("piped"));
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut program = Self {
            child,
            file,
            log,
            seen: Vec::new(),
            all: Vec::new(),
            listen: anywhere,
            http: anywhere,
            _dir: dir,
        };
        let listening = program.await_line("listening on ");
        program.listen = address(&listening);
        let side = program.await_line("side port on ");
        program.http = address(&side);
        program
    }

    /// Waits for a line of the log that has `part` in it and has not been waited for before.
    pub fn await_line(&mut self, part: &str) -> String {
        loop {
            if let Some(at) = self.seen.iter().position(|line| line.contains(part)) {
                return self.seen.remove(at);
            }
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.all.push(line.clone());
                    self.seen.push(line);
                }
                Err(error) => panic!("no {part:?} in the log, {error}: {:?}", self.seen),
            }
        }
    }

    /// Every line so far; where the program has ended, every line.
    pub fn lines(&mut self) -> Vec<String> {
        // What has been written a moment ago may not have come: the pipe's end is waited for where it is near.
        while let Ok(line) = self.log.recv_timeout(std::time::Duration::from_millis(100)) {
            self.all.push(line.clone());
            self.seen.push(line);
        }
        self.all.clone()
    }

    pub fn write(&self, server: &RedisServer, more: &str) {
        let base = format!("upstream = 'redis://{}'\nworkers = 1\n", server.addr());
        std::fs::write(&self.file, base + more).expect("a file");
    }

    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process");
        let id = rustix::process::Pid::from_raw(id).expect("a process");
        rustix::process::kill_process(id, signal).expect("it runs");
    }

    /// The exit code, when it has ended.
    pub fn end(&mut self) -> Option<i32> {
        let status = eventually("the program's end", || {
            self.child.try_wait().expect("its status")
        });
        status.code()
    }

    /// Status and body, headers in front of it.
    pub fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).expect("the side port");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        let status = reply.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), reply)
    }

    pub fn get(&self, path: &str) -> String {
        let (status, body) = self.http("GET", path, "");
        assert_eq!(status, 200, "{body}");
        body
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(stderr: ChildStderr) -> Receiver<String> {
    let (lines, log) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    log
}

/// The address behind the first ` on ` of a line of either form.
pub fn address(line: &str) -> SocketAddr {
    let (_, text) = line.split_once(" on ").expect("an address");
    let foreign = |char: char| !(char.is_ascii_hexdigit() || ".:[]".contains(char));
    let end = text.find(foreign).unwrap_or(text.len());
    text[..end].parse().expect("an address")
}
