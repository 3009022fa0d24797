//! Following L1's mode while it changes: whether the session announces its writes. See [`crate::l1`]'s `modes`.

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Follows a change of the mode; tells L1 when all that was sent unannounced down the lane has been answered.
    #[inline]
    pub(super) fn follow_mode(&mut self) {
        if self.transparent {
            return;
        }
        if self.l1.is_announced_to() != self.l1_on {
            self.change_mode();
        }
        // What is in the mailbox counts: the client may be slow to take it.
        if self.mute && self.l1_on && self.mailbox.lock().answered >= self.unannounced {
            self.mute = false;
            self.l1.speak_up();
        }
    }

    #[cold]
    fn change_mode(&mut self) {
        if self.l1_on {
            // One that is mute still has not spoken up since the last change.
            self.mute = self.mute || self.l1.fall_mute();
            self.l1_on = !self.mute;
            return;
        }
        self.l1_on = true;
        self.unannounced = self.wrote;
        // It may take as long as it likes, and nobody knows what it will have changed.
        if let Some(own) = &mut self.own {
            own.doubt();
        }
        if self.unseen {
            self.close_l1_for_life();
        }
    }
}
