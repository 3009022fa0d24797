//! Who is asked to leave.

use std::cmp::Reverse;

use nearside::allocation::ledger::call::{Acquire, Place};
use nearside::allocation::ledger::reply::{Held, Lease};

use super::{Model, Resolved, of};

impl Model {
    /// What those hold who were asked to leave.
    fn leaving(&self, account: &str) -> u64 {
        let leases = self.leases.values();
        let asked = leases.filter(|lease| lease.preempt.is_some());
        asked.map(|lease| of(&lease.wants, account)).sum()
    }

    /// Asks leases to leave for a request that waits at `at`.
    pub(super) fn preempt(&mut self, q: &Acquire, wants: &[Resolved], at: i128, place: &Place) {
        let missing = |lost: &[&Lease]| -> Vec<String> {
            let each = wants.iter().filter(|one| {
                let account = &one.held.account;
                let gone: u64 = lost.iter().map(|lease| of(&lease.wants, account)).sum();
                let needed = self.used(account) + self.ahead(account, at) + one.held.amount;
                needed > one.capacity + self.leaving(account) + gone
            });
            each.map(|one| one.held.account.clone()).collect()
        };
        let mut may: Vec<&Lease> = self.leases.values().collect();
        may.retain(|lease| {
            let open = lease.preemptible && lease.preempt.is_none();
            open && lease.priority < q.priority
        });
        may.sort_by_key(|lease| (lease.priority, Reverse(lease.fence)));
        let mut chosen: Vec<&Lease> = Vec::new();
        for lease in may {
            let lacks = missing(&chosen);
            if lacks.iter().any(|account| of(&lease.wants, account) > 0) {
                chosen.push(lease);
            }
        }
        if !missing(&chosen).is_empty() {
            return;
        }
        for at in (0..chosen.len()).rev() {
            let mut fewer = chosen.clone();
            fewer.remove(at);
            if missing(&fewer).is_empty() {
                chosen = fewer;
            }
        }
        let chosen: Vec<Lease> = chosen.into_iter().cloned().collect();
        for mut lease in chosen {
            let allowed = |held: &Held| {
                let pool = self.pools.get(held.resource.trim_start_matches("pool:"));
                let own = wants.iter().find(|one| one.held.account == held.account);
                let capacity = own.map(|one| one.capacity);
                let leaving = self.leaving(&held.account);
                leaving == 0
                    || capacity
                        .or(pool.map(|pool| pool.capacity))
                        .is_none_or(|capacity| {
                            (leaving + held.amount) * 1_000_000 <= capacity * u64::from(place.cap)
                        })
            };
            if place.cap > 0 && lease.wants.iter().all(allowed) {
                self.ask_to_leave(&mut lease, self.now() + place.grace);
            }
        }
    }

    pub(super) fn ask_to_leave(&mut self, lease: &mut Lease, by: u64) {
        lease.preempt = Some(by);
        lease.expires = lease.expires.min(by);
        self.keep(lease.clone());
    }
}
