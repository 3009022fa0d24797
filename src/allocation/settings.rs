//! What an operator can set about leases and their ledger.

use std::time::Duration;

use crate::upstream::settings::Endpoint;

/// The ledger's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The Redis that holds it; `None` for the upstream.
    pub endpoint: Option<Endpoint>,
    /// Its name: nearsides with the same name in the same Redis promise from the same pools.
    pub name: String,
    /// Bound on a call.
    pub timeout: Duration,
    /// How long it is remembered that a lease has ended.
    pub idempotency_retention: Duration,
    /// How long grants pause once the ledger has lost data.
    pub reassert_window: Duration,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            endpoint: None,
            name: "default".to_owned(),
            timeout: Duration::from_secs(1),
            idempotency_retention: Duration::from_secs(600),
            reassert_window: Duration::from_secs(2),
        }
    }
}

/// How leases make room for requests of a higher priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preemption {
    /// How long a lease lives on that is asked to leave.
    pub grace: Duration,
    /// The share of a pool that may be asked to leave at once, in millionths, though always one lease; 0 asks nobody.
    pub cap: u32,
}

impl Default for Preemption {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(30),
            cap: 250_000,
        }
    }
}

/// The room's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The ledger.
    pub ledger: Ledger,
    /// What is done for a request that waits and does not fit.
    pub preemption: Preemption,
    /// The pod's name; `None` for the host's.
    pub pod: Option<String>,
    /// The node's name; `None` where it is not known.
    pub node: Option<String>,
    /// What the pod may use, in thousandths of a CPU.
    pub cpu_millicores: Option<u64>,
    /// What the pod may use, in MiB.
    pub memory_mib: Option<u64>,
}
