//! What an operator can set, where from, and what is wrong with it.
//!
//! Each room owns and validates nothing but its own `Settings` type; this room composes them. One table,
//! in `schema`, has a row a key: how to parse it, how to print it, what a right value looks like. The
//! file's keys, the environment's variables, the `/config` listing and the example file all follow from
//! that table, so a new key is one new row.
//!
//! ```text
//!   file ----+
//!   env -----+--> Given { row, origin, values } --> Draft --> conflicts --> Settings
//!   flags ---+        later ones win                 each value parsed, with its origin kept
//! ```
//!
//! A start with a wrong setting is refused with one line that says where it was set and what would be
//! right: a sidecar that silently ran with half of what was asked for would be found out in production.
//! That includes unknown keys and unknown `NEARSIDE_*` variables. A value that a stronger source overrides
//! is checked all the same. Values of keys that may hold a password are never repeated in a message.
//!
//! Key spaces have a table of their own, in `schema::keyspace`: a list of tables has no place in the environment.
//!
//! The table drives the parsing, not serde: a derived mirror of the file would be a second list of the
//! same keys, and its errors know neither the line nor what would be right.

mod address;
mod alloc;
mod cgroup;
mod conflicts;
mod draft;
mod environment;
mod failure;
mod file;
mod flags;
mod keyspaces;
pub mod reload;
mod schema;
mod suggest;
mod value;
mod waiting;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::{admin, allocation, downstream, l1, proxy, telemetry, upstream};

use cgroup::Limits;
use draft::{Draft, Given};
pub use failure::Failure;
use flags::{Command, CommandLine};

/// Everything that can be set, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which upstream.
    pub upstream: upstream::settings::Choice,
    /// The client side.
    pub downstream: downstream::settings::Settings,
    /// Sessions.
    pub proxy: proxy::settings::Settings,
    /// The way to the upstream.
    pub lane: upstream::settings::Settings,
    /// The near cache.
    pub l1: l1::settings::Settings,
    /// The side port.
    pub admin: admin::settings::Settings,
    /// Leases and their ledger.
    pub allocation: allocation::settings::Settings,
    /// The log.
    pub telemetry: telemetry::settings::Settings,
}

impl Settings {
    /// Every room's defaults for this upstream, whatever this machine's limits are.
    #[must_use]
    pub fn with_upstream(upstream: upstream::settings::Choice) -> Self {
        Self {
            upstream,
            downstream: downstream::settings::Settings::default(),
            proxy: proxy::settings::Settings::default(),
            lane: upstream::settings::Settings::default(),
            l1: l1::settings::Settings::default(),
            admin: admin::settings::Settings::default(),
            allocation: allocation::settings::Settings::default(),
            telemetry: telemetry::settings::Settings::default(),
        }
    }
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Serve with these settings.
    Run(Box<Settings>),
    /// Print this text to standard output and end well: help, the version, a checked file.
    Print(String),
    /// Wait for `/readiness` to answer 200.
    Wait {
        /// The side port.
        address: SocketAddr,
        /// How long at most.
        timeout: Duration,
    },
    /// Ask a nearside for leases, or hold one for a command.
    Alloc(Box<admin::client::Order>),
    /// Become a command that ends with its parent ([`admin::client::leash`]), with no settings at all.
    BecomeCommand {
        /// The process that started this one.
        parent: u32,
        /// The command and its arguments.
        command: Vec<OsString>,
    },
    /// Be the guard of a private server ([`upstream::private`]), with no settings at all.
    GuardPrivateServer,
}

/// Reads the flags, the file they name and the environment.
///
/// `args` begins with the program's name, as [`std::env::args_os`] does; of `env` only names that begin
/// with `NEARSIDE_` count.
///
/// # Errors
/// The first thing found wrong, as one line.
pub fn load(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Action, Failure> {
    load_within(args, env, Limits::of_this_process)
}

fn load_within(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    limits: impl FnOnce() -> Limits,
) -> Result<Action, Failure> {
    let flags = match flags::parse(args)? {
        CommandLine::Text(text) => return Ok(Action::Print(text)),
        CommandLine::Flags(flags) => flags,
    };
    match &flags.command {
        Some(Command::PrivateServerGuard) => Ok(Action::GuardPrivateServer),
        Some(Command::Leashed { parent, command }) => Ok(Action::BecomeCommand {
            parent: *parent,
            command: command.clone(),
        }),
        Some(Command::CheckConfig { file }) => {
            let mut draft = Draft::new(limits());
            draft.take_file(file::read(file)?)?;
            conflicts::check(&draft)?;
            Ok(Action::Print(format!("{}: ok\n", file.display())))
        }
        Some(Command::Wait {
            timeout,
            config,
            http,
        }) => {
            let draft = side_port(config.as_deref(), env, http.as_ref(), limits())?;
            waiting::action(&draft, timeout)
        }
        Some(Command::Alloc(flags)) => {
            let draft = side_port(flags.config.as_deref(), env, flags.http.as_ref(), limits())?;
            let order = flags.order(waiting::whole_port(&draft)?)?;
            Ok(Action::Alloc(Box::new(order)))
        }
        None => {
            let file = flags.config.as_deref().map(file::read).transpose()?;
            let sources = [environment::read(env)?, flags.given()];
            let settings = resolve(file.unwrap_or_default(), sources, limits())?;
            Ok(Action::Run(Box::new(settings)))
        }
    }
}

/// What a file, the environment and `--http` say of a nearside that is to be asked.
fn side_port(
    config: Option<&Path>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    http: Option<&String>,
    limits: Limits,
) -> Result<Draft, Failure> {
    let mut draft = Draft::new(limits);
    draft.take_file(config.map(file::read).transpose()?.unwrap_or_default())?;
    draft.take(environment::read(env)?)?;
    draft.take(flags::http(http))?;
    conflicts::check(&draft)?;
    Ok(draft)
}

/// The settings that a file and these sources give; later ones win.
fn resolve(
    file: file::Contents,
    sources: [Vec<Given>; 2],
    limits: Limits,
) -> Result<Settings, Failure> {
    let mut draft = Draft::new(limits);
    draft.take_file(file)?;
    for source in sources {
        draft.take(source)?;
    }
    conflicts::check(&draft)?;
    draft.finish()
}

/// Every key with its value, in the table's order, for people to read. Passwords are redacted.
#[must_use]
pub fn describe(settings: &Settings) -> Vec<(String, String)> {
    schema::rows()
        .map(|row| (row.key.to_owned(), (row.show)(settings)))
        .chain(keyspaces::describe(&settings.l1.keyspaces))
        .collect()
}
