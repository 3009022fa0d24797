//! nearside: a sidecar that speaks the Redis protocol and gives every unchanged client in a pod a
//! near cache that stays coherent.
//!
//! The rooms, from the ground up. A room imports only rooms on lower floors; `tests/floors.rs` fails
//! on an arrow that runs the other way.
//!
//! | floor | room | what it owns |
//! |---|---|---|
//! | 0 | [`sync`] | the primitives that threads share, so that tests can choose others |
//! | 1 | [`resp`] | the wire format, no I/O: scanning frames and requests, encoding, down-conversion |
//! | 1 | [`telemetry`] | what is told of the work: metrics, the log, single operations; the clock |
//! | 2 | [`command`] | the command table: what a command means |
//! | 2 | [`l1`] | the in-memory store and its coherence state, no I/O |
//! | 3 | [`upstream`] | the lane, own connections, handshakes, the breaker, the private server |
//! | 4 | [`proxy`] | one session's decisions: routes, fences, reads, writes, transactions, pub/sub |
//! | 5 | [`downstream`] | listeners, sockets, workers, drain |
//! | 5 | [`allocation`] | leases on shared resources: the ledger in Redis and the service in front of it |
//! | 6 | [`admin`] | the HTTP side port |
//! | 7 | [`config`] | the file, the environment, the flags, and what is wrong with them |
//! | 8 | [`app`] | putting the rooms together |

pub mod admin;
pub mod allocation;
pub mod app;
pub mod command;
pub mod config;
pub mod downstream;
pub mod l1;
pub mod proxy;
pub mod resp;
pub mod sync;
pub mod telemetry;
pub mod upstream;
