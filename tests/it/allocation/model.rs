//! The ledger as plain data: what each call has to answer at the ledger's own time, down to fences and sequences. Written
//! from the rules, not from the library.
#![expect(clippy::result_large_err, reason = "a model need not be quick")]

mod preemption;

use std::collections::{BTreeMap, BTreeSet};

use nearside::allocation::ledger::call::{Acquire, Call, Place, Seen, Want};
use nearside::allocation::ledger::reply::{
    Asserted, Exhausted, Held, Lease, Outcome, Pool, Reason, Reply, Standing,
};

const POINT: i128 = 100_000;
const SILENCE: u64 = 2000;

#[derive(Clone)]
struct Waiter {
    arrived: u64,
    place: i128,
    wants: Vec<Held>,
    key: Option<String>,
}

struct Tomb {
    reason: Reason,
    key: Option<String>,
}

/// A want with what it is counted against.
struct Resolved {
    held: Held,
    capacity: u64,
}

#[derive(Default)]
pub struct Model {
    history: Option<Seen>,
    fence: u64,
    /// In milliseconds: until when grants pause, and since when.
    pause: u64,
    began: u64,
    dirty: bool,
    now_us: u64,
    pools: BTreeMap<String, Pool>,
    leases: BTreeMap<String, Lease>,
    waiting: BTreeMap<String, Waiter>,
    named: BTreeMap<String, (String, Option<String>)>,
    ended: BTreeMap<String, Tomb>,
    /// By time and member, as a sorted set has them.
    deadlines: BTreeSet<(u64, String)>,
}

impl Model {
    fn now(&self) -> u64 {
        self.now_us / 1000
    }

    fn pausing(&self) -> bool {
        self.pause > self.now()
    }

    pub fn used(&self, account: &str) -> u64 {
        let leases = self.leases.values();
        leases.map(|lease| of(&lease.wants, account)).sum()
    }

    /// The ledger was audited.
    pub fn audited(&self, seen: Seen) {
        assert_eq!(self.history, Some(seen), "an audit changes nothing");
    }

    /// What the ledger has to answer at `now_us`.
    pub fn answer(&mut self, call: &Call, place: &Place, seen: Seen, now_us: u64) -> Reply {
        self.now_us = now_us;
        self.dirty = false;
        let known = self.history;
        if known.is_none_or(|known| {
            seen.epoch > known.epoch || (seen.epoch == known.epoch && seen.seq > known.seq)
        }) {
            self.lost(place, seen.epoch);
        }
        self.sweep();
        let outcome = match call {
            Call::Acquire(q) => self.acquire(q, place),
            Call::Renew { id, fence } => match self.own(id, *fence) {
                Err(answer) => answer,
                Ok(mut lease) => {
                    let ends = [lease.hard, lease.preempt, Some(self.now() + lease.ttl)];
                    lease.expires = ends.into_iter().flatten().min().expect("one");
                    lease.owner.clone_from(&place.owner);
                    self.keep(lease.clone());
                    Outcome::Granted {
                        lease,
                        again: false,
                    }
                }
            },
            Call::Release {
                id,
                fence,
                cancels,
                retention,
            } => self.release(id, *fence, *cancels, *retention),
            Call::Resize {
                id,
                fence,
                change,
                wants,
            } => self.resize(id, *fence, change, wants, place),
            Call::Get { id } => match self.own(id, None) {
                Ok(lease) => Outcome::Granted {
                    lease,
                    again: false,
                },
                Err(Outcome::Unknown | Outcome::Recovering) if self.waiting.contains_key(id) => {
                    Outcome::Queued { arrived: None }
                }
                Err(answer) => answer,
            },
            Call::Reassert { leases, .. } => Outcome::Asserted {
                leases: leases
                    .iter()
                    .map(|lease| self.reassert(lease, place))
                    .collect(),
            },
            Call::PutPool(put) => {
                let created = !self.pools.contains_key(&put.name);
                self.dirty = true;
                let pool = Pool {
                    name: put.name.clone(),
                    capacity: put.capacity,
                    scope: put.scope.to_owned(),
                    version: now_us,
                    accounts: BTreeMap::new(),
                };
                self.pools.insert(put.name.clone(), pool);
                Outcome::Put { created }
            }
            other => panic!("no history has {other:?}"),
        };
        let mut history = self.history.expect("begun");
        history.seq += u64::from(self.dirty);
        self.history = Some(history);
        Reply {
            now: now_us,
            epoch: history.epoch,
            seq: history.seq,
            pause: self.pause.saturating_sub(self.now()),
            outcome,
        }
    }

    fn lost(&mut self, place: &Place, seen: u64) {
        let known = self.history.unwrap_or_default();
        let epoch = self.now_us.max(known.epoch + 1).max(seen + 1);
        self.history = Some(Seen {
            epoch,
            seq: known.seq,
        });
        self.began = self.now();
        self.pause = self.now() + place.window;
        self.dirty = true;
    }

    fn sweep(&mut self) {
        while let Some((time, member)) = self.deadlines.first().cloned() {
            if time > self.now() {
                return;
            }
            self.dirty = true;
            let id = member[2..].to_owned();
            match &member[..1] {
                "l" => {
                    let lease = self.leases[&id].clone();
                    self.finish(&lease, over(&lease));
                }
                "w" => self.leave_queue(&id, true),
                _ => {
                    let tomb = self.ended.remove(&id).expect("a tomb");
                    self.deadlines.remove(&(time, member));
                    self.forget(tomb.key.as_deref(), &id);
                }
            }
        }
    }

    fn forget(&mut self, key: Option<&str>, id: &str) {
        if let Some(key) = key
            && self.named.get(key).is_some_and(|named| named.0 == id)
        {
            self.named.remove(key);
        }
    }

    fn leave_queue(&mut self, id: &str, forgets: bool) {
        self.dirty = true;
        let waiter = self.waiting.remove(id);
        self.due("w", id, None);
        if let Some(waiter) = waiter
            && forgets
        {
            self.forget(waiter.key.as_deref(), id);
        }
    }

    /// Gives a member its one time, or none.
    fn due(&mut self, kind: &str, id: &str, time: Option<u64>) {
        let member = format!("{kind}:{id}");
        self.deadlines.retain(|(_, other)| *other != member);
        if let Some(time) = time {
            self.deadlines.insert((time, member));
        }
    }

    fn keep(&mut self, mut lease: Lease) {
        self.dirty = true;
        for held in &mut lease.wants {
            held.capacity = None;
        }
        self.due("l", &lease.id, Some(lease.expires));
        self.leases.insert(lease.id.clone(), lease);
    }

    fn entomb(&mut self, id: &str, reason: Reason, retention: u64, key: Option<String>) {
        self.dirty = true;
        self.due("e", id, Some(self.now() + retention));
        self.ended.insert(id.to_owned(), Tomb { reason, key });
    }

    fn finish(&mut self, lease: &Lease, reason: Reason) {
        self.leases.remove(&lease.id);
        self.due("l", &lease.id, None);
        self.entomb(&lease.id, reason, lease.retention, lease.key.clone());
    }

    fn resolve(&self, wants: &[Want], place: &Place) -> Result<Vec<Resolved>, Outcome> {
        let each = wants.iter().map(|want| {
            let resource = want.resource.clone();
            let (account, capacity) = if let Some(capacity) = want.capacity {
                (format!("{resource}@pod/{}", place.pod), capacity)
            } else {
                let pool = self.pools.get(&resource["pool:".len()..]);
                let Some(pool) = pool else {
                    if self.pausing() {
                        return Err(Outcome::Recovering);
                    }
                    return Err(Outcome::UnknownPool { resource });
                };
                assert_eq!(pool.scope, "cluster", "the only scope of a history");
                (resource.clone(), pool.capacity)
            };
            let held = Held {
                resource,
                amount: want.amount,
                account,
                capacity: None,
            };
            Ok(Resolved { held, capacity })
        });
        each.collect()
    }

    fn refuse(&self, one: &Resolved, never: bool) -> Outcome {
        let on = |lease: &&Lease| {
            lease
                .wants
                .iter()
                .any(|held| held.account == one.held.account)
        };
        Outcome::Exhausted(Exhausted {
            resource: one.held.resource.clone(),
            requested: one.held.amount,
            capacity: one.capacity,
            used: self.used(&one.held.account),
            next_expiry: self
                .leases
                .values()
                .filter(on)
                .map(|lease| lease.expires)
                .min(),
            never,
        })
    }

    /// The first that does not fit beside the leases, but for `before`, and those who are earlier than `place`.
    fn short<'a>(
        &self,
        wants: &'a [Resolved],
        before: &[Held],
        place: i128,
    ) -> Option<&'a Resolved> {
        wants.iter().find(|one| {
            let account = &one.held.account;
            let ahead = self.ahead(account, place);
            let mine = of(before, account);
            one.held.amount > mine
                && self.used(account) - mine + ahead + one.held.amount > one.capacity
        })
    }

    fn ahead(&self, account: &str, place: i128) -> u64 {
        let earlier = self.waiting.values().filter(|waiter| waiter.place < place);
        earlier.map(|waiter| of(&waiter.wants, account)).sum()
    }

    fn acquire(&mut self, q: &Acquire, place: &Place) -> Outcome {
        let mut id = q.id.clone();
        if let Some((named, digest)) = q.key.as_ref().and_then(|key| self.named.get(key)) {
            if *digest != q.digest {
                return Outcome::KeyReused;
            }
            id.clone_from(named);
        }
        if let Some(tomb) = self.ended.get(&id) {
            return Outcome::Ended {
                reason: tomb.reason,
            };
        }
        if let Some(lease) = self.leases.get(&id) {
            return Outcome::Granted {
                lease: lease.clone(),
                again: true,
            };
        }
        if id != q.id {
            return Outcome::InProgress;
        }
        let wants = match self.resolve(&q.wants, place) {
            Ok(wants) => wants,
            Err(Outcome::Recovering) => return Outcome::Recovering,
            Err(answer) => {
                if self.waiting.contains_key(&id) {
                    self.leave_queue(&id, true);
                }
                return answer;
            }
        };
        if let Some(never) = wants.iter().find(|one| one.held.amount > one.capacity) {
            if self.waiting.contains_key(&id) {
                self.leave_queue(&id, true);
            }
            return self.refuse(never, true);
        }
        let arrived = self.waiting.get(&id).map(|waiter| waiter.arrived);
        let arrived = arrived.or(q.arrived).unwrap_or(self.now_us);
        let at = i128::from(arrived) - i128::from(q.priority) * POINT;
        let pausing = self.pausing();
        if pausing {
            if !q.waits {
                return Outcome::Recovering;
            }
        } else if let Some(short) = self.short(&wants, &[], at) {
            if !q.waits {
                return self.refuse(short, false);
            }
        } else {
            if self.waiting.contains_key(&id) {
                self.leave_queue(&id, false);
            }
            return self.grant(q, wants, place);
        }
        self.dirty = true;
        if !self.waiting.contains_key(&id) {
            let waiter = Waiter {
                arrived,
                place: at,
                wants: wants.iter().map(|one| one.held.clone()).collect(),
                key: q.key.clone(),
            };
            self.waiting.insert(id.clone(), waiter);
            if let Some(key) = &q.key {
                self.named
                    .insert(key.clone(), (id.clone(), q.digest.clone()));
            }
        }
        self.due("w", &id, Some(self.now() + SILENCE));
        if !pausing {
            self.preempt(q, &wants, at, place);
        }
        Outcome::Queued {
            arrived: Some(arrived),
        }
    }

    fn next_fence(&mut self) -> u64 {
        self.fence = (self.fence + 1).max(self.now_us);
        self.fence
    }

    fn grant(&mut self, q: &Acquire, wants: Vec<Resolved>, place: &Place) -> Outcome {
        let hard = q.lifetime.map(|lifetime| self.now() + lifetime);
        let lease = Lease {
            id: q.id.clone(),
            fence: self.next_fence(),
            owner: place.owner.clone(),
            granted: self.now(),
            expires: hard.unwrap_or(u64::MAX).min(self.now() + q.ttl),
            ttl: q.ttl,
            hard,
            wants: wants.into_iter().map(|one| one.held).collect(),
            component: q.component.clone(),
            priority: q.priority,
            preemptible: q.preemptible,
            preempt: None,
            retention: q.retention,
            key: q.key.clone(),
            digest: q.digest.clone(),
            change: None,
        };
        if let Some(key) = &q.key {
            self.named
                .insert(key.clone(), (q.id.clone(), q.digest.clone()));
        }
        self.keep(lease.clone());
        Outcome::Granted {
            lease,
            again: false,
        }
    }

    fn own(&self, id: &str, fence: Option<u64>) -> Result<Lease, Outcome> {
        match (self.leases.get(id), self.ended.get(id)) {
            (None, Some(tomb)) => Err(Outcome::Ended {
                reason: tomb.reason,
            }),
            (None, None) if self.pausing() => Err(Outcome::Recovering),
            (None, None) => Err(Outcome::Unknown),
            (Some(lease), _) if fence.is_some_and(|fence| fence != lease.fence) => {
                Err(Outcome::Fenced {
                    lease: lease.clone(),
                })
            }
            (Some(lease), _) => Ok(lease.clone()),
        }
    }

    fn release(&mut self, id: &str, fence: Option<u64>, cancels: bool, retention: u64) -> Outcome {
        match self.own(id, fence) {
            Ok(lease) => {
                self.finish(&lease, Reason::Released);
                Outcome::Released { lease: Some(lease) }
            }
            Err(Outcome::Unknown | Outcome::Recovering) if cancels => {
                if self.waiting.contains_key(id) {
                    self.leave_queue(id, true);
                }
                self.entomb(id, Reason::Cancelled, retention, None);
                Outcome::Released { lease: None }
            }
            Err(answer) => answer,
        }
    }

    fn resize(
        &mut self,
        id: &str,
        fence: Option<u64>,
        change: &str,
        wants: &[Want],
        place: &Place,
    ) -> Outcome {
        if let Some(lease) = self.leases.get(id)
            && lease.change.as_deref() == Some(change)
        {
            return Outcome::Granted {
                lease: lease.clone(),
                again: true,
            };
        }
        let mut lease = match self.own(id, fence) {
            Ok(lease) => lease,
            Err(answer) => return answer,
        };
        let wants = match self.resolve(wants, place) {
            Ok(wants) => wants,
            Err(answer) => return answer,
        };
        let more = |one: &Resolved| one.held.amount > of(&lease.wants, &one.held.account);
        let grows = wants.iter().any(more);
        if grows && lease.preempt.is_some() {
            return Outcome::Preempting { lease };
        }
        if grows && self.pausing() {
            return Outcome::Recovering;
        }
        let at = i128::from(self.now_us) - i128::from(lease.priority) * POINT;
        if let Some(short) = self.short(&wants, &lease.wants, at) {
            return self.refuse(short, false);
        }
        lease.wants = wants.into_iter().map(|one| one.held).collect();
        lease.fence = self.next_fence();
        lease.change = Some(change.to_owned());
        lease.owner.clone_from(&place.owner);
        self.keep(lease.clone());
        Outcome::Granted {
            lease,
            again: false,
        }
    }

    fn reassert(&mut self, lease: &Lease, place: &Place) -> Asserted {
        let standing = self.standing(lease, place);
        Asserted {
            id: lease.id.clone(),
            standing,
        }
    }

    fn standing(&mut self, lease: &Lease, place: &Place) -> Standing {
        match self.leases.get(&lease.id) {
            Some(known) if known.fence == lease.fence => {
                let mut known = known.clone();
                if let (None, Some(by)) = (known.preempt, lease.preempt) {
                    self.ask_to_leave(&mut known, by);
                }
                return Standing::Held;
            }
            Some(known) if known.fence > lease.fence => return Standing::Fenced,
            Some(_) => {
                self.leases.remove(&lease.id);
                self.due("l", &lease.id, None);
            }
            None => {}
        }
        if let Some(tomb) = self.ended.get(&lease.id) {
            return Standing::Ended {
                reason: tomb.reason,
            };
        }
        if lease.expires <= self.now() {
            self.entomb(&lease.id, over(lease), lease.retention, lease.key.clone());
            return Standing::Ended {
                reason: over(lease),
            };
        }
        self.fence = self.fence.max(lease.fence);
        if let Some(key) = &lease.key {
            let named = (lease.id.clone(), lease.digest.clone());
            self.named.entry(key.clone()).or_insert(named);
        }
        let short = lease.wants.iter().any(|held| {
            let pool = self.pools.get(held.resource.trim_start_matches("pool:"));
            let capacity = held
                .capacity
                .or(pool.map(|pool| pool.capacity))
                .unwrap_or(0);
            self.used(&held.account) + held.amount > capacity
        });
        if short && !self.pausing() {
            self.entomb(&lease.id, Reason::Lost, lease.retention, lease.key.clone());
            return Standing::Ended {
                reason: Reason::Lost,
            };
        }
        self.keep(lease.clone());
        if self.pausing() {
            let longer = self.pause.max(self.now() + place.window);
            self.pause = longer.min(self.began + 10 * place.window);
        }
        Standing::Restored
    }
}

/// How much of these counts in an account.
fn of(wants: &[Held], account: &str) -> u64 {
    let there = wants.iter().filter(|held| held.account == account);
    there.map(|held| held.amount).sum()
}

fn over(lease: &Lease) -> Reason {
    if lease.hard.is_some_and(|hard| hard <= lease.expires) {
        Reason::Lifetime
    } else if lease.preempt.is_some_and(|by| by <= lease.expires) {
        Reason::Preempted
    } else {
        Reason::Expired
    }
}
