//! The ledger of leases: a library of functions in a Redis, which alone decides what is promised.

pub mod call;
pub mod library;
pub mod reply;
