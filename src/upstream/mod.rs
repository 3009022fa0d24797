//! The way to the upstream.
//!
//! Owns: the [`lane`] (the one shared, ordered connection whose reader fills and invalidates L1), the
//! handshakes of lanes and own connections ([`connect`]), the circuit [`breaker`], the clock, and the
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

pub mod breaker;
pub mod clock;
pub mod connect;
pub mod lane;
pub mod mailbox;
mod pending;
pub mod private;
mod push;
mod reader;
pub mod settings;

pub use pending::{FillKeys, Keys, Op, Pending};
