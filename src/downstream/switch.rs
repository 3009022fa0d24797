//! Changing L1's mode and sample while sessions are at work.

use std::sync::Arc;

use crate::l1::L1;
use crate::l1::settings::Mode;
use crate::proxy::registry::Sessions;
use crate::upstream::lanes::Lanes;

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Switch {
    pub(super) lanes: Arc<Lanes>,
    pub(super) sessions: Arc<Sessions>,
    /// Sessions pass bytes through and there are no lanes, since nearside was started so.
    pub(super) transparent: bool,
}

/// Why the mode was not changed.
pub const NEEDS_RESTART: &str = "nearside was started with sharing = \"dedicated\" and l1.mode = \"off\" and passes bytes \
     through unseen; to change l1.mode, restart it";

impl Switch {
    /// The L1 that is switched.
    #[must_use]
    pub fn l1(&self) -> &L1 {
        self.lanes.l1()
    }

    /// Sets what is given; L1 warms up where it was off.
    ///
    /// # Errors
    /// [`NEEDS_RESTART`], and nothing is changed.
    pub fn set(&self, mode: Option<Mode>, sample: Option<u32>) -> Result<(), &'static str> {
        if self.transparent && mode.is_some_and(|mode| mode != Mode::Off) {
            return Err(NEEDS_RESTART);
        }
        if let Some(sample) = sample {
            self.l1().set_sample(sample);
        }
        if let Some(mode) = mode {
            self.l1().switch(mode);
            self.sessions.wake_all();
            let (_, untracked) = self.lanes.tracked();
            if mode != Mode::Off && untracked > 0 {
                // They were silent about it while L1 was off.
                tracing::warn!(
                    lanes = untracked,
                    "L1 is off there: the upstream does not track for us"
                );
            }
        }
        Ok(())
    }
}
