//! What the upstream says of its commands, and which modules' reads the operator vouches for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Lanes;
use crate::command::Row;
use crate::command::learned::Learned;

impl Lanes {
    /// What the upstream says of its commands; nothing before the first lane.
    #[must_use]
    pub fn learned(&self) -> Arc<Learned> {
        Arc::clone(&self.learned.lock())
    }

    /// Whether the fields of a hash may end one by one, as far as is known.
    #[must_use]
    pub fn has_field_ttls(&self) -> bool {
        !self.no_field_ttls.load(Ordering::Acquire)
    }

    pub(in crate::upstream) fn learn(&self, learned: Learned) {
        let none = !learned.is_empty() && !learned.names("hpttl");
        self.no_field_ttls.store(none, Ordering::Release);
        self.vouch(&learned);
        *self.learned.lock() = Arc::new(learned);
    }

    fn vouch(&self, learned: &Learned) {
        let names = &self.l1.settings().module_reads;
        if names.is_empty() {
            return;
        }
        let mut rows = self.module_reads.lock();
        let before = std::mem::take(&mut *rows);
        for name in names {
            let known = before.iter().find(|row| row.name == name).copied();
            match learned.vouched(name, known) {
                Ok(row) => rows.push(row),
                Err(reason) => tracing::warn!(command = name, reason, "no read for L1"),
            }
        }
    }

    /// The row of a module's read that the operator vouches for, by its name in any case.
    #[must_use]
    pub fn module_read(&self, name: &[u8]) -> Option<&'static Row> {
        if self.l1.settings().module_reads.is_empty() {
            return None;
        }
        let rows = self.module_reads.lock();
        let found = rows.iter();
        found
            .copied()
            .find(|row| row.name.as_bytes().eq_ignore_ascii_case(name))
    }
}
