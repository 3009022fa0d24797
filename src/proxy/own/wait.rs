//! How long the next reply on an own connection has been waited for. The timer is set once and looked at when it goes
//! off: a reply that comes in time costs none.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::telemetry::clock::millis;

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Wait {
    /// Since when, in milliseconds of the boot clock; `None` where nothing is waited for.
    since: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// Something has come: the wait begins anew.
    pub(super) fn heard(&mut self) {
        self.since = None;
    }

    /// Whether what is waited for was to come `within` a time that is over at `now`; looks again after `look` at the latest,
    /// for that time may have become a shorter one.
    pub(super) fn is_over(
        &mut self,
        cx: &mut Context<'_>,
        now: u64,
        within: Option<Duration>,
        look: Duration,
    ) -> bool {
        let Some(within) = within else {
            self.since = None;
            return false;
        };
        let within = millis(within);
        let since = *self.since.get_or_insert(now);
        let left = since.saturating_add(within).saturating_sub(now);
        if left == 0 {
            return true;
        }
        let left = Duration::from_millis(left).min(look);
        loop {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left)));
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            // It was set for an earlier reply.
            self.timer = None;
        }
    }
}
