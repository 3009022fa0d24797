//! A redis-server of nearside's own: `--upstream private`, for a first try and for tests.
//!
//! It listens on a Unix socket in a fresh directory that only this user can enter, keeps nothing on disk, and
//! is gone, process and directory, when nearside is, also after a SIGKILL. Nothing in a killed process can
//! clean up, and `PR_SET_PDEATHSIG` would need unsafe code between fork and exec and leave the directory. So
//! nearside runs itself a second time as a guard ([`guard`]), which owns server and directory:
//!
//! ```text
//!   nearside --- pipe: stdin of the guard ---> guard --- child ---> redis-server
//!            <-- pipe: "ready <pid> <dir>" ---
//! ```
//!
//! The pipe closes with nearside, however it ends; the guard then ends the server. Both are in process groups
//! of their own: Ctrl-C in a terminal goes to nearside alone, which still needs the server to drain.

pub mod guard;

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::settings::{Address, Endpoint};

/// The argument that makes nearside a guard.
pub const GUARD_SUBCOMMAND: &str = "private-server-guard";

/// The socket's name in the server's directory.
const SOCKET: &str = "redis.sock";

/// Longer than the guard takes to end a server that does not want to.
const GUARD_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at a process that is about to end.
const POLL: Duration = Duration::from_millis(2);

/// Why there is no private server: one line for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private server: {}", self.0)
    }
}

impl std::error::Error for StartError {}

/// A running private server; it ends with this value.
#[derive(Debug)]
pub struct PrivateServer {
    guard: Child,
    /// Open for as long as the server is wanted.
    lifeline: Option<ChildStdin>,
    /// Closes when the guard ends.
    reports: Option<BufReader<ChildStdout>>,
    server: Pid,
    directory: PathBuf,
}

impl PrivateServer {
    /// Starts a server and waits until it answers, at most about 5 s; blocks the thread.
    ///
    /// # Errors
    /// There is no redis-server, or it does not come up.
    pub fn start() -> Result<Self, StartError> {
        let program = std::env::current_exe()
            .map_err(|error| StartError(format!("cannot find nearside's own program: {error}")))?;
        Self::start_with(&program)
    }

    /// As [`PrivateServer::start`], with nearside's program at `program`, for callers that are not nearside.
    ///
    /// # Errors
    /// As [`PrivateServer::start`].
    pub fn start_with(program: &Path) -> Result<Self, StartError> {
        let mut guard = Command::new(program)
            .arg(GUARD_SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| StartError(format!("cannot run {}: {error}", program.display())))?;
        let lifeline = guard.stdin.take();
        let mut reports = guard.stdout.take().map(BufReader::new);
        let mut line = String::new();
        let read = reports.as_mut().map(|reports| reports.read_line(&mut line));
        match read.and_then(|_| Report::parse(line.trim_end())) {
            Some(Report::Ready { server, directory }) => Ok(Self {
                guard,
                lifeline,
                reports,
                server,
                directory,
            }),
            other => {
                drop(lifeline);
                // Its exit code says nothing that its report does not.
                let _ = guard.wait();
                Err(StartError(match other {
                    Some(Report::Failed(why)) => why,
                    _ => "its guard ended before it was up".to_owned(),
                }))
            }
        }
    }

    /// Where the server listens.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            tls: None,
            password_file: None,
            address: Address::Unix(self.directory.join(SOCKET)),
            credentials: None,
            db: 0,
        }
    }

    /// The server's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.as_raw_nonzero().get().unsigned_abs()
    }

    /// Calls `ended` once, on a thread of its own, when the server is gone: because it ended by itself or
    /// because it was stopped. Only the first call of this has an effect.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn on_end(&mut self, ended: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let Some(mut reports) = self.reports.take() else {
            return Ok(());
        };
        let wait = move || {
            // A failed read ends the wait just as the end of the stream does.
            let _ = reports.read_to_end(&mut Vec::new());
            ended();
        };
        std::thread::Builder::new()
            .name("private-server".to_owned())
            .spawn(wait)
            .map(drop)
    }

    /// Ends the server and waits until it is gone, and its directory; so does dropping it.
    pub fn stop(self) {
        drop(self);
    }

    /// Whether the guard has ended in good order, having cleaned up.
    fn guard_has_cleaned_up(&mut self) -> bool {
        let deadline = Instant::now() + GUARD_PATIENCE;
        loop {
            match self.guard.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
                Ok(None) | Err(_) => return false,
            }
        }
    }

    /// For the case that someone killed the guard.
    fn clean_up(&mut self) {
        // Each of these fails only where there is nothing left to do.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        // The server has its socket in its title; a process that only got its id does not.
        let title = std::fs::read(format!("/proc/{}/cmdline", self.pid())).unwrap_or_default();
        let directory = self.directory.display().to_string();
        if String::from_utf8_lossy(&title).contains(&directory) {
            let _ = kill_process(self.server, Signal::KILL);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        if !self.guard_has_cleaned_up() {
            self.clean_up();
        }
    }
}

/// The guard's one line to nearside.
#[derive(Debug, PartialEq, Eq)]
enum Report {
    Ready { server: Pid, directory: PathBuf },
    Failed(String),
}

impl Report {
    fn parse(line: &str) -> Option<Self> {
        if let Some(why) = line.strip_prefix("failed ") {
            return Some(Self::Failed(why.to_owned()));
        }
        let (pid, directory) = line.strip_prefix("ready ")?.split_once(' ')?;
        Some(Self::Ready {
            server: Pid::from_raw(pid.parse().ok()?)?,
            directory: PathBuf::from(directory),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { server, directory } => {
                write!(
                    f,
                    "ready {} {}",
                    server.as_raw_nonzero(),
                    directory.display()
                )
            }
            Self::Failed(why) => write!(f, "failed {}", why.replace('\n', " ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_over_as_they_were() {
        let ready = Report::Ready {
            server: Pid::from_raw(42).unwrap(),
            directory: PathBuf::from("/run/a b"),
        };
        assert_eq!(Report::parse(&ready.to_string()), Some(ready));
        let failed = Report::Failed("no redis-server".to_owned());
        assert_eq!(Report::parse(&failed.to_string()), Some(failed));
        for line in [
            "",
            "ready",
            "ready 0 /run",
            "ready x /run",
            "ready 42",
            "done",
        ] {
            assert_eq!(Report::parse(line), None, "{line}");
        }
    }
}
