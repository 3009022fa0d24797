//! Leases on shared resources: who was promised how much of what, until when.

pub mod ledger;
