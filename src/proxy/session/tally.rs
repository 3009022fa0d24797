//! Counting what became of reads, and the writes: a session gathers what is of one key space for the length of a pass.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use crate::command::Row;
use crate::l1::keyspace::Missed;

/// Hits, misses and writes of a pass, while they are of one key space.
#[derive(Debug, Default)]
pub(super) struct Tally {
    keyspace: u8,
    hits: u64,
    misses: u64,
    /// Those by why.
    missed: [u64; Missed::ALL.len()],
    writes: u64,
    /// There were hits since this was last asked.
    used: bool,
}

impl Tally {
    /// L1 was used, if it was, although its answer was not.
    pub(super) fn note_use(&mut self, used: bool) {
        self.used |= used;
    }

    /// Whether there were hits in this pass.
    pub(super) fn has_hits(&self) -> bool {
        self.hits > 0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Counts a hit.
    #[inline]
    pub(super) fn note_hit(&mut self, keyspace: u8) {
        self.telling.reads(keyspace);
        self.tally_for(keyspace);
        self.tally.hits += 1;
        self.tally.used = true;
    }

    /// Counts a miss.
    pub(super) fn note_miss(&mut self, keyspace: u8, why: Missed) {
        self.telling.reads(keyspace);
        self.missed = keyspace;
        if self.again {
            // It was counted when it was sent for the first time.
            return;
        }
        self.tally_for(keyspace);
        self.tally.misses += 1;
        self.tally.missed[why as usize] += 1;
    }

    /// Counts a write.
    #[inline]
    pub(super) fn note_write(&mut self, row: &Row, request: &[u8], args: &[Range<usize>]) {
        let keyspace = if self.l1.keyspaces().is_one() {
            0
        } else {
            self.keyspace_of_write(row, request, args)
        };
        self.tally_for(keyspace);
        self.tally.writes += 1;
    }

    fn keyspace_of_write(&self, row: &Row, request: &[u8], args: &[Range<usize>]) -> u8 {
        let key = row.written(request, args).and_then(|mut keys| keys.next());
        let key = key.and_then(|at| args.get(at));
        key.map_or(0, |key| self.l1.keyspaces().of(&request[key.clone()]))
    }

    #[inline]
    fn tally_for(&mut self, keyspace: u8) {
        if keyspace != self.tally.keyspace {
            self.count();
            self.tally.keyspace = keyspace;
        }
    }

    /// Hands the counts of the pass over.
    pub(super) fn count(&mut self) {
        let Tally {
            keyspace,
            hits,
            misses,
            missed,
            writes,
            used,
        } = &mut self.tally;
        let keyspaces = self.l1.keyspaces();
        if *hits + *writes > 0 {
            keyspaces.count(*keyspace, *hits, *writes);
            self.shown = true;
            (*hits, *writes) = (0, 0);
        }
        if std::mem::take(misses) > 0 {
            for why in Missed::ALL {
                let reads = std::mem::take(&mut missed[why as usize]);
                if reads > 0 {
                    keyspaces.miss(*keyspace, why, reads);
                }
            }
        }
        if std::mem::take(used)
            && let Some(seat) = &self.seat
        {
            seat.space().note_use();
        }
    }
}
