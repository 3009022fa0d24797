//! Requests that wait while nobody holds the line: each has an id under which its outcome is asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::Service;
use super::wait::Asked;
use crate::allocation::ledger::reply::Lease;
use crate::allocation::refusal::Refusal;

/// How long an outcome is kept for whoever asks for it.
const KEPT: Duration = Duration::from_secs(60);

/// `None` while it waits.
type Outcome = Option<Result<Lease, Refusal>>;

struct Ticket {
    outcome: watch::Receiver<Outcome>,
    task: AbortHandle,
}

/// See the module's header.
#[derive(Default)]
pub(super) struct Tickets(Mutex<HashMap<String, Ticket>>);

impl Tickets {
    /// Goes on asking, in a task.
    pub(super) fn file(&self, service: &Arc<Service>, asked: Asked, until: Instant) {
        let id = asked.acquire.id.clone();
        let (told, outcome) = watch::channel(None);
        let (own, name) = (Arc::clone(service), id.clone());
        // Held while the task is begun, so that it does not end before it is in the list.
        let mut tickets = self.0.lock();
        let task = tokio::spawn(async move {
            let done = asked.until(until).await;
            told.send_replace(Some(done.map(|(lease, _)| lease)));
            sleep(KEPT).await;
            own.tickets.0.lock().remove(&name);
        });
        let task = task.abort_handle();
        tickets.insert(id, Ticket { outcome, task });
    }

    /// Ends a request; whether there was one that waits.
    pub(super) fn call_off(&self, id: &str) -> bool {
        let ticket = self.0.lock().remove(id);
        ticket.is_some_and(|ticket| {
            ticket.task.abort();
            ticket.outcome.borrow().is_none()
        })
    }
}

impl Service {
    /// What became of a request that waits under this id, as soon as it is known and within `patience`: `None` where it
    /// waits yet. `Some(None)` where there is no such request: it may be a lease.
    pub async fn outcome(
        &self,
        id: &str,
        patience: Duration,
    ) -> Option<Option<Result<Lease, Refusal>>> {
        let ticket = self
            .tickets
            .0
            .lock()
            .get(id)
            .map(|ticket| ticket.outcome.clone());
        let Some(mut outcome) = ticket else {
            return Some(None);
        };
        let known = timeout(patience, outcome.wait_for(Option::is_some)).await;
        match known {
            Ok(Ok(done)) => Some(done.clone()),
            // It was called off.
            Ok(Err(_)) => Some(None),
            Err(_) => None,
        }
    }

    /// The ids of requests that wait.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        let tickets = self.tickets.0.lock();
        let waits = tickets
            .iter()
            .filter(|(_, ticket)| ticket.outcome.borrow().is_none());
        let mut ids: Vec<String> = waits.map(|(id, _)| id.clone()).collect();
        ids.sort_unstable();
        ids
    }
}
