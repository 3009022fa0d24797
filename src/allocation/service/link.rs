//! The connection to the ledger: said hello on, asserted over, and tried every now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{interval, sleep, timeout};

use super::Service;
use super::gather::Heard;
use crate::allocation::ledger::call::Call;
use crate::allocation::ledger::guard::Failure;
use crate::allocation::ledger::reply::{Asserted, Hello, Outcome, Standing};
use crate::allocation::ledger::way::{Cause, Trouble};
use crate::allocation::request::Kind;

/// How long it is waited before the next connection, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));
/// Heartbeats in a window of assertion: losses are to be found well within it.
const BEATS: u32 = 4;
/// Leases that are asserted in one call.
const BATCH: usize = 200;

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// Nobody has asked for anything.
    Idle,
    /// The first attempt, or the first after a connection has ended.
    Connecting,
    /// Hello has been said.
    Up,
    /// The last attempt failed.
    Down,
}

impl Service {
    /// Keeps the connection, from the first request on; for as long as it is run.
    pub async fn run(self: Arc<Self>) {
        let mut link = self.link.subscribe();
        // Its sender is the service's own.
        let _ = link.wait_for(|link| *link != Link::Idle).await;
        let mut pause = PAUSE.0;
        loop {
            match self.connect().await {
                Ok(()) => {
                    self.link.send_replace(Link::Up);
                    pause = PAUSE.0;
                    self.serve().await;
                    self.link.send_replace(Link::Connecting);
                }
                Err(failure) => {
                    let said = format!("{failure:?}");
                    let was = self.link.send_replace(Link::Down);
                    if was != Link::Down {
                        tracing::warn!(failure = said, "the ledger of leases is not reached");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    /// Waits until hello has been said, where an attempt is under way.
    pub(super) async fn linked(&self) {
        let mut link = self.link.subscribe();
        self.link.send_if_modified(|link| {
            let idle = *link == Link::Idle;
            if idle {
                *link = Link::Connecting;
            }
            idle
        });
        let settled = link.wait_for(|link| matches!(link, Link::Up | Link::Down));
        // Where it takes too long, the call meets what there is.
        drop(timeout(self.settings.ledger.timeout, settled).await);
    }

    async fn connect(&self) -> Result<(), Failure> {
        self.guard.way().connect().await.map_err(Failure::Trouble)?;
        let beat = self.beat().await;
        if beat.is_err() {
            self.guard.way().give_up();
        }
        beat
    }

    /// Until the connection has ended.
    async fn serve(&self) {
        let way = self.guard.way();
        let each = (self.settings.ledger.reassert_window / BEATS)
            .clamp(Duration::from_millis(10), Duration::from_secs(1));
        let mut ticks = interval(each);
        ticks.reset();
        let beats = async {
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = self.due.notified() => {}
                }
                if let Err(Failure::Trouble(Trouble { cause, detail })) = self.beat().await
                    && cause.failure().is_some()
                    && cause != Cause::OutOfMemory
                {
                    tracing::warn!(error = detail, "the ledger of leases does not answer");
                    return;
                }
            }
        };
        tokio::select! {
            () = beats => {}
            () = way.ended() => tracing::warn!("the connection to the ledger of leases has ended"),
        }
        way.give_up();
    }

    /// One heartbeat.
    async fn beat(&self) -> Result<(), Failure> {
        let accounts = self.accounts();
        let call = Call::Hello {
            accounts: accounts.clone(),
        };
        let reply = self.ask_now(&call).await?;
        let Outcome::Hello(hello) = reply.outcome else {
            let detail = format!("no hello but {:?}", reply.outcome);
            return Err(Failure::Trouble(Trouble::new(Cause::Refused, detail)));
        };
        self.judge(&hello);
        self.state.lock().heard = Some(Heard::new(&hello, &accounts));
        self.assert_again().await?;
        let wants = self.state.lock().copies.wants_pools(hello.pools);
        if wants && let Outcome::Pools { pools } = self.ask_now(&Call::Pools {}).await?.outcome {
            // What was read of a ledger that has been lost since is not what is to be remembered.
            let kept = {
                let mut state = self.state.lock();
                let same = self.guard.seen().epoch == state.asserted;
                if same {
                    state.copies.keep_pools(&pools, hello.pools);
                }
                same
            };
            if kept {
                self.read_pools(&pools);
            }
        }
        self.pay().await?;
        let expired = self.expire();
        if expired > 0 {
            tracing::info!(expired, "leases are over that were not given back");
        }
        Ok(())
    }

    /// Forgets what was not renewed in time, and says how many those were.
    pub(super) fn expire(&self) -> usize {
        let now = self.guard.ledger_now();
        let reasons = self.state.lock().copies.expire(now);
        for reason in &reasons {
            self.numbers.expired(*reason);
        }
        reasons.len()
    }

    /// Whether the server may throw the ledger away.
    fn judge(&self, hello: &Hello) {
        let policy = hello.policy.as_deref().unwrap_or_default();
        let evicts = policy.starts_with("allkeys-") && hello.maxmemory != Some(0);
        let reason = evicts.then(|| {
            format!("maxmemory-policy is {policy}, which may evict the ledger; noeviction or volatile-* would not")
        });
        let mut state = self.state.lock();
        if let Some(reason) = reason.as_ref().filter(|_| state.evicts.is_none()) {
            tracing::error!(reason, "no leases are given");
        }
        state.evicts = reason;
    }

    /// Asserts what is remembered, until that was in the newest epoch.
    async fn assert_again(&self) -> Result<(), Failure> {
        loop {
            let epoch = self.guard.seen().epoch;
            let before = self.state.lock().asserted;
            if before == epoch {
                return Ok(());
            }
            self.expire();
            let (leases, pools) = {
                let state = self.state.lock();
                (state.copies.leases(), state.copies.pools())
            };
            if !leases.is_empty() || !pools.is_empty() {
                let (leases_n, pools_n) = (leases.len(), pools.len());
                tracing::warn!(
                    leases = leases_n,
                    pools = pools_n,
                    "the ledger may have lost data; what is known here is asserted again"
                );
            }
            let mut pools = Some(pools);
            let mut batches = leases.chunks(BATCH);
            loop {
                let batch = batches.next();
                let pools = pools.take().unwrap_or_default();
                if batch.is_none() && pools.is_empty() {
                    break;
                }
                let mut leases = batch.unwrap_or_default().to_vec();
                for held in leases.iter_mut().flat_map(|lease| &mut lease.wants) {
                    let kind = Kind::named(&held.resource);
                    held.capacity = kind.and_then(|kind| self.source.capacity(&kind));
                }
                let call = Call::Reassert { leases, pools };
                if let Outcome::Asserted { leases } = self.ask_now(&call).await?.outcome {
                    for one in &leases {
                        self.asserted(one);
                    }
                }
            }
            if before != 0 {
                self.numbers.lost();
            }
            self.state.lock().asserted = epoch;
        }
    }

    fn asserted(&self, one: &Asserted) {
        let lease = one.id.as_str();
        self.numbers.reasserted(one.standing);
        let ended = match one.standing {
            Standing::Held | Standing::Restored => return,
            Standing::Fenced => None,
            Standing::Ended { reason } => {
                let text = reason.as_str();
                tracing::error!(
                    lease,
                    reason = text,
                    "a lease is lost: its holder is told 410"
                );
                Some(reason)
            }
        };
        let own = self.state.lock().copies.drop(lease);
        if let Some(reason) = ended.filter(|_| own) {
            self.numbers.expired(reason);
        }
    }

    /// Calls off what was given up without an answer.
    async fn pay(&self) -> Result<(), Failure> {
        loop {
            let id = self.state.lock().debts.last().cloned();
            let Some(id) = id else { return Ok(()) };
            let call = Call::Release {
                id: id.clone(),
                fence: None,
                cancels: true,
                retention: self.retention(),
            };
            self.ask_now(&call).await?;
            let mut state = self.state.lock();
            state.debts.retain(|other| *other != id);
            state.copies.drop(&id);
        }
    }
}
