//! The ledger of leases, and the service in front of it.

pub mod api;
mod chaos;
mod cli;
mod cost;
mod differential;
mod fairness;
mod histories;
mod linear;
mod model;
mod numbers;
mod preemption;
mod rig;
mod rules;
mod wire;
