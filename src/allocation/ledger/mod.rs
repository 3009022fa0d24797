//! The ledger: a library of functions in a Redis, which alone decides what is promised.
//!
//! ```text
//!   service --Call--> [ guard: breaker, what was seen ] --JSON--> [ way: fred, timeouts ] --FCALL--> nearside_alloc_v1
//! ```
//!
//! | owns | in |
//! |---|---|
//! | the rules, and the data they are about | `nearside_alloc_v1.lua` and its parts |
//! | the library as Redis takes it | `library` |
//! | questions and answers | `call`, `reply` |
//! | what is counted of them | `calls` |
//! | how the functions are reached, and what goes wrong on the way | `way`, `redis` |
//! | the circuit breaker, and what was seen of the ledger's history | `guard` |

pub mod call;
pub mod calls;
pub mod guard;
pub mod library;
pub mod redis;
pub mod reply;
pub mod way;
