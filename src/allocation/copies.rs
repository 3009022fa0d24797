//! What a nearside remembers of the ledger, to assert it again if the ledger forgets. Pure. Times are milliseconds of the
//! ledger's clock.

use std::collections::{BTreeMap, HashMap};

use super::holdings::Holdings;
use super::ledger::call::RememberedPool;
use super::ledger::reply::{Lease, Pool, Reason};

/// See the module's header.
#[derive(Debug, Default)]
pub struct Copies {
    /// The nearside whose copies they are. Some are of leases that another one gave: it was asked about them.
    owner: String,
    /// What those hold that are its own.
    holdings: Holdings,
    leases: HashMap<String, Lease>,
    pools: BTreeMap<String, RememberedPool>,
    /// When the ledger's pools were changed last, as far as they were read.
    pools_of: Option<u64>,
}

impl Copies {
    /// Those of this nearside.
    #[must_use]
    pub fn of(owner: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            ..Self::default()
        }
    }

    /// What the leases hold that this nearside gave, or renewed last.
    #[must_use]
    pub fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    /// A lease as the ledger gave it. Of two with one id the one with the greater fence is the newer; of two with one
    /// fence, the one that was asked to leave, though it may expire earlier; or else the one that expires later.
    pub fn keep(&mut self, lease: &Lease) {
        let age = |lease: &Lease| (lease.fence, lease.preempt.is_some(), lease.expires);
        let known = self.leases.get(&lease.id);
        if known.is_none_or(|known| age(known) <= age(lease)) {
            let before = self.leases.insert(lease.id.clone(), lease.clone());
            if let Some(before) = before.filter(|before| before.owner == self.owner) {
                self.holdings.give(&before);
            }
            if lease.owner == self.owner {
                self.holdings.take(lease);
            }
        }
    }

    /// A lease that is over; whether it was there, and this nearside's own.
    pub fn drop(&mut self, id: &str) -> bool {
        let lease = self.leases.remove(id);
        let own = lease.filter(|lease| lease.owner == self.owner);
        if let Some(lease) = &own {
            self.holdings.give(lease);
        }
        own.is_some()
    }

    /// Takes out what has expired at `now`, and says how each ended that was this nearside's own.
    pub fn expire(&mut self, now: u64) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let (owner, holdings) = (&self.owner, &mut self.holdings);
        self.leases.retain(|_, lease| {
            let lives = lease.expires > now;
            if !lives && lease.owner == *owner {
                holdings.give(lease);
                reasons.push(lease.ending());
            }
            lives
        });
        reasons
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
        let mut copies = Copies::of("a");
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
        assert!(copies.expire(9).is_empty());
        assert_eq!(copies.expire(10), [Reason::Expired]);
        assert!(copies.leases().is_empty());
    }

    #[test]
    fn what_is_held_is_what_the_own_leases_hold() {
        let mut copies = Copies::of("a");
        let own = |id: &str, fence, expires| lease(id, fence, expires);
        let foreign = Lease {
            owner: "b".to_owned(),
            ..lease("f", 9, 10)
        };
        copies.keep(&foreign);
        copies.keep(&own("l", 1, 20));
        copies.keep(&own("l", 2, 20));
        copies.keep(&own("m", 3, 10));
        assert_eq!((copies.leases().len(), copies.holdings().leases()), (3, 2));
        let ends = Lease {
            hard: Some(10),
            ..own("m", 3, 10)
        };
        copies.keep(&ends);
        assert_eq!(
            copies.expire(10),
            [Reason::Lifetime],
            "the other is not ours"
        );
        assert!(copies.drop("l") && !copies.drop("l") && !copies.drop("f"));
        assert_eq!(copies.holdings().leases(), 0);
        // Another nearside has it now.
        copies.keep(&own("n", 10, 20));
        copies.keep(&Lease {
            owner: "b".to_owned(),
            ..lease("n", 11, 20)
        });
        assert_eq!((copies.leases().len(), copies.holdings().leases()), (1, 0));
    }
}
