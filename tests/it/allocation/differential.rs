//! The library against the model, on random histories: every answer is the model's, word for word.

use std::cell::Cell;
use std::thread::sleep;
use std::time::Duration;

use nearside::allocation::ledger::call::{Acquire, Call, PutPool, Seen, Want};
use nearside::allocation::ledger::library;
use nearside::allocation::ledger::reply::{Lease, Outcome, Reason};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::model::Model;
use super::rig::{Caller, planted, renew, request};
use crate::support::redis::RedisServer;

/// How many requests and leases there are in a history.
const IDS: u8 = 12;

#[derive(Debug, Clone)]
enum Step {
    Put {
        pool: u8,
        capacity: u64,
    },
    Acquire {
        id: u8,
        amounts: [u64; 3],
        ttl: u64,
        lifetime: bool,
        waits: bool,
        priority: u64,
        preemptible: bool,
        key: Option<(u8, u8)>,
    },
    /// The last request once more.
    Again,
    Renew {
        id: u8,
        wrong: bool,
    },
    Release {
        id: u8,
        wrong: bool,
        cancels: bool,
    },
    Resize {
        id: u8,
        amounts: [u64; 3],
        change: u8,
    },
    Get {
        id: u8,
    },
    /// What was granted last under this id.
    Reassert {
        id: u8,
    },
    Sleep {
        ms: u64,
    },
    /// The caller has seen more than there is.
    Ahead,
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let amounts = || [0_u64..4, 0_u64..3, 0_u64..3];
    let priority = (0_u64..3, any::<bool>());
    let key = prop::option::weighted(0.3, (0_u8..2, 0_u8..2));
    prop_oneof![
        2 => (0_u8..2, 0_u64..6).prop_map(|(pool, capacity)| Step::Put { pool, capacity }),
        10 => (0..IDS, amounts(), 1_u64..60, prop::bool::weighted(0.2), any::<bool>(), priority, key).prop_map(
            |(id, amounts, ttl, lifetime, waits, (priority, preemptible), key)| Step::Acquire {
                id, amounts, ttl, lifetime, waits, priority, preemptible, key,
            }
        ),
        3 => (0..IDS, prop::bool::weighted(0.2)).prop_map(|(id, wrong)| Step::Renew { id, wrong }),
        4 => (0..IDS, prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(id, wrong, cancels)| Step::Release { id, wrong, cancels }),
        3 => (0..IDS, amounts(), 0_u8..4).prop_map(|(id, amounts, change)| Step::Resize { id, amounts, change }),
        1 => (0..IDS).prop_map(|id| Step::Get { id }),
        2 => (0..IDS).prop_map(|id| Step::Reassert { id }),
        2 => (1_u64..25).prop_map(|ms| Step::Sleep { ms }),
        1 => Just(Step::Ahead),
        1 => Just(Step::Flush),
    ]
}

/// Steps of histories in which there is hardly ever room, and many may be asked to leave.
fn crowded() -> impl Strategy<Value = Step> {
    let amounts = || {
        let both = [1_u64..3, 0_u64..3, 0_u64..2];
        prop_oneof![(1_u64..4).prop_map(|amount| [amount, 0, 0]), both]
    };
    let id = || 0..IDS;
    prop_oneof![
        8 => (id(), amounts(), 0_u64..4, prop::bool::weighted(0.8)).prop_map(
            |(id, amounts, priority, preemptible)| Step::Acquire {
                id, amounts, ttl: 10_000, lifetime: false, waits: true, priority, preemptible, key: None,
            }
        ),
        4 => Just(Step::Again),
        3 => id().prop_map(|id| Step::Renew { id, wrong: false }),
        1 => id().prop_map(|id| Step::Release { id, wrong: false, cancels: true }),
        2 => (id(), amounts(), 0_u8..4).prop_map(|(id, amounts, change)| Step::Resize { id, amounts, change }),
        1 => id().prop_map(|id| Step::Reassert { id }),
        1 => (1_u64..12).prop_map(|ms| Step::Sleep { ms }),
    ]
}

fn wants(amounts: &[u64; 3]) -> Vec<Want> {
    let want = |resource: &str, amount, capacity| Want {
        resource: resource.to_owned(),
        amount,
        capacity,
    };
    let mut all = vec![
        want("pool:p0", amounts[0], None),
        want("pool:p1", amounts[1], None),
        want("cpu", amounts[2], Some(3)),
    ];
    all.retain(|want| want.amount > 0);
    if all.is_empty() {
        all.push(want("pool:p0", 1, None));
    }
    all
}

struct Pair {
    caller: Caller,
    model: Model,
    /// The last lease of each id.
    granted: [Option<Lease>; IDS as usize],
    /// The last request.
    asked: Option<Acquire>,
    retention: u64,
    seldom: Seldom,
}

/// How often there was what has to come about in some history.
#[derive(Debug, Clone, Copy, Default)]
struct Seldom {
    /// A lease was asked to leave.
    asked: u32,
    /// One had not left in time.
    ended: u32,
}

impl Pair {
    fn call(&mut self, step: &Step) -> Option<Call> {
        let last = |id: u8| self.granted[usize::from(id)].as_ref();
        let fence = |id: u8, wrong: bool| last(id).map(|lease| lease.fence + u64::from(wrong));
        let name = |id: u8| format!("l{id}");
        Some(match step {
            Step::Put { pool, capacity } => Call::PutPool(PutPool {
                name: format!("p{pool}"),
                capacity: *capacity,
                scope: "cluster",
            }),
            Step::Acquire {
                id,
                amounts,
                ttl,
                lifetime,
                waits,
                priority,
                preemptible,
                key,
            } => Call::Acquire(Acquire {
                wants: wants(amounts),
                ttl: *ttl,
                lifetime: lifetime.then_some(ttl + 10),
                retention: self.retention,
                priority: *priority,
                preemptible: *preemptible,
                waits: *waits,
                key: key.map(|(key, _)| format!("k{key}")),
                digest: key.map(|(_, digest)| format!("d{digest}")),
                ..request(&name(*id), "p0", 1)
            }),
            Step::Again => Call::Acquire(self.asked.clone()?),
            Step::Renew { id, wrong } => renew(&name(*id), fence(*id, *wrong)),
            Step::Release { id, wrong, cancels } => Call::Release {
                id: name(*id),
                fence: fence(*id, *wrong),
                cancels: *cancels,
                retention: self.retention,
            },
            Step::Resize {
                id,
                amounts,
                change,
            } => Call::Resize {
                id: name(*id),
                fence: fence(*id, false),
                change: format!("c{change}"),
                wants: wants(amounts),
            },
            Step::Get { id } => Call::Get { id: name(*id) },
            Step::Reassert { id } => {
                let mut lease = last(*id)?.clone();
                for held in &mut lease.wants {
                    held.capacity = (held.resource == "cpu").then_some(3);
                }
                Call::Reassert {
                    leases: vec![lease],
                    pools: vec![],
                }
            }
            Step::Sleep { ms } => {
                sleep(Duration::from_millis(*ms));
                return None;
            }
            Step::Ahead => {
                self.caller.seen.seq += 3;
                return None;
            }
            Step::Flush => {
                for key in library::keys(self.caller.ledger()) {
                    self.caller.client().must(&["DEL", &key]);
                }
                self.model = Model::default();
                return None;
            }
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let Some(call) = self.call(step) else {
            return Ok(());
        };
        if let Call::Acquire(asked) = &call {
            self.asked = Some(asked.clone());
        }
        let seen: Seen = self.caller.seen;
        let reply = self.caller.reply(&call);
        let expected = self
            .model
            .answer(&call, &self.caller.place, seen, reply.now);
        prop_assert_eq!(&reply, &expected, "{:?}", call);
        if let Outcome::Ended { reason } = reply.outcome {
            self.seldom.ended += u32::from(reason == Reason::Preempted);
        }
        if let Outcome::Granted { lease, .. } = reply.outcome {
            self.seldom.asked += u32::from(lease.preempt.is_some());
            let id: usize = lease.id[1..].parse().expect("a number");
            self.granted[id] = Some(lease);
        }
        let audit = self.caller.audit();
        self.model.audited(self.caller.seen);
        prop_assert!(audit.wrong.is_empty(), "after {:?}: {:?}", call, audit);
        Ok(())
    }
}

/// What a library answers against what the model does, on so many histories; the first answer that is another one.
fn compare(library: &str, step: BoxedStrategy<Step>, config: &Config) -> Result<Seldom, String> {
    let server = RedisServer::start(&[]);
    server.client().must(&["FUNCTION", "LOAD", library]);
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..config.clone()
    });
    let window = prop_oneof![Just(0_u64), Just(15_u64)];
    let retention = prop_oneof![Just(10_u64), Just(60_000_u64)];
    let grace = prop_oneof![Just(0_u64), Just(8_u64), Just(5_000_u64)];
    let cap = prop_oneof![1 => Just(0_u32), 3 => Just(500_000_u32), 3 => Just(1_000_000_u32)];
    let settings = (window, retention, grace, cap);
    let steps = prop::collection::vec(step, 10..80);
    let histories = (settings, steps);
    let (number, seldom) = (Cell::new(0), Cell::new(Seldom::default()));
    let ran = runner.run(&histories, |((window, retention, grace, cap), steps)| {
        let ledger = format!("l{}", number.replace(number.get() + 1));
        let mut pair = Pair {
            caller: Caller::new(server.addr(), &ledger, "a", window),
            model: Model::default(),
            granted: [const { None }; IDS as usize],
            asked: None,
            retention,
            seldom: seldom.get(),
        };
        pair.caller.place.grace = grace;
        pair.caller.place.cap = cap;
        for (pool, capacity) in [(0, 4), (1, 2)] {
            pair.step(&Step::Put { pool, capacity })?;
        }
        for step in &steps {
            pair.step(step)?;
        }
        seldom.set(pair.seldom);
        Ok(())
    });
    ran.map(|()| seldom.get())
        .map_err(|error| error.to_string())
}

#[test]
fn every_answer_is_the_models() {
    let config = Config {
        cases: 96,
        max_shrink_time: 20_000,
        ..Config::default()
    };
    let compared = |step| {
        let compared = compare(&library::text(), step, &config);
        compared.unwrap_or_else(|error| panic!("{error}"))
    };
    compared(step().boxed());
    let seldom = compared(crowded().boxed());
    // Otherwise the histories say nothing of it.
    assert!(seldom.asked > 0 && seldom.ended > 0, "{seldom:?}");
}

#[test]
fn planted_errors_of_preemption_are_found() {
    for (rule, with) in [
        // Room is given away that is only coming.
        (
            "local promised = counted(c.used, want.account)\n    local mine",
            "local promised = counted(c.used, want.account) - counted(c.leaving, want.account)\n    local mine",
        ),
        // Asking again asks others as well.
        ("- want.capacity - leaving", "- want.capacity"),
        // Equals are asked to leave.
        (
            "string.format('%04d', q.priority)",
            "string.format('%04d', q.priority + 1)",
        ),
        // The oldest first.
        (
            "local down = LAST - tonumber(lease.fence)",
            "local down = tonumber(lease.fence)",
        ),
        // For nothing.
        (
            "    if lack > 0 then\n      return nil\n",
            "    if lack > 9 then\n      return nil\n",
        ),
        // More than needed.
        ("for i = #chosen, 1, -1 do", "for i = 0, 1, -1 do"),
        // More at once than the cap allows.
        (
            "if may_leave(c, q, lease, capacities) then",
            "if lease then",
        ),
        // Those who wait already are forgotten.
        (
            "+ ahead[want.account] + want.amount - want.capacity - leaving",
            "+ want.amount - want.capacity - leaving",
        ),
        // A renewal outlasts the grace.
        (
            "lease.hard or math.huge, lease.preempt or math.huge",
            "lease.hard or math.huge",
        ),
        // Who is to leave grows.
        ("if grows and lease.preempt then", "if false then"),
        // Who has left may be asked to.
        ("call('ZREM', c.preemptible, line(id, lease, want))", ""),
        // What has left is still expected.
        ("add(c.leaving, want.account, -want.amount)", ""),
    ] {
        let config = Config {
            cases: 2000,
            max_shrink_iters: 0,
            ..Config::default()
        };
        let compared = compare(&planted(rule, with), crowded().boxed(), &config);
        assert!(compared.is_err(), "{with}");
    }
}
