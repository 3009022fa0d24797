//! The way to the upstream.
//!
//! Owns: the [`node`], with its circuit [`breaker`] and the [`budget`] of retries; the [`lanes`] to it, one for each
//! identity and database (a [`lane`] is a shared, ordered connection whose reader fills and invalidates L1), the handshakes
//! of lanes and own connections ([`connect`]), the [`pool`] of clean own connections, the [`audit`] of hits, the clock, and the
//! [`private`] server.
//!
//! ```text
//!  sessions --submit--> [ queue: bytes + pending ] --driver--> socket --> upstream
//!                                                                 |
//!  sessions <--mailbox-- [ in flight, in order ]  <--driver-- replies and pushes --> L1
//! ```
//!
//! One task drives a lane, writer and reader both: whatever sessions queued while it slept leaves in one
//! write, and every reply and push is handled in the order in which the server sent it. Sessions
//! touch the queue under one short lock and get their replies through their mailbox.

pub mod audit;
pub mod breaker;
pub mod budget;
pub mod buffers;
pub mod bus;
pub mod client;
pub mod connect;
mod driver;
pub mod flights;
pub mod identity;
pub mod lane;
pub mod lanes;
pub mod large;
pub mod mailbox;
pub mod node;
mod pending;
pub mod pool;
pub mod private;
mod push;
mod reader;
pub mod settings;
pub mod statistics;
pub mod stream;
pub mod tls;
mod touch;

pub use pending::{
    Attempt, Awaited, ExecBlock, Extra, FillKeys, Filled, Keys, NO_KEYSPACE, Op, Pending,
    Predicted, Terms, refuse,
};
