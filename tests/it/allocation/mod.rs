//! The ledger of leases, and the service in front of it.

mod rig;
mod rules;
