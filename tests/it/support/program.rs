//! The program as a process of its own.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::redis::RedisServer;
use super::{TempDir, eventually};

/// The program itself, whose memory nobody shares, between Unix sockets, whose buffers are small.
pub struct Program {
    child: Child,
    dir: TempDir,
}

impl Program {
    /// In front of a server that was started with [`SOCKET`].
    pub fn start(server: &RedisServer) -> Self {
        Self::start_with(server, &[])
    }

    /// The same, with settings by their names in the environment.
    pub fn start_with(server: &RedisServer, settings: &[(&str, &str)]) -> Self {
        let upstream = format!("unix:{}", server.dir().join("redis.sock").display());
        Self::before(&upstream, settings)
    }

    /// In front of an upstream as `--upstream` names it.
    pub fn before(upstream: &str, settings: &[(&str, &str)]) -> Self {
        let dir = TempDir::new();
        let listen = format!("unix:{}", dir.path().join("nearside.sock").display());
        let log = File::create(dir.path().join("nearside.log")).expect("its log");
        let child = Command::new(env!("CARGO_BIN_EXE_nearside"))
            .args(["--listen", &listen, "--upstream", upstream])
            .args(["--http", "127.0.0.1:0", "--workers", "1"])
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program");
        Self { child, dir }
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("nearside.sock")
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("nearside.log")).expect("its log")
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("its status").is_none()
    }

    pub fn connect(&self) -> UnixStream {
        let path = self.socket();
        eventually("the program's socket", || UnixStream::connect(&path).ok())
    }

    /// The most memory that it has ever had, in bytes.
    pub fn peak(&self) -> usize {
        self.memory("VmHWM:")
    }

    /// The memory that it has now, in bytes.
    pub fn resident(&self) -> usize {
        self.memory("VmRSS:")
    }

    fn memory(&self, row: &str) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("its status");
        let found = status.lines().find_map(|line| line.strip_prefix(row));
        let found = found.and_then(|rest| rest.trim().strip_suffix(" kB"));
        found.expect("the row").parse::<usize>().expect("a number") << 10
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that listens on `redis.sock` in its directory too.
pub const SOCKET: &[&str] = &["--unixsocket", "redis.sock"];
