//! A real redis-server for one test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use super::client::Client;
use super::resp::Value;
use super::{PATIENCE, TempDir, eventually};

/// A port below those that the system gives away: between its choice and the server's start nobody is given it who asked for
/// any free one, as the programs under test do.
fn next_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let of_this_process = u16::try_from(process::id() % 100).expect("below a hundred") * 100;
    let next = NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
    20_000 + (of_this_process + next) % 10_000
}

/// Ends with the value, by its own process handle; and where the tests are killed, with the thread that started it,
/// which therefore has to be the one that keeps it.
pub struct RedisServer {
    child: Child,
    program: PathBuf,
    addr: SocketAddr,
    dir: TempDir,
}

impl RedisServer {
    /// Starts redis-server without persistence on a free port; `extra` are arguments of its command line.
    pub fn start(extra: &[&str]) -> Self {
        Self::start_program(Path::new("redis-server"), extra)
    }

    /// The same of a version that Debian does not have; see the Makefile.
    pub fn start_newer(extra: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/newer-redis");
        Self::start_program(&folder.join("redis-server"), extra)
    }

    fn start_program(program: &Path, extra: &[&str]) -> Self {
        for _ in 0..20 {
            let addr = SocketAddr::from(([127, 0, 0, 1], next_port()));
            if TcpListener::bind(addr).is_err() {
                continue;
            }
            if let Some(server) = Self::start_on(program, addr, extra) {
                return server;
            }
        }
        panic!("redis-server did not start on any of 20 ports");
    }

    /// `None` where somebody else took the port in between.
    fn start_on(program: &Path, addr: SocketAddr, extra: &[&str]) -> Option<Self> {
        let dir = TempDir::new();
        let log = dir.path().join("redis.log");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .args(["--enable-debug-command", "yes"])
            .arg("--dir")
            .arg(dir.path())
            .arg("--logfile")
            .arg(&log)
            .args(extra)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("setpriv of util-linux on the PATH");
        let mut server = Self {
            child,
            program: program.to_owned(),
            addr,
            dir,
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = server.child.try_wait().expect("the server's status") {
                let text = fs::read_to_string(&log).unwrap_or_default();
                assert!(
                    text.contains("Address already in use"),
                    "redis-server ended, {status}: {text}"
                );
                return None;
            }
            // Whoever answers on this port has to be the server started here. A connection to a port that nobody listens
            // on may be given that very port, and meets itself.
            let answers = |stream: TcpStream| stream.local_addr().is_ok_and(|own| own != addr);
            if TcpStream::connect(addr).is_ok_and(answers) {
                // Another one may be about to end.
                let info = Client::try_connect(addr).and_then(|mut client| {
                    client.send(&["INFO", "server"]);
                    client.try_flush()?;
                    client.try_read()
                });
                let own = format!("process_id:{}\r", server.child.id());
                let is_own = |info: &Value| info.text().is_some_and(|text| text.contains(&own));
                if info.as_ref().is_ok_and(is_own) {
                    return Some(server);
                }
            }
            assert!(
                Instant::now() < deadline,
                "redis-server does not answer on {addr}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the server and starts one without its data on the same port.
    pub fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        *self = eventually("the port again", || {
            Self::start_on(&self.program, self.addr, &[])
        });
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A client straight to the server.
    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// The server's own directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
