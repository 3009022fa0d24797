//! The service: what the side port asks for is asked of the ledger here.
//!
//! ```text
//!           first request
//!   Idle ------------------> Connecting --hello, assert again--> Up --connection ended--> Connecting
//!                               |   ^
//!                   no answer   v   | after a pause
//!                               Down
//! ```
//!
//! Nothing is connected, and nothing written to the Redis, before the first request: who wants a cache alone has no ledger.
//! On each connection the first call is a hello, which compares the server with the one before; grants wait for it, and for
//! the leases of this nearside to be asserted again where the ledger has lost any. While it is up, a heartbeat finds losses
//! that no request has met.
//!
//! A request has one id from its beginning to its end and is asked again under it, so that an answer that was lost is given
//! once more and nothing is granted twice. One that ends otherwise than with an answer is a debt: it is called off until the
//! ledger has heard it.

mod link;
mod tickets;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::copies::Copies;
use super::ledger::call::{Call, Place, PutPool, Want};
use super::ledger::guard::{Failure, Guard};
use super::ledger::reply::{Audit, Lease, Outcome, Pool, Reason, Reply};
use super::ledger::way::Way;
use super::refusal::{Refusal, passes};
use super::request::{Invalid, Kind, Resource, Scope};
use super::settings::Settings;
use super::source::Source;
use crate::telemetry::clock::millis;
use link::Link;
use tickets::Tickets;

/// For how many of the ledger's timeouts a renewal or a release is tried again.
const PATIENCE: u32 = 3;
/// How long it is waited before something is asked again.
const AGAIN: Duration = Duration::from_millis(20);

/// See the module's header.
pub struct Service {
    guard: Guard,
    source: Box<dyn Source>,
    settings: Settings,
    link: watch::Sender<Link>,
    /// There is something to do before the next heartbeat.
    due: Notify,
    state: Mutex<State>,
    tickets: Tickets,
}

#[derive(Default)]
struct State {
    copies: Copies,
    /// The epoch in which they were asserted.
    asserted: u64,
    /// What has to be called off yet.
    debts: Vec<String>,
    /// Why the ledger may not be relied on.
    evicts: Option<String>,
}

/// What was asked for is there, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it arrives"
)]
pub enum Acquired {
    /// A lease, and whether it was there before.
    Lease(Lease, bool),
    /// It waits under this id.
    Queued(String),
}

impl Service {
    /// Over this way, with the capacities of this source.
    #[must_use]
    pub fn new(way: Arc<dyn Way>, source: Box<dyn Source>, settings: Settings) -> Arc<Self> {
        let host = || {
            let name = rustix::system::uname();
            name.nodename().to_string_lossy().into_owned()
        };
        let pod = settings.pod.clone().unwrap_or_else(host);
        let place = Place {
            owner: pod.clone(),
            pod,
            node: settings.node.clone(),
            window: millis(settings.ledger.reassert_window),
            grace: millis(settings.preemption.grace),
            cap: settings.preemption.cap,
        };
        Arc::new(Self {
            guard: Guard::new(way, place),
            source,
            settings,
            link: watch::Sender::new(Link::Idle),
            due: Notify::new(),
            state: Mutex::default(),
            tickets: Tickets::default(),
        })
    }

    /// What the ledger's clock says now, in milliseconds, as far as its answers told; 0 before the first.
    #[must_use]
    pub fn ledger_now(&self) -> u64 {
        self.guard.ledger_now()
    }

    /// The leases that this nearside has given and that live, as far as it knows.
    #[must_use]
    pub fn leases(&self) -> Vec<Lease> {
        self.state.lock().copies.leases()
    }

    /// One lease, as the ledger has it.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub async fn get(&self, id: &str) -> Result<Lease, Refusal> {
        let id = id.to_owned();
        self.lease(&Call::Get { id }).await.map(|(lease, _)| lease)
    }

    /// The lease lives on for its ttl.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn renew(&self, id: &str, fence: Option<u64>) -> Result<Lease, Refusal> {
        let id = id.to_owned();
        let call = Call::Renew { id, fence };
        self.lease(&call).await.map(|(lease, _)| lease)
    }

    /// The lease holds this, and nothing else.
    ///
    /// # Errors
    /// Why it is as it was.
    pub async fn resize(
        &self,
        id: &str,
        fence: Option<u64>,
        resources: &[Resource],
    ) -> Result<Lease, Refusal> {
        let call = Call::Resize {
            id: id.to_owned(),
            fence,
            change: random_id(),
            wants: self.wants(resources)?,
        };
        self.lease(&call).await.map(|(lease, _)| lease)
    }

    /// The lease ends. So does a request that waits.
    ///
    /// # Errors
    /// Why it does not, or that it was over.
    pub async fn release(&self, id: &str, fence: Option<u64>) -> Result<(), Refusal> {
        let cancels = self.tickets.call_off(id);
        let call = Call::Release {
            id: id.to_owned(),
            fence,
            cancels,
            retention: self.retention(),
        };
        let (reply, again) = self.persist(&call).await?;
        match reply.outcome {
            Outcome::Released { .. } => {}
            // The answer to the first attempt was lost.
            Outcome::Ended {
                reason: Reason::Released,
            } if again => {}
            _ => {
                self.note(id, &reply.outcome);
                return Err(Refusal::of(reply));
            }
        }
        self.state.lock().copies.drop(id);
        Ok(())
    }

    /// All pools.
    ///
    /// # Errors
    /// Why they cannot be told.
    pub async fn pools(&self) -> Result<Vec<Pool>, Refusal> {
        let (reply, _) = self.persist(&Call::Pools {}).await?;
        match reply.outcome {
            Outcome::Pools { mut pools } => {
                pools.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(pools)
            }
            _ => Err(Refusal::of(reply)),
        }
    }

    /// There is so much in this pool; whether there was no such pool before.
    ///
    /// # Errors
    /// Why it is as it was.
    pub async fn put_pool(&self, name: &str, capacity: u64, scope: Scope) -> Result<bool, Refusal> {
        let call = Call::PutPool(PutPool {
            name: name.to_owned(),
            capacity,
            scope: scope.as_str(),
        });
        let (reply, _) = self.persist(&call).await?;
        self.due.notify_one();
        match reply.outcome {
            Outcome::Put { created } => Ok(created),
            _ => Err(Refusal::of(reply)),
        }
    }

    /// The pool goes.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn delete_pool(&self, name: &str) -> Result<(), Refusal> {
        let name = name.to_owned();
        let (reply, again) = self.persist(&Call::DeletePool { name }).await?;
        self.due.notify_one();
        match reply.outcome {
            Outcome::Deleted => Ok(()),
            Outcome::UnknownPool { .. } if again => Ok(()),
            Outcome::UnknownPool { .. } => Err(Refusal::Unknown),
            _ => Err(Refusal::of(reply)),
        }
    }

    /// Counts everything again.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub async fn audit(&self) -> Result<Audit, Refusal> {
        let (reply, _) = self.persist(&Call::Audit {}).await?;
        match reply.outcome {
            Outcome::Audit(audit) => Ok(audit),
            _ => Err(Refusal::of(reply)),
        }
    }

    fn retention(&self) -> u64 {
        millis(self.settings.ledger.idempotency_retention)
    }

    /// Each resource as the ledger has it, with the capacity of what is no pool.
    fn wants(&self, resources: &[Resource]) -> Result<Vec<Want>, Refusal> {
        let each = resources.iter().enumerate().map(|(at, one)| {
            let capacity = match &one.kind {
                Kind::Pool(_) => None,
                kind => Some(self.source.capacity(kind).ok_or_else(|| {
                    let name = kind.name();
                    Refusal::Invalid(Invalid {
                        field: format!("resources[{at}].type"),
                        reason: format!(
                            "the pod has no limit of {name}; allocation.{name} would declare one"
                        ),
                    })
                })?),
            };
            Ok(Want {
                resource: one.kind.name(),
                amount: one.amount,
                capacity,
            })
        });
        each.collect()
    }

    /// What an answer about a lease says of the copy of it.
    fn note(&self, id: &str, outcome: &Outcome) {
        let copies = &mut self.state.lock().copies;
        match outcome {
            Outcome::Granted { lease, .. } => copies.keep(lease),
            Outcome::Ended { .. } | Outcome::Unknown => {
                copies.drop(id);
            }
            _ => {}
        }
    }

    async fn lease(&self, call: &Call) -> Result<(Lease, bool), Refusal> {
        let id = match call {
            Call::Get { id } | Call::Renew { id, .. } | Call::Resize { id, .. } => id.clone(),
            _ => String::new(),
        };
        let (reply, _) = self.persist(call).await?;
        self.note(&id, &reply.outcome);
        match reply.outcome {
            Outcome::Granted { lease, again } => Ok((lease, again)),
            _ => Err(Refusal::of(reply)),
        }
    }

    /// Asks, and asks again for a while where there was no answer; whether it had to.
    async fn persist(&self, call: &Call) -> Result<(Reply, bool), Refusal> {
        let until = Instant::now() + self.settings.ledger.timeout * PATIENCE;
        let mut again = false;
        loop {
            match self.ask(call).await {
                Ok(reply) => return Ok((reply, again)),
                Err(failure) if passes(&failure) && Instant::now() < until => {
                    again = true;
                    sleep(AGAIN).await;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Asks once, over a connection that has said hello.
    async fn ask(&self, call: &Call) -> Result<Reply, Failure> {
        self.linked().await;
        self.ask_now(call).await
    }

    /// Asks once, over whatever connection there is.
    async fn ask_now(&self, call: &Call) -> Result<Reply, Failure> {
        let reply = self.guard.ask(call).await?;
        if self.guard.seen().epoch != self.state.lock().asserted {
            self.due.notify_one();
        }
        Ok(reply)
    }
}

/// 128 random bits.
fn random_id() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the kernel gives random bytes");
    bytes.iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}
