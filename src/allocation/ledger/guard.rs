//! Between the service and the way to the ledger: the circuit breaker, and what was seen of the ledger's history.
//!
//! The breaker is the ledger's own: its trouble cuts off no data, and the data's trouble no leases. It keeps back what asks for
//! something new. What gives back or keeps alive is sent in any case: there is never more of it than there are leases, and
//! it is what helps. What a client did wrong and what is exhausted never count as failures.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::call::{Call, Place, Seen};
use super::calls::Calls;
use super::reply::Reply;
use super::way::{Cause, Trouble, Way};
use crate::telemetry::clock::{now_ms, now_us};
use crate::upstream::breaker::{Admission, Breaker, Position, Settings};

/// Longest wait of the open circuit: short, since requests that wait for their turn outlive a short outage.
const RECOVERY: Duration = Duration::from_millis(500);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The circuit is open, for so many milliseconds yet.
    Open(u64),
    /// The ledger was asked.
    Trouble(Trouble),
}

/// See the module's header.
pub struct Guard {
    way: Arc<dyn Way>,
    place: Place,
    seen: Mutex<Seen>,
    breaker: Mutex<Breaker>,
    /// The trouble of the last call that had one.
    last: Mutex<Option<Cause>>,
    /// The ledger's clock less this process's, in milliseconds.
    offset: Mutex<u64>,
    calls: Calls,
}

impl Guard {
    /// A guard of this way.
    #[must_use]
    pub fn new(way: Arc<dyn Way>, place: Place) -> Self {
        let settings = Settings {
            recovery_timeout: RECOVERY,
            ..Settings::default()
        };
        Self {
            way,
            place,
            seen: Mutex::default(),
            breaker: Mutex::new(Breaker::new(settings)),
            last: Mutex::default(),
            offset: Mutex::default(),
            calls: Calls::default(),
        }
    }

    /// The way.
    #[must_use]
    pub fn way(&self) -> &Arc<dyn Way> {
        &self.way
    }

    /// Where this nearside stands.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The newest that was seen of the ledger.
    #[must_use]
    pub fn seen(&self) -> Seen {
        *self.seen.lock()
    }

    /// What the ledger's clock says now, in milliseconds, as far as its answers told; 0 before the first.
    #[must_use]
    pub fn ledger_now(&self) -> u64 {
        let offset = *self.offset.lock();
        if offset == 0 { 0 } else { now_ms() + offset }
    }

    /// Where the breaker stands.
    #[must_use]
    pub fn position(&self) -> Position {
        self.breaker.lock().position()
    }

    /// What was counted of the calls.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Asks, unless the circuit keeps it back.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(&self, call: &Call) -> Result<Reply, Failure> {
        let admission = self.admit(call)?;
        let mut probe = Probe {
            guard: self,
            admission,
        };
        let began = now_us();
        let asked = self.call(call).await;
        match &asked {
            Ok(_) => {
                let took = now_us().saturating_sub(began);
                self.calls.answered(call.function(), took);
            }
            Err(trouble) => self.calls.failed(trouble.cause),
        }
        let outcome = match &asked {
            Ok(_) => {
                if matches!(call, Call::Acquire(_)) {
                    *self.last.lock() = None;
                }
                Ok(())
            }
            Err(trouble) => {
                *self.last.lock() = Some(trouble.cause);
                trouble.cause.failure().map_or(Ok(()), Err)
            }
        };
        let admission = std::mem::replace(&mut probe.admission, Admission::Refused);
        let changed = self.breaker.lock().attempted(now_ms(), admission, outcome);
        if let Some(transition) = changed {
            let (from, to) = (transition.from.as_str(), transition.to.as_str());
            tracing::warn!(
                from,
                to,
                cause = transition.cause.as_str(),
                "the ledger's circuit"
            );
        }
        asked.map_err(Failure::Trouble)
    }

    fn admit(&self, call: &Call) -> Result<Admission, Failure> {
        let now = now_ms();
        let mut breaker = self.breaker.lock();
        // What goes on without memory says nothing of what does not.
        let silent = matches!(*self.last.lock(), Some(Cause::OutOfMemory));
        let keeps = matches!(
            call,
            Call::Renew { .. } | Call::Release { .. } | Call::Reassert { .. }
        );
        match call {
            Call::Hello { .. } if silent => Ok(Admission::Refused),
            // It is what finds out that the ledger is back.
            Call::Hello { .. } => Ok(breaker.admit(now)),
            _ if keeps && breaker.is_closed() && !silent => Ok(Admission::Call),
            _ if keeps => Ok(Admission::Refused),
            _ => match breaker.admit(now) {
                Admission::Refused => Err(Failure::Open(breaker.opens_in(now).unwrap_or(100))),
                admission => Ok(admission),
            },
        }
    }

    async fn call(&self, call: &Call) -> Result<Reply, Trouble> {
        let argument = call.encode(&self.place, self.seen());
        let text = self.way.call(call.function(), argument).await?;
        let reply = Reply::decode(&text).map_err(|text| Trouble::new(Cause::Refused, text))?;
        let mut seen = self.seen.lock();
        *seen = (*seen).max(reply.seen());
        *self.offset.lock() = (reply.now / 1000).saturating_sub(now_ms()).max(1);
        Ok(reply)
    }
}

/// A call that is under way: whoever stops waiting for a probe gives it back.
struct Probe<'a> {
    guard: &'a Guard,
    admission: Admission,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if matches!(self.admission, Admission::Probe(_)) {
            self.guard.breaker.lock().probe_abandoned();
        }
    }
}
