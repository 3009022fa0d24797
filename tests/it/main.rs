//! Tests against the real program and real servers, in one binary.

mod alike;
mod allocation;
mod audit;
mod coherence;
mod config;
mod control;
mod corners;
mod drain;
mod faults;
mod keyspaces;
mod metrics;
mod module_reads;
mod newer;
mod private;
mod redis_rs;
mod reload;
mod stale;
mod support;
mod table;
mod telling;
mod touch;
mod unreachable;
mod upstream;
mod wait;
