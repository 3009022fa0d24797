//! The ledger's functions, asked directly.

use std::net::SocketAddr;

use nearside::allocation::ledger::call::{Acquire, Call, Place, PutPool, Seen, Want};
use nearside::allocation::ledger::library::{self, Function};
use nearside::allocation::ledger::reply::{Audit, Lease, Outcome, Reply};

use crate::support::client::Client;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

/// One nearside's view of a ledger, over a connection of its own.
pub struct Caller {
    client: Client,
    ledger: String,
    pub place: Place,
    pub seen: Seen,
    /// Asks scripts in place of functions; with the line that servers from 7.0 on know, or without.
    pub scripts: Option<bool>,
}

/// How long a lease lives where a test does not say.
pub const TTL: u64 = 30_000;

impl Caller {
    /// Of a ledger on a server that has the library; `window` milliseconds of pause.
    pub fn new(addr: SocketAddr, ledger: &str, owner: &str, window: u64) -> Self {
        Self {
            client: Client::connect(addr),
            ledger: ledger.to_owned(),
            place: Place {
                owner: owner.to_owned(),
                pod: owner.to_owned(),
                node: Some("node-1".to_owned()),
                window,
                grace: 60_000,
                cap: 1_000_000,
            },
            seen: Seen::default(),
            scripts: None,
        }
    }

    pub fn ledger(&self) -> &str {
        &self.ledger
    }

    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The raw reply.
    pub fn raw(&mut self, call: &Call) -> Value {
        let argument = call.encode(&self.place, self.seen);
        let keys = library::keys(&self.ledger);
        let (word, code) = match self.scripts {
            None => ("FCALL", call.function().name()),
            Some(flags) => ("EVAL", call.function().script(flags)),
        };
        let mut command = vec![word.to_owned(), code, keys.len().to_string()];
        command.extend(keys);
        command.push(argument);
        self.client.call(&command)
    }

    /// What it says, and what it says of the ledger.
    pub fn reply(&mut self, call: &Call) -> Reply {
        let value = self.raw(call);
        let text = value
            .text()
            .unwrap_or_else(|| panic!("{call:?}: {value:?}"));
        let reply = Reply::decode(text).unwrap_or_else(|error| panic!("{call:?}: {error}"));
        self.seen = self.seen.max(reply.seen());
        reply
    }

    pub fn ask(&mut self, call: &Call) -> Outcome {
        self.reply(call).outcome
    }

    pub fn put(&mut self, name: &str, capacity: u64) {
        let outcome = self.ask(&put(name, capacity));
        assert!(matches!(outcome, Outcome::Put { .. }), "{outcome:?}");
    }

    pub fn granted(&mut self, request: Acquire) -> Lease {
        match self.ask(&Call::Acquire(request)) {
            Outcome::Granted { lease, .. } => lease,
            other => panic!("no lease but {other:?}"),
        }
    }

    pub fn audit(&mut self) -> Audit {
        match self.ask(&Call::Audit {}) {
            Outcome::Audit(audit) => audit,
            other => panic!("no audit but {other:?}"),
        }
    }

    /// The audit finds nothing wrong, and nothing over but what is named.
    pub fn assert_sound(&mut self) {
        let audit = self.audit();
        assert!(audit.wrong.is_empty() && audit.over.is_empty(), "{audit:?}");
    }

    /// What is promised of a pool of the cluster.
    pub fn used(&mut self, name: &str) -> u64 {
        let Outcome::Pools { pools } = self.ask(&Call::Pools {}) else {
            panic!("no pools");
        };
        let pool = pools.into_iter().find(|pool| pool.name == name);
        let accounts = pool.expect("the pool").accounts;
        accounts.get(&format!("pool:{name}")).copied().unwrap_or(0)
    }
}

/// Loads the library.
pub fn load(addr: SocketAddr) {
    let mut client = Client::connect(addr);
    client.must(&["FUNCTION", "LOAD", &library::text()]);
}

pub fn put(name: &str, capacity: u64) -> Call {
    Call::PutPool(PutPool {
        name: name.to_owned(),
        capacity,
        scope: "cluster",
    })
}

pub fn hello() -> Call {
    Call::Hello {
        accounts: Vec::new(),
    }
}

/// A request for a part of a pool, that does not wait.
pub fn request(id: &str, pool: &str, amount: u64) -> Acquire {
    Acquire {
        id: id.to_owned(),
        wants: vec![Want {
            resource: format!("pool:{pool}"),
            amount,
            capacity: None,
        }],
        ttl: TTL,
        lifetime: None,
        retention: 600_000,
        priority: 100,
        preemptible: false,
        component: "tests".to_owned(),
        waits: false,
        arrived: None,
        key: None,
        digest: None,
    }
}

/// A ledger without a pause, and a pool `p` of so many.
pub fn ledger(capacity: u64) -> (RedisServer, Caller) {
    let server = RedisServer::start(&[]);
    load(server.addr());
    let mut caller = Caller::new(server.addr(), "main", "a", 0);
    caller.put("p", capacity);
    (server, caller)
}

/// A request for a part of `p` that waits.
pub fn waiting(id: &str, amount: u64) -> Acquire {
    Acquire {
        waits: true,
        ..request(id, "p", amount)
    }
}

/// A lease on `p` is to hold so many.
pub fn resize(id: &str, fence: u64, change: &str, amount: u64) -> Call {
    Call::Resize {
        id: id.to_owned(),
        fence: Some(fence),
        change: change.to_owned(),
        wants: request(id, "p", amount).wants,
    }
}

/// A request under a key.
pub fn keyed(id: &str, pool: &str, amount: u64, key: &str, digest: &str) -> Acquire {
    Acquire {
        key: Some(key.to_owned()),
        digest: Some(digest.to_owned()),
        ..request(id, pool, amount)
    }
}

pub fn release(id: &str, fence: Option<u64>) -> Call {
    Call::Release {
        id: id.to_owned(),
        fence,
        cancels: false,
        retention: 600_000,
    }
}

pub fn cancel(id: &str) -> Call {
    Call::Release {
        id: id.to_owned(),
        fence: None,
        cancels: true,
        retention: 600_000,
    }
}

pub fn renew(id: &str, fence: Option<u64>) -> Call {
    Call::Renew {
        id: id.to_owned(),
        fence,
    }
}

/// The library with one rule changed, which has to be there once.
pub fn planted(rule: &str, with: &str) -> String {
    let text = library::text();
    assert_eq!(text.matches(rule).count(), 1, "{rule}");
    text.replace(rule, with)
}

/// All of the library's functions, as the server lists them.
pub fn names() -> Vec<String> {
    let mut names = Function::ALL.map(Function::name).to_vec();
    names.sort();
    names
}
