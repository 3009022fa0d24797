//! What the ledger answers.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::call::{Seen, text};

/// What a lease holds of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// `pool:<name>`, `cpu` or `memory`.
    pub resource: String,
    /// How much.
    pub amount: u64,
    /// Where it is counted.
    pub account: String,
    /// How much there is of what is the pod's own; said where a lease is asserted again, never by the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
}

/// A lease. Times are milliseconds of the ledger's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its id.
    pub id: String,
    /// Its fence: greater than that of every lease before it.
    #[serde(serialize_with = "text", deserialize_with = "number")]
    pub fence: u64,
    /// The nearside that gave or renewed it.
    pub owner: String,
    /// When it was granted.
    pub granted: u64,
    /// When it expires.
    pub expires: u64,
    /// For how long it is renewed.
    pub ttl: u64,
    /// When it ends in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard: Option<u64>,
    /// What it holds.
    pub wants: Vec<Held>,
    /// Who asked.
    pub component: String,
    /// With which priority.
    pub priority: u64,
    /// It may be asked to leave for a request of a higher priority.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preemptible: bool,
    /// It was asked to leave, and ends then at the latest. Once that is said under a fence it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preempt: Option<u64>,
    /// For how long its end is remembered.
    pub retention: u64,
    /// Its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A digest of what was asked under that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The last attempt to resize it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

impl Lease {
    /// How it ends where it is not renewed.
    #[must_use]
    pub fn ending(&self) -> Reason {
        match self.hard {
            Some(hard) if hard <= self.expires => Reason::Lifetime,
            _ => Reason::Expired,
        }
    }
}

/// Why something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Its holder gave it back.
    Released,
    /// It was not renewed in time.
    Expired,
    /// It lived as long as it was allowed to.
    Lifetime,
    /// It was asked to leave, and had not when its grace was over.
    Preempted,
    /// The ledger lost it, and it no longer fitted when it was asserted again.
    Lost,
    /// It was called off before it was granted.
    Cancelled,
}

impl Reason {
    /// Its stable name, fit for a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Lifetime => "lifetime",
            Self::Preempted => "preempted",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
        }
    }
}

/// There is not enough.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Exhausted {
    /// Of this.
    pub resource: String,
    /// How much was asked for.
    pub requested: u64,
    /// How much there is.
    pub capacity: u64,
    /// How much of it is promised.
    pub used: u64,
    /// When the next lease on it expires, where that is soon.
    #[serde(default)]
    pub next_expiry: Option<u64>,
    /// There would not be enough if nobody held any.
    #[serde(default)]
    pub never: bool,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pool {
    /// Its name, without `pool:`.
    pub name: String,
    /// How much there is.
    pub capacity: u64,
    /// For whom.
    pub scope: String,
    /// Since when it is so, in microseconds.
    #[serde(deserialize_with = "number")]
    pub version: u64,
    /// What is promised, by account.
    #[serde(default)]
    pub accounts: BTreeMap<String, u64>,
}

/// What became of a lease that was asserted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Standing {
    /// It was there.
    Held,
    /// It is there again.
    Restored,
    /// A newer one of this id is there.
    Fenced,
    /// It is over.
    Ended {
        /// Why.
        reason: Reason,
    },
}

/// The same with its id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Asserted {
    /// The lease's.
    pub id: String,
    /// What became of it.
    #[serde(flatten)]
    pub standing: Standing,
}

/// What the server may do with the ledger, and how much there is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Hello {
    /// `maxmemory-policy`, where it may be known.
    #[serde(default)]
    pub policy: Option<String>,
    /// `maxmemory` in bytes; 0 is no bound.
    #[serde(default)]
    pub maxmemory: Option<u64>,
    /// When the pools were changed last, in microseconds.
    #[serde(default, deserialize_with = "number_if")]
    pub pools: Option<u64>,
    /// Leases.
    pub leases: u64,
    /// Requests that wait.
    pub waiting: u64,
    /// What is promised of the accounts that were named, in their order.
    #[serde(default)]
    pub used: Vec<u64>,
}

/// Everything counted again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Audit {
    /// Leases.
    pub leases: u64,
    /// What does not agree, one line each.
    #[serde(default)]
    pub wrong: Vec<String>,
    /// Accounts with more promised than there is; right only where a pool was shrunk, or leases were asserted again.
    #[serde(default)]
    pub over: Vec<String>,
}

/// The answer itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// There is a lease.
    Granted {
        /// It.
        lease: Lease,
        /// It was there already.
        #[serde(default)]
        again: bool,
    },
    /// It waits.
    Queued {
        /// Since when, in microseconds.
        #[serde(default, deserialize_with = "number_if")]
        arrived: Option<u64>,
    },
    /// There is not enough.
    Exhausted(Exhausted),
    /// Too many wait.
    QueueFull,
    /// Grants pause, since data was lost.
    Recovering,
    /// There is no such pool.
    UnknownPool {
        /// Its resource.
        resource: String,
    },
    /// The pool is one of each node, and the caller knows none.
    UnknownNode {
        /// Its resource.
        resource: String,
    },
    /// The key was used for something else.
    KeyReused,
    /// Somebody waits under the key.
    InProgress,
    /// It is over.
    Ended {
        /// Why.
        reason: Reason,
    },
    /// There is no such lease.
    Unknown,
    /// The fence is another one.
    Fenced {
        /// The lease as it is.
        lease: Lease,
    },
    /// It was asked to leave, and may only shrink.
    Preempting {
        /// The lease as it is.
        lease: Lease,
    },
    /// It was given back.
    Released {
        /// As it was, if it was a lease.
        #[serde(default)]
        lease: Option<Lease>,
    },
    /// What was asserted again.
    Asserted {
        /// One each, in the same order.
        #[serde(default)]
        leases: Vec<Asserted>,
    },
    /// The pool is as it was asked for.
    Put {
        /// There was none before.
        created: bool,
    },
    /// The pool is gone.
    Deleted,
    /// Leases count in the pool.
    InUse,
    /// All pools.
    Pools {
        /// In no order.
        #[serde(default)]
        pools: Vec<Pool>,
    },
    /// See [`Hello`].
    Hello(Hello),
    /// See [`Audit`].
    Audit(Audit),
}

/// An answer and the ledger's state with it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Reply {
    /// The ledger's clock, in microseconds.
    #[serde(deserialize_with = "number")]
    pub now: u64,
    /// The unbroken history.
    #[serde(deserialize_with = "number")]
    pub epoch: u64,
    /// The changes in it.
    #[serde(deserialize_with = "number")]
    pub seq: u64,
    /// Milliseconds for which grants pause.
    pub pause: u64,
    /// The answer.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Reply {
    /// Reads an answer.
    ///
    /// # Errors
    /// One line on why it is none.
    pub fn decode(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("{text:?} is no answer: {error}"))
    }

    /// What was seen of the ledger's history.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            epoch: self.epoch,
            seq: self.seq,
        }
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

fn number_if<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    number(deserializer).map(Some)
}
