//! `nearside alloc`, the program itself.

mod commands;
mod front;
mod holding;
mod losing;
mod seeking;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::api::Port;
use crate::support::redis::RedisServer;
use crate::support::{PATIENCE, eventually};

/// The program, which asks at this side port.
fn alloc(http: SocketAddr, args: &[&str]) -> Command {
    // Also where the tests were started by nohup, which has SIGHUP ignored.
    let mut command = Command::new("env");
    command
        .args(["--default-signal", env!("CARGO_BIN_EXE_nearside")])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").expect("a PATH"))
        .env("NEARSIDE_HTTP", http.to_string())
        .arg("alloc")
        .args(args)
        .stdin(Stdio::null());
    command
}

fn output(http: SocketAddr, args: &[&str]) -> Output {
    alloc(http, args).output().expect("the program")
}

/// It ends well and says nothing on standard error; its standard output.
fn done(http: SocketAddr, args: &[&str]) -> String {
    let output = output(http, args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("a text")
}

/// It ends with this code, with one line on standard error alone, behind the program's name.
fn refused(http: SocketAddr, args: &[&str], code: i32) -> String {
    let output = output(http, args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    let line = String::from_utf8(output.stderr).expect("a text");
    assert_eq!(line.lines().count(), 1, "{line}");
    let line = line.trim_end().strip_prefix("nearside: ");
    line.expect("the program's name").to_owned()
}

/// A nearside with a pool `p` of so much.
fn pool_of(capacity: u64) -> (RedisServer, Port) {
    let server = RedisServer::start(&[]);
    let port = Port::start(server.addr(), "a", |_| {});
    port.put("p", capacity);
    (server, port)
}

/// The leases that a nearside has given.
fn leases(port: &Port) -> Vec<Value> {
    let listed = port.ask("GET", "/v1/allocations", "", &Value::Null);
    listed.body["allocations"]
        .as_array()
        .expect("leases")
        .clone()
}

/// `nearside alloc run` with a shell script as its command. Killed on drop.
struct Run {
    process: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    said: Receiver<String>,
}

impl Run {
    /// Of one of the pool `p`, waited for over the pause of a new ledger.
    fn start(http: SocketAddr, flags: &[&str], script: &str) -> Self {
        let usual = ["--pool", "p=1", "--wait", "10s"];
        Self::start_with(http, &[&usual, flags].concat(), script)
    }

    fn start_with(http: SocketAddr, flags: &[&str], script: &str) -> Self {
        let command = ["--", "sh", "-c", script];
        Self::spawn(alloc(http, &[&["run"], flags, &command].concat()))
    }

    fn spawn(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        Self {
            stdin: process.stdin.take(),
            lines: follow(process.stdout.take().expect("piped")),
            said: follow(process.stderr.take().expect("piped")),
            process,
        }
    }

    /// The next line of the command's standard output.
    fn line(&self) -> String {
        self.line_after("what went before")
    }

    /// The same, and what it is waited for after.
    fn line_after(&self, what: &str) -> String {
        let line = self.lines.recv_timeout(PATIENCE);
        line.unwrap_or_else(|error| panic!("no line after {what}, {error}: {:?}", self.rest()))
    }

    /// Waits for this line.
    fn await_line(&self, expected: &str) {
        while self.line() != expected {}
    }

    /// A line on the command's standard input.
    fn write(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").expect("it reads");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
    }

    /// The exit code, and what it said on standard error.
    fn end(&mut self) -> (i32, Vec<String>) {
        let status = eventually("the end of alloc run", || {
            self.process.try_wait().expect("its status")
        });
        (status.code().expect("a code"), self.rest())
    }

    fn rest(&self) -> Vec<String> {
        let mut said = Vec::new();
        while let Ok(line) = self
            .said
            .recv_timeout(std::time::Duration::from_millis(100))
        {
            said.push(line);
        }
        said
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Its command ends with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn follow(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (lines, received) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    received
}

/// Whether a process runs; one that has ended may be waiting for whoever inherited it.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    !stat.is_empty() && state != Some('Z')
}
