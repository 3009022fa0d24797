//! Models of the wire format, for the fuzz targets and for `tests/scanner.rs`.
//!
//! The scanners take bytes as they arrive; a model gets them whole and is written for reading. Each `check` feeds
//! one stream in the splits that its input asks for, and panics where scanner, model and the redis-protocol crate
//! disagree.

pub mod frames;
pub mod requests;
mod split;
