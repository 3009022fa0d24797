//! Where each command goes: down the lane, over the own connection, or nowhere because it is answered here.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Flow, Replies, Session};
use crate::command::{self, Class, Row};
use crate::proxy::own::{Change, Effect, Expect, Kind, Own};
use crate::upstream::{Keys, Op};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn command(&mut self, request: &[u8], args: &[Range<usize>]) -> Flow {
        let Some(name) = args.first() else {
            return Flow::Done;
        };
        let row = command::find(&request[name.clone()]);
        let class = row.map_or(Class::OwnUnknown, |row| row.class);
        if self.own.as_ref().is_some_and(Own::is_changing) {
            return Flow::Hold;
        }
        if self.own.as_ref().is_some_and(|own| own.raw) {
            self.send_raw(class, request);
            return Flow::Done;
        }
        let lane = self.seat.as_ref().is_some_and(|seat| !seat.is_refused());
        let own_state =
            !lane || self.pinned || self.watching || self.transaction.is_some() || !self.own_idle();
        if !own_state && let Some(flow) = self.by_lane(class, row, request, args) {
            return flow;
        }
        // Everything else changes the route or is answered here: it waits for what is outstanding on the lane.
        if !self.lane_idle() {
            return Flow::Hold;
        }
        if !self.dedicated {
            if class == Class::Client
                && self.transaction.is_none()
                && let Some(flow) = self.client_reply(request, args)
            {
                return flow;
            }
            if !own_state && self.answer_here(class, request, args) {
                return Flow::Done;
            }
        }
        if class == Class::Quit {
            if !self.own_idle() {
                return Flow::Hold;
            }
            self.out.extend_from_slice(b"+OK\r\n");
            self.closing = true;
            return Flow::Done;
        }
        if self.open_own() {
            self.send_own(row, class, request, args);
        }
        Flow::Done
    }

    /// What goes down the lane; `None` for what does not.
    fn by_lane(
        &mut self,
        class: Class,
        row: Option<&'static Row>,
        request: &[u8],
        args: &[Range<usize>],
    ) -> Option<Flow> {
        let row = row?;
        match class {
            Class::Get if args.len() == 2 && (self.l1_on || !self.dedicated) => {
                return Some(self.read(request, &args[1..], false));
            }
            Class::Mget if args.len() >= 2 && (self.l1_on || !self.dedicated) => {
                return Some(self.read(request, &args[1..], true));
            }
            _ if self.dedicated => return None,
            Class::Get | Class::Mget | Class::LaneRead => {
                let key = row.key_positions(args.len()).next();
                let key = key.and_then(|at| args.get(at));
                let hash = key.map(|key| self.l1.hash(&request[key.clone()]));
                if let (Some(hash), Some(key)) = (hash, key)
                    && self.lanes.large.contains(hash)
                {
                    return Some(self.read_large(request, key));
                }
                self.flush_deferred();
                self.queue(request, false, hash, Op::Relay);
            }
            Class::LaneWrite => {
                self.flush_deferred();
                let keys = self.begin_write(row, request, args);
                let keys = if let [hash] = keys[..] {
                    Keys::One(hash)
                } else {
                    Keys::Many(keys.into())
                };
                self.queue(request, false, None, Op::Write(keys));
            }
            _ => return None,
        }
        Some(Flow::Done)
    }

    /// CLIENT REPLY, which concerns what is sent to the client alone.
    fn client_reply(&mut self, request: &[u8], args: &[Range<usize>]) -> Option<Flow> {
        let arg = |at: usize| {
            args.get(at)
                .map(|range: &Range<usize>| &request[range.clone()])
        };
        let (Some(sub), Some(mode), 3) = (arg(1), arg(2), args.len()) else {
            return None;
        };
        if !sub.eq_ignore_ascii_case(b"REPLY") {
            return None;
        }
        if self.own.as_ref().is_some_and(|own| own.owes() > 0) {
            return Some(Flow::Hold);
        }
        if mode.eq_ignore_ascii_case(b"ON") {
            self.replies = Replies::On;
            self.silent = false;
            self.out.extend_from_slice(b"+OK\r\n");
        } else if mode.eq_ignore_ascii_case(b"OFF") {
            self.replies = Replies::Off;
        } else if mode.eq_ignore_ascii_case(b"SKIP") {
            if self.replies == Replies::On {
                self.replies = Replies::SkipNext;
            }
        } else {
            return None;
        }
        Some(Flow::Done)
    }

    /// A request on a connection that answers when it likes. As long as it is one, the server takes no write on it.
    fn send_raw(&mut self, class: Class, request: &[u8]) {
        if class == Class::Reset {
            self.close_l1_for_life();
        }
        if let Some(own) = &mut self.own {
            own.send(request);
        }
    }

    /// Sends a command over the session's own connection, which is there.
    fn send_own(
        &mut self,
        row: Option<&'static Row>,
        class: Class,
        request: &[u8],
        args: &[Range<usize>],
    ) {
        let in_transaction = self.transaction.is_some();
        let unary = args.len() == 1;
        self.blocking = row.is_some_and(|row| row.blocking) && !in_transaction;
        let sub = args
            .get(1)
            .map(|range| request[range.clone()].to_ascii_uppercase())
            .unwrap_or_default();
        if self.taints(row, class, &sub)
            && let Some(own) = &mut self.own
        {
            own.tainted = true;
        }
        let mut effect = Effect::default();
        let mut expect = None;
        match class {
            Class::LaneWrite | Class::OwnWrite if in_transaction => {
                if let (Some(row), Some(queued)) = (row, &mut self.transaction) {
                    // Announced when EXEC is sent; until then nothing is changed.
                    let keys = row.key_positions(args.len()).filter_map(|at| args.get(at));
                    queued
                        .keys
                        .extend(keys.map(|key| self.l1.hash(&request[key.clone()])));
                }
            }
            Class::LaneWrite | Class::OwnWrite => {
                effect.keys = row
                    .map(|row| self.begin_write(row, request, args))
                    .unwrap_or_default();
            }
            Class::OwnUnknown => effect.unknown = true,
            Class::OwnRead => effect.rights = row.is_some_and(|row| changes_rights(row, &sub)),
            Class::Swapdb => (effect.unknown, effect.swapped) = (true, true),
            Class::Multi if unary && !in_transaction => self.transaction = Some(Effect::default()),
            Class::Exec if unary => {
                effect = self.transaction.take().unwrap_or_default();
                for &hash in &effect.keys {
                    self.l1.begin_write_of(hash);
                }
                self.watching = false;
                expect = Some(Expect::Reply(std::mem::take(&mut effect)));
            }
            Class::Discard if unary => {
                self.transaction = None;
                self.watching = false;
                expect = Some(Expect::Reply(Effect::default()));
            }
            Class::Watch => self.watching = true,
            Class::Unwatch if !in_transaction => self.watching = false,
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
            Class::Client if [&b"TRACKING"[..], b"CACHING", b"REPLY"].contains(&sub.as_slice()) => {
                self.pinned = true;
            }
            Class::Reset if unary => expect = Some(Expect::Change(Change::Reset)),
            Class::Select | Class::Auth | Class::Hello if !in_transaction => {
                match self.change(class, request, args) {
                    Some(change) => expect = Some(Expect::Change(change)),
                    None => self.pinned |= !(class == Class::Hello && unary),
                }
            }
            Class::Select | Class::Auth | Class::Hello | Class::Subscribe | Class::Unsubscribe => {
                self.pinned = true;
            }
            Class::Client if sub == b"SETNAME" && args.len() == 3 => {
                let valid = self.remember_name(&request[args[2].clone()]);
                if let Some(own) = self.own.as_mut().filter(|_| valid) {
                    own.name.clone_from(&self.name);
                }
                self.pinned |= in_transaction;
            }
            Class::Wait if !self.dedicated && !in_transaction => self.precede_wait(),
            _ => {}
        }
        if in_transaction
            && expect.is_none()
            && let Some(queued) = &mut self.transaction
        {
            let write = matches!(class, Class::LaneWrite | Class::OwnWrite) || effect.is_write();
            queued.merge(std::mem::take(&mut effect));
            expect = Some(Expect::Queued { write });
        }
        let reply_off = class == Class::Client && sub == b"REPLY";
        if reply_off && !self.dedicated {
            // Inside MULTI; what is written from then on can no longer be told by its replies.
            self.close_l1_for_life();
        }
        let raw = class == Class::Raw || reply_off;
        self.pinned |= raw;
        let silent = self.silent;
        let Some(own) = &mut self.own else {
            return;
        };
        own.send(request);
        if raw {
            own.raw = true;
        } else {
            own.expect(expect.unwrap_or(Expect::Reply(effect)), silent);
        }
    }

    /// Whether a command may leave something behind on its connection that the next user of it would notice.
    fn taints(&self, row: Option<&Row>, class: Class, sub: &[u8]) -> bool {
        const CLEAN: [&[u8]; 10] = [
            b"LIST",
            b"KILL",
            b"PAUSE",
            b"UNPAUSE",
            b"INFO",
            b"UNBLOCK",
            b"ID",
            b"GETNAME",
            b"GETREDIR",
            b"TRACKINGINFO",
        ];
        match class {
            Class::Client => {
                !CLEAN.contains(&sub) && (sub != b"SETNAME" || self.transaction.is_some())
            }
            Class::Select | Class::Auth | Class::Hello => self.transaction.is_some(),
            _ => row.is_none_or(|row| ["READONLY", "READWRITE", "ASKING"].contains(&row.name)),
        }
    }

    /// WAIT counts the writes of its own connection, and the session's went by the lane. A message to nobody, which
    /// replicates and changes nothing, makes it count everything before it.
    fn precede_wait(&mut self) {
        if let Some(own) = &mut self.own {
            own.send(b"*3\r\n$7\r\nPUBLISH\r\n$13\r\nnearside:wait\r\n$0\r\n\r\n");
            own.expect(Expect::Reply(Effect::default()), true);
        }
    }
}

/// Whether a command changes users, passwords or rights.
fn changes_rights(row: &Row, sub: &[u8]) -> bool {
    match row.name {
        "ACL" => [&b"SETUSER"[..], b"DELUSER", b"LOAD"].contains(&sub),
        "CONFIG" => sub == b"SET",
        _ => false,
    }
}
