//! upstream
pub mod breaker;
pub mod private;
pub mod settings;
