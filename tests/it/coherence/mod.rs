//! The coherence checker: tries to break the promises by scripted interleavings and by random work, and
//! knocks the rules out one by one to see that each is needed and that the checker would notice.
//!
//! Values name their key and a version (`k:7`), and versions of a key grow in the order in which the server takes
//! them, because each key has one writer at a time. So every value read says how old it is.

mod at_most_once;
mod causality;
mod differential;
mod expiry;
mod identities;
mod knockouts;
mod late;
mod modes;
mod orders;
mod own_writes;
mod pipelines;
pub mod promise;
pub mod random;
pub mod rig;
mod routes;
pub mod scenarios;
pub mod session;
mod shadow;
mod sharing;
mod staleness;
pub mod world;
mod write_through;
