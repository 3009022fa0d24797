//! The library against the model, on random histories: every answer is the model's, word for word.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use nearside::allocation::ledger::call::{Acquire, Call, PutPool, Seen, Want};
use nearside::allocation::ledger::reply::{Lease, Outcome};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::model::Model;
use super::rig::{Caller, load, renew, request};
use crate::support::redis::RedisServer;

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
        key: Option<(u8, u8)>,
    },
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
    let key = prop::option::weighted(0.3, (0_u8..2, 0_u8..2));
    prop_oneof![
        2 => (0_u8..2, 0_u64..6).prop_map(|(pool, capacity)| Step::Put { pool, capacity }),
        10 => (0_u8..8, amounts(), 1_u64..60, prop::bool::weighted(0.2), any::<bool>(), 0_u64..3, key).prop_map(
            |(id, amounts, ttl, lifetime, waits, priority, key)| Step::Acquire {
                id, amounts, ttl, lifetime, waits, priority, key,
            }
        ),
        3 => (0_u8..8, prop::bool::weighted(0.2)).prop_map(|(id, wrong)| Step::Renew { id, wrong }),
        4 => (0_u8..8, prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(id, wrong, cancels)| Step::Release { id, wrong, cancels }),
        3 => (0_u8..8, amounts(), 0_u8..4).prop_map(|(id, amounts, change)| Step::Resize { id, amounts, change }),
        1 => (0_u8..8).prop_map(|id| Step::Get { id }),
        2 => (0_u8..8).prop_map(|id| Step::Reassert { id }),
        2 => (1_u64..25).prop_map(|ms| Step::Sleep { ms }),
        1 => Just(Step::Ahead),
        1 => Just(Step::Flush),
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
    granted: [Option<Lease>; 8],
    retention: u64,
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
                key,
            } => Call::Acquire(Acquire {
                wants: wants(amounts),
                ttl: *ttl,
                lifetime: lifetime.then_some(ttl + 10),
                retention: self.retention,
                priority: *priority,
                waits: *waits,
                key: key.map(|(key, _)| format!("k{key}")),
                digest: key.map(|(_, digest)| format!("d{digest}")),
                ..request(&name(*id), "p0", 1)
            }),
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
                for key in nearside::allocation::ledger::library::keys(self.caller.ledger()) {
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
        let seen: Seen = self.caller.seen;
        let reply = self.caller.reply(&call);
        let expected = self
            .model
            .answer(&call, &self.caller.place, seen, reply.now);
        prop_assert_eq!(&reply, &expected, "{:?}", call);
        if let Outcome::Granted { lease, .. } = reply.outcome {
            let id: usize = lease.id[1..].parse().expect("a number");
            self.granted[id] = Some(lease);
        }
        let audit = self.caller.audit();
        self.model.audited(self.caller.seen);
        prop_assert!(audit.wrong.is_empty(), "after {:?}: {:?}", call, audit);
        Ok(())
    }
}

#[test]
fn every_answer_is_the_models() {
    static LEDGER: AtomicU32 = AtomicU32::new(0);
    let server = RedisServer::start(&[]);
    load(server.addr());
    let mut runner = TestRunner::new(Config {
        cases: 96,
        failure_persistence: None,
        max_shrink_time: 20_000,
        ..Config::default()
    });
    let window = prop_oneof![Just(0_u64), Just(15_u64)];
    let retention = prop_oneof![Just(10_u64), Just(60_000_u64)];
    let histories = (window, retention, prop::collection::vec(step(), 10..80));
    let ran = runner.run(&histories, |(window, retention, steps)| {
        let ledger = format!("l{}", LEDGER.fetch_add(1, Ordering::Relaxed));
        let mut pair = Pair {
            caller: Caller::new(server.addr(), &ledger, "a", window),
            model: Model::default(),
            granted: [const { None }; 8],
            retention,
        };
        for capacity in [(0, 4), (1, 2)] {
            let (pool, capacity) = capacity;
            pair.step(&Step::Put { pool, capacity })?;
        }
        for step in &steps {
            pair.step(step)?;
        }
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
}
