//! How much is held for one client, however slow it or the upstream is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::coherence::rig::Rig;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::resp;
use crate::support::{TempDir, eventually};

/// The program itself, whose memory nobody shares, between Unix sockets, whose buffers are small.
struct Program {
    child: Child,
    dir: TempDir,
}

impl Program {
    fn start(server: &RedisServer) -> Self {
        let dir = TempDir::new();
        let listen = format!("unix:{}", dir.path().join("nearside.sock").display());
        let upstream = format!("unix:{}", server.dir().join("redis.sock").display());
        let child = Command::new(env!("CARGO_BIN_EXE_nearside"))
            .args(["--listen", &listen, "--upstream", &upstream])
            .args(["--http", "127.0.0.1:0", "--workers", "1"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program");
        Self { child, dir }
    }

    fn connect(&self) -> UnixStream {
        let path = self.dir.path().join("nearside.sock");
        eventually("the program's socket", || UnixStream::connect(&path).ok())
    }

    /// The most memory that it has ever had, in bytes.
    fn peak(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("its status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|rest| rest.trim().strip_suffix(" kB"));
        peak.expect("a peak").parse::<usize>().expect("a number") << 10
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that listens on `redis.sock` in its directory too.
const SOCKET: &[&str] = &["--unixsocket", "redis.sock"];

fn request(command: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    resp::encode(&mut bytes, command);
    bytes
}

/// Held back or not, everything that was sent is answered.
#[test]
fn who_was_held_back_is_answered_in_full() {
    let rig = Rig::new(|_| {});
    let mut session = rig.session();
    let value = "x".repeat(2000);
    let count = 20_000;
    rig.relay.hold();
    let writer = {
        let addr = rig.near.addr();
        let mut bytes = Vec::new();
        for _ in 0..count {
            resp::encode(&mut bytes, &["SET", "k", &value]);
        }
        let mut stream = TcpStream::connect(addr).expect("a connection");
        let reader = stream.try_clone().expect("a second handle");
        thread::spawn(move || stream.write_all(&bytes).expect("all of it"));
        reader
    };
    rig.relay.release();
    let mut left = count * "+OK\r\n".len();
    let mut reader = writer;
    let mut chunk = vec![0; 64 << 10];
    while left > 0 {
        left -= reader.read(&mut chunk).expect("a read");
    }
    assert_eq!(session.call(&["STRLEN", "k"]), resp::Value::Int(2000));
}
