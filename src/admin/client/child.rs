//! The command, and the signals that are passed on to it.
//!
//! Where standard input is no terminal the command gets a process group of its own, so that what it has started ends with it when
//! the lease is lost. At a terminal it stays in the terminal's foreground group, or it could not read from it. There the terminal
//! itself sends it what is typed, ^C and ^\, and those are not passed on a second time.
//!
//! Signals go to the command alone, not to its group: what it has started is its own to tell.

use std::ffi::OsString;
use std::future::poll_fn;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child as Process, Command};
use std::task::Poll;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpgrp, kill_process, kill_process_group, waitid,
};
use rustix::termios::tcgetpgrp;
use tokio::signal::unix::{self, SignalKind, signal};

use super::leash;
use super::said::Said;

/// What is passed on.
const PASSED: [Signal; 8] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::CONT,
];
/// What ends nearside where there is no command yet.
const ENDING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];
/// What a terminal sends when it is typed.
const TYPED: [Signal; 2] = [Signal::INT, Signal::QUIT];
/// What the exit codes of shells add to a signal's number.
const SIGNALLED: i32 = 128;
/// For what has neither an exit code nor a signal, which there is not.
const UNTOLD: u8 = 126;

/// The signals that nearside gets. Once there is such a value they have their default effect no more.
pub(super) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// A signal that is ignored is left so, and the command inherits that: it is how `nohup` works.
    pub(super) fn listen() -> io::Result<Self> {
        let ignored = ignored();
        let each = PASSED.into_iter().filter(|signal| {
            let bit = signal.as_raw() - 1;
            ignored & (1 << bit) == 0
        });
        let each = each.map(|one| {
            let kind = SignalKind::from_raw(one.as_raw());
            Ok((one, signal(kind)?))
        });
        each.collect::<io::Result<_>>().map(Self)
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let came = self.0.iter_mut().find_map(|(signal, stream)| {
                let came = matches!(stream.poll_recv(context), Poll::Ready(Some(())));
                came.then_some(*signal)
            });
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The next one that ends nearside where there is no command yet.
    pub(super) async fn ending(&mut self) -> Said {
        loop {
            let signal = self.next().await;
            if ENDING.contains(&signal) {
                let code = u8::try_from(SIGNALLED + signal.as_raw()).unwrap_or(UNTOLD);
                return Said::with_code(code, "ended by a signal before the command was started");
            }
        }
    }
}

/// The signals that were ignored when nearside was started, the first in the lowest bit.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or(0)
}

/// A command that runs, or has ended and is not reaped: its id is its own as long as there is this value.
pub(super) struct Child {
    process: Process,
    own_group: bool,
    changed: unix::Signal,
}

impl Child {
    /// Starts it with this in its environment.
    pub(super) fn start(command: &[OsString], env: &[(String, String)]) -> Result<Self, Said> {
        let changed = signal(SignalKind::child());
        let changed = changed.map_err(|error| Said::failed(format!("cannot start: {error}")))?;
        let own_group = !io::stdin().is_terminal();
        // Not by its name: where the file has been replaced this is the same program still.
        let mut leash = Command::new("/proc/self/exe");
        leash
            .arg0("nearside")
            .args([leash::SUBCOMMAND, &std::process::id().to_string(), "--"])
            .args(command)
            .envs(env.iter().map(|(name, value)| (name, value)));
        if own_group {
            leash.process_group(0);
        }
        let process = leash.spawn();
        let process = process.map_err(|error| leash::cannot_run(&error.to_string()))?;
        Ok(Self {
            process,
            own_group,
            changed,
        })
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Resolves when it has ended.
    pub(super) async fn ended(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while let Ok(None) = waitid(WaitId::Pid(self.pid()), options) {
            self.changed.recv().await;
        }
    }

    /// Passes a signal on, unless its terminal has sent it to the command too.
    pub(super) fn pass(&self, signal: Signal) {
        let in_front = || tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp());
        if self.own_group || !TYPED.contains(&signal) || !in_front() {
            self.send(signal);
        }
    }

    /// Asks it to end, also where it is stopped.
    pub(super) fn terminate(&self) {
        self.send(Signal::TERM);
        self.send(Signal::CONT);
    }

    /// Ends it, and what it has started.
    pub(super) fn kill(&self) {
        if self.own_group {
            // Fails only where nobody of the group is left.
            let _ = kill_process_group(self.pid(), Signal::KILL);
        } else {
            self.send(Signal::KILL);
        }
    }

    fn send(&self, signal: Signal) {
        // Fails only for a command that has become another user's.
        let _ = kill_process(self.pid(), signal);
    }

    /// The exit code that a shell would give it.
    pub(super) fn reap(mut self) -> u8 {
        let status = self.process.wait();
        let code = status.ok().and_then(|status| {
            let signalled = || status.signal().map(|signal| SIGNALLED + signal);
            status.code().or_else(signalled)
        });
        code.and_then(|code| u8::try_from(code).ok())
            .unwrap_or(UNTOLD)
    }
}
