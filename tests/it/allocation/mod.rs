//! The ledger of leases, and the service in front of it.

mod api;
mod cli;
mod differential;
mod histories;
mod linear;
mod model;
mod rig;
mod rules;
