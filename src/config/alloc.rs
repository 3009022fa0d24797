//! `nearside alloc`: its command line, and the order that it is.
//!
//! A wrong flag of this command is a wrong use of it, which ends with 2 as it does with other clients; what the environment or
//! the file says about the side port is a configuration still, and ends with 78.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::failure::Failure;
use super::schema::{self, allocation::cpus};
use super::value;
use crate::admin::client::call::{Ask, Call};
use crate::admin::client::{Order, What};
use crate::allocation::request::{Kind, LONGEST_LIFETIME, Resource, Scope, is_name};

const CODES: &str = "\
Exit codes:
   0  done
   1  refused, or failed
   2  wrong usage
  75  not now, and asking again later may help: there is not enough (429), the ledger is not available (503),
      the wait was over (504), or no nearside answers
  78  a wrong configuration";

const RUN: &str = "\
Hold a lease for as long as a command runs

The command gets the lease's environment, such as NEARSIDE_LEASE_ID and NEARSIDE_LEASE_FENCE. The lease is
renewed, and released when the command has ended. Signals are passed on: TERM, INT, HUP, QUIT, USR1, USR2,
WINCH and CONT.

Where the lease is lost, or asked back, the command is ended: SIGTERM, and SIGKILL after the grace. It is gone
before a lease expires that could not be renewed. It is killed where nearside itself is. Where nearside is stopped the
command runs on, and the lease expires.";

const RUN_CODES: &str = "\
Exit codes: the command's own, or 128 and the number of the signal that ended it; and
   69  the lease was lost or taken away before the command had ended
  126  the command cannot be run
  127  there is no such command
Where there is no lease, those of `nearside alloc`, or 128 and the number of the signal that ended the wait for it.";

/// The command line.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = false,
    disable_help_subcommand = true,
    after_help = CODES
)]
pub(super) struct Alloc {
    /// The file that the nearside has, if any
    #[arg(long, global = true, display_order = 100, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[arg(long, global = true, display_order = 101, value_name = "ADDR", help = schema::row("http").doc)]
    pub(super) http: Option<String>,
    /// Print the answer as the server gave it
    #[arg(long, global = true, display_order = 102)]
    json: bool,
    #[command(subcommand)]
    what: Asked,
}

/// What is asked for.
#[derive(Debug, Subcommand)]
enum Asked {
    /// Take a lease
    Acquire {
        #[command(flatten)]
        request: Request,
        /// The same key and request give the same lease
        #[arg(long, value_name = "IDEMPOTENCY-KEY")]
        key: Option<String>,
        /// Do not stay on the line where it has to be waited for: the answer is an id for `show`
        #[arg(long = "async")]
        asynchronous: bool,
    },
    /// List the leases that this nearside has given
    List,
    /// Show one lease, or what became of a request that waits
    Show {
        id: String,
        /// How long to wait for the outcome of a request that waits, at most 60s
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        wait: Option<Duration>,
    },
    /// Have a lease live on for its time to live
    Renew {
        #[command(flatten)]
        lease: Lease,
    },
    /// Have a lease hold this and nothing else
    Resize {
        #[command(flatten)]
        lease: Lease,
        #[command(flatten)]
        resources: Resources,
    },
    /// End a lease, or a request that waits
    Release {
        #[command(flatten)]
        lease: Lease,
    },
    /// List the pools
    Pools,
    /// Make, change or take away a pool
    #[command(subcommand)]
    Pool(Pool),
    /// Hold a lease for as long as a command runs
    #[command(long_about = RUN, after_help = RUN_CODES)]
    Run {
        #[command(flatten)]
        request: Request,
        /// How long the command may take to end after SIGTERM; a third of --ttl at most where the lease cannot be renewed
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
        grace: Duration,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

/// One pool.
#[derive(Debug, Subcommand)]
enum Pool {
    /// Make a pool, or change how much there is in it
    Set {
        name: String,
        /// How much there is
        #[arg(long, value_name = "N")]
        capacity: u64,
        /// For whom there is so much
        #[arg(long, value_enum, default_value = "cluster")]
        scope: ScopeWord,
    },
    /// Take a pool away that no lease counts in
    Delete { name: String },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeWord {
    Pod,
    Node,
    Cluster,
}

/// Which lease.
#[derive(Debug, Args)]
struct Lease {
    id: String,
    /// Only where this is its fence still
    #[arg(long, value_name = "FENCE")]
    fence: Option<u64>,
}

/// What a lease holds, all or nothing.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Resources {
    /// So much of a pool; may be given for several
    #[arg(long, value_name = "NAME=N", value_parser = of_pool)]
    pool: Vec<Resource>,
    /// CPUs of the pod, such as 500m or 2
    #[arg(long, value_name = "CPUS", value_parser = of_cpu)]
    cpu: Option<Resource>,
    /// Memory of the pod, such as 8GiB; in whole MiB
    #[arg(long, value_name = "SIZE", value_parser = of_memory)]
    memory: Option<Resource>,
}

/// A request for a lease.
#[derive(Debug, Args)]
struct Request {
    #[command(flatten)]
    resources: Resources,
    /// How long the lease lives without being renewed
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    ttl: Option<Duration>,
    /// When it ends in any case
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    max_lifetime: Option<Duration>,
    /// How long to wait for it
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
    /// The greater goes first
    #[arg(long, value_name = "N")]
    priority: Option<u64>,
    /// It may be asked back for a request of a higher priority
    #[arg(long)]
    preemptible: bool,
    /// Who asks
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
}

impl Alloc {
    /// What is to be done, with the nearside whose side port is at `address`.
    ///
    /// # Errors
    /// Flags that do not go together.
    pub(super) fn order(&self, address: SocketAddr) -> Result<Order, Failure> {
        let call = match &self.what {
            Asked::Run { .. } if self.json => {
                let wrong = "--json: there is no answer to print with alloc run, where standard output is the command's";
                return Err(Failure::usage(wrong));
            }
            Asked::Run {
                request,
                grace,
                command,
            } => {
                let what = What::Run {
                    ask: request.ask(),
                    grace: *grace,
                    command: command.clone(),
                };
                return Ok(Order { address, what });
            }
            Asked::Acquire {
                request,
                key,
                asynchronous,
            } => Call::Acquire {
                ask: request.ask(),
                key: key.clone(),
                asynchronous: *asynchronous,
            },
            Asked::List => Call::List,
            Asked::Show { id, wait } => Call::Show {
                id: id.clone(),
                wait: *wait,
            },
            Asked::Renew { lease } => Call::Renew {
                id: lease.id.clone(),
                fence: lease.fence,
            },
            Asked::Resize { lease, resources } => Call::Resize {
                id: lease.id.clone(),
                fence: lease.fence,
                resources: resources.all(),
            },
            Asked::Release { lease } => Call::Release {
                id: lease.id.clone(),
                fence: lease.fence,
            },
            Asked::Pools => Call::Pools,
            Asked::Pool(Pool::Set {
                name,
                capacity,
                scope,
            }) => Call::SetPool {
                name: name.clone(),
                capacity: *capacity,
                scope: match scope {
                    ScopeWord::Pod => Scope::Pod,
                    ScopeWord::Node => Scope::Node,
                    ScopeWord::Cluster => Scope::Cluster,
                },
            },
            Asked::Pool(Pool::Delete { name }) => Call::DeletePool { name: name.clone() },
        };
        let what = What::Call {
            call,
            json: self.json,
        };
        Ok(Order { address, what })
    }
}

impl Request {
    fn ask(&self) -> Ask {
        Ask {
            resources: self.resources.all(),
            ttl: self.ttl,
            max_lifetime: self.max_lifetime,
            wait: self.wait,
            priority: self.priority,
            preemptible: self.preemptible,
            component: self.component.clone(),
        }
    }
}

impl Resources {
    fn all(&self) -> Vec<Resource> {
        let pools = self.pool.iter();
        pools
            .chain(&self.cpu)
            .chain(&self.memory)
            .cloned()
            .collect()
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    value::duration(text).ok_or_else(|| format!("not {}", schema::DURATION))
}

/// A lease may live longer than anything that is set in a configuration.
fn lifetime(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_millis(LONGEST_LIFETIME);
    let days = longest.as_secs() / (24 * 60 * 60);
    value::duration_of_at_most(text, longest)
        .ok_or_else(|| format!("not a duration such as 90s, 30m or 8h, at most {days} days"))
}

fn of_pool(text: &str) -> Result<Resource, String> {
    let (name, amount) = text.split_once('=').unwrap_or((text, ""));
    let amount = value::whole(amount, 1..=u64::MAX);
    match amount {
        Some(amount) if is_name(name) => Ok(Resource {
            kind: Kind::Pool(name.to_owned()),
            amount,
        }),
        _ => Err("not the name of a pool and how much of it, such as infer-slots=1".to_owned()),
    }
}

fn of_cpu(text: &str) -> Result<Resource, String> {
    let amount = cpus(text).ok_or("not CPUs such as 500m or 2")?;
    Ok(Resource {
        kind: Kind::Cpu,
        amount,
    })
}

/// What is no whole MiB is rounded up: less than was asked for would not do.
fn of_memory(text: &str) -> Result<Resource, String> {
    let bytes = value::size_above_zero(text).ok_or("not a size such as 512MiB or 8GiB")?;
    Ok(Resource {
        kind: Kind::Memory,
        amount: (bytes as u64).div_ceil(1 << 20),
    })
}
