//! The command line. A flag is a key of the table in other letters; its help is the table's line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use crate::admin::client::leash;
use crate::upstream::private;

use super::alloc::Alloc;
use super::draft::{Given, Written};
use super::failure::{Failure, Origin};
use super::schema;

/// A sidecar that speaks the Redis protocol and gives unchanged clients a coherent near cache.
#[derive(Debug, Parser)]
#[command(
    name = "nearside",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Flags win over the environment (NEARSIDE_UPSTREAM, NEARSIDE_L1_MODE, ...), and that over the file."
)]
pub(super) struct Flags {
    /// A TOML file with more settings; the example in config/nearside.toml has them all
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[arg(long, value_name = "ADDR", help = schema::row("listen").doc)]
    listen: Vec<String>,
    #[arg(long, value_name = "URL", help = schema::row("upstream").doc)]
    upstream: Option<String>,
    #[arg(long, value_name = "ADDR", help = schema::row("http").doc)]
    http: Option<String>,
    #[arg(long, value_name = "ADDR", help = schema::row("metrics_listen").doc)]
    metrics_listen: Option<String>,
    #[arg(long, value_name = "N", help = schema::row("workers").doc)]
    workers: Option<String>,
    #[arg(long, value_name = "lane|dedicated", help = schema::row("sharing").doc)]
    sharing: Option<String>,
    #[arg(long, value_name = "on|off|shadow", help = schema::row("l1.mode").doc)]
    l1: Option<String>,
    #[arg(long, value_name = "text|json", help = schema::row("log").doc)]
    log: Option<String>,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What to do other than serve.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a file and say what is wrong with it
    CheckConfig {
        /// The file
        file: PathBuf,
    },
    /// Wait until a nearside that has this configuration is ready
    Wait {
        /// How long to wait at most
        #[arg(long, value_name = "DURATION", default_value = "30s")]
        timeout: String,
        /// The file that it has, if any
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[arg(long, value_name = "ADDR", help = schema::row("http").doc)]
        http: Option<String>,
    },
    /// Ask for leases on shared resources, or hold one for a command
    Alloc(Box<Alloc>),
    /// Become a command that ends with its parent; for nearside itself
    #[command(name = leash::SUBCOMMAND, hide = true)]
    Leashed {
        parent: u32,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Guard a private server; for nearside itself
    #[command(name = private::GUARD_SUBCOMMAND, hide = true)]
    PrivateServerGuard,
}

impl Given {
    /// What a flag says; nothing where it was not given.
    fn by_flag(key: &str, flag: &'static str, values: &[String]) -> Option<Self> {
        (!values.is_empty()).then(|| Self {
            row: schema::row(key),
            origin: Origin::Flag(flag),
            values: values.iter().map(|value| Written::quoted(value)).collect(),
        })
    }
}

/// The flag of the side port alone.
pub(super) fn http(given: Option<&String>) -> Vec<Given> {
    let values = given.cloned().into_iter().collect::<Vec<_>>();
    Given::by_flag("http", "--http", &values)
        .into_iter()
        .collect()
}

/// What a command line is.
#[derive(Debug)]
pub(super) enum CommandLine {
    /// Flags to follow.
    Flags(Box<Flags>),
    /// A request for this text.
    Text(String),
}

const NEARSIDE: &str = "nearside";
const ALLOC: &str = "nearside alloc";

/// Parses a command line that begins with the program's name.
///
/// # Errors
/// A flag that there is not, or one without its value.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<CommandLine, Failure> {
    let args: Vec<OsString> = args.into_iter().collect();
    let alloc = args.get(1).is_some_and(|word| word == "alloc");
    match Flags::try_parse_from(args) {
        Ok(flags) => Ok(CommandLine::Flags(Box::new(flags))),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(CommandLine::Text(error.to_string()))
            }
            _ if alloc => Err(Failure::usage(&one_line(&error, ALLOC))),
            _ => Err(Failure::new(&one_line(&error, NEARSIDE))),
        },
    }
}

impl Flags {
    /// The flags that were given.
    pub(super) fn given(&self) -> Vec<Given> {
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let all = [
            ("listen", "--listen", self.listen.clone()),
            ("upstream", "--upstream", one(&self.upstream)),
            ("http", "--http", one(&self.http)),
            (
                "metrics_listen",
                "--metrics-listen",
                one(&self.metrics_listen),
            ),
            ("workers", "--workers", one(&self.workers)),
            ("sharing", "--sharing", one(&self.sharing)),
            ("l1.mode", "--l1", one(&self.l1)),
            ("log", "--log", one(&self.log)),
        ];
        all.into_iter()
            .filter_map(|(key, flag, values)| Given::by_flag(key, flag, &values))
            .collect()
    }
}

/// clap's report in one line: what is wrong, and what it would have taken for right. A stray argument is not
/// repeated where it may be an upstream with its password.
fn one_line(error: &clap::Error, program: &str) -> String {
    let stray = |kind| match error.get(kind) {
        Some(ContextValue::String(stray)) => stray.contains('@'),
        _ => false,
    };
    let upstream = program == NEARSIDE
        && (stray(ContextKind::InvalidArg) || stray(ContextKind::InvalidSubcommand));
    if upstream {
        return "an argument that belongs to no flag; an upstream is given with --upstream"
            .to_owned();
    }
    let text = error.to_string();
    let mut parts = text
        .split("\n\n")
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let what = parts.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    let tip = parts.find_map(|part| Some(part.strip_prefix("tip: ")?.to_owned()));
    match tip {
        Some(tip) => format!("{what}; {tip}"),
        None => format!("{what}; see {program} --help"),
    }
}
