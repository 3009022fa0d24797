//! Writes in flight, for as long as not every live lane has shown that L1 has seen them.

use std::sync::Arc;

use super::store::L1;

/// Writes that L1 may not have seen yet.
#[derive(Debug, Default)]
pub struct Unsettled {
    /// Hashes of the keys in flight.
    pub hashes: Vec<u64>,
    /// Some of them may be of another database than that of the connection they were written over.
    pub elsewhere: bool,
    /// Closures.
    pub closures: u32,
    /// Writes that may change any key.
    pub of_any: u32,
}

impl Unsettled {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty() && self.closures == 0 && self.of_any == 0
    }
}

/// Holds writes in flight; L1 is taken to have seen them when the last holder drops this. The holders
/// are the markers that follow the writes, one down each live lane.
#[derive(Debug)]
pub struct Settling {
    l1: Arc<L1>,
    writes: Unsettled,
}

/// The lanes that bring the pushes for a write: a key's value in one database says nothing of the same name in another,
/// so where nobody is told that it was dropped there, nothing untrue is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those of this database, for whichever user.
    Database(u32),
    /// All of them.
    All,
}

impl Settling {
    /// Which lanes have to show that L1 has seen them, when they were sent to a database.
    #[must_use]
    pub fn reach(&self, db: u32) -> Reach {
        let Unsettled {
            elsewhere,
            closures,
            of_any,
            ..
        } = self.writes;
        if elsewhere || closures > 0 || of_any > 0 {
            Reach::All
        } else {
            Reach::Database(db)
        }
    }

    /// Of these writes.
    #[must_use]
    pub fn new(l1: &Arc<L1>, writes: Unsettled) -> Arc<Self> {
        let l1 = Arc::clone(l1);
        Arc::new(Self { l1, writes })
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        for &hash in &self.writes.hashes {
            self.l1.end_write(hash);
        }
        if self.writes.closures > 0 {
            self.l1.open(self.writes.closures);
        }
        for _ in 0..self.writes.of_any {
            self.l1.end_write_of_any();
        }
    }
}
