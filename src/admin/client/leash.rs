//! What stands between `alloc run` and the command for a moment: a process that asks the kernel to kill it when `alloc run`
//! ends, and then becomes the command.
//!
//! A command must not run on without anybody who renews its lease, and whoever is killed with SIGKILL can end nobody. The kernel
//! can, but only the process itself may ask it, after the fork: in the same program that takes `unsafe`, and in one of its own
//! it does not. What the command has started is not reached: it is the command's to end.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::said::Said;

/// The hidden sub-command that is this process; the command follows behind the id of who started it.
pub const SUBCOMMAND: &str = "leased-command";

/// The exit codes of shells for a command that is not there, and for one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

/// Becomes the command; comes back only where it cannot.
///
/// # Panics
/// Where `command` is empty, which the flags do not let through.
#[must_use]
pub fn become_command(parent: u32, command: &[OsString]) -> ExitCode {
    let leashed = set_parent_process_death_signal(Some(Signal::KILL));
    let parent = i32::try_from(parent).ok().and_then(Pid::from_raw);
    if let Err(error) = leashed {
        return cannot_run(&format!("a command that ends with nearside: {error}")).end();
    }
    if getppid() != parent {
        // It has ended before the kernel was asked.
        return ExitCode::from(NOT_RUN);
    }
    let (program, args) = command.split_first().expect("the flags ask for a command");
    let error = Command::new(program).args(args).exec();
    let why = format!("{}: {error}", program.to_string_lossy());
    let said = match error.kind() {
        ErrorKind::NotFound => Said::with_code(NOT_FOUND, format!("cannot run {why}")),
        _ => cannot_run(&why),
    };
    said.end()
}

/// It cannot be run.
pub(super) fn cannot_run(why: &str) -> Said {
    Said::with_code(NOT_RUN, format!("cannot run {why}"))
}
