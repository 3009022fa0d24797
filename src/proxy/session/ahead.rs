//! A look ahead: what the reads in hand will look up is on its way from memory before the first is taken.

use std::ops::Range;

use super::Session;
use crate::l1::AHEAD;

/// How a GET begins, up to the length of its key.
const HEAD: &[u8; 14] = b"*2\r\n$3\r\nGET\r\n$";

impl<S> Session<S> {
    /// Has L1 load what the next GETs of the input will look up; how much of the input that covers.
    pub(super) fn warm(&self, input: &[u8]) -> usize {
        let (mut hashes, mut found, mut at) = ([0; AHEAD], 0, 0);
        while found < AHEAD
            && let Some((key, end)) = input.get(at..).and_then(get)
        {
            hashes[found] = self.l1.hash(key);
            found += 1;
            at += end;
        }
        if found > 1 {
            self.l1.warm(&hashes[..found]);
        }
        at.max(1)
    }

    /// The same for the first keys of a read of several.
    pub(super) fn warm_keys(&self, request: &[u8], keys: &[Range<usize>]) {
        let mut hashes = [0; AHEAD];
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.l1.hash(&request[key.clone()]);
        }
        self.l1.warm(&hashes[..keys.len().min(AHEAD)]);
    }
}

/// The key of a GET that a buffer begins with, and where the request ends; `None` also for what only looks unlike one.
fn get(input: &[u8]) -> Option<(&[u8], usize)> {
    let (head, rest) = input.split_first_chunk::<14>()?;
    let same = head == HEAD || head.eq_ignore_ascii_case(HEAD);
    let (length, digits) = match *rest {
        [a @ b'0'..=b'9', b'\r', ..] => (usize::from(a - b'0'), 1),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', ..] => {
            (usize::from(a - b'0') * 10 + usize::from(b - b'0'), 2)
        }
        _ => return None,
    };
    let start = digits + 2;
    let key = rest.get(start..start + length)?;
    same.then_some((key, HEAD.len() + start + length + 2))
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
            let cut = (0..end - 2).find(|&cut| get(&request[..cut]).is_some());
            assert_eq!(cut, None, "the key had not come yet");
        }
    }

    #[test]
    fn takes_nothing_else_for_a_get() {
        let others: [&[u8]; 5] = [
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
