//! A request from its beginning to its end: asked, asked again while it waits, and called off where it is given up.

use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use tokio::time::{Instant, sleep};

use super::told::Told;
use super::{Acquired, Service, random_id};
use crate::allocation::ledger::call::{Acquire, Call};
use crate::allocation::ledger::guard::Failure;
use crate::allocation::ledger::reply::{Lease, Outcome};
use crate::allocation::refusal::{Refusal, passes};
use crate::allocation::request::Request;
use crate::telemetry::operation::Context;

/// How long it is waited before it is asked again whether it is a request's turn, at first and at most. The ledger keeps the
/// place of whoever asks at least once in two seconds.
const ASKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

impl Service {
    /// A lease for `request`. It is waited for, up to the request's own time, unless `asynchronous`: then what is not there
    /// at once waits under an id ([`outcome`](Self::outcome)).
    ///
    /// Whoever gives up waiting gives the request up, but under an idempotency key: there the same question is expected
    /// again, and the answer kept for it. What is told of all that belongs to the span `within`.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn acquire(
        self: &Arc<Self>,
        request: &Request,
        key: Option<&str>,
        asynchronous: bool,
        within: Option<Context>,
    ) -> Result<Acquired, Refusal> {
        let mut told = self.tell(request, within);
        let id = random_id();
        let wants = match self.wants(&request.resources) {
            Ok(wants) => wants,
            Err(refusal) => {
                let refused = Err(refusal);
                told.end(&refused, &id);
                return refused.map(|(lease, again)| Acquired::Lease(lease, again));
            }
        };
        let acquire = Acquire {
            id,
            wants,
            ttl: request.ttl_ms,
            lifetime: request.max_lifetime_ms,
            retention: self.retention(),
            priority: request.priority,
            preemptible: request.preemptible,
            component: request.component.clone(),
            waits: request.wait_ms > 0,
            arrived: None,
            key: key.map(str::to_owned),
            digest: key.map(|_| hash(&request.canonical())),
        };
        let until = Instant::now() + Duration::from_millis(request.wait_ms);
        let mut asked = Asked {
            service: Arc::clone(self),
            acquire,
            open: false,
            told,
        };
        if asynchronous {
            if let Some(done) = asked.once(until).await {
                return done.map(|(lease, again)| Acquired::Lease(lease, again));
            }
            let id = asked.acquire.id.clone();
            self.tickets.file(self, asked, until);
            return Ok(Acquired::Queued(id));
        }
        let driven = asked.until(until);
        let done = if key.is_some() {
            let task = tokio::spawn(driven);
            task.await
                .map_err(|_| Refusal::Unavailable("the request was ended".to_owned()))?
        } else {
            driven.await
        };
        done.map(|(lease, again)| Acquired::Lease(lease, again))
    }
}

/// A request that is under way.
pub(super) struct Asked {
    service: Arc<Service>,
    pub(super) acquire: Acquire,
    /// The ledger may know it, and has to be told if it is given up.
    open: bool,
    told: Told,
}

impl Asked {
    /// Until it is granted or refused, or the time is over.
    pub(super) async fn until(mut self, until: Instant) -> Result<(Lease, bool), Refusal> {
        let mut pause = ASKS.0;
        loop {
            if let Some(done) = self.once(until).await {
                return done;
            }
            let left = until.saturating_duration_since(Instant::now());
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(ASKS.1);
        }
    }

    /// Asks once; `None` where it is to be asked again.
    pub(super) async fn once(&mut self, until: Instant) -> Option<Result<(Lease, bool), Refusal>> {
        let done = self.attempt(until).await;
        match &done {
            None => self.told.waits(),
            Some(done) => self.told.end(done, &self.acquire.id),
        }
        done
    }

    async fn attempt(&mut self, until: Instant) -> Option<Result<(Lease, bool), Refusal>> {
        let evicts = self.service.state.lock().evicts.clone();
        if let Some(reason) = evicts {
            return Some(Err(Refusal::Unavailable(reason)));
        }
        let was_open = std::mem::replace(&mut self.open, true);
        let asked = self.service.ask(&Call::Acquire(self.acquire.clone())).await;
        let over = Instant::now() >= until;
        let reply = match asked {
            Ok(reply) => reply,
            Err(failure) => {
                self.open = was_open || may_have_been_done(&failure);
                let again = passes(&failure) && !over;
                return if again {
                    None
                } else {
                    Some(Err(failure.into()))
                };
            }
        };
        match &reply.outcome {
            Outcome::Queued { arrived } => {
                self.acquire.arrived = *arrived;
                self.told.queued();
                over.then_some(Err(Refusal::Deadline))
            }
            // Nothing was done, and a pause is outlasted like a shortage.
            Outcome::Recovering => {
                self.open = was_open;
                over.then(|| Err(Refusal::of(reply)))
            }
            Outcome::Granted { lease, again } => {
                self.open = false;
                let mut state = self.service.state.lock();
                state.keep(lease, reply.epoch);
                // Where an answer to this very request was lost, its lease is new to whoever asked.
                let known = *again && lease.id != self.acquire.id;
                Some(Ok((lease.clone(), known)))
            }
            _ => {
                self.open = false;
                Some(Err(Refusal::of(reply)))
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.open {
            let id = std::mem::take(&mut self.acquire.id);
            self.service.state.lock().debts.push(id);
            self.service.due.notify_one();
        }
    }
}

fn may_have_been_done(failure: &Failure) -> bool {
    match failure {
        Failure::Open(_) => false,
        Failure::Trouble(trouble) => !trouble.cause.did_nothing(),
    }
}

/// 128 bits of a digest, in hexadecimal.
fn hash(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    let (first, _) = digest
        .as_ref()
        .split_first_chunk()
        .expect("it has 32 bytes");
    format!("{:032x}", u128::from_be_bytes(*first))
}
