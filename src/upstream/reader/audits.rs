//! Replies to the reads of audits, which are for nobody; what they mean is in `upstream::audit`.

use super::Reader;
use crate::resp::frame::{FrameError, Ignore};
use crate::telemetry::clock::millis;
use crate::upstream::Op;
use crate::upstream::audit::Audit;

/// An audit that nothing on the lane explains.
#[derive(Debug)]
pub(super) struct Suspect {
    audit: Box<Audit>,
    /// When it is judged, in milliseconds of the boot clock.
    due: u64,
}

impl Reader {
    /// Goes on through an audit's reply.
    pub(super) fn hear(&mut self, buf: &[u8]) -> Result<Option<(usize, bool)>, FrameError> {
        let begins = !self.walker.in_frame();
        let walked = self.walker.walk(buf, &mut Ignore)?;
        if walked.consumed == 0 {
            return Ok(None);
        }
        let bytes = &buf[..walked.consumed];
        if begins {
            self.note_size(buf);
            if matches!(bytes[0], b'-' | b'!') {
                // What it says of the lane is heeded.
                let said = &bytes[..bytes.len().min(64)];
                self.reply.error.extend_from_slice(said);
            }
        }
        if let Some(head) = self.pending.front_mut()
            && let Op::Audit(audit) = &mut head.op
        {
            audit.hear(bytes);
        }
        Ok(Some((walked.consumed, walked.done)))
    }

    /// An audit's reply has ended.
    pub(super) fn audited(&mut self, mut audit: Box<Audit>) {
        let bound = millis(self.l1.settings().max_staleness);
        if audit.answered(&self.l1, self.now, bound).is_none() {
            let due = self.now + bound;
            self.suspects.push(Suspect { audit, due });
        }
    }

    /// Judges the audits whose time has come.
    pub fn judge_audits(&mut self, now: u64) {
        if self.suspects.is_empty() {
            return;
        }
        let (due, waiting) = std::mem::take(&mut self.suspects)
            .into_iter()
            .partition(|suspect| suspect.due <= now);
        self.suspects = waiting;
        let due: Vec<Suspect> = due;
        for suspect in due {
            suspect.audit.judge(&self.l1, now);
        }
    }
}
