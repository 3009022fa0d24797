//! The clock of the data path: `CLOCK_BOOTTIME`, which counts the time a machine or container was suspended.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the machine started.
#[must_use]
pub fn now_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.unsigned_abs() * 1000 + time.tv_nsec.unsigned_abs() / 1_000_000
}
