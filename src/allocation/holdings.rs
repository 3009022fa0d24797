//! What the leases that a nearside gave hold, by resource and component. Pure, and kept up to date lease by lease, so that
//! it costs no look at all of them.
//!
//! Components are named by whoever asks. The first [`MOST_COMPONENTS`] at a time have their own names, each until its last
//! lease is over; the rest are one, [`OTHER`].

use std::collections::{BTreeMap, HashMap};

use super::ledger::reply::Lease;
use super::numbers::OTHER;

/// Components that are told of by name.
pub const MOST_COMPONENTS: usize = 100;

#[derive(Debug)]
struct Component {
    leases: usize,
    own: bool,
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Holdings {
    leases: usize,
    components: HashMap<String, Component>,
    /// Those of them that have their own names.
    own: usize,
    /// By resource and by a component's label.
    amounts: BTreeMap<(String, String), u64>,
}

impl Holdings {
    /// A lease more.
    pub fn take(&mut self, lease: &Lease) {
        let room = self.own < MOST_COMPONENTS;
        let entry = self.components.entry(lease.component.clone());
        let component = entry.or_insert(Component {
            leases: 0,
            own: room,
        });
        if component.leases == 0 && component.own {
            self.own += 1;
        }
        component.leases += 1;
        let label = label(lease, component);
        for held in &lease.wants {
            let key = (held.resource.clone(), label.to_owned());
            *self.amounts.entry(key).or_default() += held.amount;
        }
        self.leases += 1;
    }

    /// One of those that were taken is over.
    ///
    /// # Panics
    /// If it was not taken.
    pub fn give(&mut self, lease: &Lease) {
        let component = self.components.get_mut(&lease.component);
        let component = component.expect("its lease was taken");
        let label = label(lease, component).to_owned();
        component.leases -= 1;
        if component.leases == 0 {
            self.own -= usize::from(component.own);
            self.components.remove(&lease.component);
        }
        for held in &lease.wants {
            let key = (held.resource.clone(), label.clone());
            let amount = self.amounts.get_mut(&key).expect("its lease was taken");
            *amount -= held.amount;
            if *amount == 0 {
                self.amounts.remove(&key);
            }
        }
        self.leases -= 1;
    }

    /// How many there are.
    #[must_use]
    pub fn leases(&self) -> usize {
        self.leases
    }

    /// What they hold: resource, component, amount.
    pub fn each(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        let each = self.amounts.iter();
        each.map(|((resource, component), amount)| (resource.as_str(), component.as_str(), *amount))
    }
}

fn label<'a>(lease: &'a Lease, component: &Component) -> &'a str {
    if component.own {
        &lease.component
    } else {
        OTHER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::ledger::reply::Held;

    fn lease(component: usize, amount: u64) -> Lease {
        Lease {
            id: String::new(),
            fence: 1,
            owner: "a".to_owned(),
            granted: 0,
            expires: 10,
            ttl: 10,
            hard: None,
            wants: vec![Held {
                resource: "pool:p".to_owned(),
                amount,
                account: "pool:p".to_owned(),
                capacity: None,
            }],
            component: format!("c{component:04}"),
            priority: 0,
            retention: 0,
            key: None,
            digest: None,
            change: None,
            preemptible: false,
            preempt: None,
        }
    }

    #[test]
    fn a_hundred_components_have_names_until_they_hold_nothing() {
        let mut holdings = Holdings::default();
        for number in 0..1000 {
            holdings.take(&lease(number, 2));
            holdings.take(&lease(number, 1));
        }
        let told = |holdings: &Holdings| {
            let each = holdings.each();
            each.map(|(_, component, amount)| (component.to_owned(), amount))
                .collect::<BTreeMap<_, _>>()
        };
        assert_eq!(holdings.leases(), 2000);
        let all = told(&holdings);
        assert_eq!(all.len(), MOST_COMPONENTS + 1);
        assert_eq!((all["c0099"], all[OTHER]), (3, 2700));
        // One that is gone makes room for one that comes; those that had none have none.
        holdings.give(&lease(7, 2));
        assert_eq!(told(&holdings)["c0007"], 1);
        holdings.give(&lease(7, 1));
        holdings.take(&lease(500, 4));
        holdings.take(&lease(2000, 5));
        let all = told(&holdings);
        assert!(!all.contains_key("c0007") && !all.contains_key("c0500"));
        assert_eq!((all["c2000"], all[OTHER]), (5, 2704));
        for number in (0..1000).filter(|number| *number != 7) {
            holdings.give(&lease(number, 2));
            holdings.give(&lease(number, 1));
        }
        holdings.give(&lease(500, 4));
        holdings.give(&lease(2000, 5));
        assert_eq!((holdings.leases(), told(&holdings).len()), (0, 0));
        assert_eq!((holdings.own, holdings.components.len()), (0, 0));
    }
}
