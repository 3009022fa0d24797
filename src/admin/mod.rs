//! admin
pub mod settings;
