//! The quick way for most of what a lane brings: whole replies that are plain or null, to commands of which nothing more is
//! to be known. What a session sent together is answered together: its mailbox is locked once for all of it, and what is the
//! same in both protocols is copied at once. Everything else is taken by the fold itself, one reply at a time.

use std::sync::Arc;

use super::relay::{announced, count_absent};
use super::{Frame, Reader, answered_write, note_dirty};
use crate::telemetry::big_keys::BIG;
use crate::upstream::mailbox::Mailbox;
use crate::upstream::{Keys, Op, Pending};

/// A reply that is null.
pub(super) const NULL: &[u8] = b"_\r\n";

impl Reader {
    /// Hands over as many of the next replies as go to one session and are plain or null; the bytes used.
    pub(super) fn plain(&mut self, buf: &[u8]) -> usize {
        let under_way = !matches!(self.frame, Frame::None)
            || self.walker.in_frame()
            || self.reply.relayed
            || self.held_back.is_some()
            || !self.shared.is_empty();
        if under_way {
            return 0;
        }
        let largest = self
            .large_reply
            .min(usize::try_from(BIG).unwrap_or(usize::MAX) - 1);
        let first = self.pending.front().and_then(|head| plain_of(head, None));
        let Some(first) = first.filter(|_| whole(buf).is_some()) else {
            return 0;
        };
        let session = Arc::clone(first);
        let mut mail = session.lock();
        if mail.cut.is_some() {
            return 0;
        }
        let (mut at, mut copied, mut answered) = (0, 0, 0);
        while let Some(head) = self.pending.front()
            && plain_of(head, Some(&session)).is_some()
            && self.telling.passes(head.terms.sent_us)
        {
            let (commands, sent_us) = (head.commands(), head.terms.sent_us);
            let mut ended = 0;
            while ended < commands
                && let Some(length) = whole(&buf[at..]).filter(|&length| length <= largest)
            {
                if buf[at] == b'_' {
                    count_absent(&self.l1, head.terms.keyspace);
                    if head.terms.resp2 {
                        mail.out.extend_from_slice(&buf[copied..at]);
                        mail.out.extend_from_slice(head.terms.shape.null());
                        copied = at + length;
                    }
                }
                ended += 1;
                at += length;
            }
            if ended == 0 {
                break;
            }
            if let Op::Write(keys) = &head.op {
                let mut settle = |keys: &Keys| {
                    answered_write(&self.l1, self.beside, &mut self.unsettled, keys);
                };
                settle(keys);
                for &hash in head.further_keys(ended - 1) {
                    settle(&Keys::One(hash));
                }
            }
            self.pending.pass(ended);
            // Only now: what has not been answered proves nothing.
            if sent_us != self.proved {
                self.prove(sent_us);
            }
            let replies = u32::try_from(ended).unwrap_or(u32::MAX);
            self.telling.passed(replies);
            self.outcomes.slow += replies * u32::from(self.was_slow);
            answered += replies;
            if ended < commands {
                break;
            }
        }
        if answered == 0 {
            return 0;
        }
        self.outcomes.replies += answered;
        mail.progress = self.now;
        mail.answered += u64::from(answered);
        mail.out.extend_from_slice(&buf[copied..at]);
        self.weigh_if_heavy(&mut mail);
        drop(mail);
        note_dirty(&mut self.dirty, &session);
        at
    }
}

/// The session of a command whose reply is only to be handed over, if that is to `session`, where there is one.
#[inline]
fn plain_of<'a>(head: &'a Pending, session: Option<&Arc<Mailbox>>) -> Option<&'a Arc<Mailbox>> {
    let handed_over = matches!(head.op, Op::Relay | Op::Write(_))
        && head.extra.is_empty()
        && !(head.given_up || head.terms.silent || head.terms.told);
    let own = head.session.as_ref().filter(|_| handed_over)?;
    session
        .is_none_or(|session| Arc::ptr_eq(session, own))
        .then_some(own)
}

/// The length of a reply that is whole, and the same in both protocols or null.
#[inline]
fn whole(buf: &[u8]) -> Option<usize> {
    whole_plain(buf).or_else(|| buf.starts_with(NULL).then_some(NULL.len()))
}

/// The length of a reply that is whole and the same in both protocols: a bulk, a simple string, an integer.
#[inline]
pub(super) fn whole_plain(buf: &[u8]) -> Option<usize> {
    if let Some(length) = quick_length(buf) {
        return Some(length);
    }
    match buf.first()? {
        b'$' => {
            let body = announced(buf)?;
            let header = buf.iter().position(|&b| b == b'\n')? + 1;
            (buf.len() >= header + body + 2).then_some(header + body + 2)
        }
        b'+' | b':' => {
            let lf = buf.iter().take(64).position(|&b| b == b'\n')?;
            (buf[lf - 1] == b'\r').then_some(lf + 1)
        }
        _ => None,
    }
}

/// The same where it is quickly seen: `+OK`, an integer of few digits, a bulk of less than a million bytes.
#[inline]
fn quick_length(buf: &[u8]) -> Option<usize> {
    const DIGITS: usize = 6;
    let (kind, text) = buf.split_first()?;
    match kind {
        b'+' => text.starts_with(b"OK\r\n").then_some(5),
        b'$' | b':' => {
            let mut number = 0;
            let mut digits = 0;
            while let Some(digit @ b'0'..=b'9') = text.get(digits)
                && digits < DIGITS
            {
                number = number * 10 + usize::from(digit - b'0');
                digits += 1;
            }
            let header = digits + 3;
            if digits == 0 || text.get(digits..digits + 2)? != b"\r\n" {
                return None;
            }
            if *kind == b':' {
                return Some(header);
            }
            let whole = header + number + 2;
            (buf.len() >= whole).then_some(whole)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::whole_plain;
    use crate::resp::frame::{FrameWalker, Ignore};

    /// What is taken quickly is as long as the walker finds it, and nothing is taken that is not whole.
    #[test]
    fn lengths_are_those_of_the_walker() {
        let bulk = |length: usize| format!("${length}\r\n{}\r\n", "x".repeat(length)).into_bytes();
        let taken: [&[u8]; 9] = [
            b"+OK\r\n",
            b"+QUEUED\r\n",
            b":-1\r\n",
            b":1234567\r\n",
            b":0\r\n",
            b":123456\r\n",
            &bulk(0),
            &bulk(9),
            &bulk(70_000),
        ];
        for reply in taken {
            for end in 0..reply.len() {
                assert_eq!(whole_plain(&reply[..end]), None);
            }
            let more = [reply, b"+OK\r\n"].concat();
            let walked = FrameWalker::default().walk(&more, &mut Ignore);
            assert_eq!(walked.map(|walked| walked.consumed), Ok(reply.len()));
            assert_eq!(whole_plain(&more), Some(reply.len()));
        }
    }

    #[test]
    fn the_rest_is_left() {
        let left: [&[u8]; 6] = [
            b"-ERR\r\n",
            b"_\r\n",
            b"*1\r\n:1\r\n",
            b"$-1\r\n",
            b"$\r\n",
            b">1\r\n+x\r\n",
        ];
        for reply in left {
            assert_eq!(
                whole_plain(reply),
                None,
                "{}",
                String::from_utf8_lossy(reply)
            );
        }
    }
}
