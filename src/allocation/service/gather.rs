//! What is told of leases at a scrape. It asks the ledger nothing: what the ledger says is what it said at the last
//! heartbeat, and is left out where that is long ago.

use std::collections::HashMap;

use super::Service;
use super::link::Link;
use crate::allocation::ledger::reply::{Hello, Pool};
use crate::allocation::numbers::Table;
use crate::allocation::request::Kind;
use crate::telemetry::catalogue::leases::{EXPIRATIONS, OUTCOMES, STANDINGS};
use crate::telemetry::clock::now_ms;
use crate::telemetry::families::{Families, float};
use crate::telemetry::names;
use crate::upstream::breaker::Position;

/// For how long what the ledger said is told, in milliseconds: several heartbeats, which come once a second or oftener.
const FRESH: u64 = 5000;

/// What the ledger said at the last heartbeat.
#[derive(Debug)]
pub(super) struct Heard {
    /// When, in milliseconds of the boot clock.
    at: u64,
    leases: u64,
    waiting: u64,
    /// What is promised, by account.
    used: HashMap<String, u64>,
}

impl Heard {
    /// Its answer to a question about these accounts.
    pub(super) fn new(hello: &Hello, accounts: &[String]) -> Self {
        let used = hello.used.iter().copied();
        Self {
            at: now_ms(),
            leases: hello.leases,
            waiting: hello.waiting,
            used: accounts.iter().cloned().zip(used).collect(),
        }
    }
}

/// How much there is of a resource where this nearside's requests count.
struct Standing {
    resource: String,
    scope: String,
    account: String,
    capacity: u64,
}

impl Service {
    /// Every metric of leases as it stands now. Nothing before anybody has asked for one.
    pub fn gather(&self, to: &mut Families) {
        let table = self.numbers.table();
        requests(&table, to);
        let link = *self.link.borrow();
        if link == Link::Idle {
            return;
        }
        self.expire();
        counts(&table, to);
        to.count(names::WAIT_QUEUE, &[], self.numbers.waiting());
        to.count(names::LEDGER_UP, &[], (link == Link::Up).into());
        let state = match self.guard.position() {
            Position::Closed | Position::ForcedClosed => 0,
            Position::HalfOpen => 1,
            Position::Open | Position::ForcedOpen => 2,
        };
        to.count(names::LEDGER_BREAKER, &[], state);
        for (function, answers) in self.guard.calls().answers() {
            to.histogram(names::LEDGER_DURATION, &[function.word()], &answers);
        }
        for (cause, count) in self.guard.calls().troubles() {
            to.count(names::LEDGER_ERRORS, &[cause.as_str()], count);
        }
        self.standings_to(to);
    }

    fn standings_to(&self, to: &mut Families) {
        let standings = self.standings();
        let state = self.state.lock();
        let holdings = state.copies.holdings();
        to.count(names::LEASES_ACTIVE, &[], holdings.leases() as u64);
        let capacities = standings.iter().map(|one| (&*one.resource, one.capacity));
        let capacities: HashMap<&str, u64> = capacities.collect();
        for (resource, component, amount) in holdings.each() {
            if let Some(&capacity) = capacities.get(resource)
                && capacity > 0
            {
                let ratio = float(amount) / float(capacity);
                to.add(names::UTILIZATION, &[resource, component], ratio);
            }
        }
        let heard = state.heard.as_ref();
        let Some(heard) = heard.filter(|heard| now_ms().saturating_sub(heard.at) < FRESH) else {
            return;
        };
        to.count(names::LEDGER_LEASES, &[], heard.leases);
        to.count(names::LEDGER_WAITING, &[], heard.waiting);
        for one in &standings {
            // Else it was not asked about yet.
            if let Some(used) = heard.used.get(&one.account) {
                let labels = [one.resource.as_str(), one.scope.as_str()];
                to.count(names::CAPACITY, &labels, one.capacity);
                to.count(names::ALLOCATED, &labels, *used);
            }
        }
    }

    /// The accounts of which the ledger is to tell what is promised.
    pub(super) fn accounts(&self) -> Vec<String> {
        let standings = self.standings().into_iter();
        standings.map(|one| one.account).collect()
    }

    /// The ledger has told of all pools, with what is promised.
    pub(super) fn read_pools(&self, pools: &[Pool]) {
        let names = pools.iter().map(|pool| pool.name.as_str());
        self.numbers.keep_pools(names);
        let mut used = HashMap::new();
        for one in self.standings() {
            let mut pools = pools.iter();
            if let Some(pool) = pools.find(|pool| one.resource == format!("pool:{}", pool.name)) {
                let amount = pool.accounts.get(&one.account).copied().unwrap_or(0);
                used.insert(one.account, amount);
            }
        }
        if let Some(heard) = &mut self.state.lock().heard {
            heard.used.extend(used);
        }
    }

    fn standings(&self) -> Vec<Standing> {
        let place = self.guard.place();
        let pools = self.state.lock().copies.pools();
        let pools = pools.iter().map(|pool| (&pool.name, pool));
        let pools = self.numbers.told(pools).into_iter();
        let pools = pools.map(|(resource, pool)| (resource, pool.scope.as_str(), pool.capacity));
        let own = [Kind::Cpu, Kind::Memory].into_iter();
        let own = own.filter_map(|kind| Some((kind.name(), "pod", self.source.capacity(&kind)?)));
        let each = own.chain(pools);
        let each = each.filter_map(|(resource, scope, capacity)| {
            Some(Standing {
                account: place.account(&resource, scope)?,
                scope: scope.to_owned(),
                resource,
                capacity,
            })
        });
        each.collect()
    }
}

fn requests(table: &Table, to: &mut Families) {
    for (resource, ended) in &table.ended {
        for outcome in OUTCOMES.iter().copied() {
            let labels = [resource.as_str(), outcome];
            to.count(names::ALLOCATIONS, &labels, ended.outcome(outcome));
        }
        to.histogram(names::ALLOCATION_DURATION, &[resource], ended.durations());
    }
}

fn counts(table: &Table, to: &mut Families) {
    to.histogram(names::WAIT_DURATION, &[], &table.waits);
    for reason in EXPIRATIONS.iter().copied() {
        let count = table.expirations.get(reason).copied();
        to.count(names::LEASE_EXPIRATIONS, &[reason], count.unwrap_or(0));
    }
    for outcome in STANDINGS.iter().copied() {
        let count = table.reasserted.get(outcome).copied();
        to.count(names::LEDGER_REASSERTED, &[outcome], count.unwrap_or(0));
    }
    to.count(names::LEDGER_LOSSES, &[], table.losses);
}
