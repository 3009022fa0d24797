//! Reads that go to the lane: as fills of L1 where that may be and pays, or as they are.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use super::asked::{Asked, Wanted};
use crate::command::Row;
use crate::l1::Read;
use crate::l1::keyspace::Missed;
use crate::l1::settings::{FieldTtls, Keyspace, WritePolicy};
use crate::resp::encode;
use crate::upstream::{Extra, FillKeys, Filled, Op, Pending, Predicted};

/// Fields of a hash above which their times are not asked for.
const FIELDS: usize = 64;

/// Has the next read tracked.
const CACHING: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n";

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Sends a read that missed, and `why`, as a fill where that pays; others may join it if it may be `shared`.
    pub(super) fn send_read(
        &mut self,
        asked: Asked<'_>,
        first: Option<Read<'_>>,
        predicted: Option<Predicted>,
        shared: bool,
        why: Missed,
    ) {
        let keyspace = self.keyspace(&asked);
        self.note_miss(keyspace, why);
        let mut extra = Extra {
            predicted: predicted.map(Box::new),
            flight: None,
        };
        // Who joins asks what became of one key since it was sent.
        if shared
            && self.batch.is_empty()
            && asked.names_one_key()
            && let Some(read) = first
        {
            extra.flight = Some(self.departures.begin(&self.l1, &read, self.now));
        }
        let Some(fill) = self.fill(asked, first, keyspace) else {
            self.send_plain(asked, first, extra);
            return;
        };
        let mut ttls = Vec::new();
        if fill.held.is_none() {
            self.bytes.extend_from_slice(CACHING);
            for key in &fill.keys {
                encode::request(&mut ttls, &[b"PTTL", key]);
            }
            if fill.fields > 0 {
                asked.ask_for_fields(&mut ttls, fill.fields);
            }
        }
        let op = Op::Fill(Box::new(fill));
        self.queue_read(
            asked.request,
            true,
            asked.large(first),
            asked.shape(),
            op,
            extra,
        );
        self.bytes.extend_from_slice(&ttls);
    }

    /// Fills a key anew behind a write of it that has just been queued, where its key space says so: the push for the
    /// write comes before the read, so the fill stands. Its reply is for nobody.
    pub(super) fn write_through(&mut self, key: &[u8]) {
        let keyspaces = self.l1.keyspaces();
        let policy = keyspaces.policy(keyspaces.of(key));
        let tracked = self
            .seat
            .as_ref()
            .is_some_and(|seat| seat.space().is_tracked());
        let wanted = policy.write_policy == WritePolicy::WriteThrough && policy.cache;
        if !wanted || !tracked || !self.l1.samples(self.l1.hash(key)) {
            return;
        }
        self.bytes.extend_from_slice(CACHING);
        encode::request(&mut self.bytes, &[b"GET", key]);
        encode::request(&mut self.bytes, &[b"PTTL", key]);
        let fill = FillKeys {
            keys: vec![key.into()],
            filled: Filled::Value,
            held: None,
            fields: 0,
            epoch: self.l1.epoch(),
        };
        let nobody = Some(Arc::clone(self.lanes.nobody()));
        let op = Op::Fill(Box::new(fill));
        self.batch.push(Pending::ours(nobody, self.now, op));
    }

    pub(super) fn send_plain(&mut self, asked: Asked<'_>, first: Option<Read<'_>>, extra: Extra) {
        self.queue_read(
            asked.request,
            true,
            asked.large(first),
            asked.shape(),
            Op::Relay,
            extra,
        );
    }

    /// How the read is put into L1, if it is.
    fn fill(&self, asked: Asked<'_>, first: Option<Read<'_>>, keyspace: u8) -> Option<FillKeys> {
        if !self.l1_on {
            return None;
        }
        let space = self.seat.as_ref()?.space();
        let keyspaces = self.l1.keyspaces();
        let policy = keyspaces.policy(keyspace);
        let mut fields = 0;
        let (filled, held) = match asked.wanted {
            Wanted::Values => {
                // Every key notes the read.
                let admits = |read: &Read<'_>| {
                    let crate::l1::Ident::Value(key) = read.ident else {
                        return false;
                    };
                    let policy = keyspaces.policy(keyspaces.of(key));
                    self.l1.admits(space, read, policy)
                };
                let admitted = self.reads(asked).filter(admits).count();
                (admitted > 0).then_some((Filled::Values, None))?
            }
            Wanted::Value => {
                let (key, read) = (asked.key?, first?);
                let admitted = self.l1.admits(space, &read, policy);
                let held = admitted.then(|| self.l1.held(space, read.key, key, self.now))?;
                (Filled::Value, held)
            }
            Wanted::Reply(row) => {
                let keys = asked.keys();
                let key = keys.first()?;
                if !self.keeps_all(row, asked.args.len(), &keys) {
                    return None;
                }
                if self.may_end(row, policy) {
                    fields = row
                        .fields(asked.args.len())
                        .map_or(0, |fields| fields.len());
                }
                let read = first?;
                let admitted = self.l1.admits(space, &read, policy);
                let of_key = || self.l1.held(space, read.key, key, self.now);
                let plain = keys.len() == 1 && fields == 0;
                let held = admitted.then(|| plain.then(of_key).flatten())?;
                let (name, rest) = (row.name, asked.rest().into());
                (Filled::Reply { name, rest }, held)
            }
        };
        Some(FillKeys {
            keys: asked.keys().into_iter().map(Into::into).collect(),
            filled,
            held,
            fields,
            epoch: self.l1.epoch(),
        })
    }

    /// Whether replies of a command with so many arguments that reads these keys may be kept: not of hashes whose
    /// fields may end unnoticed.
    pub(super) fn keeps_all(&self, row: &Row, args: usize, keys: &[&[u8]]) -> bool {
        let keyspaces = self.l1.keyspaces();
        let mut policies = keys.iter().map(|key| keyspaces.policy(keyspaces.of(key)));
        let timed = || {
            row.fields(args)
                .is_some_and(|fields| fields.len() <= FIELDS)
                && self
                    .seat
                    .as_ref()
                    .is_some_and(|seat| seat.space().tells_field_ttls())
        };
        policies.all(|policy| policy.cache && (!self.may_end(row, policy) || timed()))
    }

    /// Whether what a command reads may be fields that end one by one.
    fn may_end(&self, row: &Row, policy: &Keyspace) -> bool {
        policy.hash_field_ttls == FieldTtls::Possible
            && self.lanes.has_field_ttls()
            && row.reads_hash()
    }
}
