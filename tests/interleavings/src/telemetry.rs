//! What mailboxes need of the product's room of this name.

#[path = "../../../src/telemetry/durations.rs"]
pub mod durations;
#[path = "../../../src/telemetry/operation.rs"]
pub mod operation;
