//! RESP3 replies for RESP2 clients, converted as they arrive by the rules that Redis itself follows.
//!
//! Null to `$-1`, map and set to array, double, big number and verbatim (without its 4-byte prefix) to bulk,
//! boolean to integer. Commands whose RESP2 form differs by more do not take the lane for RESP2 clients.

use super::encode;
use super::frame::Sink;

/// Appends the RESP2 form of what is walked to a buffer. One value lives as long as the frame is under way.
#[derive(Debug, Default)]
pub struct Downgrade {
    skip: usize,
}

impl Downgrade {
    /// The sink that writes to `out`.
    pub fn into_buffer<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Downgrading<'a> {
        Downgrading { state: self, out }
    }
}

/// A [`Downgrade`] at work.
#[derive(Debug)]
pub struct Downgrading<'a> {
    state: &'a mut Downgrade,
    out: &'a mut Vec<u8>,
}

impl Sink for Downgrading<'_> {
    fn header(&mut self, kind: u8, n: i64) {
        let count = n.max(0).unsigned_abs();
        match kind {
            _ if n < 0 => {
                let null: &[u8] = if kind == b'*' { b"*-1\r\n" } else { b"$-1\r\n" };
                self.out.extend_from_slice(null);
            }
            b'%' => encode::header(self.out, b'*', count * 2),
            b'*' | b'~' | b'>' => encode::header(self.out, b'*', count),
            b'=' => {
                self.state.skip = 4;
                encode::header(self.out, b'$', count.saturating_sub(4));
            }
            // Attributes are never sent to a client that did not ask for them.
            b'|' => {}
            _ => encode::header(self.out, b'$', count),
        }
    }

    fn scalar(&mut self, kind: u8, text: &[u8]) {
        match kind {
            b'_' => encode::nil(self.out, true),
            b'#' => self
                .out
                .extend_from_slice(if text == b"t" { b":1\r\n" } else { b":0\r\n" }),
            _ => encode::bulk(self.out, text),
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn body(&mut self, bytes: &[u8]) {
        let skipped = self.state.skip.min(bytes.len());
        self.state.skip -= skipped;
        self.out.extend_from_slice(&bytes[skipped..]);
    }

    fn body_end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}
