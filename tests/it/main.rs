//! Tests against the real program and real servers, in one binary.

mod alike;
mod coherence;
mod config;
mod control;
mod corners;
mod drain;
mod faults;
mod keyspaces;
mod module_reads;
mod newer;
mod private;
mod redis_rs;
mod reload;
mod stale;
mod support;
mod table;
mod touch;
mod traces;
mod unreachable;
mod upstream;
mod wait;
