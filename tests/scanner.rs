//! The scanners against redis-protocol, the oracle: any split of the bytes decodes alike.

use nearside::resp::encode;
use nearside::resp::frame::{FrameWalker, Ignore};
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
    fn no_bytes_make_a_scanner_panic(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = RequestScanner::default().scan(&noise);
        let _ = FrameWalker::default().walk(&noise, &mut Ignore);
    }
}
