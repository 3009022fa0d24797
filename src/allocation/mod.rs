//! Leases on shared resources: who was promised how much of what, until when.
//!
//! | owns | in |
//! |---|---|
//! | what is asked for, and what is wrong with it | `request` |
//! | who decides: functions in a Redis, and the way there | `ledger` |
//! | capacities that are not a pool's | `source` |
//! | what is remembered, to be asserted again | `copies` |
//! | what that holds, by resource and component | `holdings` |
//! | what is counted for whoever scrapes | `numbers` |
//! | what the side port asks | `service` |
//! | why not | `refusal` |
//!
//! Off the data path: all of it runs on the side port's runtime, over a connection of its own.

mod copies;
pub mod holdings;
pub mod ledger;
pub mod numbers;
pub mod refusal;
pub mod request;
pub mod service;
pub mod settings;
pub mod source;
