//! Every row whose reply L1 may keep: what comes from L1 is what the server says, byte for byte in both protocols,
//! until any of the keys that it names changes.

use std::collections::{BTreeMap, BTreeSet};

use nearside::command::{self, Cache};
use nearside::l1::settings::Admit;

use super::replies::variants;
use super::samples::{FIXTURE, LANE};
use super::wire::{Sample, Wire, shown, steady_server, words};
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;

struct Rig {
    server: RedisServer,
    near: Nearside,
    /// To the server and to nearside, in RESP2 and RESP3.
    direct: [Wire; 2],
    through: [Wire; 2],
}

impl Rig {
    fn new() -> Self {
        let server = steady_server();
        let near = Nearside::start(server.addr(), |settings| {
            settings.l1.admit = Admit::Always;
        });
        eventually("the lane", || near.running().lane_is_up().then_some(()));
        let direct = [false, true].map(|resp3| Wire::connect(&server, resp3));
        let through = [false, true].map(|resp3| Wire::to(near.addr(), resp3));
        Self {
            server,
            near,
            direct,
            through,
        }
    }

    /// Puts the data set in place, and waits until L1 has heard of that.
    fn reset(&mut self) {
        for line in std::iter::once("FLUSHALL").chain(FIXTURE.iter().copied()) {
            self.direct[0].send(&words(line));
        }
        for _ in 0..=FIXTURE.len() {
            self.direct[0].read();
        }
        eventually("an empty L1", || {
            self.near.running().l1_entries().is_empty().then_some(())
        });
    }

    /// Reads, and waits for what the fill came to; whether all of it got into L1.
    fn fill(&mut self, sample: &Sample) -> bool {
        let running = self.near.running();
        let (filled, refused) = (running.fills(), running.fills_refused());
        self.through[1].call(&sample.words);
        // Its reply comes by the lane, behind the fill's last.
        self.through[1].call(&words("ECHO x"));
        running.fills() > filled && running.fills_refused() == refused
    }

    /// Whether the read is kept, and each of the keys that it names ends it.
    fn check(&mut self, sample: &Sample) -> bool {
        let expected = [0, 1].map(|at| self.direct[at].call(&sample.words));
        let filled = self.fill(sample);
        for (at, expected) in expected.iter().enumerate() {
            let hits = self.near.hits();
            let got = self.through[at].call(&sample.words);
            assert_eq!(
                shown(&got),
                shown(expected),
                "{} {:?}",
                sample.line,
                sample.words
            );
            if filled {
                assert_eq!(self.near.hits(), hits + 1, "{} was no hit", sample.line);
            }
        }
        if !filled {
            self.reset();
            return false;
        }
        let request = sample.request();
        let row = request.row().expect("a row");
        let positions = row.keys(&request.bytes, &request.args).expect("its keys");
        let keys: BTreeSet<&[u8]> = positions.map(|at| sample.words[at].as_slice()).collect();
        for key in keys {
            self.reset();
            if !self.fill(sample) {
                continue;
            }
            let exists = self.direct[0].call(&[b"EXISTS".to_vec(), key.to_vec()]) == b":1\r\n";
            let change = if exists {
                vec![b"DEL".to_vec(), key.to_vec()]
            } else {
                vec![b"SET".to_vec(), key.to_vec(), b"7".to_vec()]
            };
            self.direct[0].call(&change);
            let now = self.direct[1].call(&sample.words);
            eventually(
                &format!("what {} changed by {key:?} gives", sample.line),
                || (self.through[1].call(&sample.words) == now).then_some(()),
            );
        }
        self.reset();
        true
    }
}

#[test]
fn is_what_the_server_says_until_a_key_changes() {
    let mut rig = Rig::new();
    rig.reset();
    let mut kept: BTreeMap<&str, usize> = command::rows()
        .filter(|row| row.cache == Cache::Keyed)
        .map(|row| (row.name, 0))
        .collect();
    let mut not_kept = Vec::new();
    let mut seen = BTreeSet::new();
    for line in LANE {
        let sample = Sample::parse(line);
        let Some(row) = sample.request().row() else {
            continue;
        };
        if row.cache != Cache::Keyed || !row.takes(sample.words.len()) || !sample.before.is_empty()
        {
            continue;
        }
        for sample in variants(&sample) {
            if !seen.insert(sample.words.clone()) {
                continue;
            }
            let reply = rig.direct[0].call(&sample.words);
            if reply.starts_with(b"-") {
                continue;
            }
            if rig.check(&sample) {
                *kept.get_mut(row.name).expect("a row that is kept") += 1;
            } else {
                let words: Vec<String> = sample.words.iter().map(|word| shown(word)).collect();
                not_kept.push(words.join(" "));
            }
        }
    }
    drop(rig.server);
    println!("kept: {kept:?}\nnot kept: {not_kept:?}");
    let never: Vec<&str> = kept
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(
        never,
        Vec::<&str>::new(),
        "rows with no sample that is kept"
    );
    // What names several keys, of which some are missing and not all, and a BITPOS that finds nothing.
    assert!(
        not_kept.len() * 10 < seen.len(),
        "{} of {}",
        not_kept.len(),
        seen.len()
    );
}

/// A read whose number of keys makes no sense gets the server's own words.
#[test]
fn what_names_no_keys_gets_the_servers_words() {
    let mut rig = Rig::new();
    rig.reset();
    for line in [
        "SINTERCARD x set",
        "SINTERCARD 0 set",
        "ZUNION 9 zset",
        "ZDIFF -1 zset",
        "SINTERCARD 1",
        "LCS str",
    ] {
        let words = words(line);
        for at in [0, 1] {
            let expected = rig.direct[at].call(&words);
            assert!(expected.starts_with(b"-"), "{line}");
            assert_eq!(
                shown(&rig.through[at].call(&words)),
                shown(&expected),
                "{line}"
            );
        }
    }
}
