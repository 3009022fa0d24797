//! Corners of the data path that once were wrong, or that only a particular timing reaches: whose reply is whose, what
//! stays behind on a connection, what ends with a client, how much is held for one, and what a lost lane leaves.

mod ends;
mod lanes;
mod limits;
mod memory;
mod places;
mod protocol;
mod refused;
mod replies;
mod state;
mod swaps;
mod upstreams;
mod users;
mod whole;
