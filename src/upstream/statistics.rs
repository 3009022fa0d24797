//! What the upstream says of its tracking table, for metrics. It is asked over a connection of its own, so that neither
//! a lane nor a session waits for INFO; not before somebody wants to know, and no longer than somebody does.
//!
//! ```text
//!   idle --wanted--> connected, asked every 10 s --not wanted for a minute--> idle
//!                    lost, refused or circuit open: nothing is known, and it is tried again after as long
//! ```
//!
//! What it meets says nothing to the breaker: sessions and lanes find out for themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::connect::{ConnectError, ask, open_for_questions};
use super::lanes::Lanes;
use super::stream::Stream;
use crate::telemetry::clock::now_ms;

/// How often it is looked whether something is to be done.
const LOOK: Duration = Duration::from_secs(1);
/// The least time between two questions, in milliseconds.
const EVERY: u64 = 10_000;
/// How long after somebody wanted to know it is asked, in milliseconds.
const WANTED: u64 = 60_000;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Statistics {
    /// When somebody last wanted to know, in milliseconds of the boot clock, plus one; 0 for never.
    wanted: AtomicU64,
    items: Mutex<Option<u64>>,
    connected: AtomicBool,
}

impl Statistics {
    /// Keys that the upstream tracks for all its clients, if that is known, at `now`; from now on it is asked.
    #[must_use]
    pub fn tracking_items(&self, now: u64) -> Option<u64> {
        self.wanted.store(now + 1, Ordering::Relaxed);
        *self.items.lock()
    }

    /// Whether there is a connection for it.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Asks for as long as it is polled.
    pub async fn follow(self: Arc<Self>, lanes: Arc<Lanes>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stream = None;
        let mut asked = None;
        let mut generation = lanes.node().generation();
        loop {
            looks.tick().await;
            let now = now_ms();
            let left = std::mem::replace(&mut generation, lanes.node().generation()) != generation;
            let wanted = self.is_wanted(now) && !lanes.node().is_cut();
            if left || !wanted {
                self.forget(&mut stream);
            }
            if !wanted {
                asked = None;
                continue;
            }
            if asked.is_some_and(|asked| now.saturating_sub(asked) < EVERY) {
                continue;
            }
            asked = Some(now);
            match question(&lanes, &mut stream).await {
                Ok(items) => {
                    self.connected.store(true, Ordering::Relaxed);
                    *self.items.lock() = items;
                }
                Err(_) => self.forget(&mut stream),
            }
        }
    }

    fn is_wanted(&self, now: u64) -> bool {
        let wanted = self.wanted.load(Ordering::Relaxed).checked_sub(1);
        wanted.is_some_and(|wanted| now.saturating_sub(wanted) < WANTED)
    }

    fn forget(&self, stream: &mut Option<Stream>) {
        *stream = None;
        self.connected.store(false, Ordering::Relaxed);
        *self.items.lock() = None;
    }
}

/// Asks, and connects for it where there is no connection.
async fn question(lanes: &Lanes, stream: &mut Option<Stream>) -> Result<Option<u64>, ConnectError> {
    let stream = match stream {
        Some(stream) => stream,
        none => none.insert(open_for_questions(lanes, b"nearside-metrics").await?),
    };
    let told = ask(lanes, stream, &[b"INFO", b"stats"]).await?;
    Ok(told.bulks.first().and_then(|info| items(info)))
}

/// The field of INFO's answer.
fn items(info: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(info).ok()?;
    let mut lines = text.lines();
    let row = lines.find_map(|line| line.strip_prefix("tracking_total_items:"))?;
    row.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_found() {
        let info = b"# Stats\r\ntracking_total_keys:3\r\ntracking_total_items:12\r\ntracking_total_prefixes:0\r\n";
        assert_eq!(items(info), Some(12));
        assert_eq!(items(b"# Stats\r\n"), None);
        assert_eq!(items(b"tracking_total_items:x\r\n"), None);
    }

    #[test]
    fn it_is_wanted_for_a_while_after_it_was_asked_for() {
        let statistics = Statistics::default();
        assert!(!statistics.is_wanted(0) && !statistics.is_wanted(5));
        assert_eq!(statistics.tracking_items(5), None);
        assert!(statistics.is_wanted(5) && statistics.is_wanted(4 + WANTED));
        assert!(!statistics.is_wanted(5 + WANTED));
    }
}
