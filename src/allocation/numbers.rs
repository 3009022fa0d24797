//! What is counted of leases, for whoever scrapes.
//!
//! Names that come from requests are not to make any number of series: a pool has its own only while the ledger knows it,
//! and the first [`MOST_POOLS`] of those; all else is [`OTHER`].
//!
//! One mutex, taken when a request ends and at a scrape: leases are off the data path, and each costs a round trip.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::ledger::reply::{Reason, Standing};
use super::request::Kind;
use crate::telemetry::histogram::{Histogram, WAITS};

/// Pools that are told of by name.
pub const MOST_POOLS: usize = 100;
/// The label of what has no name of its own.
pub const OTHER: &str = "other";
/// Counts by a name of few.
type Counts = BTreeMap<&'static str, u64>;

/// Requests for one resource that have ended.
#[derive(Debug, Clone)]
pub struct Ended {
    outcomes: Counts,
    durations: Histogram,
}

impl Ended {
    /// How many ended so.
    #[must_use]
    pub fn outcome(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).copied().unwrap_or(0)
    }

    /// How long they took.
    #[must_use]
    pub fn durations(&self) -> &Histogram {
        &self.durations
    }
}

impl Default for Ended {
    fn default() -> Self {
        Self {
            outcomes: Counts::new(),
            durations: Histogram::new(WAITS),
        }
    }
}

/// What was counted so far.
#[derive(Debug, Clone)]
pub struct Table {
    /// Requests by resource.
    pub ended: BTreeMap<String, Ended>,
    /// How long those took that were not answered at once.
    pub waits: Histogram,
    /// Leases that ended without being given back.
    pub expirations: Counts,
    /// Leases that were asserted again.
    pub reasserted: Counts,
    /// Losses of the ledger.
    pub losses: u64,
    /// The pools that are told of by name, as resources.
    pools: BTreeSet<String>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            ended: BTreeMap::new(),
            waits: Histogram::new(WAITS),
            expirations: Counts::new(),
            reasserted: Counts::new(),
            losses: 0,
            pools: BTreeSet::new(),
        }
    }
}

impl Table {
    /// A resource's label; `known` where the ledger has just found it.
    fn label<'a>(&mut self, resource: &'a str, known: bool) -> &'a str {
        if !matches!(Kind::named(resource), Some(Kind::Pool(_))) || self.pools.contains(resource) {
            return resource;
        }
        if known && self.pools.len() < MOST_POOLS {
            self.pools.insert(resource.to_owned());
            return resource;
        }
        OTHER
    }
}

/// A request that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What it named.
    pub resources: &'a [String],
    /// The ledger has found all of that.
    pub known: bool,
    /// One of the catalogue's [`OUTCOMES`](crate::telemetry::catalogue::leases::OUTCOMES).
    pub outcome: &'static str,
    /// In microseconds.
    pub took: u64,
    /// It was not answered at once.
    pub waited: bool,
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Numbers {
    table: Mutex<Table>,
    waiting: AtomicU64,
}

impl Numbers {
    /// As it stands now.
    #[must_use]
    pub fn table(&self) -> Table {
        self.table.lock().clone()
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A request begins to wait.
    pub fn waits(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// A request has ended.
    pub fn ended(&self, request: &Request<'_>) {
        let mut table = self.table.lock();
        let each = request.resources.iter();
        let labels: BTreeSet<&str> = each.map(|one| table.label(one, request.known)).collect();
        for label in labels {
            let ended = table.ended.entry(label.to_owned()).or_default();
            *ended.outcomes.entry(request.outcome).or_default() += 1;
            ended.durations.record(request.took);
        }
        if request.waited {
            table.waits.record(request.took);
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A request could not be read.
    pub fn unreadable(&self) {
        let mut table = self.table.lock();
        let ended = table.ended.entry(OTHER.to_owned()).or_default();
        *ended.outcomes.entry("invalid").or_default() += 1;
        ended.durations.record(0);
    }

    /// The ledger has these pools and no others. What was counted of those that are gone is gone too.
    pub fn keep_pools<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let all: BTreeSet<String> = names.map(|name| format!("pool:{name}")).collect();
        let mut table = self.table.lock();
        table.pools.retain(|pool| all.contains(pool));
        for pool in all {
            table.label(&pool, true);
        }
        let Table { ended, pools, .. } = &mut *table;
        ended.retain(|label, _| !label.starts_with("pool:") || pools.contains(label));
    }

    /// Of these pools, those that are told of by name.
    pub fn told<'a, T>(&self, pools: impl Iterator<Item = (&'a String, T)>) -> Vec<(String, T)> {
        let table = self.table.lock();
        let resources = pools.map(|(name, with)| (format!("pool:{name}"), with));
        resources
            .filter(|(one, _)| table.pools.contains(one))
            .collect()
    }

    /// A lease that was given here is over.
    pub fn expired(&self, reason: Reason) {
        let name = match reason {
            Reason::Expired | Reason::Lifetime | Reason::Lost | Reason::Preempted => {
                reason.as_str()
            }
            Reason::Released | Reason::Cancelled => return,
        };
        *self.table.lock().expirations.entry(name).or_default() += 1;
    }

    /// A lease was asserted again.
    pub fn reasserted(&self, standing: Standing) {
        let name = match standing {
            Standing::Held => "held",
            Standing::Restored => "restored",
            Standing::Fenced => "fenced",
            Standing::Ended {
                reason: Reason::Lost,
            } => "lost",
            Standing::Ended { .. } => "ended",
        };
        *self.table.lock().reasserted.entry(name).or_default() += 1;
    }

    /// The ledger has lost data.
    pub fn lost(&self) {
        self.table.lock().losses += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(resources: &[String], known: bool) -> Request<'_> {
        Request {
            resources,
            known,
            outcome: "granted",
            took: 5,
            waited: false,
        }
    }

    fn pool(number: usize) -> String {
        format!("pool:p{number:04}")
    }

    #[test]
    fn pools_have_names_while_the_ledger_knows_them_and_no_more_than_a_hundred() {
        let numbers = Numbers::default();
        for number in 0..1000 {
            numbers.ended(&request(&[pool(number), "cpu".to_owned()], false));
        }
        let labels = |numbers: &Numbers| numbers.table().ended.into_keys().collect::<Vec<_>>();
        assert_eq!(labels(&numbers), ["cpu", OTHER]);
        assert_eq!(numbers.table().ended[OTHER].outcome("granted"), 1000);
        for number in 0..1000 {
            numbers.ended(&request(&[pool(number)], true));
        }
        assert_eq!(labels(&numbers).len(), 2 + MOST_POOLS);
        // Those that are gone make room; what is left keeps its name.
        let left: Vec<String> = (50..1000).map(|number| format!("p{number:04}")).collect();
        numbers.keep_pools(left.iter().map(String::as_str));
        let told = numbers.told(left.iter().map(|name| (name, ())));
        assert_eq!(told.len(), MOST_POOLS);
        assert_eq!(told[0].0, pool(50));
        assert_eq!(labels(&numbers).len(), 2 + 50);
    }

    #[test]
    fn a_resource_counts_once_for_each_request() {
        let numbers = Numbers::default();
        numbers.waits();
        assert_eq!(numbers.waiting(), 1);
        let resources = [pool(1), pool(2), "memory".to_owned()];
        numbers.ended(&Request {
            waited: true,
            ..request(&resources, false)
        });
        let table = numbers.table();
        assert_eq!(table.ended[OTHER].outcome("granted"), 1);
        assert_eq!(table.ended["memory"].outcome("granted"), 1);
        assert_eq!((numbers.waiting(), table.waits.sum_us()), (0, 5));
    }
}
