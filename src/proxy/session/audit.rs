//! Audits: a few of the hits are read from the upstream as well, behind the hit and beside the session: its order, its
//! counts of replies and its fences know nothing of that. What comes of it is in `upstream::audit`.

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use super::asked::{Asked, Wanted};
use crate::l1::Read;
use crate::l1::settings::Mode;
use crate::resp::alike::Arrays;
use crate::resp::encode;
use crate::telemetry::durations::Label;
use crate::upstream::audit::Audit;

/// Replies whose RESP3 arrays are a hash's fields or values, in whatever order.
const UNORDERED: [&str; 2] = ["HKEYS", "HVALS"];

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Audits a read that was just answered from L1; of an MGET one of its keys.
    #[cold]
    pub(super) fn audit(&mut self, asked: Asked<'_>) {
        let row = match asked.wanted {
            Wanted::Value => return self.audit_value(&asked.request[asked.args[1].clone()]),
            Wanted::Values => {
                let keys = asked.args.len() as u64 - 1;
                let at = usize::try_from(self.attention.random() % keys).unwrap_or_default();
                return self.audit_value(&asked.request[asked.args[1 + at].clone()]);
            }
            Wanted::Reply(row) => row,
        };
        let keys = asked.keys();
        let Some(first) = keys.first() else {
            return;
        };
        // What a module's reply has in which order is not known.
        let unordered = UNORDERED.contains(&row.name) || row.label == Label::OTHER;
        let arrays = if unordered {
            Arrays::Unordered
        } else {
            Arrays::Ordered
        };
        let read = self.l1.reply(row.name, first, asked.rest());
        self.audit_read(&read, row.name, &keys, arrays, asked.request);
    }

    /// Audits a GET, or a key of an MGET, that was just answered from L1.
    #[cold]
    pub(super) fn audit_value(&self, key: &[u8]) {
        let mut request = Vec::new();
        encode::request(&mut request, &[b"GET", key]);
        let read = self.l1.value(key);
        self.audit_read(&read, "GET", &[key], Arrays::Ordered, &request);
    }

    fn audit_read(
        &self,
        read: &Read<'_>,
        command: &'static str,
        keys: &[&[u8]],
        arrays: Arrays,
        request: &[u8],
    ) {
        let (auditor, now) = (self.lanes.auditor(), self.now);
        let Some(seat) = &self.seat else {
            return;
        };
        if self.l1.mode() != Mode::On || !seat.has_room_for_audits() || !auditor.admits(now) {
            return;
        }
        let hashes: Vec<u64> = keys.iter().map(|key| self.l1.hash(key)).collect();
        // With several workers it may be gone by now, or be another one: that will do as well.
        let Some(claim) = self.l1.claim(seat.space(), read, &hashes, now) else {
            return;
        };
        let audit = Audit::new(auditor, command, keys, arrays, claim, now);
        seat.audit(request, audit, now);
    }
}
