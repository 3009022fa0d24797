//! Models, for the fuzz targets and for `tests/scanner.rs` and `tests/l1.rs`.
//!
//! Of the wire format: the scanners take bytes as they arrive; a model gets them whole and is written for reading. Each
//! `check` feeds one stream in the splits that its input asks for, and panics where scanner, model and the redis-protocol
//! crate disagree.
//!
//! Of [`l1`]: its `check` carries out the operations that its input lists.

pub mod frames;
pub mod l1;
pub mod requests;
mod split;
