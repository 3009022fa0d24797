//! What the ledger is asked: a function and its argument.

use serde::{Serialize, Serializer};

use super::library::Function;
use super::reply::Lease;

/// Where a nearside stands: whose leases it gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The nearside itself.
    pub owner: String,
    /// Its pod.
    pub pod: String,
    /// Its node, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How long grants pause once data was lost, in milliseconds.
    pub window: u64,
    /// How long a lease lives on that is asked to leave, in milliseconds.
    pub grace: u64,
    /// The share of a pool that may be asked to leave at once, in millionths.
    pub cap: u32,
}

impl Place {
    /// Where what this nearside gives of a resource is counted; `None` where that is not known.
    #[must_use]
    pub fn account(&self, resource: &str, scope: &str) -> Option<String> {
        match scope {
            "pod" => Some(format!("{resource}@pod/{}", self.pod)),
            "node" => {
                let node = self.node.as_ref()?;
                Some(format!("{resource}@node/{node}"))
            }
            _ => Some(resource.to_owned()),
        }
    }
}

/// The newest that a nearside has seen of the ledger's history. Of two, the greater is the newer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The unbroken history, by its beginning in microseconds.
    pub epoch: u64,
    /// The changes in it.
    pub seq: u64,
}

/// A resource asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Want {
    /// `pool:<name>`, `cpu` or `memory`.
    pub resource: String,
    /// How much.
    pub amount: u64,
    /// How much there is, of what is the pod's own; a pool's capacity stands in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
}

/// A request for a lease. Asked again under the same id it gives the same lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acquire {
    /// The lease's id, if it becomes one.
    pub id: String,
    /// All or nothing; not empty, each resource once.
    pub wants: Vec<Want>,
    /// Milliseconds until it expires, unless it is renewed.
    pub ttl: u64,
    /// Milliseconds until it ends in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
    /// Milliseconds for which its end is remembered.
    pub retention: u64,
    /// From 0; the greater goes first.
    pub priority: u64,
    /// The lease may be asked to leave for a request of a higher priority.
    pub preemptible: bool,
    /// Who asks.
    pub component: String,
    /// Gets a place in the queue where there is not enough.
    pub waits: bool,
    /// When it arrived first, where it waits already.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text_if")]
    pub arrived: Option<u64>,
    /// The idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A digest of what was asked under that key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PutPool {
    /// Its name, without `pool:`.
    pub name: String,
    /// How much there is.
    pub capacity: u64,
    /// For whom: `pod`, `node` or `cluster`.
    pub scope: &'static str,
}

/// A pool as a nearside remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RememberedPool {
    /// Its name, without `pool:`.
    pub name: String,
    /// How much there is.
    pub capacity: u64,
    /// For whom.
    pub scope: String,
    /// Since when it is so, in microseconds.
    #[serde(serialize_with = "text")]
    pub version: u64,
}

/// A question to the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Call {
    /// See [`Acquire`].
    Acquire(Acquire),
    /// The lease lives on for its ttl.
    Renew {
        /// Which.
        id: String,
        /// Only with this fence.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text_if")]
        fence: Option<u64>,
    },
    /// The lease ends; with `cancels` the request too, and what is on its way.
    Release {
        /// Which.
        id: String,
        /// Only with this fence.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text_if")]
        fence: Option<u64>,
        /// It may be no lease yet.
        cancels: bool,
        /// Milliseconds for which that is remembered.
        retention: u64,
    },
    /// Other amounts, all or nothing.
    Resize {
        /// Which.
        id: String,
        /// Only with this fence.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text_if")]
        fence: Option<u64>,
        /// Names the attempt: asked again it is done once.
        change: String,
        /// What it is to hold.
        wants: Vec<Want>,
    },
    /// One lease.
    Get {
        /// Which.
        id: String,
    },
    /// What is remembered of an epoch before.
    Reassert {
        /// Leases.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        leases: Vec<Lease>,
        /// Pools.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pools: Vec<RememberedPool>,
    },
    /// A pool's capacity.
    PutPool(PutPool),
    /// A pool goes.
    DeletePool {
        /// Which.
        name: String,
    },
    /// All pools.
    Pools {},
    /// The server and the ledger.
    Hello {
        /// Accounts of which it is to be told how much is promised.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        accounts: Vec<String>,
    },
    /// Everything counted again.
    Audit {},
}

impl Call {
    /// Which function it asks.
    #[must_use]
    pub fn function(&self) -> Function {
        match self {
            Self::Acquire(_) => Function::Acquire,
            Self::Renew { .. } => Function::Renew,
            Self::Release { .. } => Function::Release,
            Self::Resize { .. } => Function::Resize,
            Self::Get { .. } => Function::Get,
            Self::Reassert { .. } => Function::Reassert,
            Self::PutPool(_) => Function::PutPool,
            Self::DeletePool { .. } => Function::DeletePool,
            Self::Pools {} => Function::Pools,
            Self::Hello { .. } => Function::Hello,
            Self::Audit {} => Function::Audit,
        }
    }

    /// The function's argument.
    ///
    /// # Panics
    /// Never: texts and numbers can be encoded.
    #[must_use]
    pub fn encode(&self, place: &Place, seen: Seen) -> String {
        #[derive(Serialize)]
        struct Argument<'a> {
            #[serde(flatten)]
            place: &'a Place,
            #[serde(serialize_with = "text")]
            epoch: u64,
            #[serde(serialize_with = "text")]
            seq: u64,
            #[serde(flatten)]
            call: &'a Call,
        }
        let argument = Argument {
            place,
            epoch: seen.epoch,
            seq: seen.seq,
            call: self,
        };
        serde_json::to_string(&argument).expect("texts and numbers")
    }
}

/// Lua's numbers hold it, its texts of numbers do not.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference over"
)]
pub(super) fn text<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

#[expect(clippy::ref_option, reason = "serde hands a reference over")]
pub(super) fn text_if<S: Serializer>(
    number: &Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => text(number, serializer),
        None => serializer.serialize_none(),
    }
}
