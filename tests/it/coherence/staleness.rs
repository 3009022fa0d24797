//! Bounded staleness beyond the scenarios of the knock-outs.

use super::rig::Rig;
use super::scenarios::{BOUND, late_bytes};
use crate::support::eventually;

#[test]
fn bytes_that_arrive_late_prove_nothing() {
    for workers in [1, 2] {
        let rig = Rig::new(|settings| {
            settings.l1.max_staleness = BOUND;
            settings.downstream.workers = workers;
        });
        if let Err(violation) = late_bytes(&rig) {
            panic!("{workers} workers: {violation}");
        }
    }
}

/// A quiet client's hits go on: signs of life are asked for on its behalf, so the bound costs no misses.
#[test]
fn signs_of_life_are_asked_for_while_hits_are_served() {
    let rig = Rig::new(|settings| settings.l1.max_staleness = BOUND);
    rig.warm("k");
    let mut session = rig.session();
    let mark = rig.relay.mark();
    let asked = || {
        rig.relay.sent(mark, |command| {
            command.len() == 1 && command[0].eq_ignore_ascii_case(b"HELLO")
        })
    };
    eventually("a sign of life asked for", || {
        session.must(&["GET", "k"]);
        asked().then_some(())
    });
    rig.hit(&mut session, "k");
}
