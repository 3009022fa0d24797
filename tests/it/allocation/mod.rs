//! The ledger of leases, and the service in front of it.

mod api;
mod differential;
mod fairness;
mod histories;
mod linear;
mod model;
mod preemption;
mod rig;
mod rules;
