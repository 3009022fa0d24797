//! config
use crate::{admin, downstream, l1, telemetry, upstream};

/// Everything that can be set, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which upstream; `None` only where none was given.
    pub upstream: upstream::settings::Choice,
    /// The client side.
    pub downstream: downstream::settings::Settings,
    /// The way to the upstream.
    pub lane: upstream::settings::Settings,
    /// The near cache.
    pub l1: l1::settings::Settings,
    /// The side port.
    pub admin: admin::settings::Settings,
    /// The log.
    pub telemetry: telemetry::settings::Settings,
}
