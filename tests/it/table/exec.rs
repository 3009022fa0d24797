//! EXEC's reply, converted element by element, each by its command's row.

use nearside::command::Class;
use nearside::resp::downgrade::{Downgrade, Shape};

use super::replies::convert;
use super::samples::{FIXTURE, LANE};
use super::wire::{Compared, Sample, Wire, shown, steady_server, words};

/// Commands in one transaction.
const BLOCK: usize = 7;

fn exec(wire: &mut Wire, block: &[Sample]) -> Vec<u8> {
    let before = std::iter::once("FLUSHALL").chain(FIXTURE.iter().copied());
    let before: Vec<_> = before.chain(std::iter::once("MULTI")).map(words).collect();
    for words in &before {
        wire.send(words);
    }
    for sample in block {
        wire.send(&sample.words);
    }
    wire.send(&words("EXEC"));
    for _ in 0..before.len() + block.len() {
        wire.read();
    }
    wire.read()
}

#[test]
fn exec_replies_are_converted_element_by_element() {
    let server = steady_server();
    let (mut resp2, mut resp3) = (Wire::connect(&server, false), Wire::connect(&server, true));
    let samples: Vec<_> = LANE
        .iter()
        .map(|line| Sample::parse(line))
        .filter(|sample| {
            let row = sample.request().row().expect("a row");
            // What the server refuses to queue would spoil the whole block; what is large tells no more.
            sample.compared == Compared::Bytes
                && sample.before.is_empty()
                && row.takes(sample.words.len())
                && row.class != Class::LaneUnknown
                && row.name != "COMMAND"
        })
        .collect();
    let mut executed = 0;
    for block in samples.chunks(BLOCK) {
        let shapes: Vec<Shape> = block
            .iter()
            .map(|sample| {
                let row = sample.request().row().expect("a row");
                row.shape(sample.words.len())
            })
            .collect();
        let (expected, reply) = (exec(&mut resp2, block), exec(&mut resp3, block));
        executed += usize::from(expected.starts_with(b"*"));
        for step in [reply.len(), 1, 5] {
            let got = convert(Downgrade::exec(shapes.clone()), &reply, step);
            let lines: Vec<_> = block.iter().map(|sample| &sample.line).collect();
            assert!(
                got == expected,
                "{lines:?}\n RESP3 {}\n gives {}\n RESP2 {}",
                shown(&reply),
                shown(&got),
                shown(&expected)
            );
        }
    }
    // Commands of newer servers are refused, and their blocks with them.
    assert!(
        executed > samples.len() / BLOCK / 2,
        "{executed} blocks ran"
    );
}

#[test]
fn an_aborted_exec_is_a_null_array() {
    let server = steady_server();
    for (resp3, abort) in [(false, &b"*-1\r\n"[..]), (true, b"_\r\n")] {
        let mut wire = Wire::connect(&server, resp3);
        let mut other = Wire::connect(&server, false);
        wire.call(&words("WATCH k"));
        other.call(&words("SET k v"));
        wire.call(&words("MULTI"));
        let reply = wire.call(&words("EXEC"));
        assert_eq!(reply, abort);
        if resp3 {
            assert_eq!(convert(Downgrade::exec(Vec::new()), &reply, 1), b"*-1\r\n");
        }
    }
}
