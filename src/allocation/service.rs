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

mod gather;
mod link;
mod tickets;
mod told;
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
use super::ledger::reply::{Lease, Outcome, Pool, Reason, Reply};
use super::ledger::way::Way;
use super::numbers::Numbers;
use super::refusal::{Refusal, passes};
use super::request::{Invalid, Kind, Resource, Scope};
use super::settings::Settings;
use super::source::Source;
use crate::telemetry::clock::millis;
use crate::telemetry::operation::Context;
use crate::telemetry::traces::Traces;
use gather::Heard;
use link::Link;
use tickets::Tickets;

/// For how many of the ledger's timeouts a renewal or a release is tried again.
const PATIENCE: u32 = 3;
/// For how many of the ledger's windows what it has lost may be on its way back to it.
const RECOVERY: u32 = 2;
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
    numbers: Arc<Numbers>,
    traces: Option<Arc<Traces>>,
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
    /// What the ledger said last of how much is promised.
    heard: Option<Heard>,
}

impl State {
    /// A lease as an answer of this epoch has it.
    fn keep(&mut self, lease: &Lease, epoch: u64) {
        self.copies.keep(lease);
        if epoch < self.asserted {
            // Everything was asserted while the answer was on its way, and this was not among it.
            self.asserted = 0;
        }
    }
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
    /// Over this way, with the capacities of this source; spans go to `traces`.
    #[must_use]
    pub fn new(
        way: Arc<dyn Way>,
        source: Box<dyn Source>,
        settings: Settings,
        traces: Option<Arc<Traces>>,
    ) -> Arc<Self> {
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
        let copies = Copies::of(&place.owner);
        Arc::new(Self {
            guard: Guard::new(way, place),
            source,
            settings,
            link: watch::Sender::new(Link::Idle),
            due: Notify::new(),
            state: Mutex::new(State {
                copies,
                ..State::default()
            }),
            tickets: Tickets::default(),
            numbers: Arc::default(),
            traces,
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

    /// One lease, as the ledger has it; `None` where it is a request that waits.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub async fn get(&self, id: &str) -> Result<Option<Lease>, Refusal> {
        let call = Call::Get { id: id.to_owned() };
        let (reply, _) = self.persist(&call).await?;
        self.note(id, &reply);
        match reply.outcome {
            Outcome::Granted { lease, .. } => Ok(Some(lease)),
            Outcome::Queued { .. } => Ok(None),
            _ => Err(Refusal::of(reply)),
        }
    }

    /// The lease lives on for its ttl. What is told of that belongs to the span `within`, as for the other changes.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn renew(
        &self,
        id: &str,
        fence: Option<u64>,
        within: Option<Context>,
    ) -> Result<Lease, Refusal> {
        let span = self.span("resource.renew", within);
        let call = Call::Renew {
            id: id.to_owned(),
            fence,
        };
        let renewed = self.lease(&call).await.map(|(lease, _)| lease);
        told::done(span, id, "renewed", renewed.as_ref().map(Some));
        renewed
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
        within: Option<Context>,
    ) -> Result<Lease, Refusal> {
        let span = self.span("resource.resize", within);
        let asked = async {
            let call = Call::Resize {
                id: id.to_owned(),
                fence,
                change: random_id(),
                wants: self.wants(resources)?,
            };
            self.lease(&call).await.map(|(lease, _)| lease)
        };
        let resized = asked.await;
        told::done(span, id, "resized", resized.as_ref().map(Some));
        resized
    }

    /// The lease ends. So does a request that waits.
    ///
    /// # Errors
    /// Why it does not, or that it was over.
    pub async fn release(
        &self,
        id: &str,
        fence: Option<u64>,
        within: Option<Context>,
    ) -> Result<(), Refusal> {
        let span = self.span("resource.release", within);
        let released = self.end(id, fence).await;
        let lease = released.as_ref().map(Option::as_ref);
        told::done(span, id, "released", lease);
        released.map(drop)
    }

    /// Ends a lease or a request; gives the lease as it was, if it was one.
    async fn end(&self, id: &str, fence: Option<u64>) -> Result<Option<Lease>, Refusal> {
        let cancels = self.tickets.call_off(id);
        let call = Call::Release {
            id: id.to_owned(),
            fence,
            cancels,
            retention: self.retention(),
        };
        let (reply, again) = self.persist(&call).await?;
        let lease = match reply.outcome {
            Outcome::Released { lease } => lease,
            // The answer to the first attempt was lost.
            Outcome::Ended {
                reason: Reason::Released,
            } if again => None,
            _ => {
                self.note(id, &reply);
                return Err(Refusal::of(reply));
            }
        };
        self.state.lock().copies.drop(id);
        Ok(lease)
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
    fn note(&self, id: &str, reply: &Reply) {
        let mut state = self.state.lock();
        match &reply.outcome {
            Outcome::Granted { lease, .. } => state.keep(lease, reply.epoch),
            Outcome::Ended { reason } if state.copies.drop(id) => self.numbers.expired(*reason),
            Outcome::Unknown => {
                state.copies.drop(id);
            }
            _ => {}
        }
    }

    async fn lease(&self, call: &Call) -> Result<(Lease, bool), Refusal> {
        let id = match call {
            Call::Renew { id, .. } | Call::Resize { id, .. } => id.clone(),
            _ => String::new(),
        };
        let (reply, _) = self.persist(call).await?;
        self.note(&id, &reply);
        match reply.outcome {
            Outcome::Granted { lease, again } => Ok((lease, again)),
            _ => Err(Refusal::of(reply)),
        }
    }

    /// Asks, and asks again for a while where there was no answer; whether it had to. What the ledger does not know while it
    /// recovers from a loss is asked for again once what is remembered of it has been asserted.
    async fn persist(&self, call: &Call) -> Result<(Reply, bool), Refusal> {
        let settings = &self.settings.ledger;
        let until = Instant::now() + settings.timeout * PATIENCE;
        let recovered = until + settings.reassert_window * RECOVERY;
        let mut again = false;
        loop {
            match self.ask(call).await {
                Ok(reply) => {
                    let missing = match reply.outcome {
                        Outcome::Recovering => true,
                        Outcome::Unknown | Outcome::UnknownPool { .. } => {
                            reply.epoch != self.state.lock().asserted
                        }
                        _ => false,
                    };
                    if !missing {
                        return Ok((reply, again));
                    }
                    if Instant::now() >= recovered {
                        return Err(Refusal::Recovering(reply.pause));
                    }
                }
                Err(failure) if passes(&failure) && Instant::now() < until => again = true,
                Err(failure) => return Err(failure.into()),
            }
            sleep(AGAIN).await;
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
