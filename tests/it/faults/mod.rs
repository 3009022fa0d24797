//! Faults of the upstream, each against a real server with clients at work: what they are told, when service is back, that
//! no write is carried out twice, and that nothing stale is read past the bound.
//!
//! Each test prints a line: the fault and how long it lasted, what clients were told meanwhile and since, and how soon after
//! its end each way of asking was answered right again.

mod auth;
mod dns;
mod gate;
mod ledger;
mod load;
mod own_writes;
mod report;
mod scenario;
mod server;
mod tls;
mod way;
