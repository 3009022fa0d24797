//! The wire format, with no I/O.
//!
//! Owns: scanning requests ([`request`]) and reply frames ([`frame`]), encoding, and turning RESP3
//! replies into RESP2 ([`downgrade`]), and telling whether two replies say the same ([`alike`]). Both scanners resume where the bytes ended, so a frame that arrives
//! byte by byte costs linear work; a bulk's body is never needed whole, so a reply of any size can be
//! relayed as it comes. The redis-protocol crate decodes whole frames only and starts over on a partial
//! one, so it is the oracle of the property tests instead.

pub mod alike;
pub mod downgrade;
pub mod encode;
pub mod frame;
pub mod request;
