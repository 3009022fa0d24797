//! The session's own connection: what goes there, and what comes of its replies.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::task::Context;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{OUTPUT_WINDOW, SCRATCH, Session};
use crate::command::{Class, Row};
use crate::l1::Rule;
use crate::proxy::own::{Effect, Ended, Expect, Own};
use crate::resp::downgrade::Shape;
use crate::resp::encode;
use crate::upstream::connect::open_own;
use crate::upstream::{Op, Pending};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Sees to it that there is an own connection, opening or open; where there can be none now, answers with the error.
    pub(super) fn open_own(&mut self) -> bool {
        if self.own.is_none() {
            if let Some(error) = self.lane.unavailable() {
                encode::error(&mut self.out, &error);
                return false;
            }
            let (lane, resp2, name) = (Arc::clone(&self.lane), self.resp2, self.name.clone());
            self.own = Some(Own::new(Box::pin(async move {
                let opened =
                    open_own(lane.endpoint(), lane.settings(), !resp2, name.as_deref()).await;
                lane.attempted(opened.as_ref().map(|_| ()));
                opened
            })));
        }
        true
    }

    /// Queues a request on the own connection, which is there.
    pub(super) fn hand_over(&mut self, request: &[u8], raw: bool, expect: Expect) {
        if raw {
            self.close_l1_for_life();
        }
        let own = self.own.as_mut().expect("the caller has opened it");
        own.send(request);
        if raw || own.raw {
            own.raw = true;
        } else {
            own.expected.push_back(expect);
        }
    }

    /// What a raw connection writes is not seen here, so nobody may be served from memory while it lives.
    pub(super) fn close_l1_for_life(&mut self) {
        if self.l1_on && !self.closes_l1 {
            self.closes_l1 = true;
            self.l1.close();
        }
    }

    /// Sends a GET again whose reply is too large for the lane: here back-pressure reaches the upstream.
    pub(super) fn repeat_on_own(&mut self) {
        let request = std::mem::take(&mut self.repeat);
        if self.open_own()
            && let Some(own) = &mut self.own
        {
            own.send(&request);
            own.expected.push_back(Expect::Reply(Effect::default()));
        }
    }

    /// Sends a command over the session's own connection.
    pub(super) fn send_own(
        &mut self,
        row: Option<&'static Row>,
        class: Class,
        request: &[u8],
        args: &[Range<usize>],
    ) {
        if !self.open_own() {
            return;
        }
        let in_transaction = self.transaction.is_some();
        let unary = args.len() == 1;
        self.blocking = row.is_some_and(Row::blocking) && !in_transaction;
        let sub = args
            .get(1)
            .map(|range| request[range.clone()].to_ascii_uppercase())
            .unwrap_or_default();
        let mut effect = Effect::default();
        let mut expect = None;
        match class {
            Class::LaneWrite | Class::OwnWrite if in_transaction => {
                if let (Some(row), Some(queued)) = (row, &mut self.transaction) {
                    // Announced when EXEC is sent; until then nothing is changed.
                    let keys = row.written(request, args);
                    queued.unknown |= keys.is_none();
                    queued.keys.extend(
                        keys.into_iter()
                            .flatten()
                            .map(|at| self.l1.hash(&request[args[at].clone()])),
                    );
                }
            }
            Class::LaneWrite | Class::OwnWrite => {
                match row.and_then(|row| self.begin_write(row, request, args)) {
                    Some(keys) => effect.keys = keys,
                    None => effect.unknown = true,
                }
            }
            Class::LaneUnknown | Class::OwnUnknown => effect.unknown = true,
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
            Class::Subscribe if !in_transaction && args.len() > 1 => {
                expect = Some(Expect::Confirmations(
                    u32::try_from(args.len() - 1).unwrap_or(u32::MAX),
                ));
            }
            Class::Unsubscribe if !in_transaction => {
                let own = self.own.as_ref().expect("opened above");
                let all =
                    u32::try_from(own.subscribed[0].max(own.subscribed[1]).max(1)).unwrap_or(1);
                let n = if unary {
                    all
                } else {
                    u32::try_from(args.len() - 1).unwrap_or(u32::MAX)
                };
                // Without arguments the number of confirmations is the server's to know; such a session stays here.
                self.pinned |= unary;
                expect = Some(Expect::Confirmations(n));
            }
            Class::Client if [&b"TRACKING"[..], b"CACHING", b"REPLY"].contains(&sub.as_slice()) => {
                self.pinned = true;
            }
            Class::Hello
                if !in_transaction && args.len() == 2 && matches!(sub.as_slice(), b"2" | b"3") =>
            {
                expect = Some(Expect::Hello { resp2: sub == b"2" });
            }
            Class::Hello if !in_transaction && unary => {}
            Class::Select | Class::Auth | Class::Hello | Class::Subscribe | Class::Unsubscribe => {
                self.pinned = true;
            }
            Class::Reset if unary => expect = Some(Expect::Reset),
            Class::Client if sub == b"SETNAME" && args.len() == 3 => {
                self.remember_name(&request[args[2].clone()]);
                self.pinned |= in_transaction;
            }
            _ => {}
        }
        let raw = class == Class::Raw || class == Class::Client && sub == b"REPLY";
        self.pinned |= raw;
        if in_transaction
            && expect.is_none()
            && let Some(queued) = &mut self.transaction
        {
            let write = matches!(class, Class::LaneWrite | Class::OwnWrite) || effect.is_write();
            queued.merge(std::mem::take(&mut effect));
            expect = Some(Expect::Queued { write });
        }
        self.hand_over(request, raw, expect.unwrap_or(Expect::Reply(effect)));
    }

    /// Makes known what the own connection has said: fences this session, releases its writes at a marker.
    pub(super) fn settle(&mut self, effect: Effect) {
        if !self.l1_on {
            return;
        }
        if effect.swapped {
            self.l1.clear_and_refuse_sent();
        }
        let mut open = 0;
        let mut release = effect.keys;
        if effect.unknown
            && !self.l1.knocked_out(Rule::Closure)
            && !self.l1.knocked_out(Rule::Marker)
        {
            self.l1.close();
            open = 1;
        }
        if self.l1.knocked_out(Rule::Marker) {
            for hash in release.drain(..) {
                self.l1.end_write(hash);
            }
        }
        self.fences_raised += 1;
        self.bytes.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
        let session = Some(Arc::clone(&self.mailbox));
        self.batch.push(Pending {
            session,
            sent: self.now,
            resp2: false,
            shape: Shape::Generic,
            repeatable: false,
            op: Op::Marker { release, open },
        });
        self.submit();
    }

    /// Drives the own connection; whether anything came.
    pub(super) fn poll_own(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let Some(mut own) = self.own.take() else {
            return Ok(false);
        };
        let mut news = false;
        let outcome = match own.poll_send(cx) {
            Ok(Some(Err(error))) => {
                self.own_failed(&mut own, error.reason());
                return Ok(true);
            }
            Ok(outcome) => {
                news |= outcome.is_some();
                Ok(())
            }
            Err(error) => Err(error),
        };
        let mut effects = Effect::default();
        let (mut relayed, mut reset, mut protocol) = (false, false, None);
        let received = outcome.and_then(|()| {
            SCRATCH.with_borrow_mut(|scratch| {
                while self.out.len() - self.written < OUTPUT_WINDOW {
                    let Some(n) = own.poll_receive(cx, scratch)? else {
                        return Ok(());
                    };
                    relayed = true;
                    own.take(&scratch[..n], &mut self.out, |ended| match ended {
                        Ended::Reply(effect) => effects.merge(effect),
                        Ended::Reset => reset = true,
                        Ended::Hello { resp2 } => protocol = Some(resp2),
                        Ended::Nothing => {}
                    })
                    .map_err(|error| io::Error::other(error.to_string()))?;
                }
                Ok(())
            })
        });
        if relayed {
            self.settle(effects);
        }
        self.resp2 = protocol.unwrap_or(self.resp2);
        if let Err(error) = received {
            // A clean idle connection that the server closed is just forgotten; any other takes its client with it.
            if !own.is_idle() || self.pinned || self.watching || self.transaction.is_some() {
                self.release(&mut own);
                return Err(error);
            }
            return Ok(true);
        }
        if reset {
            (
                self.pinned,
                self.watching,
                self.transaction,
                self.resp2,
                self.name,
            ) = (false, false, None, true, None);
            return Ok(true);
        }
        self.blocking &= !own.expected.is_empty();
        self.own = Some(own);
        Ok(news || relayed)
    }

    /// The own connection could not be opened: what was sent there gets an error each, and nothing of it was carried out.
    pub(super) fn own_failed(&mut self, own: &mut Own, reason: &str) {
        let address = &self.lane.endpoint().address;
        let error = self
            .lane
            .unavailable()
            .unwrap_or_else(|| format!("UNAVAILABLE upstream {address}: {reason}"));
        for _ in 0..own.expected.len() {
            encode::error(&mut self.out, &error);
        }
        self.release(own);
        self.closing |= own.raw || self.pinned;
        (self.watching, self.transaction, self.blocking) = (false, None, false);
    }

    /// Releases the writes whose replies will not come, behind a marker, since they may have been carried out.
    pub(super) fn release(&mut self, own: &mut Own) {
        let mut effects = Effect::default();
        for expect in own.expected.drain(..) {
            if let Expect::Reply(effect) = expect {
                effects.merge(effect);
            }
        }
        if effects.is_write() {
            self.settle(effects);
        }
    }
}
