//! A real redis-server for one test.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};

use super::client::Client;
use super::resp::Value;
use super::{PATIENCE, TempDir, eventually};

/// Ends with the value, by its own process handle; and where the tests are killed, with the thread that started it,
/// which therefore has to be the one that keeps it.
pub struct RedisServer {
    child: Child,
    plan: Plan,
    dir: TempDir,
}

/// How a server is started.
#[derive(Debug, Clone)]
struct Plan {
    program: PathBuf,
    addr: SocketAddr,
    extra: Vec<String>,
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

    /// Two servers on one port of two addresses of this machine, the second a replica of the first.
    pub fn start_pair() -> [Self; 2] {
        let program = Path::new("redis-server");
        for _ in 0..20 {
            let first = free_address();
            let second = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), first.port());
            let start = |addr: SocketAddr, of: &[&str]| {
                let announced = addr.ip().to_string();
                let extra = [
                    "--replica-announce-ip",
                    &announced,
                    "--repl-diskless-sync",
                    "no",
                ];
                let plan = Plan::new(program, addr, &[&extra, of].concat());
                Self::start_on(plan, TempDir::new()).ok()
            };
            let of = format!("{} {}", first.ip(), first.port());
            let pair = [start(first, &[]), start(second, &["--replicaof", &of])];
            if let [Some(primary), Some(replica)] = pair {
                eventually("a replica", || {
                    let info = primary.client().must(&["INFO", "replication"]);
                    info.text()?.contains(",state=online,").then_some(())
                });
                // What is written from now on is not in what it was sent first.
                primary.client().must(&["SET", "in step", "1"]);
                eventually("a replica in step", || {
                    let read = replica.client().call(&["GET", "in step"]);
                    (read.text() == Some("1")).then_some(())
                });
                return [primary, replica];
            }
        }
        panic!("no two redis-servers started on any of 20 ports");
    }

    fn start_program(program: &Path, extra: &[&str]) -> Self {
        for _ in 0..20 {
            let plan = Plan::new(program, free_address(), extra);
            if let Ok(server) = Self::start_on(plan, TempDir::new()) {
                return server;
            }
        }
        panic!("redis-server did not start on any of 20 ports");
    }

    /// Gives the directory back where somebody else took the port in between.
    fn start_on(plan: Plan, dir: TempDir) -> Result<Self, TempDir> {
        let addr = plan.addr;
        let log = dir.path().join("redis.log");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(&plan.program)
            .args(["--bind", &addr.ip().to_string()])
            .args(["--port", &addr.port().to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .args(["--enable-debug-command", "yes"])
            .arg("--dir")
            .arg(dir.path())
            .arg("--logfile")
            .arg(&log)
            .args(&plan.extra)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("setpriv of util-linux on the PATH");
        let mut server = Self { child, plan, dir };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = server.child.try_wait().expect("the server's status") {
                let text = fs::read_to_string(&log).unwrap_or_default();
                assert!(
                    text.contains("Address already in use"),
                    "redis-server ended, {status}: {text}"
                );
                return Err(server.into_dir());
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
                    return Ok(server);
                }
            }
            assert!(
                Instant::now() < deadline,
                "redis-server does not answer on {addr}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the server and starts one without its data, and with no arguments of the test's own, on the same port.
    pub fn restart(&mut self) {
        self.kill();
        self.plan.extra.clear();
        let plan = self.plan.clone();
        *self = eventually("the port again", || {
            Self::start_on(plan.clone(), TempDir::new()).ok()
        });
    }

    /// Ends the server, with no time to do anything about it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts a server that was [killed](Self::kill) as it was started before, in its directory: what it kept there, it has.
    pub fn start_again(&mut self) {
        let mut dir = std::mem::replace(&mut self.dir, TempDir::new());
        let plan = self.plan.clone();
        let _ = fs::remove_file(dir.path().join("redis.log"));
        *self = eventually("the port again", || {
            let empty = TempDir::new();
            let server = Self::start_on(plan.clone(), std::mem::replace(&mut dir, empty));
            server.map_err(|back| dir = back).ok()
        });
    }

    /// Stops the process where it stands.
    pub fn freeze(&self) {
        self.signal(Signal::STOP).expect("a signal to a child");
    }

    /// A [frozen](Self::freeze) one goes on, unless it was killed.
    pub fn thaw(&self) {
        let _ = self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) -> rustix::io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process"), signal)
    }

    pub fn addr(&self) -> SocketAddr {
        self.plan.addr
    }

    /// A client straight to the server.
    pub fn client(&self) -> Client {
        Client::connect(self.addr())
    }

    /// The server's own directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn into_dir(mut self) -> TempDir {
        std::mem::replace(&mut self.dir, TempDir::new())
    }
}

/// An address on which nobody listens now. Its port is none that the system gives away by itself (from 32768 on): until it is
/// taken nobody else gets it by chance, but for another test that asks here.
pub fn free_address() -> SocketAddr {
    static ASKED: AtomicU16 = AtomicU16::new(0);
    // Processes side by side begin at different places.
    let from = u16::try_from(std::process::id() % 211).expect("small") * 100;
    for _ in 0..1000 {
        let port = 11_000 + (from + ASKED.fetch_add(1, Ordering::Relaxed)) % 21_000;
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port");
}

impl Plan {
    fn new(program: &Path, addr: SocketAddr, extra: &[&str]) -> Self {
        Self {
            program: program.to_owned(),
            addr,
            extra: extra.iter().map(|&argument| argument.to_owned()).collect(),
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
