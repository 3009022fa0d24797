//! Where capacities come from that are not a pool's.

use super::request::Kind;
use super::settings::Settings;

/// Says how much there is of what is not a pool.
///
/// - The capacity MUST be the pod's own: what is promised of it is counted for each pod apart.
/// - It may change from one call to the next; a lease that was given stays.
pub trait Source: Send + Sync {
    /// How much there is; `None` where that is not known, and nothing can be promised.
    fn capacity(&self, kind: &Kind) -> Option<u64>;
}

/// What the pod may use: its cgroups' limits, or what was declared in their place. Never what the node has, which says
/// nothing of what is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    cpu: Option<u64>,
    memory: Option<u64>,
}

impl Budget {
    /// As the settings have it.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            cpu: settings.cpu_millicores,
            memory: settings.memory_mib,
        }
    }
}

impl Source for Budget {
    fn capacity(&self, kind: &Kind) -> Option<u64> {
        match kind {
            Kind::Pool(_) => None,
            Kind::Cpu => self.cpu,
            Kind::Memory => self.memory,
        }
    }
}
