//! Requests: [`RequestScanner`].

use nearside::resp::encode;
use nearside::resp::request::{RequestScanner, Scanned};
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

use super::split::Split;

/// What a stream came to: each request's end and arguments, and what broke the protocol.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    requests: Vec<(usize, Vec<Vec<u8>>)>,
    fault: Option<String>,
}

/// Any split of the input's stream gives what the model gives of the whole, and the oracle where it can read it.
///
/// # Panics
/// They disagree.
pub fn check(input: &[u8]) {
    let split = Split::of(input);
    let stream = split.stream;
    let whole = scan(stream, [stream.len()]);
    assert_eq!(scan(stream, split.arrivals()), whole, "the split matters");
    assert_eq!(whole, model(stream), "the model reads it otherwise");
    let mut start = 0;
    for (end, args) in &whole.requests {
        same_as_oracle(&stream[start..], Some((end - start, args)));
        start = *end;
    }
    same_as_oracle(&stream[start..], None);
}

fn scan(stream: &[u8], arrivals: impl IntoIterator<Item = usize>) -> Seen {
    let (mut scanner, mut seen, mut at) = (RequestScanner::default(), Seen::default(), 0);
    for arrived in arrivals {
        loop {
            let waiting = &stream[at..arrived];
            let found = scanner.scan(waiting);
            if !matches!(found, Ok(Scanned::Incomplete)) {
                // A session that cannot take the request yet asks again.
                assert_eq!(scanner.scan(waiting), found);
            }
            let (end, args) = match found {
                Ok(Scanned::Incomplete) => break,
                Ok(Scanned::Request { end }) => {
                    let args = scanner.args().iter();
                    (end, args.map(|arg| waiting[arg.clone()].to_vec()).collect())
                }
                Ok(Scanned::Inline { end, args }) => (end, args),
                Err(fault) => {
                    seen.fault = Some(fault.0);
                    return seen;
                }
            };
            at += end;
            seen.requests.push((at, args));
            scanner.reset();
        }
    }
    seen
}

/// What stops the model before a request's end.
enum Stop {
    Incomplete,
    Fault(String),
}

fn model(stream: &[u8]) -> Seen {
    let (mut seen, mut at) = (Seen::default(), 0);
    while at < stream.len() {
        let found = if stream[at] == b'*' {
            multibulk(&stream[at..])
        } else {
            inline(&stream[at..])
        };
        match found {
            Ok((args, used)) => {
                at += used;
                seen.requests.push((at, args));
            }
            Err(Stop::Incomplete) => break,
            Err(Stop::Fault(text)) => {
                seen.fault = Some(text);
                break;
            }
        }
    }
    seen
}

/// The line at the start of `buf`, up to `end`.
fn line<'a>(buf: &'a [u8], end: u8, too_big: &str) -> Result<&'a [u8], Stop> {
    match buf.iter().position(|&b| b == end) {
        Some(found) if found <= 65536 => Ok(&buf[..found]),
        None if buf.len() <= 65536 => Err(Stop::Incomplete),
        _ => Err(Stop::Fault(too_big.into())),
    }
}

/// The number behind the kind of a header, and the header's length: what follows the CR is not looked at.
fn header(buf: &[u8], kind: &str) -> Result<(i64, usize), Stop> {
    let line = line(buf, b'\r', &format!("too big {kind} count string"))?;
    if buf.len() < line.len() + 2 {
        return Err(Stop::Incomplete);
    }
    let invalid = || {
        let kind = if kind == "mbulk" { "multibulk" } else { kind };
        Stop::Fault(format!("invalid {kind} length"))
    };
    let text = std::str::from_utf8(&line[1..]).map_err(|_| invalid())?;
    let n: i64 = text.parse().map_err(|_| invalid())?;
    if n.to_string() != text
        || n > if kind == "mbulk" {
            i64::from(i32::MAX)
        } else {
            512 << 20
        }
    {
        return Err(invalid());
    }
    if kind == "bulk" && n < 0 {
        return Err(invalid());
    }
    Ok((n, line.len() + 2))
}

fn multibulk(buf: &[u8]) -> Result<(Vec<Vec<u8>>, usize), Stop> {
    let (count, mut at) = header(buf, "mbulk")?;
    let mut args = Vec::new();
    for _ in 0..count {
        match buf.get(at) {
            None => return Err(Stop::Incomplete),
            Some(b'$') => {}
            Some(&other) => {
                let got = if other.is_ascii() { other } else { b'?' };
                return Err(Stop::Fault(format!("expected '$', got '{}'", got as char)));
            }
        }
        let (len, used) = header(&buf[at..], "bulk")?;
        let body = at + used..at + used + usize::try_from(len).expect("within its limit");
        at = body.end + 2;
        if buf.len() < at {
            return Err(Stop::Incomplete);
        }
        args.push(buf[body].to_vec());
    }
    Ok((args, at))
}

fn inline(buf: &[u8]) -> Result<(Vec<Vec<u8>>, usize), Stop> {
    let line = line(buf, b'\n', "too big inline request")?;
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    let unbalanced = || Stop::Fault("unbalanced quotes in request".into());
    let args = words(text).ok_or_else(unbalanced)?;
    Ok((args, line.len() + 1))
}

/// One character at a time: outside of words, in one, and inside quotes.
fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let space = |b: u8| b" \t\n\r\x0b\x0c".contains(&b);
    let (mut words, mut word, mut quote) = (Vec::new(), None::<Vec<u8>>, None);
    let mut rest = line;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (quote, *first) {
            (None, b) if word.is_none() && space(b) => {}
            (None, b' ' | b'\t' | b'\r' | b'\n') => words.extend(word.take()),
            (None, b @ (b'"' | b'\'')) => {
                quote = Some(b);
                word.get_or_insert_default();
            }
            (Some(b), close) if b == close => {
                if behind.first().is_some_and(|&b| !space(b)) {
                    return None;
                }
                words.extend(word.take());
                quote = None;
            }
            (Some(b'\''), b'\\') if behind.first() == Some(&b'\'') => {
                word.get_or_insert_default().push(b'\'');
                rest = &behind[1..];
            }
            (Some(b'"'), b'\\') if !behind.is_empty() => {
                let (byte, used) = escape(behind);
                word.get_or_insert_default().push(byte);
                rest = &behind[used..];
            }
            (_, b) => word.get_or_insert_default().push(b),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// What stands behind a backslash, and its length.
fn escape(behind: &[u8]) -> (u8, usize) {
    let hex = behind.get(1..3).filter(|_| behind[0] == b'x');
    if let Some(hex) = hex.filter(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
        let hex = std::str::from_utf8(hex).expect("ASCII");
        return (u8::from_str_radix(hex, 16).expect("hex"), 3);
    }
    let from = b"nrtba".iter().position(|&b| b == behind[0]);
    (from.map_or(behind[0], |at| b"\n\r\t\x08\x07"[at]), 1)
}

/// `found` is the request that starts `buf`, if one does. The oracle reads any RESP2 and wants its line breaks.
fn same_as_oracle(buf: &[u8], found: Option<(usize, &Vec<Vec<u8>>)>) {
    // It recurses.
    if buf.first() != Some(&b'*') || buf.split(|&byte| byte == b'*').count() > 50 {
        return;
    }
    let Ok(Some((OwnedFrame::Array(frames), end))) = decode(buf) else {
        return;
    };
    let bulks = frames.into_iter().map(|frame| match frame {
        OwnedFrame::BulkString(body) => Some(body),
        _ => None,
    });
    let Some(args) = bulks.collect::<Option<Vec<_>>>() else {
        assert!(found.is_none(), "an argument that is no bulk was taken");
        return;
    };
    let mut canonical = Vec::new();
    let parts: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    encode::request(&mut canonical, &parts);
    match found {
        Some(found) => assert_eq!(found, (end, &args)),
        None => assert_ne!(canonical, buf[..end], "a sound request was not seen"),
    }
}
