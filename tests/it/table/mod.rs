//! The command table against a running server, and the RESP2 form of every reply that may come by the lane.
//!
//! A server newer than the Redis these were written for is welcome on the PATH: what it knows more is tested too.

mod against_command;
mod exec;
mod kept;
mod learned;
mod replies;
mod samples;
pub mod wire;
