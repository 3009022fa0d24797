//! Scanning a client's requests: multibulk arrays and inline commands, with Redis's own limits and texts.

use std::fmt;
use std::ops::Range;

/// Longest header or inline line. Redis takes a longer one where it arrived in one read; here the reads make no difference.
const LINE_LIMIT: usize = 64 * 1024;
/// Longest bulk argument, Redis's default `proto-max-bulk-len`.
const BULK_LIMIT: i64 = 512 << 20;

/// The client broke the protocol; the text is Redis's own and follows `-ERR `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError(pub String);

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol error: {}", self.0)
    }
}

fn fault<T>(text: &str) -> Result<T, RequestError> {
    Err(RequestError(text.to_owned()))
}

/// What [`RequestScanner::scan`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scanned {
    /// More bytes are needed.
    Incomplete,
    /// A multibulk request of `end` bytes; its arguments are in [`RequestScanner::args`].
    Request {
        /// Bytes the request takes.
        end: usize,
    },
    /// An inline request of `end` bytes (line break included) with its arguments unquoted; no arguments for a blank line.
    Inline {
        /// Bytes the request takes.
        end: usize,
        /// Its arguments.
        args: Vec<Vec<u8>>,
    },
}

/// Finds the requests in a growing buffer. The buffer passed to [`Self::scan`] always starts at the current
/// request; what was scanned already is not scanned again.
#[derive(Debug, Default)]
pub struct RequestScanner {
    args: Vec<Range<usize>>,
    at: usize,
    searched: usize,
    missing: usize,
    body: Option<usize>,
}

impl RequestScanner {
    /// The arguments of the request that was found, as ranges of its buffer.
    #[must_use]
    pub fn args(&self) -> &[Range<usize>] {
        &self.args
    }

    /// How many arguments the request has, those included that are still to come.
    #[must_use]
    pub fn announced(&self) -> usize {
        self.args.len() + self.missing
    }

    /// Makes ready for the next request.
    pub fn reset(&mut self) {
        self.args.clear();
        self.at = 0;
        self.searched = 0;
        self.missing = 0;
        self.body = None;
    }

    /// Looks for a whole request at the start of `buf`.
    ///
    /// # Errors
    /// The bytes are no request; the connection is to be closed after the error reply.
    pub fn scan(&mut self, buf: &[u8]) -> Result<Scanned, RequestError> {
        if self.at == 0 {
            let counted = match few_digits(buf, 0, b'*') {
                Some((n, next)) => Some((i64::try_from(n).unwrap_or(i64::MAX), next)),
                None => match buf.first() {
                    None => return Ok(Scanned::Incomplete),
                    Some(b'*') => self.number(
                        buf,
                        "too big mbulk count string",
                        "invalid multibulk length",
                    )?,
                    Some(_) => return self.scan_inline(buf),
                },
            };
            let Some((n, next)) = counted else {
                return Ok(Scanned::Incomplete);
            };
            if n > i64::from(i32::MAX) {
                return fault("invalid multibulk length");
            }
            if n <= 0 {
                return Ok(Scanned::Inline {
                    end: next,
                    args: Vec::new(),
                });
            }
            self.at = next;
            self.searched = next;
            self.missing = usize::try_from(n).unwrap_or_default();
        }
        self.take_whole(buf);
        while self.missing > 0 {
            let len = match self.body {
                Some(len) => len,
                None => match buf.get(self.at) {
                    None => return Ok(Scanned::Incomplete),
                    Some(b'$') => {
                        let Some((n, next)) =
                            self.number(buf, "too big bulk count string", "invalid bulk length")?
                        else {
                            return Ok(Scanned::Incomplete);
                        };
                        if !(0..=BULK_LIMIT).contains(&n) {
                            return fault("invalid bulk length");
                        }
                        self.at = next;
                        let len = usize::try_from(n).unwrap_or_default();
                        self.body = Some(len);
                        len
                    }
                    Some(&other) if other.is_ascii() => {
                        return Err(RequestError(format!(
                            "expected '$', got '{}'",
                            char::from(other)
                        )));
                    }
                    // The text is UTF-8, and a lone byte of the upper half is not.
                    Some(_) => return fault("expected '$', got '?'"),
                },
            };
            if buf.len() < self.at + len + 2 {
                return Ok(Scanned::Incomplete);
            }
            self.args.push(self.at..self.at + len);
            self.at += len + 2;
            self.searched = self.at;
            self.body = None;
            self.missing -= 1;
        }
        Ok(Scanned::Request { end: self.at })
    }

    /// Takes the arguments that are not long, and whole, as nearly all are.
    #[inline]
    fn take_whole(&mut self, buf: &[u8]) {
        if self.body.is_some() {
            return;
        }
        let (mut at, mut missing) = (self.at, self.missing);
        while missing > 0
            && let Some((length, start)) = few_digits(buf, at, b'$')
        {
            let end = start + length;
            if buf.len() < end + 2 {
                break;
            }
            self.args.push(start..end);
            missing -= 1;
            at = end + 2;
        }
        (self.at, self.missing) = (at, missing);
        self.searched = self.searched.max(at);
    }

    /// The number on the header line at `self.at` and where the next line starts; [`few_digits`] has been tried.
    #[cold]
    fn number(
        &mut self,
        buf: &[u8],
        too_big: &str,
        invalid: &str,
    ) -> Result<Option<(i64, usize)>, RequestError> {
        let Some(cr) = self.find(buf, b'\r', too_big)? else {
            return Ok(None);
        };
        if buf.len() < cr + 2 {
            self.searched = cr;
            return Ok(None);
        }
        match super::frame::parse_integer(&buf[self.at + 1..cr]) {
            Some(n) => Ok(Some((n, cr + 2))),
            None => fault(invalid),
        }
    }

    /// Where the line at `self.at` ends, looking on from where the last call stopped.
    fn find(&mut self, buf: &[u8], end: u8, too_big: &str) -> Result<Option<usize>, RequestError> {
        let from = self.searched.max(self.at);
        let limit = self.at + LINE_LIMIT + 1;
        let within = &buf[..buf.len().min(limit)];
        match within[from..].iter().position(|&b| b == end) {
            Some(found) => Ok(Some(from + found)),
            None if within.len() == limit => fault(too_big),
            None => {
                self.searched = within.len();
                Ok(None)
            }
        }
    }

    fn scan_inline(&mut self, buf: &[u8]) -> Result<Scanned, RequestError> {
        let Some(newline) = self.find(buf, b'\n', "too big inline request")? else {
            return Ok(Scanned::Incomplete);
        };
        // Whoever holds the request scans it again.
        self.searched = newline;
        let line = buf[..newline]
            .strip_suffix(b"\r")
            .unwrap_or(&buf[..newline]);
        match split_inline(line) {
            Some(args) => Ok(Scanned::Inline {
                end: newline + 1,
                args,
            }),
            None => fault("unbalanced quotes in request"),
        }
    }
}

/// The number on the header line at `at`, which begins with `kind`, and where the next line starts, if it has at most three
/// digits and is whole.
#[inline]
fn few_digits(buf: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    const BREAK: u64 = u16::from_le_bytes(*b"\r\n") as u64;
    let rest = buf.get(at..)?;
    let padded = || {
        let mut bytes = [0; 8];
        bytes[..rest.len()].copy_from_slice(rest);
        bytes
    };
    let bytes = u64::from_le_bytes(rest.first_chunk().copied().unwrap_or_else(padded));
    if bytes.to_le_bytes()[0] != kind {
        return None;
    }
    let digit = |n: u32| (((bytes >> (8 * n)) & 0xff) as usize).wrapping_sub(usize::from(b'0'));
    let breaks = |n: u32| (bytes >> (8 * n)) & 0xffff == BREAK;
    let first = digit(1);
    if breaks(2) {
        return (first <= 9).then_some((first, at + 4));
    }
    // Nothing begins with a zero.
    let second = digit(2);
    if !(1..=9).contains(&first) || second > 9 {
        return None;
    }
    let two = first * 10 + second;
    if breaks(3) {
        return Some((two, at + 5));
    }
    let third = digit(3);
    (third <= 9 && breaks(4)).then(|| (two * 10 + third, at + 6))
}

/// C's `isspace`, which Redis uses before an argument and behind a closing quote.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 9..=13)
}

/// Splits an inline command as Redis does: blanks separate, `"` quotes with escapes, `'` quotes with `\'` alone.
/// Vertical tab and form feed are blanks before an argument and a part of it inside.
fn split_inline(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut args = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).copied().is_some_and(is_space) {
            at += 1;
        }
        if at >= line.len() {
            return Some(args);
        }
        let mut arg = Vec::new();
        let mut quote: Option<u8> = None;
        loop {
            let Some(&byte) = line.get(at) else {
                if quote.is_some() {
                    return None;
                }
                break;
            };
            match (quote, byte) {
                (Some(b'"'), b'\\') if at + 1 < line.len() => at += unescape(&line[at..], &mut arg),
                (Some(b'\''), b'\\') if line.get(at + 1) == Some(&b'\'') => {
                    arg.push(b'\'');
                    at += 2;
                }
                (Some(q), b) if q == b => {
                    if line.get(at + 1).is_some_and(|&next| !is_space(next)) {
                        return None;
                    }
                    at += 1;
                    break;
                }
                (None, b'"' | b'\'') => {
                    quote = Some(byte);
                    at += 1;
                }
                (None, b' ' | b'\t' | b'\r' | b'\n') => break,
                (_, b) => {
                    arg.push(b);
                    at += 1;
                }
            }
        }
        args.push(arg);
    }
}

/// Unescapes what follows a backslash inside double quotes; the bytes taken, backslash included.
fn unescape(from: &[u8], arg: &mut Vec<u8>) -> usize {
    if let [_, b'x', high, low, ..] = from
        && let (Some(high), Some(low)) = (
            char::from(*high).to_digit(16),
            char::from(*low).to_digit(16),
        )
    {
        arg.push(u8::try_from(high * 16 + low).unwrap_or_default());
        return 4;
    }
    arg.push(match from[1] {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    });
    2
}
