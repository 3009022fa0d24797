//! Reply frames: [`FrameWalker`] and the down-conversion to RESP2.

use nearside::resp::downgrade::Downgrade;
use nearside::resp::encode;
use nearside::resp::frame::{FrameError, FrameWalker, Ignore};
use redis_protocol::resp3::decode::complete;
use redis_protocol::resp3::encode::complete as encoder;
use redis_protocol::resp3::types::{OwnedFrame, Resp3Frame as _};

use super::split::Split;

/// Deeper than any reply; the oracle recurses.
const DEPTH: usize = 50;

/// What a walk over a stream came to.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Where each frame ended.
    ends: Vec<usize>,
    /// What RESP2 clients get.
    resp2: Vec<u8>,
    fault: Option<FrameError>,
}

/// Any split of the input's stream gives what the model and the oracle give of the whole.
///
/// # Panics
/// They disagree.
pub fn check(input: &[u8]) {
    let split = Split::of(input);
    let stream = split.stream;
    let whole = walk(stream, [stream.len()]);
    assert_eq!(walk(stream, split.arrivals()), whole, "the split matters");

    let (mut ends, mut resp2, mut at) = (Vec::new(), Vec::new(), 0);
    let broken = loop {
        if at == stream.len() {
            break false;
        }
        let found = frame(&stream[at..], 0);
        let deep = matches!(found, Err(Stop::Deep));
        if !deep {
            same_as_oracle(&stream[at..], found.as_ref().ok().map(|(_, used)| *used));
        }
        match found {
            Ok((value, used)) => {
                at += used;
                ends.push(at);
                downgraded(&value, &mut resp2);
            }
            Err(Stop::Deep) => return,
            Err(Stop::Incomplete) => break false,
            Err(Stop::Broken) => break true,
        }
    };
    assert_eq!(whole.ends, ends, "the model's frames end elsewhere");
    assert_eq!(whole.fault.is_some(), broken, "{:?}", whole.fault);
    let begun = whole.resp2.strip_prefix(&resp2[..]);
    assert!(begun.is_some(), "the model converts otherwise");
    if at == stream.len() {
        assert_eq!(begun, Some(&b""[..]));
    }
}

/// Walks the stream twice, for the ends and for the conversion; what was not used comes again.
fn walk(stream: &[u8], arrivals: impl IntoIterator<Item = usize>) -> Seen {
    let (mut plain, mut converting) = (FrameWalker::default(), FrameWalker::default());
    let (mut downgrade, mut at) = (Downgrade::default(), 0);
    let mut seen = Seen {
        ends: Vec::new(),
        resp2: Vec::new(),
        fault: None,
    };
    for arrived in arrivals {
        while at < arrived {
            let waiting = &stream[at..arrived];
            let walked = plain.walk(waiting, &mut Ignore);
            let converted = converting.walk(waiting, &mut downgrade.into_buffer(&mut seen.resp2));
            assert_eq!(walked, converted, "the sink matters");
            let walked = match walked {
                Ok(walked) => walked,
                Err(fault) => {
                    seen.fault = Some(fault);
                    return seen;
                }
            };
            at += walked.consumed;
            assert!(!walked.done || !plain.in_frame(), "it ended and goes on");
            if walked.done {
                seen.ends.push(at);
            } else {
                break;
            }
        }
    }
    seen
}

#[derive(Debug)]
enum Value<'a> {
    Line(&'a [u8]),
    Null {
        array: bool,
    },
    Boolean(bool),
    /// A double, a big number or a bulk.
    Text(&'a [u8]),
    Verbatim(&'a [u8]),
    Error(&'a [u8]),
    /// The elements of an array, set, push or map, a map's keys and values in turn.
    Elements(Vec<Value<'a>>),
}

enum Stop {
    Incomplete,
    Broken,
    Deep,
}

/// The frame at the start of `buf`, and its length.
fn frame(buf: &[u8], depth: usize) -> Result<(Value<'_>, usize), Stop> {
    if depth > DEPTH {
        return Err(Stop::Deep);
    }
    let kind = *buf.first().ok_or(Stop::Incomplete)?;
    if b"+-:".contains(&kind) {
        let end = buf.windows(2).position(|two| two == b"\r\n");
        let end = end.ok_or(Stop::Incomplete)? + 2;
        return Ok((Value::Line(&buf[..end]), end));
    }
    let longest = match kind {
        b',' | b'(' => 65536,
        _ if b"_#$=!*~%>|".contains(&kind) => 32,
        _ => return Err(Stop::Broken),
    };
    let Some(lf) = buf.iter().position(|&b| b == b'\n') else {
        let endless = buf.len() >= longest;
        return Err(if endless {
            Stop::Broken
        } else {
            Stop::Incomplete
        });
    };
    if lf >= longest {
        return Err(Stop::Broken);
    }
    let text = buf[1.min(lf)..lf].strip_suffix(b"\r").ok_or(Stop::Broken)?;
    let used = lf + 1;
    let value = match (kind, text) {
        (b'_', b"") => Value::Null { array: false },
        (b'#', b"t") => Value::Boolean(true),
        (b'#', b"f") => Value::Boolean(false),
        (b',' | b'(', text) => Value::Text(text),
        (b'$' | b'*', b"-1") => Value::Null {
            array: kind == b'*',
        },
        (b'_' | b'#', _) => return Err(Stop::Broken),
        _ => return sized(kind, number(text)?, buf, used, depth),
    };
    Ok((value, used))
}

/// A frame of `n` bytes or elements, which start at `at`.
fn sized(
    kind: u8,
    n: u64,
    buf: &[u8],
    mut at: usize,
    depth: usize,
) -> Result<(Value<'_>, usize), Stop> {
    if b"$=!".contains(&kind) {
        let n = usize::try_from(n).expect("64 bits");
        if buf.len() - at < n || buf.len() - at - n < 2 {
            return Err(Stop::Incomplete);
        }
        let body = &buf[at..at + n];
        let value = match kind {
            b'=' => Value::Verbatim(body),
            b'!' => Value::Error(body),
            _ => Value::Text(body),
        };
        return Ok((value, at + n + 2));
    }
    if n > 1 << 40 {
        return Err(Stop::Broken);
    }
    let mut elements = Vec::new();
    for _ in 0..if b"%|".contains(&kind) { 2 * n } else { n } {
        let (element, used) = frame(&buf[at..], depth + 1)?;
        elements.push(element);
        at += used;
    }
    if kind == b'|' {
        let (described, used) = frame(&buf[at..], depth + 1)?;
        return Ok((described, at + used));
    }
    Ok((Value::Elements(elements), at))
}

/// A length as Redis writes it.
fn number(text: &[u8]) -> Result<u64, Stop> {
    let n: i64 = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Stop::Broken)?;
    if n.to_string().as_bytes() != text {
        return Err(Stop::Broken);
    }
    n.try_into().map_err(|_| Stop::Broken)
}

/// The rules by which Redis serves RESP2 clients, on a whole value.
fn downgraded(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Line(line) => out.extend_from_slice(line),
        Value::Null { array: false } => out.extend_from_slice(b"$-1\r\n"),
        Value::Null { array: true } => out.extend_from_slice(b"*-1\r\n"),
        Value::Boolean(b) => out.extend_from_slice(format!(":{}\r\n", u8::from(*b)).as_bytes()),
        Value::Text(text) => encode::bulk(out, text),
        Value::Verbatim(text) => encode::bulk(out, text.get(4..).unwrap_or_default()),
        Value::Error(text) => {
            out.push(b'-');
            out.extend_from_slice(text);
            let start = out.len() - text.len();
            for byte in &mut out[start..] {
                if *byte == b'\r' || *byte == b'\n' {
                    *byte = b' ';
                }
            }
            out.extend_from_slice(b"\r\n");
        }
        Value::Elements(elements) => {
            encode::header(out, b'*', elements.len() as u64);
            for element in elements {
                downgraded(element, out);
            }
        }
    }
}

/// `used` is the length of the frame that starts `buf`, if one does. The oracle also takes forms that no server
/// writes, such as `$+1`, and knows no RESP2 nulls.
fn same_as_oracle(buf: &[u8], used: Option<usize>) {
    if buf.iter().filter(|byte| b"*~%>|".contains(byte)).count() > DEPTH {
        return;
    }
    let oracle = complete::decode(buf);
    let Ok(Some((value, end))) = oracle else {
        return;
    };
    match used {
        Some(used) => assert_eq!(used, end, "the oracle's frame ends elsewhere"),
        None => assert!(!canonical(&value, &buf[..end]), "a sound frame was refused"),
    }
}

/// Whether a server might write the value like this; maps and sets have lost their order.
fn canonical(value: &OwnedFrame, bytes: &[u8]) -> bool {
    // A line feed alone may stand in a big number that is none; chunks and HELLO are no replies of Redis.
    let strange = |line: &[u8]| match line {
        [] => false,
        [kind, ..] => line.len() > 65535 || !line.ends_with(b"\r") || b";H".contains(kind),
    };
    let mut encoded = vec![0; value.encode_len(false)];
    if bytes.split(|&b| b == b'\n').any(strange)
        || encoder::encode(&mut encoded, value, false).is_err()
    {
        return false;
    }
    let mut bytes = bytes.to_vec();
    encoded.sort_unstable();
    bytes.sort_unstable();
    encoded == bytes
}
