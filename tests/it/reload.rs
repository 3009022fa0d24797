//! What changes while the program runs: by SIGHUP, and over the side port.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::support::client::Client;
use crate::support::redis::RedisServer;
use crate::support::{PATIENCE, TempDir};

/// The program with a file and its log. Ends on drop.
struct Program {
    child: Child,
    file: PathBuf,
    log: Receiver<String>,
    seen: Vec<String>,
    listen: SocketAddr,
    http: SocketAddr,
    _dir: TempDir,
}

impl Program {
    /// With `more` behind the upstream in its file.
    fn start(server: &RedisServer, more: &str) -> Self {
        let dir = TempDir::new();
        let file = dir.path().join("nearside.toml");
        let base = format!("upstream = 'redis://{}'\nworkers = 1\n", server.addr());
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
            listen: anywhere,
            http: anywhere,
            _dir: dir,
        };
        let address = |line: &str| {
            let text = line.rsplit(' ').next().expect("a word");
            text.trim().parse().expect("an address")
        };
        let listening = program.await_line("listening on ");
        program.listen = address(&listening);
        let side = program.await_line("side port on ");
        program.http = address(&side);
        program
    }

    /// Waits for a line of the log that has `part` in it and has not been waited for before.
    fn await_line(&mut self, part: &str) -> String {
        loop {
            if let Some(at) = self.seen.iter().position(|line| line.contains(part)) {
                return self.seen.remove(at);
            }
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("no {part:?} in the log, {error}: {:?}", self.seen),
            }
        }
    }

    fn write(&self, server: &RedisServer, more: &str) {
        let base = format!("upstream = 'redis://{}'\nworkers = 1\n", server.addr());
        std::fs::write(&self.file, base + more).expect("a file");
    }

    fn reload(&self) {
        let id = i32::try_from(self.child.id()).expect("a process");
        let id = rustix::process::Pid::from_raw(id).expect("a process");
        rustix::process::kill_process(id, rustix::process::Signal::HUP).expect("it runs");
    }

    /// Status and body, headers in front of it.
    fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
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

    fn get(&self, path: &str) -> String {
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

#[test]
fn sighup_changes_mode_and_sample_and_names_what_needs_a_restart() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, "[l1]\nmode = 'off'\n");
    let mut client = Client::connect(program.listen);
    client.must(&["SET", "k", "1"]);

    program.write(&server, "[l1]\nmode = 'shadow'\nsample = 0.5\n");
    program.reload();
    program.await_line("the configuration was read again");
    let config = program.get("/config");
    assert!(config.contains("l1.mode = shadow\n"), "{config}");
    assert!(config.contains("l1.sample = 0.5\n"), "{config}");

    program.write(
        &server,
        "max_clients = 7\n[l1]\nmode = 'on'\nadmit = 'always'\n[[keyspace]]\nname = 'a'\nmatch = 'a'\n",
    );
    program.reload();
    let line = program.await_line("needs a restart");
    for key in ["max_clients", "l1.admit", "keyspace.a.match"] {
        assert!(line.contains(key), "{line}");
    }
    assert!(!line.contains("l1.mode"), "{line}");
    program.await_line("the configuration was read again");
    let config = program.get("/config");
    assert!(config.contains("l1.mode = on\n"), "{config}");
    assert!(config.contains("max_clients = 10000\n"), "{config}");

    program.write(&server, "[l1]\nmode = 'onn'\n");
    program.reload();
    let line = program.await_line("the configuration is as it was");
    assert!(
        line.contains(r#"l1.mode: "onn" is not one of on, off, shadow"#),
        "{line}"
    );
    assert!(program.get("/config").contains("l1.mode = on\n"));
    assert_eq!(client.must(&["GET", "k"]).text(), Some("1"));
}

#[test]
fn the_side_port_changes_mode_and_sample() {
    let server = RedisServer::start(&[]);
    let program = Program::start(&server, "[l1]\nadmit = 'always'\n");
    let mut client = Client::connect(program.listen);
    client.must(&["SET", "k", "1"]);
    let shown = program.get("/v1/cache/mode");
    assert!(
        shown.ends_with("{\"mode\":\"on\",\"sample\":1.0,\"warming_up\":false}\n"),
        "{shown}"
    );
    let put = |body: &str| program.http("PUT", "/v1/cache/mode", body);
    let (status, shown) = put(r#"{"mode": "shadow", "sample": 0.5}"#);
    assert_eq!(status, 200, "{shown}");
    assert!(
        shown.ends_with("{\"mode\":\"shadow\",\"sample\":0.5,\"warming_up\":false}\n"),
        "{shown}"
    );
    assert_eq!(put(r#"{"sample": 1}"#).0, 200);
    for _ in 0..4 {
        client.must(&["GET", "k"]);
    }
    let metrics = program.get("/metrics");
    let row = |outcome| {
        format!("nearside_l1_shadow_reads_total{{cache_type=\"default\",outcome=\"{outcome}\"}}")
    };
    assert!(
        metrics.contains(&format!("{} 0\n", row("different"))),
        "{metrics}"
    );
    assert!(
        !metrics.contains(&format!("{} 0\n", row("same"))),
        "{metrics}"
    );

    let (status, problem) = put(r#"{"mode": "onn"}"#);
    assert_eq!(status, 400, "{problem}");
    assert!(problem.contains("content-type: application/problem+json"));
    assert!(
        problem.contains(r#""detail":"mode: \"onn\" is not one of on, off, shadow""#),
        "{problem}"
    );
    assert!(program.get("/v1/cache/mode").contains("shadow"));
    let (status, problem) = put(&" ".repeat(10_000));
    assert_eq!(status, 413, "{problem}");
    assert!(problem.contains("application/problem+json"), "{problem}");
}

#[test]
fn where_bytes_are_not_looked_at_both_say_that_a_restart_is_needed() {
    let server = RedisServer::start(&[]);
    let dedicated = "sharing = 'dedicated'\n[l1]\nmode = ";
    let mut program = Program::start(&server, &format!("{dedicated}'off'\n"));
    let (status, problem) = program.http("PUT", "/v1/cache/mode", r#"{"mode": "on"}"#);
    assert_eq!(status, 409, "{problem}");
    assert!(problem.contains("restart it"), "{problem}");
    program.write(&server, &format!("{dedicated}'on'\n"));
    program.reload();
    let line = program.await_line("l1.mode is as it was");
    assert!(line.contains("restart it"), "{line}");
    let mut client = Client::connect(program.listen);
    client.must(&["SET", "k", "1"]);
}
