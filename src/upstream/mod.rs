//! upstream
pub mod breaker;
pub mod settings;
