//! The ledger of leases, and the service in front of it.

pub mod api;
mod chaos;
mod cli;
mod cost;
mod differential;
mod histories;
mod linear;
mod model;
mod numbers;
mod rig;
mod rules;
mod wire;
