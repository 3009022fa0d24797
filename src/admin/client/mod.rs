//! `nearside alloc`: the other end of `/v1/allocations` and `/v1/pools`.
//!
//! | file | what it owns |
//! |---|---|
//! | `wire` | one request and its answer over HTTP |
//! | `call` | what is asked once, and its answer for people |
//! | `said` | what an answer is to people: the line on standard error and the exit code |
//! | `table` | leases and pools in columns |
//! | `lease` | what an answer says of a lease |
//! | `seek` | a lease for a command: asked for under a key, waited for, given up |
//! | `keep` | the same lease renewed |
//! | `tenure` | until when it lives, and when the command has to go; no I/O |
//! | `child` | the command, and the signals that are passed on to it |
//! | `leash` | what the command is for a moment, so that it does not outlive `alloc run` |
//! | `run` | all of it together |
//!
//! One connection for each request: a client that asks every few seconds has nothing from keeping one, and a kept one would be found
//! dead after each restart of the nearside.

pub mod call;
mod child;
mod keep;
mod lease;
pub mod leash;
mod run;
mod said;
mod seek;
mod table;
mod tenure;
mod wire;

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use call::{Ask, Call};
use said::Said;
use wire::Wire;

/// How long an answer may take beyond what was to be waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be done, and where it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The side port.
    pub address: SocketAddr,
    /// What is to be done.
    pub what: What,
}

/// See [`Order`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Ask once.
    Call {
        /// What.
        call: Call,
        /// The answer is printed as it came.
        json: bool,
    },
    /// Hold a lease for as long as a command runs.
    Run {
        /// Which.
        ask: Ask,
        /// How long the command may take to end.
        grace: Duration,
        /// The command and its arguments.
        command: Vec<OsString>,
    },
}

/// Does it, and says what came of it: 0 done, 1 refused, 69 the lease of a command was lost, 75 asking again later may help; and
/// the exit code of a command that was run.
#[must_use]
pub fn run(order: &Order) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(obey(order)),
        Err(error) => Err(Said::failed(format!("cannot start: {error}"))),
    };
    done.unwrap_or_else(|said| said.end())
}

async fn obey(order: &Order) -> Result<ExitCode, Said> {
    let wire = Wire::new(order.address);
    match &order.what {
        What::Call { call, json } => {
            once(&wire, call, *json).await?;
            Ok(ExitCode::SUCCESS)
        }
        What::Run {
            ask,
            grace,
            command,
        } => run::run(&wire, ask, *grace, command).await,
    }
}

/// Asks, and prints the answer.
async fn once(wire: &Wire, call: &Call, json: bool) -> Result<(), Said> {
    let (question, patience) = call.question();
    let answer = wire.ask(&question, patience + PATIENCE).await;
    let answer = answer.map_err(|silence| Said::silence(&silence))?;
    if json {
        print(&answer.body);
    }
    if !answer.status.is_success() {
        return Err(Said::refused(&answer));
    }
    if !json {
        print(call.shown(&answer)?.as_bytes());
    }
    Ok(())
}

fn print(text: &[u8]) {
    let mut out = std::io::stdout().lock();
    let newline: &[u8] = match text.last() {
        None | Some(b'\n') => b"",
        Some(_) => b"\n",
    };
    // Nobody is left to be told that standard output is closed.
    let _ = out.write_all(text).and_then(|()| out.write_all(newline));
}
