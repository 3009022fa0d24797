//! How a session ends: when nothing is left to do for it, and what becomes of the writes whose replies it does not see.
//!
//! Of an own connection on which nobody looks at what comes, the end alone tells that all has come: when the client
//! sends nothing more, the upstream is told so, answers what it has got, and closes. A client that has half-closed gets
//! all that it asked for; Redis would close at once.
//!
//! What SWAPDB changes, and a change of rights, is not pushed. Where the session ends before their reply, they may have
//! been carried out already, or may be at any time until that reply or the connection's end: L1 is emptied now, and then.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, timeout};

use super::Session;
use crate::l1::{Settling, Unsettled};
use crate::proxy::own::Own;
use crate::upstream::identity::Identity;
use crate::upstream::lanes::Lanes;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Everything that was sent has been carried out, and the client has the answers. A subscription owes it nothing.
    pub(super) fn is_settled(&self) -> bool {
        let busy = |own: &Own| own.awaits() || own.raw || self.is_transparent();
        let own_busy = self.own.as_ref().is_some_and(busy);
        self.lane_idle()
            && !own_busy
            && self.ordered.is_none()
            && self.out.is_empty()
            && self.mailbox.lock().out.is_empty()
    }

    /// Has an own connection that nobody looks at come to its end; whether that was news.
    pub(super) fn finish_raw(&mut self) -> bool {
        let transparent = self.is_transparent();
        // Elsewhere what is left is a request that will never be whole.
        let all_sent = self.input.is_empty() || !transparent;
        let own = self.own.as_mut();
        own.filter(|own| (own.raw || transparent) && all_sent && !own.awaits())
            .is_some_and(Own::finish)
    }

    /// Whether the upstream, which has been told that its client is gone, has said nothing for `request_timeout` since.
    /// It has got everything, and needs the session no more; nor does a client that waited so long.
    pub(super) fn is_forsaken(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.client_gone || !self.own.as_ref().is_some_and(Own::is_finished) {
            return false;
        }
        let patience = self.lanes.settings().request_timeout;
        let parting = &mut self.parting;
        let timer: &mut Pin<Box<Sleep>> = parting.get_or_insert_with(|| Box::pin(sleep(patience)));
        timer.as_mut().poll(cx).is_ready()
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
        let waits = !self.lane_idle()
            || !self.own_idle()
            || self.ordered.is_some()
            || self.is_transparent();
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
        let mut effect = self.own.as_mut().map(Own::abandon).unwrap_or_default();
        // Where nobody looked it may have been anything.
        effect.swapped |= self.unseen;
        effect.rights |= self.unseen;
        if effect.swapped || effect.rights {
            forget(&self.lanes, effect.rights);
            if let Some(mut own) = self.own.take().filter(Own::is_open)
                && let Ok(runtime) = Handle::try_current()
            {
                if own.raw || self.blocking || own.unsent() > 0 {
                    // No reply tells, or none may come: the server is to end what waits, and to close.
                    own.cut_off();
                }
                runtime.spawn(see_off(own, Arc::clone(&self.lanes), effect.rights));
            }
        }
        let mut writes = Unsettled {
            hashes: effect.keys,
            elsewhere: effect.elsewhere,
            ..Unsettled::default()
        };
        if effect.unknown && self.l1_on {
            self.l1.close();
            writes.closures += 1;
        }
        writes.closures += u32::from(self.closes_l1);
        if !writes.is_empty() {
            let db = self.place.db;
            self.lanes
                .settle(&Settling::new(&self.l1, writes), db, None);
        }
        if self.mute {
            // What it may have under way nobody was told of: it counts for somebody else's.
            self.l1.speak_up();
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

/// Drops what is known by what a SWAPDB, or else a change of rights, has made void.
fn forget(lanes: &Lanes, rights: bool) {
    if rights {
        lanes.accepts.expire();
    }
    lanes.l1().clear_and_refuse_sent();
}

/// Waits until the upstream has carried out what it got of such a command, or never will. No longer than an entry
/// lives: by then nothing is left of what was there before, and a later one is bounded as if made elsewhere.
async fn see_off(mut own: Own, lanes: Arc<Lanes>, rights: bool) {
    let ended = poll_fn(|cx| own.poll_end(cx));
    let _ = timeout(lanes.l1().settings().entry_max_ttl, ended).await;
    forget(&lanes, rights);
}
