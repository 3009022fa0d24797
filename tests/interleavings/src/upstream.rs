//! The shared reads of a lane, and the mailboxes of its sessions.

use std::sync::Arc;

use self::flights::{Flight, Flights};

#[path = "../../../src/upstream/buffers.rs"]
pub mod buffers;
#[path = "../../../src/upstream/flights.rs"]
pub mod flights;
#[path = "../../../src/upstream/mailbox.rs"]
pub mod mailbox;

/// What a lane's reader does with the reply to a read under way: everybody who shares it gets it.
pub fn answer(flights: &Flights, flight: &Arc<Flight>, reply: &[u8]) {
    for joined in flights.end(flight) {
        let mut mail = joined.session.lock();
        mail.out.extend_from_slice(reply);
        mail.answered += 1;
        drop(mail);
        joined.session.wake();
    }
}
