//! L1, and what sessions and lanes hand each other, built of primitives that let a scheduler choose who takes the next step:
//! nearside's own sources with another [`sync`]. The tests go through many schedules of each protocol; all that is
//! tried is sequentially consistent, so what rests on an ordering weaker than that is left to its documentation.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "the tests need a part of the product's sources"
)]

#[path = "../../../src/l1/mod.rs"]
pub mod l1;
#[path = "../../../src/resp/mod.rs"]
pub mod resp;
pub mod telemetry;
pub mod upstream;

/// As the product's, for the scheduler.
pub mod sync {
    use std::fmt;

    pub use shuttle::sync::atomic;
    pub use shuttle::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    /// A mutex that is never poisoned.
    #[derive(Default)]
    pub struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        /// # Panics
        /// A holder has panicked.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no holder panics")
        }
    }

    /// The same for several readers or one writer.
    #[derive(Default)]
    pub struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub fn new(value: T) -> Self {
            Self(shuttle::sync::RwLock::new(value))
        }

        /// # Panics
        /// A holder has panicked.
        pub fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().expect("no holder panics")
        }

        /// # Panics
        /// A holder has panicked.
        pub fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().expect("no holder panics")
        }
    }

    impl<T> fmt::Debug for RwLock<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("RwLock")
        }
    }

    impl<T> fmt::Debug for Mutex<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Mutex")
        }
    }
}
