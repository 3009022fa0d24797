//! The guard's side: a process that owns a server and its directory, and outlives nearside just long enough to
//! remove both.
//!
//! It ends when its standard input does, or when the server has ended by itself. Signals that would end it are
//! ignored: a supervisor that signals every process of a service would else leave a server without a guard.

use std::fs::DirBuilder;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::{POLL, Report, SOCKET};

/// In the order of preference.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// How long the server may take to answer its first PING.
const START_LIMIT: Duration = Duration::from_secs(5);

/// How long it may take to end after SIGTERM before it is killed.
const TERM_LIMIT: Duration = Duration::from_secs(2);

/// `sun_path` has 108 bytes, the last of which is zero: unix(7).
const LONGEST_SOCKET_PATH: usize = 107;

const LOG: &str = "redis.log";

/// Runs the guard until nearside or the server ends.
#[must_use]
pub fn run() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(guard()),
        Err(error) => Err(format!("cannot start its guard: {error}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            report(&Report::Failed(why));
            ExitCode::FAILURE
        }
    }
}

/// Whoever does not read this has ended, which standard input tells.
fn report(report: &Report) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{report}").and_then(|()| out.flush());
}

async fn guard() -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot start its guard: {error}");
    for kind in [
        SignalKind::hangup(),
        SignalKind::interrupt(),
        SignalKind::terminate(),
    ] {
        // Once listened for, a signal never has its default effect again.
        drop(signal(kind).map_err(failed)?);
    }
    let mut child_changed = signal(SignalKind::child()).map_err(failed)?;
    let mut parent_ended = parent_ended().map_err(failed)?;

    let directory = Directory::create()?;
    let mut server = Server::start(&directory.0)?;
    let socket = directory.0.join(SOCKET);
    tokio::select! {
        _ = &mut parent_ended => return Ok(()),
        () = answers(&socket) => {}
        () = server.ended(&mut child_changed) => {
            return Err(format!("{} ended at once{}", server.program, directory.last_words()));
        }
        () = tokio::time::sleep(START_LIMIT) => {
            let limit = START_LIMIT.as_secs();
            return Err(format!("{} does not answer after {limit} s{}", server.program, directory.last_words()));
        }
    }
    report(&Report::Ready {
        server: server.pid(),
        directory: directory.0.clone(),
    });
    tokio::select! {
        _ = parent_ended => {}
        () = server.ended(&mut child_changed) => {}
    }
    Ok(())
}

/// Resolves when standard input ends.
fn parent_ended() -> std::io::Result<oneshot::Receiver<()>> {
    let (ended, receiver) = oneshot::channel();
    let wait = move || {
        // A failed read means the same as the end.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        // Without a receiver the guard is ending already.
        let _ = ended.send(());
    };
    std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(wait)?;
    Ok(receiver)
}

/// Resolves when a PING is answered.
async fn answers(socket: &Path) {
    while ping(socket).await.is_err() {
        tokio::time::sleep(POLL).await;
    }
}

async fn ping(socket: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).await?;
    if reply == *b"+PONG\r\n" {
        Ok(())
    } else {
        Err(ErrorKind::InvalidData.into())
    }
}

/// A directory that is removed with this value.
struct Directory(PathBuf);

impl Directory {
    fn create() -> Result<Self, String> {
        let parent = std::env::temp_dir();
        let fresh = RandomState::new().build_hasher().finish();
        let path = parent.join(format!("nearside-{fresh:016x}"));
        if path.to_str().is_none() || path.join(SOCKET).as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(format!(
                "{} cannot hold its Unix socket; set TMPDIR to a directory with a short name",
                parent.display()
            ));
        }
        // Fails where the name is taken, so that nobody can have laid it out for us.
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| {
                format!(
                    "cannot create {}: {error}; set TMPDIR to a writable directory",
                    path.display()
                )
            })?;
        Ok(Self(path))
    }

    /// The last line of the server's log, for a message.
    fn last_words(&self) -> String {
        let log = std::fs::read(self.0.join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        match log.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(line) => format!(": {}", line.trim()),
            None => String::new(),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // If it is gone already, so be it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server process that ends with this value.
struct Server {
    program: &'static str,
    process: Child,
}

impl Server {
    fn start(directory: &Path) -> Result<Self, String> {
        for program in PROGRAMS {
            let spawned = Command::new(program)
                .args([
                    "--port",
                    "0",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--daemonize",
                    "no",
                ])
                .args(["--unixsocketperm", "700", "--loglevel", "warning"])
                .arg("--unixsocket")
                .arg(directory.join(SOCKET))
                .arg("--dir")
                .arg(directory)
                .arg("--logfile")
                .arg(directory.join(LOG))
                .current_dir(directory)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn();
            match spawned {
                Ok(process) => return Ok(Self { program, process }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(format!("cannot run {program}: {error}")),
            }
        }
        Err(format!(
            "neither {} nor {} is on PATH; install one (apt-get install redis-server) or give the address of \
             a server as the upstream",
            PROGRAMS[0], PROGRAMS[1]
        ))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Resolves when the process has ended by itself.
    async fn ended(&mut self, child_changed: &mut tokio::signal::unix::Signal) {
        while let Ok(None) = self.process.try_wait() {
            child_changed.recv().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let deadline = Instant::now() + TERM_LIMIT;
        // Fails only where it has ended, and then it is reaped and its id not used.
        if let Ok(None) = self.process.try_wait() {
            let _ = kill_process(self.pid(), Signal::TERM);
        }
        while let Ok(None) = self.process.try_wait() {
            if Instant::now() < deadline {
                std::thread::sleep(POLL);
            } else {
                let _ = self.process.kill();
                let _ = self.process.wait();
            }
        }
    }
}
