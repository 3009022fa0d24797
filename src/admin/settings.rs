//! What an operator can set about the side port.

use std::net::SocketAddr;

/// The side port's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The whole side port; loopback only. `None` turns it off.
    pub http: Option<SocketAddr>,
    /// `/metrics` and the probes alone, for kubelet and Prometheus; any address.
    pub metrics_listen: Option<SocketAddr>,
    /// `/readiness` is false while no lane is up.
    pub ready_requires_upstream: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http: Some(SocketAddr::from(([127, 0, 0, 1], 9480))),
            metrics_listen: None,
            ready_requires_upstream: false,
        }
    }
}
