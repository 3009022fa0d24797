//! Audits: what is wrong in L1 is found, and nothing else.

mod found;
mod races;
mod silent;

use std::time::Duration;

use nearside::config::Settings;
use nearside::upstream::audit;

use crate::coherence::rig::Rig;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::nearside::Nearside;

/// Every hit is audited.
pub const EVERY_HIT: audit::Settings = audit::Settings {
    sample: 1_000_000,
    max_per_second: 1_000_000,
};

/// `max_staleness`, after which an audit is judged.
const BOUND: Duration = Duration::from_millis(500);

/// With every hit audited.
fn rig(adjust: impl FnOnce(&mut Settings)) -> Rig {
    Rig::new(|settings| {
        settings.l1.max_staleness = BOUND;
        settings.lane.audit = EVERY_HIT;
        adjust(settings);
    })
}

/// What the audits so far came to, when all have been judged that were sent.
pub fn verdicts(near: &Nearside) -> [u64; 4] {
    eventually("the end of all audits", || {
        (near.running().auditor().under_way() == 0).then_some(())
    });
    near.running().audited()
}

/// Reads until a read was a hit; what it was answered.
fn hit(rig: &Rig, session: &mut Client, read: &[&str]) -> crate::support::resp::Value {
    eventually("a hit", || {
        let before = rig.near.hits();
        let reply = session.must(read);
        (rig.near.hits() > before).then_some(reply)
    })
}
