//! The ledger of leases, and the service in front of it.

mod differential;
mod model;
mod rig;
mod rules;
