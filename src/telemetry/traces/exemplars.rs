//! The newest sampled operation of each command and route, for whoever shows durations with an example of them.
//!
//! A table that all threads share, looked at only where an operation is sampled. A thread that finds it taken passes by:
//! an example the less is none that anybody misses, and nobody waits.

use parking_lot::Mutex;
use std::collections::HashMap;

use super::boot_in_unix_ns;
use crate::telemetry::durations::{Label, Route};

/// A sampled operation, as far as an example needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exemplar {
    /// Its trace; [`trace_id`](Self::trace_id) is its text.
    pub trace: u128,
    /// Its span.
    pub span: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// When it ended, in microseconds of the boot clock.
    pub ended: u64,
}

impl Exemplar {
    /// When it ended, in seconds since the Unix epoch.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "to the microsecond")]
    pub fn ended_unix(&self) -> f64 {
        (boot_in_unix_ns() / 1000 + self.ended) as f64 / 1e6
    }

    /// The trace's id as 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The span's id as 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span)
    }
}

/// More pairs than the command table has.
const MOST: usize = 2048;

/// The table.
#[derive(Debug, Default)]
pub struct Exemplars(Mutex<HashMap<(Label, Route), Exemplar, foldhash::fast::FixedState>>);

impl Exemplars {
    pub(super) fn put(&self, label: Label, route: Route, exemplar: Exemplar) {
        if let Some(mut table) = self.0.try_lock()
            && (table.len() < MOST || table.contains_key(&(label, route)))
        {
            table.insert((label, route), exemplar);
        }
    }

    /// The newest of a command on a route.
    #[must_use]
    pub fn get(&self, label: Label, route: Route) -> Option<Exemplar> {
        self.0.lock().get(&(label, route)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_pair_is_kept_and_no_more() {
        let exemplars = Exemplars::default();
        let exemplar = |took_us| Exemplar {
            trace: 0xa,
            span: 0xb,
            took_us,
            ended: 0,
        };
        for number in 0..3000 {
            let us = u64::from(number);
            exemplars.put(Label(number), Route::L1, exemplar(us));
            exemplars.put(Label(7), Route::Lane, exemplar(us));
        }
        let found = exemplars.get(Label(7), Route::Lane).unwrap();
        assert_eq!(found.took_us, 2999);
        assert_eq!(exemplars.get(Label(7), Route::L1), Some(exemplar(7)));
        assert_eq!(exemplars.get(Label(2999), Route::L1), None);
        assert_eq!(found.trace_id(), "0000000000000000000000000000000a");
        assert_eq!(found.span_id(), "000000000000000b");
    }
}
