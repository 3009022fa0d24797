//! What is to come back for a command on the own connection, within which time, and what it may change.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use crate::command::{Blocks, Class, Flags, Row};
use crate::proxy::own::expected::{Change, Effect, Expect, Kind, Limit};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// What is to come back for a command on the own connection, if it is not just a reply, and what it may change.
    pub(super) fn foresee(
        &mut self,
        row: Option<&'static Row>,
        class: Class,
        request: &[u8],
        args: &[Range<usize>],
    ) -> (Option<Expect>, Effect) {
        let in_transaction = self.bound.transaction.is_some();
        let unary = args.len() == 1;
        // Where it is pinned, a SELECT may have been carried out that nobody looked at.
        let elsewhere =
            self.bound.pinned || row.is_some_and(|row| self.reaches_elsewhere(row, args));
        let mut effect = Effect::default();
        let mut expect = None;
        match class {
            Class::LaneWrite | Class::OwnWrite if in_transaction => {
                // Announced when EXEC is sent; until then nothing is changed.
                let keys = row.and_then(|row| row.written(request, args));
                match (keys, &mut self.bound.transaction) {
                    (Some(keys), Some(queued)) => {
                        queued.elsewhere |= elsewhere;
                        let hash = |at: usize| self.l1.hash(&request[args[at].clone()]);
                        queued.keys.extend(keys.map(hash));
                    }
                    _ => effect.unknown = true,
                }
            }
            Class::LaneWrite | Class::OwnWrite => {
                match row.and_then(|row| self.begin_write(row, request, args)) {
                    Some(keys) => (effect.keys, effect.elsewhere) = (keys, elsewhere),
                    None => effect.unknown = true,
                }
            }
            Class::OwnUnknown if row.is_none() => effect = self.learned_effect(request, args),
            Class::LaneUnknown | Class::OwnUnknown => effect.unknown = true,
            Class::OwnRead => {
                effect.rights = row.is_some_and(|row| CHANGES_RIGHTS.contains(&row.name));
                let stays = ["READONLY", "READWRITE", "ASKING", "SCRIPT|DEBUG"];
                self.bound.pinned |= row.is_some_and(|row| stays.contains(&row.name));
            }
            Class::Swapdb => (effect.unknown, effect.swapped) = (true, true),
            Class::Multi if unary && !in_transaction => {
                self.bound.transaction = Some(Effect::default());
            }
            // Where there is no transaction the server refuses both, and a WATCH goes on.
            Class::Exec if unary && in_transaction => {
                effect = self.bound.transaction.take().unwrap_or_default();
                if !self.l1_on {
                    effect.keys.clear();
                }
                for &hash in &effect.keys {
                    self.l1.begin_write_of(hash);
                }
                self.bound.watching &= !in_transaction;
                expect = Some(Expect::Reply(std::mem::take(&mut effect)));
            }
            Class::Discard if unary && in_transaction => {
                self.bound.transaction = None;
                self.bound.watching = false;
                if let Some(own) = &mut self.own {
                    // A user who may not discard is still inside.
                    own.tainted = true;
                }
                expect = Some(Expect::Reply(Effect::default()));
            }
            Class::Watch => self.bound.watching = true,
            Class::Unwatch if unary && !in_transaction => self.bound.watching = false,
            Class::Subscribe if !in_transaction && !unary => {
                let count = u32::try_from(args.len() - 1).unwrap_or(u32::MAX);
                expect = Some(Expect::Confirmations(count));
            }
            Class::Unsubscribe if !in_transaction => {
                let count = u32::try_from(args.len() - 1).unwrap_or(u32::MAX);
                expect = Some(match request[args[0].clone()].first() {
                    _ if !unary => Expect::Confirmations(count),
                    Some(b'p' | b'P') => Expect::Unsubscribed(Kind::Pattern),
                    Some(b's' | b'S') => Expect::Unsubscribed(Kind::Sharded),
                    _ => Expect::Unsubscribed(Kind::Channel),
                });
            }
            Class::Client if row.is_some_and(|row| STAYS.contains(&row.name)) => {
                self.bound.pinned = true;
            }
            Class::Reset if unary => expect = Some(Expect::Change(Change::Reset)),
            Class::Select | Class::Auth | Class::Hello if !in_transaction => {
                match self.change(class, request, args) {
                    Some(change) => expect = Some(Expect::Change(change)),
                    None => self.bound.pinned |= !(class == Class::Hello && unary),
                }
            }
            Class::Select | Class::Auth | Class::Hello | Class::Subscribe | Class::Unsubscribe => {
                self.bound.pinned = true;
            }
            Class::Client
                if row.is_some_and(|row| row.name == "CLIENT|SETNAME") && args.len() == 3 =>
            {
                let valid = self.remember_name(&request[args[2].clone()]);
                if let Some(own) = self.own.as_mut().filter(|_| valid) {
                    own.name.clone_from(&self.name);
                }
                self.bound.pinned |= in_transaction;
            }
            Class::Wait if !self.dedicated && !in_transaction => self.precede_wait(),
            _ => {}
        }
        (expect, effect)
    }

    /// Whether a command may leave something behind on its connection that the next user of it would notice.
    pub(super) fn taints(&self, row: Option<&Row>, class: Class) -> bool {
        const CLEAN: [&str; 10] = [
            "CLIENT|LIST",
            "CLIENT|KILL",
            "CLIENT|PAUSE",
            "CLIENT|UNPAUSE",
            "CLIENT|INFO",
            "CLIENT|UNBLOCK",
            "CLIENT|ID",
            "CLIENT|GETNAME",
            "CLIENT|GETREDIR",
            "CLIENT|TRACKINGINFO",
        ];
        match class {
            Class::Client => !row.is_some_and(|row| {
                CLEAN.contains(&row.name)
                    || row.name == "CLIENT|SETNAME" && self.bound.transaction.is_none()
            }),
            Class::Select | Class::Auth | Class::Hello => self.bound.transaction.is_some(),
            _ => row.is_none(),
        }
    }

    /// What a command that the table does not have may change, by the upstream's own account of it.
    pub(super) fn learned_effect(&mut self, request: &[u8], args: &[Range<usize>]) -> Effect {
        let learned = self.lanes.learned();
        let Some(known) = learned.of(request, args) else {
            return Effect {
                unknown: true,
                ..Effect::default()
            };
        };
        self.blocking |= known.flags.has(Flags::BLOCKING) && self.bound.transaction.is_none();
        let mut effect = Effect::default();
        if known.readonly() {
            return effect;
        }
        effect.elsewhere = true;
        match known.written(request, args) {
            Some(keys) => {
                let queued = self.bound.transaction.is_some();
                // Nothing named, and no read: it may change anything.
                effect.unknown = true;
                for at in keys {
                    effect.unknown = false;
                    let key = &request[args[at].clone()];
                    let hash = self.l1.hash(key);
                    if self.l1_on && !queued {
                        self.l1.begin_write(hash, key);
                    }
                    if self.l1_on || queued {
                        effect.keys.push(hash);
                    }
                }
            }
            None => effect.unknown = true,
        }
        effect
    }

    /// WAIT counts the writes of its own connection, and the session's went by the lane. A message to nobody, which
    /// replicates and changes nothing, makes it count everything before it.
    pub(super) fn precede_wait(&mut self) {
        if let Some(own) = &mut self.own {
            own.send(b"*3\r\n$7\r\nPUBLISH\r\n$13\r\nnearside:wait\r\n$0\r\n\r\n");
            own.expect(Expect::Reply(Effect::default()), true);
        }
    }
}

/// Within which time a command outside a transaction is answered.
pub(super) fn limit(
    row: Option<&Row>,
    class: Class,
    request: &[u8],
    args: &[Range<usize>],
) -> Limit {
    match (row.map(|row| row.blocks(request, args)), class) {
        (Some(Blocks::For(time)), _) => Limit::Blocking(time),
        (Some(Blocks::Forever), _) => Limit::Never,
        (None, _)
        | (_, Class::OwnRead | Class::OwnWrite | Class::OwnUnknown | Class::Swapdb | Class::Exec) => {
            Limit::Long
        }
        _ => Limit::Request,
    }
}

/// Commands that change users, passwords or rights.
const CHANGES_RIGHTS: [&str; 4] = ["ACL|SETUSER", "ACL|DELUSER", "ACL|LOAD", "CONFIG|SET"];

/// Commands of CLIENT that leave their session on its own connection.
const STAYS: [&str; 3] = ["CLIENT|TRACKING", "CLIENT|CACHING", "CLIENT|REPLY"];
