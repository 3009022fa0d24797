//! What a nearside remembers of the ledger, to assert it again if the ledger forgets. Pure. Times are milliseconds of the
//! ledger's clock.

use std::collections::{BTreeMap, HashMap};

use super::ledger::call::RememberedPool;
use super::ledger::reply::{Lease, Pool};

/// See the module's header.
#[derive(Debug, Default)]
pub struct Copies {
    leases: HashMap<String, Lease>,
    pools: BTreeMap<String, RememberedPool>,
    /// When the ledger's pools were changed last, as far as they were read.
    pools_of: Option<u64>,
}

impl Copies {
    /// A lease as the ledger gave it. Of two with one id the one with the greater fence is the newer; of two with one
    /// fence, the one that was asked to leave, though it may expire earlier; or else the one that expires later.
    pub fn keep(&mut self, lease: &Lease) {
        let age = |lease: &Lease| (lease.fence, lease.preempt.is_some(), lease.expires);
        let known = self.leases.get(&lease.id);
        if known.is_none_or(|known| age(known) <= age(lease)) {
            self.leases.insert(lease.id.clone(), lease.clone());
        }
    }

    /// A lease that is over.
    pub fn drop(&mut self, id: &str) -> Option<Lease> {
        self.leases.remove(id)
    }

    /// Takes out what has expired at `now`, and says how much it was.
    pub fn expire(&mut self, now: u64) -> usize {
        let before = self.leases.len();
        self.leases.retain(|_, lease| lease.expires > now);
        before - self.leases.len()
    }

    /// The leases, in order of their fences.
    #[must_use]
    pub fn leases(&self) -> Vec<Lease> {
        let mut leases: Vec<Lease> = self.leases.values().cloned().collect();
        leases.sort_unstable_by_key(|lease| lease.fence);
        leases
    }

    /// Whether the pools were changed since they were read.
    #[must_use]
    pub fn wants_pools(&self, changed: Option<u64>) -> bool {
        changed != self.pools_of
    }

    /// All pools, as they were read when they had been changed at `changed`.
    pub fn keep_pools(&mut self, pools: &[Pool], changed: Option<u64>) {
        let each = pools.iter().map(|pool| {
            let remembered = RememberedPool {
                name: pool.name.clone(),
                capacity: pool.capacity,
                scope: pool.scope.clone(),
                version: pool.version,
            };
            (pool.name.clone(), remembered)
        });
        self.pools = each.collect();
        self.pools_of = changed;
    }

    /// The pools.
    #[must_use]
    pub fn pools(&self) -> Vec<RememberedPool> {
        self.pools.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(id: &str, fence: u64, expires: u64) -> Lease {
        Lease {
            id: id.to_owned(),
            fence,
            owner: "a".to_owned(),
            granted: 0,
            expires,
            ttl: 10,
            hard: None,
            wants: Vec::new(),
            component: "c".to_owned(),
            priority: 0,
            preemptible: true,
            preempt: None,
            retention: 0,
            key: None,
            digest: None,
            change: None,
        }
    }

    #[test]
    fn answers_that_overtake_each_other_do_no_harm() {
        let mut copies = Copies::default();
        copies.keep(&lease("l", 1, 20));
        copies.keep(&lease("l", 1, 10));
        assert_eq!(copies.leases()[0].expires, 20);
        let asked = Lease {
            preempt: Some(15),
            ..lease("l", 1, 15)
        };
        copies.keep(&asked);
        copies.keep(&lease("l", 1, 20));
        assert_eq!(copies.leases(), [asked]);
        copies.keep(&lease("l", 2, 10));
        copies.keep(&lease("l", 1, 30));
        assert_eq!(copies.leases()[0].fence, 2);
        assert_eq!((copies.expire(9), copies.expire(10)), (0, 1));
        assert!(copies.leases().is_empty());
    }
}
