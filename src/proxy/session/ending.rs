//! How a session ends: when nothing is left to do for it, and what becomes of the writes whose replies it does not see.

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use crate::l1::{Settling, Unsettled};
use crate::proxy::own::Own;
use crate::upstream::identity::Identity;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Everything that was sent has been carried out, and the client has the answers. A subscription owes it nothing.
    pub(super) fn is_settled(&self) -> bool {
        // Of bytes that nobody looks at the end alone tells that all have come.
        let busy = |own: &Own| own.awaits() || self.is_transparent();
        let own_busy = self.own.as_ref().is_some_and(busy);
        self.lane_idle() && !own_busy && self.out.is_empty() && self.mailbox.lock().out.is_empty()
    }

    /// Whether the upstream lets in no more whom it has let in before.
    pub(super) fn is_locked_out(&self) -> bool {
        let named = matches!(self.place.identity, Identity::User(_));
        let let_in = self.let_in;
        named
            && self
                .seat
                .as_ref()
                .is_some_and(|seat| seat.locks_out(let_in))
    }

    /// Whether the client has sent nothing for `idle_timeout` and waits for nothing.
    pub(super) fn is_idle_for_too_long(&self) -> bool {
        let waits = !self.lane_idle() || !self.own_idle() || self.is_transparent();
        self.idle_timeout.is_some_and(|timeout| {
            !waits
                && u128::from(self.now.saturating_sub(self.mailbox.heard_at()))
                    > timeout.as_millis()
        })
    }
}

impl<S> Drop for Session<S> {
    fn drop(&mut self) {
        // What was queued and not submitted was not carried out.
        crate::upstream::refuse(&self.l1, self.batch.drain(..), "the client is gone");
        // A write that was sent over the own connection and not answered may have been carried out.
        let effect = self.own.as_mut().map(Own::abandon).unwrap_or_default();
        if effect.rights {
            self.lanes.accepts.expire();
        }
        if self.l1_on && (effect.swapped || effect.rights) {
            self.l1.clear_and_refuse_sent();
        }
        let mut writes = Unsettled {
            hashes: effect.keys,
            ..Unsettled::default()
        };
        if effect.unknown {
            self.l1.close();
            writes.closures += 1;
        }
        writes.closures += u32::from(self.closes_l1);
        if self.l1_on && !writes.is_empty() {
            self.lanes.settle(&Settling::new(&self.l1, writes), None);
        }
        self.lanes.buffers.release(&mut self.share);
        let mut mail = self.mailbox.lock();
        mail.cut = Some("the client is gone");
        mail.out = Vec::new();
        self.lanes.buffers.release(&mut mail.share);
        drop(mail);
        self.mailbox.room.wake();
    }
}
