//! Tests against the real program and real servers, in one binary.

mod config;
mod private;
