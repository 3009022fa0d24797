//! Walking reply frames, RESP2 and RESP3, as the bytes arrive.
//!
//! [`FrameWalker`] keeps only the counts of what is still missing, so it can stop at any byte; what it meets
//! it tells a [`Sink`].

use std::fmt;

/// Longest line of a header, a null or a boolean; a length has 19 digits at most.
const SHORT_LINE: usize = 32;
/// Longest line of a double or a big number.
const LONG_LINE: usize = 64 * 1024;

/// The upstream's bytes are no RESP; nothing behind them can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameError(pub &'static str);

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a walk tells of the frame it goes through.
pub trait Sink {
    /// An element of this kind begins, inside `depth` aggregates. What an attribute holds is one deeper than the
    /// element that it describes, which follows it.
    fn element(&mut self, _kind: u8, _depth: usize) {}
    /// A header of a bulk or aggregate (`$ = ! * ~ % > |`) with its count, -1 for the RESP2 nulls.
    fn header(&mut self, kind: u8, n: i64);
    /// A whole short line: `_`, `#`, `,` or `(`; `text` without kind and line break.
    fn scalar(&mut self, kind: u8, text: &[u8]);
    /// Bytes of a `+`, `-` or `:` line, kind and line break included, in as many parts as they came.
    fn line(&mut self, bytes: &[u8]);
    /// Bytes of a bulk's body, in as many parts as they came, without the line break.
    fn body(&mut self, bytes: &[u8]);
    /// A bulk's body has ended.
    fn body_end(&mut self);
}

/// A sink that wants to know nothing.
#[derive(Debug, Clone, Copy)]
pub struct Ignore;

impl Sink for Ignore {
    fn header(&mut self, _: u8, _: i64) {}
    fn scalar(&mut self, _: u8, _: &[u8]) {}
    fn line(&mut self, _: &[u8]) {}
    fn body(&mut self, _: &[u8]) {}
    fn body_end(&mut self) {}
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Between elements.
    Start,
    /// Inside a `+`, `-` or `:` line; `cr` says that its last byte so far was a CR.
    Line { cr: bool },
    /// Inside a bulk's body: bytes of it and then of its line break that are missing.
    Body { left: u64, ending: u8 },
}

/// Marks a count of what is missing as an attribute's: it stands before an element and is none itself.
const ATTRIBUTE: u64 = 1 << 63;

/// How far one call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// Bytes gone through.
    pub consumed: usize,
    /// The frame ended there.
    pub done: bool,
}

/// Walks one frame after another. What a call did not go through comes again, first, with more behind it.
#[derive(Debug)]
pub struct FrameWalker {
    open: Vec<u64>,
    within: Within,
    begun: bool,
    /// Bytes of a long line that hold no line break. Short lines are looked through anew: a caller may take those itself.
    searched: usize,
}

impl Default for FrameWalker {
    fn default() -> Self {
        Self {
            open: Vec::new(),
            within: Within::Start,
            begun: false,
            searched: 0,
        }
    }
}

impl FrameWalker {
    /// Whether a frame has begun and not ended.
    #[must_use]
    pub fn in_frame(&self) -> bool {
        self.begun
    }

    /// Goes on through the current frame, to its end at most.
    ///
    /// # Errors
    /// The bytes are no RESP.
    pub fn walk<S: Sink>(&mut self, buf: &[u8], sink: &mut S) -> Result<Walked, FrameError> {
        let mut at = 0;
        while at < buf.len() {
            match self.within {
                Within::Start => {
                    let (used, ended) = self.element(&buf[at..], sink)?;
                    if used == 0 {
                        break;
                    }
                    self.begun = true;
                    at += used;
                    if ended && self.close() {
                        return Ok(Walked {
                            consumed: at,
                            done: true,
                        });
                    }
                }
                Within::Line { cr } => {
                    let (used, ended, cr) = line_end(&buf[at..], cr);
                    sink.line(&buf[at..at + used]);
                    at += used;
                    self.within = if ended {
                        Within::Start
                    } else {
                        Within::Line { cr }
                    };
                    if ended && self.close() {
                        return Ok(Walked {
                            consumed: at,
                            done: true,
                        });
                    }
                }
                Within::Body { left, ending } => {
                    let rest = &buf[at..];
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    if take > 0 {
                        sink.body(&rest[..take]);
                        at += take;
                    }
                    let left = left - take as u64;
                    let skip = if left == 0 {
                        usize::from(ending).min(buf.len() - at)
                    } else {
                        0
                    };
                    at += skip;
                    let ending = ending - u8::try_from(skip).unwrap_or_default();
                    self.within = Within::Body { left, ending };
                    if left == 0 && ending == 0 {
                        self.within = Within::Start;
                        sink.body_end();
                        if self.close() {
                            return Ok(Walked {
                                consumed: at,
                                done: true,
                            });
                        }
                    }
                }
            }
        }
        Ok(Walked {
            consumed: at,
            done: false,
        })
    }

    /// One element has ended; whether the frame has ended with it.
    fn close(&mut self) -> bool {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            let attribute = *left & ATTRIBUTE != 0;
            if *left & !ATTRIBUTE > 0 {
                return false;
            }
            self.open.pop();
            if attribute {
                return false;
            }
        }
        self.begun = false;
        true
    }

    /// Starts the element at the start of `buf`: bytes used (0 when its first line is not whole yet), whether it ended.
    fn element<S: Sink>(&mut self, buf: &[u8], sink: &mut S) -> Result<(usize, bool), FrameError> {
        let kind = buf[0];
        if matches!(kind, b'+' | b'-' | b':') {
            self.within = Within::Line { cr: false };
            self.begun = true;
            sink.element(kind, self.open.len());
            let (used, ended, cr) = line_end(buf, false);
            sink.line(&buf[..used]);
            self.within = if ended {
                Within::Start
            } else {
                Within::Line { cr }
            };
            return Ok((used, ended));
        }
        let Some((text, used)) = self.first_line(buf)? else {
            return Ok((0, false));
        };
        match kind {
            b',' | b'(' => {}
            b'_' if text.is_empty() => {}
            b'#' if matches!(text, b"t" | b"f") => {}
            b'$' | b'=' | b'!' => {
                let n = length(kind, text, i64::MAX)?;
                sink.element(kind, self.open.len());
                sink.header(kind, n);
                if n >= 0 {
                    self.within = Within::Body {
                        left: n.unsigned_abs(),
                        ending: 2,
                    };
                }
                return Ok((used, n < 0));
            }
            b'*' | b'~' | b'%' | b'>' | b'|' => {
                let n = length(kind, text, 1 << 40)?;
                sink.element(kind, self.open.len());
                sink.header(kind, n);
                let count = n.max(0).unsigned_abs();
                let (elements, mark) = match kind {
                    b'%' => (count * 2, 0),
                    b'|' => (count * 2, ATTRIBUTE),
                    _ => (count, 0),
                };
                if elements > 0 {
                    self.open.push(elements | mark);
                }
                return Ok((used, elements == 0 && kind != b'|'));
            }
            _ => return Err(FrameError("a null or boolean with another text")),
        }
        sink.element(kind, self.open.len());
        sink.scalar(kind, text);
        Ok((used, true))
    }

    /// The line at the start of `buf`, where it is whole: its text without kind and line break, and its length.
    fn first_line<'b>(&mut self, buf: &'b [u8]) -> Result<Option<(&'b [u8], usize)>, FrameError> {
        let limit = match buf[0] {
            b',' | b'(' => LONG_LINE,
            b'_' | b'#' | b'$' | b'=' | b'!' | b'*' | b'~' | b'%' | b'>' | b'|' => SHORT_LINE,
            _ => return Err(FrameError("an unknown kind of frame")),
        };
        let within = &buf[..buf.len().min(limit)];
        let from = self.searched.min(within.len());
        let Some(found) = within[from..].iter().position(|&b| b == b'\n') else {
            if within.len() == limit {
                return Err(FrameError("a header line without an end"));
            }
            if limit == LONG_LINE {
                self.searched = within.len();
            }
            return Ok(None);
        };
        self.searched = 0;
        match &buf[1..from + found] {
            [text @ .., b'\r'] => Ok(Some((text, from + found + 1))),
            _ => Err(FrameError("a header line without CR")),
        }
    }
}

/// A length; only the RESP2 nulls have -1.
fn length(kind: u8, text: &[u8], longest: i64) -> Result<i64, FrameError> {
    let least = if matches!(kind, b'$' | b'*') { -1 } else { 0 };
    parse_integer(text)
        .filter(|n| (least..=longest).contains(n))
        .ok_or(FrameError("a length that is no number"))
}

/// Up to where the line goes: bytes used, whether it ended, whether its last byte is a CR.
fn line_end(buf: &[u8], cr: bool) -> (usize, bool, bool) {
    if cr && buf.first() == Some(&b'\n') {
        return (1, true, false);
    }
    let mut from = 0;
    while let Some(found) = buf[from..].iter().position(|&b| b == b'\n') {
        let lf = from + found;
        if lf > 0 && buf[lf - 1] == b'\r' {
            return (lf + 1, true, false);
        }
        from = lf + 1;
    }
    (buf.len(), false, buf.last() == Some(&b'\r'))
}

/// A signed decimal integer as Redis writes and takes it: no plus sign, no leading zeros.
#[must_use]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    if text == b"0" {
        return Some(0);
    }
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    // Counted downwards, since the least integer has no positive counterpart.
    let mut n: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        n = n.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if negative { Some(n) } else { n.checked_neg() }
}
