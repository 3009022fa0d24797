//! Reads of our own on behalf of audits: sent where nobody has to wait for them.

use std::sync::atomic::Ordering;

use super::{Lane, Standing};
use crate::upstream::audit::Audit;
use crate::upstream::{Op, Pending};

/// Bytes that wait for the upstream above which no audit is added to them.
const WINDOW: usize = 64 * 1024;

impl Lane {
    /// Whether an audit's read would hold nobody up: the circuit is closed, and the lane is neither late nor half full.
    #[must_use]
    pub fn has_room_for_audits(&self) -> bool {
        let (node, most) = (self.lanes.node(), self.lanes.settings().max_lane_in_flight);
        !self.wants_leaving()
            && !node.is_cut()
            && !node.is_full(0)
            && self.backlog() <= WINDOW
            && self.outstanding.load(Ordering::Relaxed) < most / 2
    }

    /// Sends an audit's read, where the lane is up; where it is not, the audit is unanswered.
    pub fn audit(&self, request: &[u8], audit: Audit, now: u64) {
        let mut queue = self.queue.lock();
        if queue.standing != Standing::Up {
            return;
        }
        queue.out.extend_from_slice(request);
        let op = Op::Audit(Box::new(audit));
        queue.pending.push(Pending::ours(None, now, op));
        self.wake(queue);
    }
}
