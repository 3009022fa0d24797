//! The scanners against redis-protocol, the oracle, and against the models of the fuzz targets: any split of the
//! bytes decodes alike, and no byte is looked at twice.

#[path = "../fuzz/src"]
mod models {
    pub mod frames;
    pub mod requests;
    mod split;
}

use nearside::resp::downgrade::Downgrade;
use nearside::resp::encode;
use nearside::resp::frame::{FrameWalker, Ignore, parse_integer};
use nearside::resp::request::{RequestScanner, Scanned};
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode as decode2;
use redis_protocol::resp2::types::OwnedFrame;
use redis_protocol::resp3::decode::complete::decode as decode3;

/// One encoded RESP3 frame.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        "[a-zA-Z ]{0,20}".prop_map(|s| format!("+{s}\r\n").into_bytes()),
        "[A-Z]{1,9} [a-z]{0,9}".prop_map(|s| format!("-{s}\r\n").into_bytes()),
        any::<i32>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
        any::<bool>().prop_map(|b| if b {
            b"#t\r\n".to_vec()
        } else {
            b"#f\r\n".to_vec()
        }),
        Just(b"_\r\n".to_vec()),
        (-1.0e6..1.0e6f64).prop_map(|d| format!(",{d}\r\n").into_bytes()),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|body| {
            let mut out = Vec::new();
            encode::bulk(&mut out, &body);
            out
        }),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop::collection::vec(inner, 0..5).prop_map(|parts| {
            let mut out = Vec::new();
            encode::header(&mut out, b'*', parts.len() as u64);
            out.extend(parts.concat());
            out
        })
    })
}

proptest! {
    #[test]
    fn frames_end_where_the_oracle_says(frames in prop::collection::vec(frame(), 1..5), cuts in prop::collection::vec(1usize..9, 1..200)) {
        let stream = frames.concat();
        let mut ends = Vec::new();
        let mut at = 0;
        while at < stream.len() {
            let (_, used) = decode3(&bytes::Bytes::copy_from_slice(&stream[at..]))
                .expect("the oracle reads it")
                .expect("whole");
            at += used;
            ends.push(at);
        }
        let (mut walker, mut found, mut done, mut waiting) = (FrameWalker::default(), Vec::new(), 0, Vec::new());
        let mut rest = stream.as_slice();
        for cut in cuts.iter().cycle() {
            let (chunk, behind) = rest.split_at((*cut).min(rest.len()));
            rest = behind;
            waiting.extend_from_slice(chunk);
            loop {
                let walked = walker.walk(&waiting, &mut Ignore).expect("a sound stream");
                waiting.drain(..walked.consumed);
                done += walked.consumed;
                if !walked.done {
                    break;
                }
                found.push(done);
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, ends);
    }

    #[test]
    fn requests_have_the_oracles_arguments(args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..8), cut in 1usize..20) {
        let parts: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut stream = Vec::new();
        encode::request(&mut stream, &parts);
        let (oracle, used) = decode2(&stream).expect("sound").expect("whole");
        let OwnedFrame::Array(oracle) = oracle else { panic!("an array") };
        let oracle: Vec<Vec<u8>> = oracle.into_iter().map(|frame| match frame {
            OwnedFrame::BulkString(body) => body,
            other => panic!("{other:?}"),
        }).collect();
        let mut scanner = RequestScanner::default();
        let mut at = 0;
        let scanned = loop {
            at = (at + cut).min(stream.len());
            let scanned = scanner.scan(&stream[..at]).expect("sound");
            if scanned != Scanned::Incomplete {
                break scanned;
            }
            prop_assert!(at < stream.len(), "a whole request was not seen");
        };
        prop_assert_eq!(scanned, Scanned::Request { end: used });
        let found: Vec<Vec<u8>> = scanner.args().iter().map(|arg| stream[arg.clone()].to_vec()).collect();
        prop_assert_eq!(found, oracle);
    }

    #[test]
    fn scanners_and_conversion_agree_with_their_models(parts in prop::collection::vec(any::<u8>(), 0..4), stream in noise()) {
        models::frames::check(&input(&parts, &stream));
        models::requests::check(&input(&parts, &stream));
    }
}

const WHOLE: [&[u8]; 6] = [
    b"-1\r\n",
    b"t\r\n",
    b"+OK\r\n",
    b"$1\r\na\r\n",
    b"=5\r\ntxt:a\r\n",
    b"|1\r\n_\r\n_\r\n",
];

/// What RESP is made of, in any order, with some bytes of none.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\r\n".to_vec()),
        4 => prop::sample::select(&b"+-:_#,($=!*~%>|"[..]).prop_map(|kind| vec![kind]),
        4 => (0..5u8).prop_map(|n| n.to_string().into_bytes()),
        2 => prop::sample::select(&WHOLE[..]).prop_map(<[u8]>::to_vec),
        1 => prop::sample::select(&b"\r\n\"'\\ \tx4\x0b\xff"[..]).prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// An input of the fuzz targets.
fn input(parts: &[u8], stream: &[u8]) -> Vec<u8> {
    let count = u8::try_from(parts.len()).expect("few parts");
    [&[count], parts, stream].concat()
}

/// As [`input`], for a stream at once, byte by byte, and in parts of three.
fn inputs(stream: &[u8]) -> [Vec<u8>; 3] {
    [input(&[], stream), input(&[0], stream), input(&[2], stream)]
}

fn resp2(stream: &[u8]) -> Vec<u8> {
    for input in inputs(stream) {
        models::frames::check(&input);
    }
    let mut out = Vec::new();
    let (mut walker, mut downgrade) = (FrameWalker::default(), Downgrade::default());
    let mut rest = stream;
    while !rest.is_empty() {
        let step = walker.walk(rest, &mut downgrade.into_buffer(&mut out));
        rest = &rest[step.expect("a sound stream").consumed..];
    }
    out
}

#[test]
fn an_attribute_is_left_out_with_all_that_it_holds() {
    let attribute = b"|2\r\n+key\r\n%1\r\n$3\r\na\r\n\r\n_\r\n,1.5\r\n*2\r\n:1\r\n=5\r\ntxt:b\r\n";
    let stream = [attribute, &b"*1\r\n"[..], attribute, b"+OK\r\n+next\r\n"].concat();
    assert_eq!(resp2(&stream), b"*1\r\n+OK\r\n+next\r\n");
}

#[test]
fn a_verbatim_shorter_than_its_prefix_takes_nothing_from_the_next_bulk() {
    assert_eq!(
        resp2(b"=2\r\nab\r\n$5\r\nhello\r\n"),
        b"$0\r\n\r\n$5\r\nhello\r\n"
    );
}

#[test]
fn a_bulk_error_stays_an_error() {
    assert_eq!(
        resp2(b"!10\r\nERR a\r\nbcd\r\n"),
        b"-ERR a  bcd\r\n".as_slice()
    );
}

#[test]
fn numbers_are_taken_as_redis_takes_them() {
    for text in ["01", "+1", "-0", "00", "", "-", "9223372036854775808"] {
        assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
    }
    for n in [0, 7, -1, i64::MAX, i64::MIN] {
        assert_eq!(parse_integer(n.to_string().as_bytes()), Some(n));
    }
}

#[test]
fn inline_words_end_where_redis_ends_them() {
    let mut scanner = RequestScanner::default();
    let line = b"\x0b\x0cSET a\x0bb \"c\"\x0c\x0b'd'\r\n";
    for input in inputs(line) {
        models::requests::check(&input);
    }
    let Ok(Scanned::Inline { args, .. }) = scanner.scan(line) else {
        panic!("an inline request");
    };
    assert_eq!(args, [&b"SET"[..], b"a\x0bb", b"c", b"d"]);
}

#[test]
fn the_bound_on_a_line_does_not_depend_on_the_reads() {
    for len in 65535..65539 {
        for start in [&b"*"[..], b"*1\r\n$", b"x", b"(", b","] {
            for end in ["", "\r", "\n", "\r\n", "\r\n+OK\r\n"] {
                let filler = vec![b'1'; len - 1];
                let stream = [start, &filler, end.as_bytes()].concat();
                for part in [0, 255] {
                    models::requests::check(&input(&[part], &stream));
                    models::frames::check(&input(&[part], &stream));
                }
            }
        }
    }
}

/// Feeds the stream byte by byte; `feed` gets all that has arrived, but every byte is there only once: after the call
/// that brought it, it is spoiled into `end`, the break that is looked for, so that whoever looks again finds a line's
/// end too early. At a line's true end the line is whole, since it is read then. The first byte of a line that has not
/// ended stays, since it says what it is.
fn once(stream: &[u8], end: u8, spoils: impl Fn(u8) -> bool, mut feed: impl FnMut(&[u8])) {
    let (mut shown, mut line) = (Vec::new(), 0);
    for (at, &byte) in stream.iter().enumerate() {
        shown.push(byte);
        if byte == b'\n' {
            shown[line..].copy_from_slice(&stream[line..=at]);
            feed(&shown);
            shown[line..].fill(end);
            line = at + 1;
        } else {
            feed(&shown);
            if at > line && spoils(stream[line]) {
                shown[at] = end;
            }
        }
    }
}

#[test]
fn the_request_scanner_looks_at_no_byte_twice() {
    let long = vec![b'x'; 100_000];
    let mut parts = vec![&b"xyz"[..]; 20_000];
    parts.push(&long);
    let mut stream = Vec::new();
    encode::request(&mut stream, &parts);
    let (mut scanner, mut found) = (RequestScanner::default(), Vec::new());
    once(
        &stream,
        b'\r',
        |_| true,
        |shown| match scanner.scan(shown).expect("a sound request") {
            Scanned::Incomplete => {}
            whole => found.push((shown.len(), whole)),
        },
    );
    let end = stream.len();
    assert_eq!(found, [(end, Scanned::Request { end })]);
    assert_eq!(scanner.args().len(), parts.len());
    assert_eq!(
        scanner.args().last(),
        Some(&(end - 2 - long.len()..end - 2))
    );
}

#[test]
fn the_request_scanner_looks_for_the_end_of_an_inline_request_once() {
    let word = vec![b'x'; 60_000];
    let stream = [b"ECHO ", &word[..], b"\r\n"].concat();
    let (mut scanner, mut found) = (RequestScanner::default(), Vec::new());
    once(
        &stream,
        b'\n',
        |_| true,
        |shown| match scanner.scan(shown).expect("a sound request") {
            Scanned::Incomplete => {}
            whole => found.push((shown.len(), whole)),
        },
    );
    let end = stream.len();
    let args = vec![b"ECHO".to_vec(), word];
    assert_eq!(found, [(end, Scanned::Inline { end, args })]);
}

/// Headers of a few bytes it may look at again.
#[test]
fn the_frame_walker_looks_at_no_byte_of_a_long_line_twice() {
    let number = "7".repeat(60_000);
    let element = format!("({number}\r\n,{number}\r\n+{number}\r\n$3\r\nxyz\r\n");
    let stream = format!("*40\r\n{}", element.repeat(10)).into_bytes();
    let (mut walker, mut at, mut ended) = (FrameWalker::default(), 0, None);
    once(
        &stream,
        b'\n',
        |kind| matches!(kind, b'(' | b','),
        |shown| {
            let step = walker.walk(&shown[at..], &mut Ignore).expect("sound");
            at += step.consumed;
            let waiting = &shown[at..];
            assert!(waiting.len() < 32 || matches!(waiting[0], b'(' | b','));
            if step.done {
                ended = Some(at);
            }
        },
    );
    assert_eq!(ended, Some(stream.len()));
}
