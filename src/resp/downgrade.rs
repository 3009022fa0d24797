//! RESP3 replies for RESP2 clients, converted as they arrive by the rules that Redis itself follows.
//!
//! Null to `$-1`, map and set to array, double, big number and verbatim (without its 4-byte prefix) to bulk,
//! boolean to integer, a bulk error to a line; attributes are left out, since RESP2 has none. Commands whose RESP2
//! form differs by more do not take the lane for RESP2 clients.

use super::encode;
use super::frame::Sink;

/// What the bytes of the element under way become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Within {
    /// Written as they are.
    #[default]
    Plain,
    /// A verbatim's body, of whose prefix so many bytes are still to be left out.
    Verbatim { prefix: usize },
    /// A bulk error's body, which becomes a line and so may hold no line break.
    Error,
    /// The body of a part of an attribute.
    OmittedBody,
    /// The same, a line; `cr` says that its last byte so far was a CR.
    OmittedLine { cr: bool },
}

/// Appends the RESP2 form of what is walked to a buffer. One value lives as long as the frame is under way.
#[derive(Debug, Default)]
pub struct Downgrade {
    within: Within,
    /// Elements of attributes that are still to be left out.
    omitted: u64,
}

impl Downgrade {
    /// The sink that writes to `out`.
    pub fn into_buffer<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Downgrading<'a> {
        Downgrading { state: self, out }
    }

    /// An element begins that has `children` elements of its own; whether it is part of an attribute.
    fn omits(&mut self, children: u64) -> bool {
        if self.omitted == 0 {
            return false;
        }
        self.omitted = (self.omitted - 1).saturating_add(children);
        true
    }
}

/// A [`Downgrade`] at work.
#[derive(Debug)]
pub struct Downgrading<'a> {
    state: &'a mut Downgrade,
    out: &'a mut Vec<u8>,
}

impl Downgrading<'_> {
    fn aggregate(&mut self, elements: u64) {
        if !self.state.omits(elements) {
            encode::header(self.out, b'*', elements);
        }
    }
}

impl Sink for Downgrading<'_> {
    fn header(&mut self, kind: u8, n: i64) {
        let count = n.max(0).unsigned_abs();
        match kind {
            _ if n < 0 => {
                if !self.state.omits(0) {
                    let null: &[u8] = if kind == b'*' { b"*-1\r\n" } else { b"$-1\r\n" };
                    self.out.extend_from_slice(null);
                }
            }
            b'%' => self.aggregate(count * 2),
            b'*' | b'~' | b'>' => self.aggregate(count),
            b'|' => self.state.omitted = self.state.omitted.saturating_add(count * 2),
            _ if self.state.omits(0) => self.state.within = Within::OmittedBody,
            b'=' => {
                let prefix = count.min(4);
                self.state.within = Within::Verbatim {
                    prefix: usize::try_from(prefix).unwrap_or_default(),
                };
                encode::header(self.out, b'$', count - prefix);
            }
            b'!' => {
                self.state.within = Within::Error;
                self.out.push(b'-');
            }
            _ => encode::header(self.out, b'$', count),
        }
    }

    fn scalar(&mut self, kind: u8, text: &[u8]) {
        if self.state.omits(0) {
            return;
        }
        match kind {
            b'_' => encode::nil(self.out, true),
            b'#' => self
                .out
                .extend_from_slice(if text == b"t" { b":1\r\n" } else { b":0\r\n" }),
            _ => encode::bulk(self.out, text),
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        let cr = if let Within::OmittedLine { cr } = self.state.within {
            cr
        } else if self.state.omits(0) {
            false
        } else {
            return self.out.extend_from_slice(bytes);
        };
        let ended = bytes.ends_with(b"\r\n") || (cr && bytes == b"\n");
        self.state.within = if ended {
            Within::Plain
        } else {
            Within::OmittedLine {
                cr: bytes.ends_with(b"\r"),
            }
        };
    }

    fn body(&mut self, bytes: &[u8]) {
        match &mut self.state.within {
            Within::Plain => self.out.extend_from_slice(bytes),
            Within::Verbatim { prefix } => {
                let skipped = bytes.len().min(*prefix);
                *prefix -= skipped;
                self.out.extend_from_slice(&bytes[skipped..]);
            }
            Within::Error => {
                let blank = |&b: &u8| if matches!(b, b'\r' | b'\n') { b' ' } else { b };
                self.out.extend(bytes.iter().map(blank));
            }
            Within::OmittedBody | Within::OmittedLine { .. } => {}
        }
    }

    fn body_end(&mut self) {
        if self.state.within != Within::OmittedBody {
            self.out.extend_from_slice(b"\r\n");
        }
        self.state.within = Within::Plain;
    }
}
