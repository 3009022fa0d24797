//! l1
pub mod settings;
