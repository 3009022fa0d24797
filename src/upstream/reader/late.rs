//! What is answered here because the upstream does not, or was not asked: each client in the order of what it sent, each
//! reply that comes all the same for nobody.

use std::sync::Arc;

use super::Reader;
use crate::l1::Unsettled;
use crate::upstream::pending::{Failure, fail_joined, fail_one};
use crate::upstream::{Attempt, Op};

impl Reader {
    /// Answers what was refused and whose turn has come.
    pub fn answer_refused(&mut self) {
        while let Some(head) = self.pending.front()
            && let Op::Refused(_) = head.op
        {
            let head = self.pending.pop().expect("looked at above");
            // Its text is its own, and it holds no write any more.
            fail_one(head, Failure::of(""), &mut Unsettled::default());
        }
    }

    /// Answers each request with `error` whose session has waited for longer than `limit` milliseconds, since it was sent or
    /// since the reply before it. The replies stay expected.
    pub fn give_up(&mut self, limit: u64, error: impl Fn() -> String) {
        let (now, mut said) = (self.now, None);
        // Of this one's replies a part is out, and nothing else may come behind that.
        let midway = self.pending.front().filter(|_| self.reply.relayed);
        let midway = midway.and_then(|head| head.session.clone());
        let read_done = self.filling.was_read() || self.reply.discarding;
        for (at, pending) in self.pending.iter_mut().enumerate() {
            let early = now.saturating_sub(pending.sent()) <= limit
                && pending.terms.attempt != Attempt::Second;
            let skip = early || pending.given_up || !pending.is_relayed() || at == 0 && read_done;
            let Some(session) = pending.session.as_ref().filter(|_| !skip) else {
                continue;
            };
            if midway
                .as_ref()
                .is_some_and(|midway| Arc::ptr_eq(midway, session))
            {
                continue;
            }
            let mut mail = session.lock();
            let since = pending.sent().max(mail.progress);
            let overdue = pending.terms.attempt == Attempt::Second && now > mail.due;
            if now.saturating_sub(since) <= limit && !overdue {
                continue;
            }
            let error = said.get_or_insert_with(&error);
            for _ in 0..pending.commands() {
                mail.end_with(error, pending.terms.silent);
            }
            drop(mail);
            pending.given_up = true;
            let flight = std::mem::take(&mut pending.extra).flight;
            for joined in flight
                .map(|flight| self.flights.end(&flight))
                .unwrap_or_default()
            {
                fail_joined(&joined, error, None);
            }
            self.dirty.push(Arc::clone(session));
        }
        for session in self.dirty.drain(..) {
            session.wake();
        }
    }

    /// Whether no session waits any more for any of the replies to come, and there are some.
    pub fn is_given_up(&self) -> bool {
        let mut pending = self.pending.iter();
        pending.all(|one| one.given_up || !one.is_relayed())
            && self.pending.iter().any(|one| one.given_up)
    }
}
