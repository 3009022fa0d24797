//! Expiry is exact on a hit: the server's active expiry is off, so only the deadline in L1 can end an entry in time.

use std::time::{Duration, Instant};

use super::promise::{Checked, Promise};
use super::rig::Rig;
use crate::support::client::{Client, Protocol};
use crate::support::resp::Value;
use crate::support::rng::Rng;

/// One key with a short life, from its write until its end has been seen.
struct Life {
    key: String,
    ttl: Duration,
    sent: Instant,
    acknowledged: Instant,
}

impl Life {
    fn begin(n: u64, rng: &mut Rng, writer: &mut Client) -> Self {
        let key = format!("mortal{n}");
        let millis = 20 + rng.next() % 60;
        let ttl = millis.to_string();
        let sent = Instant::now();
        match rng.below(3) {
            0 => writer.must(&["SET", &key, "v", "PX", &ttl]),
            1 => writer.must(&["PSETEX", &key, &ttl, "v"]),
            _ => {
                writer.must(&["SET", &key, "v"]);
                writer.must(&["PEXPIRE", &key, &ttl])
            }
        };
        Self {
            key,
            ttl: Duration::from_millis(millis),
            sent,
            acknowledged: Instant::now(),
        }
    }

    /// Reads once; whether it is over.
    fn look(&self, reader: &mut Client) -> Checked<bool> {
        let before = Instant::now();
        let alive = reader.call(&["GET", &self.key]) != Value::Nil;
        if !alive && self.sent.elapsed() < self.ttl {
            return Err(Promise::Expiry.broken(
                &self.key,
                "nil",
                "its value, its time not being over",
            ));
        }
        // The server's clock counts whole milliseconds.
        if alive && before > self.acknowledged + self.ttl + Duration::from_millis(1) {
            let late = before.duration_since(self.acknowledged + self.ttl);
            return Err(Promise::Expiry.broken(
                &self.key,
                format_args!("a value {late:?} late"),
                "nil",
            ));
        }
        Ok(!alive)
    }
}

fn run(seed: u64, protocol: Protocol, by_nearside: bool) -> Checked {
    let rig = Rig::new(|_| {});
    let mut rng = Rng::new(seed);
    let mut writer = if by_nearside {
        rig.near.session()
    } else {
        rig.server.client()
    };
    let mut readers = [rig.near.session().speaking(protocol), rig.near.session()];
    for n in 0..25 {
        let lives = [0, 1, 2].map(|i| Life::begin(3 * n + i, &mut rng, &mut writer));
        let mut open: Vec<&Life> = lives.iter().collect();
        while !open.is_empty() {
            let mut still = Vec::new();
            for life in open {
                if !life.look(&mut readers[rng.below(2)])? {
                    still.push(life);
                }
            }
            open = still;
        }
    }
    assert!(rig.near.hits() > 100, "without hits this proves nothing");
    Ok(())
}

#[test]
fn no_hit_outlives_its_key() {
    for (seed, protocol, by_nearside) in [(11, Protocol::Resp2, false), (12, Protocol::Resp3, true)]
    {
        if let Err(violation) = run(seed, protocol, by_nearside) {
            panic!("seed {seed}: {violation}");
        }
    }
}
