//! What is told of one request: its span, and what is counted of it.

use std::sync::Arc;

use super::Service;
use crate::allocation::ledger::reply::Lease;
use crate::allocation::numbers::{self, Numbers};
use crate::allocation::refusal::Refusal;
use crate::allocation::request::Request;
use crate::telemetry::clock::now_us;
use crate::telemetry::operation::Context;
use crate::telemetry::traces::span::{Kind, Span};

/// A request for a lease, from its arrival to its end. One that goes without an end was given up.
pub(super) struct Told {
    numbers: Arc<Numbers>,
    span: Option<Span>,
    began: u64,
    resources: Vec<String>,
    /// The ledger has found all of them.
    known: bool,
    /// It was not answered at once.
    waits: bool,
    ended: bool,
}

impl Service {
    /// Begins one.
    pub(super) fn tell(&self, request: &Request, within: Option<Context>) -> Told {
        let mut span = self.span("resource.allocate", within);
        let amounts = request.resources.iter();
        let amounts = amounts.map(|one| (one.kind.name(), one.amount));
        let amounts: Vec<(String, u64)> = amounts.collect();
        if let Some(span) = &mut span {
            self::amounts(span, &amounts);
            span.set("resource.component", request.component.clone());
        }
        Told {
            numbers: Arc::clone(&self.numbers),
            span,
            began: now_us(),
            resources: amounts.into_iter().map(|(name, _)| name).collect(),
            known: false,
            waits: false,
            ended: false,
        }
    }

    /// A request for a lease could not be read.
    pub fn unreadable(&self) {
        self.numbers.unreadable();
    }

    /// Begins a span of something else that is done with a lease.
    pub(super) fn span(&self, name: &'static str, within: Option<Context>) -> Option<Span> {
        let traces = self.traces.as_ref()?;
        Some(traces.span(name, Kind::Internal, within, now_us()))
    }
}

impl Told {
    /// It has to be asked again.
    pub(super) fn waits(&mut self) {
        if !self.waits {
            self.waits = true;
            self.numbers.waits();
        }
    }

    /// It has a place in the ledger's queue.
    pub(super) fn queued(&mut self) {
        self.known = true;
    }

    /// It was granted or refused. `id` is its own: a lease of another one was there before.
    pub(super) fn end(&mut self, done: &Result<(Lease, bool), Refusal>, id: &str) {
        self.known |= match done {
            Ok(_) => true,
            Err(refusal) => refusal.knows_resources(),
        };
        let outcome = match done {
            Ok((lease, true)) if lease.id != id => "repeated",
            Ok(_) => "granted",
            Err(refusal) => refusal.as_str(),
        };
        let lease = done.as_ref().map(|(lease, _)| lease.id.as_str());
        self.close(outcome, lease);
    }

    fn close(&mut self, outcome: &'static str, lease: Result<&str, &Refusal>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let now = now_us();
        self.numbers.ended(&numbers::Request {
            resources: &self.resources,
            known: self.known,
            outcome,
            took: now.saturating_sub(self.began),
            waited: self.waits,
        });
        if let Some(mut span) = self.span.take() {
            if let Ok(lease) = lease {
                span.set("resource.allocation_id", lease.to_owned());
            }
            span.set("resource.waited", self.waits);
            over(span, outcome, lease.err(), now);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.close("cancelled", Err(&Refusal::Unknown));
    }
}

/// Ends the span of something that was done with the lease of this id: `outcome` where it was, and of what, if that is known.
pub(super) fn done(
    span: Option<Span>,
    id: &str,
    outcome: &'static str,
    lease: Result<Option<&Lease>, &Refusal>,
) {
    let Some(mut span) = span else { return };
    span.set("resource.allocation_id", id.to_owned());
    if let Ok(Some(lease)) = lease {
        let held = lease.wants.iter();
        let held: Vec<_> = held.map(|one| (one.resource.clone(), one.amount)).collect();
        amounts(&mut span, &held);
        span.set("resource.component", lease.component.clone());
    }
    let refusal = lease.err();
    over(
        span,
        refusal.map_or(outcome, Refusal::as_str),
        refusal,
        now_us(),
    );
}

fn over(mut span: Span, outcome: &'static str, refusal: Option<&Refusal>, now: u64) {
    span.set("resource.outcome", outcome);
    if refusal.is_some_and(Refusal::is_failure) {
        span.fail(outcome);
    }
    span.end(now);
}

/// The first resource and its amount; where there are several, all of them in one text as well.
fn amounts(span: &mut Span, all: &[(String, u64)]) {
    let Some((name, amount)) = all.first() else {
        return;
    };
    span.set("resource.type", name.clone());
    span.set("resource.amount", *amount);
    if all.len() > 1 {
        let each: Vec<String> = all.iter().map(|(name, n)| format!("{name}={n}")).collect();
        span.set("resource.all", each.join(","));
    }
}
