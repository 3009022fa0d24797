//! `nearside alloc`: the other end of `/v1/allocations` and `/v1/pools`.
//!
//! | file | what it owns |
//! |---|---|
//! | `wire` | one request and its answer over HTTP |
//! | `said` | what an answer is to people: the line on standard error and the exit code |
//! | `table` | leases and pools in columns |
//! | `lease` | what an answer says of a lease |
//! | `seek` | a lease for a command: asked for under a key, waited for, given up |
//! | `keep` | the same lease renewed |
//! | `tenure` | until when it lives, and when the command has to go; no I/O |
//! | `child` | the command, and the signals that are passed on to it |
//! | `run` | the three together |
//!
//! One connection for each request: a client that asks every few seconds has nothing from keeping one, and a kept one would be found
//! dead after each restart of the nearside.

mod child;
mod keep;
mod lease;
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

use http::Method;
use serde_json::{Map, Value, json};

use crate::allocation::request::{Resource, Scope};
use crate::telemetry::clock::millis;
use said::Said;
use wire::{Answer, Question, Wire, segment};

/// How long an answer may take beyond what was to be waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be done, and where it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The side port.
    pub address: SocketAddr,
    /// The answer is printed as it came.
    pub json: bool,
    /// What is to be done.
    pub what: What,
}

/// See [`Order`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Take a lease.
    Acquire {
        /// Which.
        ask: Ask,
        /// The idempotency key.
        key: Option<String>,
        /// What has to be waited for is answered with its id.
        asynchronous: bool,
    },
    /// List the leases.
    List,
    /// Show one.
    Show {
        /// Its id.
        id: String,
        /// How long its outcome is waited for.
        wait: Option<Duration>,
    },
    /// Renew one.
    Renew {
        /// Its id.
        id: String,
        /// Its fence; `None` for whichever it is.
        fence: Option<u64>,
    },
    /// Resize one.
    Resize {
        /// Its id.
        id: String,
        /// Its fence; `None` for whichever it is.
        fence: Option<u64>,
        /// All that it is to hold.
        resources: Vec<Resource>,
    },
    /// Release one.
    Release {
        /// Its id.
        id: String,
        /// Its fence; `None` for whichever it is.
        fence: Option<u64>,
    },
    /// List the pools.
    Pools,
    /// Make or change one.
    SetPool {
        /// Its name.
        name: String,
        /// How much there is in it.
        capacity: u64,
        /// For whom there is so much.
        scope: Scope,
    },
    /// Take one away.
    DeletePool {
        /// Its name.
        name: String,
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

/// What a lease is to be. What is `None` is left to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// All or nothing.
    pub resources: Vec<Resource>,
    /// How long it lives without being renewed.
    pub ttl: Option<Duration>,
    /// When it ends in any case.
    pub max_lifetime: Option<Duration>,
    /// How long it is waited for.
    pub wait: Option<Duration>,
    /// The greater goes first.
    pub priority: Option<u64>,
    /// It may be asked back.
    pub preemptible: bool,
    /// Who asks.
    pub component: Option<String>,
}

impl Ask {
    /// The body of the request. What was not said is not in it: a server that does not know of it has nothing to refuse then.
    fn body(&self) -> Value {
        let mut members = Map::new();
        members.insert("resources".to_owned(), listed(&self.resources));
        let durations = [
            ("ttl_ms", self.ttl),
            ("max_lifetime_ms", self.max_lifetime),
            ("wait_ms", self.wait),
        ];
        let durations = durations
            .into_iter()
            .map(|(name, duration)| (name, duration.map(|duration| Value::from(millis(duration)))));
        let rest = [
            ("priority", self.priority.map(Value::from)),
            ("preemptible", self.preemptible.then_some(Value::Bool(true))),
            ("component", self.component.clone().map(Value::from)),
        ];
        for (name, value) in durations.chain(rest) {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        }
        Value::Object(members)
    }
}

fn listed(resources: &[Resource]) -> Value {
    let each = resources.iter().map(|one| {
        let unit = one.kind.unit();
        json!({ "type": one.kind.name(), unit: one.amount })
    });
    each.collect()
}

/// Does it, and says what came of it; see [`said::Said`] for the exit codes.
#[must_use]
pub fn run(order: Order) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(obey(order)),
        Err(error) => Err(Said::failed(format!("cannot start: {error}"))),
    };
    done.unwrap_or_else(|said| said.end())
}

async fn obey(order: Order) -> Result<ExitCode, Said> {
    let wire = Wire::new(order.address);
    if let What::Run {
        ask,
        grace,
        command,
    } = &order.what
    {
        return run::run(&wire, ask, *grace, command).await;
    }
    let (question, patience) = question(&order.what);
    let answer = wire.ask(&question, patience + PATIENCE).await;
    let answer = answer.map_err(|silence| Said::silence(&silence))?;
    if order.json {
        print(&answer.body);
    }
    if !answer.status.is_success() {
        return Err(Said::refused(&answer));
    }
    if !order.json {
        print(shown(&order.what, &answer)?.as_bytes());
    }
    Ok(ExitCode::SUCCESS)
}

/// What is asked, and how long the answer may be waited for by the server.
fn question(what: &What) -> (Question, Duration) {
    let lease = |id: &str, rest: &str| format!("/v1/allocations/{}{rest}", segment(id));
    let pool = |name: &str| format!("/v1/pools/{}", segment(name));
    let mut patience = Duration::ZERO;
    let question = match what {
        What::Acquire {
            ask,
            key,
            asynchronous,
        } => {
            if !asynchronous {
                patience = ask.wait.unwrap_or_default();
            }
            let question = Question::new(Method::POST, "/v1/allocations").with_body(&ask.body());
            let key = key
                .as_deref()
                .map(|key| ("idempotency-key", key.to_owned()));
            let prefer = asynchronous.then(|| ("prefer", "respond-async".to_owned()));
            question.with_headers(key.into_iter().chain(prefer))
        }
        What::List => Question::new(Method::GET, "/v1/allocations"),
        What::Show { id, wait } => {
            patience = wait.unwrap_or_default();
            let wait = wait.map(|wait| format!("?wait={}ms", millis(wait)));
            Question::new(Method::GET, lease(id, &wait.unwrap_or_default()))
        }
        What::Renew { id, fence } => {
            Question::new(Method::POST, lease(id, "/renew")).if_match(*fence)
        }
        What::Resize {
            id,
            fence,
            resources,
        } => Question::new(Method::PATCH, lease(id, ""))
            .if_match(*fence)
            .with_body(&json!({ "resources": listed(resources) })),
        What::Release { id, fence } => {
            Question::new(Method::DELETE, lease(id, "")).if_match(*fence)
        }
        What::Pools => Question::new(Method::GET, "/v1/pools"),
        What::SetPool {
            name,
            capacity,
            scope,
        } => Question::new(Method::PUT, pool(name))
            .with_body(&json!({ "capacity": capacity, "scope": scope.as_str() })),
        What::DeletePool { name } => Question::new(Method::DELETE, pool(name)),
        What::Run { .. } => unreachable!("a command is not run by one question"),
    };
    (question, patience)
}

/// An answer for people.
fn shown(what: &What, answer: &Answer) -> Result<String, Said> {
    let body = || {
        answer
            .json()
            .ok_or_else(|| Said::failed("the answer is not JSON; is it a nearside that was asked?"))
    };
    Ok(match what {
        What::List => table::leases(&body()?),
        What::Pools => table::pools(&body()?),
        What::SetPool { .. } => table::pool(&body()?),
        What::Release { id, .. } => format!("{id} is released\n"),
        What::DeletePool { name } => format!("{name} is deleted\n"),
        What::Acquire { .. } | What::Show { .. } | What::Renew { .. } | What::Resize { .. } => {
            table::lease(&body()?)
        }
        What::Run { .. } => String::new(),
    })
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
