//! Every row that goes by the lane, against a real server in both protocols: its RESP3 reply, converted, must be its
//! RESP2 reply byte for byte, however the bytes are split.

use std::collections::BTreeMap;

use nearside::command::{self, Class, Row};
use nearside::resp::downgrade::{Downgrade, Shape};
use nearside::resp::frame::FrameWalker;

use super::samples::{FIXTURE, KEYS, LANE, SCRIPTS};
use super::wire::{Compared, Sample, Wire, shown, steady_server, words};
use crate::support::redis::RedisServer;

/// What is made of `reply`, given in steps of `step` bytes as a connection would: what was not used comes again.
pub fn convert(mut downgrade: Downgrade, reply: &[u8], step: usize) -> Vec<u8> {
    let mut walker = FrameWalker::default();
    let (mut out, mut waiting, mut done) = (Vec::new(), Vec::new(), false);
    for chunk in reply.chunks(step) {
        waiting.extend_from_slice(chunk);
        let went = walker
            .walk(&waiting, &mut downgrade.into_buffer(&mut out))
            .expect("a sound reply");
        waiting.drain(..went.consumed);
        done = went.done;
    }
    assert!(done && waiting.is_empty(), "the reply did not end");
    out
}

/// Numbers blotted out: integers, and bulks of digits with their lengths.
fn masked(reply: &[u8]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = reply
        .split_inclusive(|b| *b == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    for at in 0..lines.len() {
        let text = lines[at]
            .strip_suffix(b"\r\n")
            .unwrap_or(&lines[at])
            .to_vec();
        let numeric =
            |text: &[u8]| !text.is_empty() && text.iter().all(|b| b.is_ascii_digit() || *b == b'-');
        if text.first() == Some(&b':') {
            lines[at] = b":N\r\n".to_vec();
        } else if numeric(&text) && at > 0 && lines[at - 1].first() == Some(&b'$') {
            lines[at - 1] = b"$N\r\n".to_vec();
            lines[at] = b"N\r\n".to_vec();
        }
    }
    lines.concat()
}

/// What a sample showed.
struct Checked {
    refused: bool,
    /// Its row gives it a shape of its own.
    shaped: bool,
    /// The generic rules alone would have been wrong.
    mattered: bool,
}

struct Rig {
    _server: RedisServer,
    resp2: Wire,
    resp3: Wire,
}

impl Rig {
    fn new() -> Self {
        let server = steady_server();
        let (resp2, resp3) = (Wire::connect(&server, false), Wire::connect(&server, true));
        Self {
            _server: server,
            resp2,
            resp3,
        }
    }

    fn reply(wire: &mut Wire, sample: &Sample) -> Vec<u8> {
        let fixture = std::iter::once("FLUSHALL").chain(FIXTURE.iter().copied());
        let mut expected = sample.before.len();
        for line in fixture {
            wire.send(&words(line));
            expected += 1;
        }
        for words in &sample.before {
            wire.send(words);
        }
        wire.send(&sample.words);
        for _ in 0..expected {
            wire.read();
        }
        wire.read()
    }

    /// Compares one sample's reply in both protocols.
    fn check(&mut self, sample: &Sample) -> Checked {
        let shape = sample
            .request()
            .row()
            .map(|row| row.shape(sample.words.len()))
            .unwrap_or_default();
        let expected = Self::reply(&mut self.resp2, sample);
        let reply = Self::reply(&mut self.resp3, sample);
        for step in [usize::MAX, 1, 3] {
            let got = convert(Downgrade::new(shape), &reply, step.min(reply.len()));
            let same = match sample.compared {
                Compared::Bytes => got == expected,
                Compared::Places => masked(&got) == masked(&expected),
                Compared::Kind => got[0] == expected[0],
            };
            assert!(
                same,
                "{} ({:?}, {shape:?}, steps of {step}):\n RESP3 {}\n gives {}\n RESP2 {}",
                sample.line,
                sample
                    .words
                    .iter()
                    .map(|word| shown(word))
                    .collect::<Vec<_>>(),
                shown(&reply),
                shown(&got),
                shown(&expected)
            );
        }
        let generic = convert(Downgrade::default(), &reply, reply.len());
        Checked {
            refused: expected[0] == b'-',
            shaped: shape != Shape::Generic,
            mattered: generic != expected && sample.compared == Compared::Bytes,
        }
    }
}

/// A key of the same type, where with this one the reply would be chance's or, as what a group holds, the clock's.
fn steady(row: &Row, key: &'static str) -> &'static str {
    let random = ["SPOP", "SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER"].contains(&row.name);
    match key {
        "set" if random => "set1",
        "hash" if random => "hash1",
        "zset" | "geo" if random => "zone",
        "stream" if matches!(row.name, "DUMP" | "XINFO|STREAM") => "stream1",
        _ => key,
    }
}

/// The sample, and with each of its keys replaced by each key of the data set in turn.
pub fn variants(sample: &Sample) -> Vec<Sample> {
    let mut variants = vec![sample.clone()];
    let request = sample.request();
    let row = request.row().expect("a row");
    let positions = row.keys(&request.bytes, &request.args);
    for at in positions.into_iter().flatten() {
        for key in KEYS {
            let key = steady(row, key);
            let mut other = sample.clone();
            other.words[at] = key.as_bytes().to_vec();
            variants.push(other);
        }
    }
    variants
}

/// Rows that go by the lane and that the server knows, sub-commands included.
pub fn lane_rows(wire: &mut Wire) -> Vec<&'static Row> {
    let with_subcommands = |row: &'static Row| std::iter::once(row).chain(row.subcommands().iter());
    let mut rows: Vec<_> = command::rows().flat_map(with_subcommands).collect();
    rows.retain(|row| {
        row.class.is_lane() && {
            let info = wire.call(&words(&format!("COMMAND INFO {}", row.name)));
            !info.ends_with(b"$-1\r\n")
        }
    });
    rows
}

#[test]
fn every_lane_reply_is_converted_to_the_servers_own_resp2() {
    let mut rig = Rig::new();
    let rows = lane_rows(&mut rig.resp2);
    assert!(rows.len() > 190, "{} rows are no whole table", rows.len());
    let mut seen: BTreeMap<&str, Vec<Checked>> = BTreeMap::new();
    for line in LANE {
        let sample = Sample::parse(line);
        let row = sample.request().row().expect(line);
        assert!(row.class.is_lane(), "{line} is no sample of the lane");
        seen.entry(row.name).or_default().push(rig.check(&sample));
        for variant in &variants(&sample)[1..] {
            rig.check(variant);
        }
    }
    for row in rows {
        let name = row.name;
        let checked = seen.get(name).map_or(&[][..], Vec::as_slice);
        let container = !row.subcommands().is_empty();
        // Nothing can be added to its name.
        let fixed = usize::try_from(row.arity) == Ok(name.split('|').count());
        let enough = if container || fixed { 1 } else { 3 };
        assert!(
            checked.len() >= enough,
            "{name} has {} samples",
            checked.len()
        );
        // FREQ needs another eviction policy, and RESTORE-ASKING a payload; that is RESTORE's.
        let only_refused =
            container && name != "COMMAND" || matches!(name, "OBJECT|FREQ" | "RESTORE-ASKING");
        assert!(
            only_refused || checked.iter().any(|checked| !checked.refused),
            "{name} was refused every time"
        );
        let shaped = |checked: &&Checked| checked.shaped && !checked.refused;
        assert!(
            checked.iter().filter(shaped).count() == 0
                || checked.iter().any(|checked| checked.mattered),
            "no sample of {name} needs its shape"
        );
    }
}

#[test]
fn scripts_are_converted_by_the_generic_rules() {
    let mut rig = Rig::new();
    for line in SCRIPTS {
        let sample = Sample::parse(line);
        let row = sample.request().row().expect(line);
        assert!(
            matches!(row.class, Class::OwnUnknown | Class::OwnRead),
            "{line}"
        );
        rig.check(&sample);
    }
}
