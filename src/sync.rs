//! What threads share in L1 and in what sessions and lanes hand each other: named here alone, so that
//! `tests/interleavings` can put others in their place and go through the orders in which threads may take their steps.

pub use std::sync::atomic;

pub use parking_lot::{Mutex, MutexGuard, RwLock};
