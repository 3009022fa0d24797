//! downstream
pub mod settings;
