//! RESP3 replies for RESP2 clients, converted as they arrive by the rules that Redis itself follows.
//!
//! The generic rules: null to `$-1`, map to a flat array, set to array, double, big number and verbatim (without its
//! 4-byte prefix) to bulk, boolean to integer, attributes left out. Doubles have the same digits in both protocols.
//! What a command does beyond that is its [`Shape`], which follows from the command and its number of arguments, so
//! that nothing has to be kept back: no more than the header of an array whose elements may turn out to be pairs.

use super::encode;
use super::frame::Sink;

const NULL: &[u8] = b"$-1\r\n";
const NULL_ARRAY: &[u8] = b"*-1\r\n";

/// How a command's RESP2 reply differs from its RESP3 reply by more than the generic rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Not at all.
    #[default]
    Generic,
    /// A null for a reply is a null array (LMPOP, XRANGE).
    NullArray,
    /// An element that is null is a null array (GEOPOS).
    NullElements,
    /// The fourth element, if it is null, is a null array (the summary of XPENDING).
    NullFourth,
    /// An array of pairs is a flat array (WITHSCORES, WITHVALUES).
    Pairs,
    /// A map of keys to entries is an array of such pairs, and every null is a null array (XREAD).
    Streams,
}

impl Shape {
    /// A reply that is null.
    #[inline]
    #[must_use]
    pub fn null(self) -> &'static [u8] {
        if self.null_is_array(0, 0) {
            NULL_ARRAY
        } else {
            NULL
        }
    }

    /// Whether a null inside so many aggregates, with so many elements of the reply begun, is a null array.
    #[inline]
    fn null_is_array(self, depth: usize, begun: u64) -> bool {
        match self {
            Self::Generic | Self::Pairs => false,
            Self::NullArray => depth == 0,
            Self::NullElements => depth == 1,
            Self::NullFourth => depth == 1 && begun == 4,
            Self::Streams => true,
        }
    }
}

/// What is under way at the top of a reply, beyond the generic rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Top {
    #[default]
    Plain,
    /// [`Shape::Pairs`]: the header of an array of so many elements, kept back until the first one is seen.
    Held(u64),
    /// [`Shape::Pairs`]: the headers of the elements are left out.
    Flattened,
    /// [`Shape::Streams`]: every other element begins a pair.
    Map,
}

/// Converts one reply. One value lives as long as the frame is under way.
#[derive(Debug, Default)]
pub struct Downgrade {
    shape: Shape,
    /// The shapes of the replies inside EXEC's that are still to come.
    queued: Option<std::vec::IntoIter<Shape>>,
    top: Top,
    /// Where the element under way stands: inside so many aggregates of the reply; `None` for EXEC's own header, and
    /// where it does not matter.
    depth: Option<usize>,
    /// Elements of the reply that have begun.
    begun: u64,
    /// Bytes of the body that are left out.
    skip: usize,
    /// The body is an error's.
    error: bool,
    /// Inside an attribute of an element at this depth of the frame.
    attribute: Option<usize>,
}

impl Downgrade {
    /// For a reply of this shape.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            ..Self::default()
        }
    }

    /// For EXEC's reply, whose elements are the replies to commands of these shapes.
    #[must_use]
    pub fn exec(shapes: Vec<Shape>) -> Self {
        Self {
            queued: Some(shapes.into_iter()),
            ..Self::default()
        }
    }

    /// The sink that writes to `out`.
    pub fn into_buffer<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Downgrading<'a> {
        Downgrading { state: self, out }
    }

    /// A null where the element under way stands is a null array.
    fn null_is_array(&self) -> bool {
        match self.depth {
            None => self.queued.is_some(),
            Some(depth) => self.shape.null_is_array(depth, self.begun),
        }
    }
}

/// A [`Downgrade`] at work.
#[derive(Debug)]
pub struct Downgrading<'a> {
    state: &'a mut Downgrade,
    out: &'a mut Vec<u8>,
}

impl Downgrading<'_> {
    fn array(&mut self, count: u64) {
        encode::header(self.out, b'*', count);
    }

    /// The header of an array with its place in the shape.
    fn array_header(&mut self, count: u64) {
        match (self.state.depth, self.state.top) {
            (Some(0), _) if self.state.shape == Shape::Pairs && count > 0 => {
                self.state.top = Top::Held(count);
            }
            (Some(1), Top::Held(pairs)) if count == 2 => {
                self.state.top = Top::Flattened;
                self.array(pairs * 2);
            }
            (Some(1), Top::Held(elements)) => {
                self.state.top = Top::Plain;
                self.array(elements);
                self.array(count);
            }
            (Some(1), Top::Flattened) => {}
            _ => self.array(count),
        }
    }

    /// Finds where an element stands in the shape, and writes what comes before it.
    fn place(&mut self, kind: u8, depth: usize) {
        let state = &mut *self.state;
        state.depth = match &mut state.queued {
            None => Some(depth),
            Some(shapes) => {
                if depth == 1 {
                    state.shape = shapes.next().unwrap_or_default();
                    state.top = Top::Plain;
                    state.begun = 0;
                }
                depth.checked_sub(1)
            }
        };
        if state.depth != Some(1) {
            return;
        }
        state.begun += 1;
        match state.top {
            Top::Held(elements) if kind != b'*' => {
                state.top = Top::Plain;
                self.array(elements);
            }
            Top::Map if state.begun % 2 == 1 => self.array(2),
            _ => {}
        }
    }
}

impl Sink for Downgrading<'_> {
    #[inline]
    fn element(&mut self, kind: u8, depth: usize) {
        if self.state.attribute.is_some() || kind == b'|' {
            let within = |described| depth > described;
            if self.state.attribute.is_some_and(within) {
                return;
            }
            self.state.attribute = (kind == b'|').then_some(depth);
            if kind == b'|' {
                return;
            }
        }
        if self.state.shape != Shape::Generic || self.state.queued.is_some() {
            self.place(kind, depth);
        }
    }

    fn header(&mut self, kind: u8, n: i64) {
        if self.state.attribute.is_some() {
            return;
        }
        let count = n.max(0).unsigned_abs();
        match kind {
            _ if n < 0 => {
                let null = if kind == b'*' { NULL_ARRAY } else { NULL };
                self.out.extend_from_slice(null);
            }
            b'%' if self.state.shape == Shape::Streams && self.state.depth == Some(0) => {
                self.state.top = Top::Map;
                self.array(count);
            }
            b'%' => self.array(count * 2),
            b'*' => self.array_header(count),
            b'~' | b'>' => self.array(count),
            b'=' => {
                let prefix = count.min(4);
                self.state.skip = usize::try_from(prefix).unwrap_or_default();
                encode::header(self.out, b'$', count - prefix);
            }
            b'!' => {
                self.state.error = true;
                self.out.push(b'-');
            }
            _ => encode::header(self.out, b'$', count),
        }
    }

    fn scalar(&mut self, kind: u8, text: &[u8]) {
        if self.state.attribute.is_some() {
            return;
        }
        match kind {
            b'_' if self.state.null_is_array() => self.out.extend_from_slice(NULL_ARRAY),
            b'_' => self.out.extend_from_slice(NULL),
            b'#' => self
                .out
                .extend_from_slice(if text == b"t" { b":1\r\n" } else { b":0\r\n" }),
            _ => encode::bulk(self.out, text),
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        if self.state.attribute.is_none() {
            self.out.extend_from_slice(bytes);
        }
    }

    fn body(&mut self, bytes: &[u8]) {
        if self.state.attribute.is_some() {
            return;
        }
        if self.state.error {
            // A RESP2 error is one line.
            let blank = |b: &u8| if matches!(b, b'\r' | b'\n') { b' ' } else { *b };
            self.out.extend(bytes.iter().map(blank));
            return;
        }
        let skipped = self.state.skip.min(bytes.len());
        self.state.skip -= skipped;
        self.out.extend_from_slice(&bytes[skipped..]);
    }

    fn body_end(&mut self) {
        if self.state.attribute.is_none() {
            self.state.error = false;
            self.out.extend_from_slice(b"\r\n");
        }
    }
}
