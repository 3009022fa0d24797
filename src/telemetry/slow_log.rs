//! The slow log: the newest operations that took long, in a fixed room. What a blocking command waits for counts for
//! nothing here, as in the server's own.
//!
//! Its lock is taken when an operation was slow, and by who reads it, each for one step.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::clock::{micros, millis};
use super::operation::Operation;

/// What an operator can set about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Operations that take at least this long are kept; `None` for none.
    pub threshold: Option<Duration>,
    /// So many are kept, the newest.
    pub max_entries: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: Some(Duration::from_millis(10)),
            max_entries: 128,
        }
    }
}

/// An operation that took long.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number among all that took long since the start, the first being 1.
    pub number: u64,
    /// When it ended, in milliseconds since 1970.
    pub time: u64,
    /// What it was.
    pub operation: Operation,
}

#[derive(Debug, Default)]
struct Entries {
    kept: VecDeque<Entry>,
    /// How many there were, ever.
    all: u64,
}

/// See the module's header.
#[derive(Debug)]
pub struct SlowLog {
    threshold: u64,
    max_entries: usize,
    entries: Mutex<Entries>,
}

impl SlowLog {
    /// An empty one.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            threshold: settings.threshold.map_or(u64::MAX, micros),
            max_entries: settings.max_entries,
            entries: Mutex::default(),
        }
    }

    /// From how long on an operation is kept, in microseconds; `u64::MAX` for never.
    #[must_use]
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Keeps an operation that took long, in the place of the oldest where there is no more room.
    pub fn note(&self, operation: &Operation) {
        if operation.took() < self.threshold || self.max_entries == 0 {
            return;
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = time.map_or(0, millis);
        let mut entries = self.entries.lock();
        entries.all += 1;
        let number = entries.all;
        entries.kept.truncate(self.max_entries - 1);
        entries.kept.push_front(Entry {
            number,
            time,
            operation: operation.clone(),
        });
    }

    /// Up to `count` of those that are kept, the newest first; or the slowest.
    #[must_use]
    pub fn entries(&self, count: usize, slowest: bool) -> Vec<Entry> {
        let entries = self.entries.lock();
        if !slowest {
            return entries.kept.iter().take(count).cloned().collect();
        }
        let mut kept: Vec<Entry> = entries.kept.iter().cloned().collect();
        drop(entries);
        // A stable sort, so that of two as slow as each other the newer comes first.
        kept.sort_by_key(|entry| std::cmp::Reverse(entry.operation.took()));
        kept.truncate(count);
        kept
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.lock().kept.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all of them; how many that were.
    pub fn clear(&self) -> usize {
        let mut entries = self.entries.lock();
        let kept = entries.kept.len();
        entries.kept.clear();
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::durations::{Label, Route};
    use crate::telemetry::operation::{Key, Why};

    fn taking(us: u64) -> Operation {
        Operation {
            label: Label::OTHER,
            route: Route::Lane,
            key: Key::None,
            keyspace: None,
            hit: None,
            session: 1,
            began: 1000,
            ended: 1000 + us,
            upstream: None,
            reply_bytes: 0,
            error: None,
            why: Why::Slow,
            context: None,
        }
    }

    fn log(threshold: Option<u64>, max_entries: usize) -> SlowLog {
        SlowLog::new(&Settings {
            threshold: threshold.map(Duration::from_micros),
            max_entries,
        })
    }

    fn took(log: &SlowLog, count: usize, slowest: bool) -> Vec<(u64, u64)> {
        let entries = log.entries(count, slowest).into_iter();
        let each = entries.map(|entry| (entry.number, entry.operation.took()));
        each.collect()
    }

    #[test]
    fn the_newest_that_took_long_are_kept() {
        let log = log(Some(10), 3);
        for us in [9, 10, 50, 30, 9, 40] {
            log.note(&taking(us));
        }
        assert_eq!(took(&log, 9, false), [(4, 40), (3, 30), (2, 50)]);
        assert_eq!(took(&log, 2, false), [(4, 40), (3, 30)]);
        assert_eq!(took(&log, 2, true), [(2, 50), (4, 40)]);
        assert_eq!((log.len(), log.clear(), log.len()), (3, 3, 0));
        log.note(&taking(11));
        assert_eq!(took(&log, 9, false), [(5, 11)], "numbers go on");
    }

    #[test]
    fn none_are_where_there_is_no_threshold_or_no_room() {
        for log in [log(None, 3), log(Some(0), 0)] {
            log.note(&taking(u64::MAX / 2));
            assert!(log.is_empty());
        }
        let all = log(Some(0), 2);
        all.note(&taking(0));
        assert_eq!(all.len(), 1);
    }
}
