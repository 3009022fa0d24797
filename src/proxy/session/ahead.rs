//! A look ahead: the GETs that the input begins with are looked up together, or what they will look up is on its way from
//! memory before the first is taken.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Replies, Session};
use crate::command;
use crate::l1::settings::Mode;
use crate::l1::{AHEAD, Ident, L1, Read};
use crate::telemetry::durations::Route;

/// How a GET begins, up to the length of its key.
const HEAD: &[u8; 14] = b"*2\r\n$3\r\nGET\r\n$";

/// How much of the input was looked at.
pub(super) struct Ahead {
    /// Answered.
    pub(super) taken: usize,
    /// On its way from memory; never none.
    pub(super) warmed: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Answers the GETs that the input begins with, as long as they are hits and nothing is to be answered before them, or
    /// else has L1 load what they will look up.
    pub(super) fn look_ahead(&mut self, input: &[u8]) -> Ahead {
        // One alone, as without pipelining, is looked up by itself.
        match get(input) {
            Some((_, end)) if end < input.len() => {}
            _ => {
                return Ahead {
                    taken: 0,
                    warmed: 1,
                };
            }
        }
        let none = Read {
            key: 0,
            hash: 0,
            ident: Ident::Value(&[]),
        };
        let (mut reads, mut ends) = ([none; AHEAD], [0; AHEAD]);
        let (mut found, mut at) = (0, 0);
        while found < AHEAD
            && let Some((key, length)) = input.get(at..).and_then(get)
        {
            at += length;
            reads[found] = self.l1.value(key);
            ends[found] = at;
            found += 1;
        }
        let mut ahead = Ahead {
            taken: 0,
            warmed: at.max(1),
        };
        if found < 2 {
            return ahead;
        }
        let reads = &reads[..found];
        let answered = self.answer_all(reads);
        if answered > 0 {
            ahead.taken = ends[answered - 1];
        } else {
            let mut hashes = [0; AHEAD];
            for (hash, read) in hashes.iter_mut().zip(reads) {
                *hash = read.hash;
            }
            self.l1.warm(&hashes[..found]);
        }
        ahead
    }

    /// Answers GETs from L1 as long as they are hits; so many.
    fn answer_all(&mut self, reads: &[Read<'_>]) -> usize {
        if !self.answers_at_once() {
            return 0;
        }
        let Some(seat) = &self.seat else {
            return 0;
        };
        let space = seat.space();
        if seat.is_retired() || !self.l1.serving(space, self.now) {
            return 0;
        }
        let mut keyspaces = [0; AHEAD];
        let (now, resp2) = (self.now, self.resp2);
        let l1 = &self.l1;
        let hits = l1.hits(space, reads, now, resp2, &mut self.out, &mut keyspaces);
        let found = hits.len();
        for &keyspace in hits {
            self.note_hit(keyspace);
        }
        if found == 0 {
            return 0;
        }
        self.telling
            .count(command::GET, Route::L1, self.arrived, found as u64);
        let mut at = self.attention.pass(found);
        while at < found {
            if self.attention.ends() {
                self.single_out(&reads[at], keyspaces[at]);
            }
            at += 1 + self.attention.pass(found - at - 1);
        }
        found
    }

    /// A hit gets more than the least.
    #[cold]
    fn single_out(&mut self, read: &Read<'_>, keyspace: u8) {
        let drawn = self.attention.drawn(self.shares());
        let Ident::Value(key) = read.ident else {
            return;
        };
        if drawn.hot {
            self.l1.hot.note(key, self.now);
        }
        if drawn.traced || self.telling.context.is_some() {
            let told = self.key_to_tell(key);
            self.telling.hit(command::GET, told, keyspace, self.arrived);
        }
        if drawn.audited {
            self.audit_value(key);
        }
    }

    /// Whether a read that L1 can answer is answered now, whatever else it is: nothing has to come before it.
    fn answers_at_once(&self) -> bool {
        let idle = self.sent == self.answered && self.deferred.is_empty() && self.batch.is_empty();
        let alone = self.own.is_none() && self.partial.is_none() && self.ordered.is_none();
        let heard = self.replies == Replies::On && self.streaming.is_none();
        idle && alone
            && heard
            && self.l1.mode() == Mode::On
            && self.lanes.large.is_empty()
            && !self.fenced()
            && self.on_lane()
    }
}

/// Has L1 load what look-ups of the first of these keys will read.
pub(super) fn warm_keys(l1: &L1, request: &[u8], keys: &[Range<usize>]) {
    let mut hashes = [0; AHEAD];
    for (hash, key) in hashes.iter_mut().zip(keys) {
        *hash = l1.hash(&request[key.clone()]);
    }
    l1.warm(&hashes[..keys.len().min(AHEAD)]);
}

/// The key of a GET that a buffer begins with, and where the request ends; `None` also for what only looks unlike one.
fn get(input: &[u8]) -> Option<(&[u8], usize)> {
    let (head, rest) = input.split_first_chunk::<14>()?;
    let same = head == HEAD || head.eq_ignore_ascii_case(HEAD);
    let (length, digits) = match *rest {
        [a @ b'0'..=b'9', b'\r', b'\n', ..] => (usize::from(a - b'0'), 1),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => {
            (usize::from(a - b'0') * 10 + usize::from(b - b'0'), 2)
        }
        _ => return None,
    };
    let start = digits + 2;
    // With the line break behind it, or a part of the request would be taken for the whole.
    let body = rest.get(start..start + length + 2)?;
    same.then_some((&body[..length], HEAD.len() + start + length + 2))
}

#[cfg(test)]
mod tests {
    use super::get;
    use crate::resp::encode;
    use crate::resp::request::{RequestScanner, Scanned};

    #[test]
    fn finds_what_the_scanner_finds() {
        for length in [0, 1, 9, 10, 64, 99] {
            let key = vec![b'k'; length];
            let mut request = Vec::new();
            encode::request(&mut request, &[b"get", &key]);
            let mut scanner = RequestScanner::default();
            let end = request.len();
            assert_eq!(scanner.scan(&request), Ok(Scanned::Request { end }));
            assert_eq!(
                get(&request),
                Some((&request[scanner.args()[1].clone()], end))
            );
            let cut = (0..end).find(|&cut| get(&request[..cut]).is_some());
            assert_eq!(cut, None, "not all had come");
        }
    }

    #[test]
    fn takes_nothing_else_for_a_get() {
        let others: [&[u8]; 6] = [
            b"*2\r\n$3\r\nGET\r\n$1\rxk\r\n",
            b"*2\r\n$3\r\nSET\r\n$1\r\nk\r\n",
            b"*2\r\n$3\r\nGET\r\n$01\r\nk\r\n",
            b"*2\r\n$3\r\nGET\r\n$-1\r\n",
            b"*3\r\n$3\r\nGET\r\n$1\r\nk\r\n$1\r\nk\r\n",
            b"GET k\r\n",
        ];
        for other in others {
            assert_eq!(get(other), None, "{}", String::from_utf8_lossy(other));
        }
    }
}
