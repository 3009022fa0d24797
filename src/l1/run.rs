//! Look-ups of several values at once, for the GETs of a pipeline: the lock is taken once for all of them, and what they
//! read is on its way from memory together.

use super::entry::Entry;
use super::store::{AHEAD, L1, downgrade};
use super::{Read, Space};
use crate::resp::downgrade::Shape;

/// Longer replies are looked up one by one, so that not too many of them are made at a time.
const LARGEST: usize = 256 * 1024;

fn append(entry: &Entry, resp2: bool, out: &mut Vec<u8>) {
    if resp2 && !entry.is_same_in_both() {
        downgrade(entry.reply(), Shape::Generic, out);
    } else {
        out.extend_from_slice(entry.reply());
    }
}

impl L1 {
    /// Looks values up, [`AHEAD`] at most, and appends the replies to as many of the first as have live entries: the
    /// numbers of their key spaces. All of it is a snapshot. Ask [`Self::serving`] first; a miss is not noted.
    pub fn hits<'a>(
        &self,
        space: &Space,
        reads: &[Read<'_>],
        now: u64,
        resp2: bool,
        out: &mut Vec<u8>,
        keyspaces: &'a mut [u8; AHEAD],
    ) -> &'a [u8] {
        let reads = &reads[..reads.len().min(AHEAD)];
        let mut hashes = [0; AHEAD];
        for (hash, read) in hashes.iter_mut().zip(reads) {
            *hash = read.hash;
        }
        let most = out.len() + LARGEST;
        let (mut found, mut sampled) = (0, false);
        let table = self.table.read();
        table.warm(&hashes[..reads.len()], &mut [None; AHEAD]);
        while found < reads.len()
            && out.len() < most
            && let Some(entry) = table.hit(space.id, &reads[found], now)
        {
            append(entry, resp2, out);
            keyspaces[found] = entry.keyspace();
            sampled |= table.samples(reads[found].hash);
            found += 1;
        }
        drop(table);
        if sampled {
            self.sampled_reads(space, &reads[..found]);
        }
        &keyspaces[..found]
    }

    /// Tells the policy of those that it samples.
    #[cold]
    fn sampled_reads(&self, space: &Space, reads: &[Read<'_>]) {
        let mut table = self.table.write();
        for read in reads {
            if table.samples(read.hash) {
                table.sampled_read(space.id, read);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::l1::settings::Settings;
    use crate::l1::{End, Fill, Lookup};

    fn keys() -> Vec<Vec<u8>> {
        (0..AHEAD)
            .map(|n| format!("key:{n}").into_bytes())
            .collect()
    }

    fn fill(l1: &L1, space: &Space, key: &[u8], reply: &[u8]) {
        let read = l1.value(key);
        let fill = Fill {
            read,
            keys: &[read.key],
            reply,
            shape: Shape::Generic,
            sent: 0,
            end: End::Ttls(&[if reply == b"_\r\n" { -2 } else { 5000 }]),
            epoch: l1.epoch(),
            keyspace: 0,
        };
        assert!(l1.fill(space, &fill));
    }

    /// As one after the other, up to the first that misses: for one worker and for several, in both protocols, with nils,
    /// long replies and entries that have ended.
    #[test]
    fn finds_what_single_look_ups_find() {
        let keys = keys();
        for (workers, missing, resp2) in (0..2 * 18 * 2).map(|n| (1 + n % 2, n / 4, n / 2 % 2 == 0))
        {
            let l1 = L1::new(Settings::default(), workers);
            let space = l1.add_space();
            for (n, key) in keys.iter().enumerate().filter(|&(n, _)| n != missing) {
                let long = format!("$9000\r\n{n:09000}\r\n").into_bytes();
                let reply = [&b"_\r\n"[..], b"$1\r\na\r\n", &long][n % 3];
                fill(&l1, &space, key, reply);
            }
            // The nils are true for longer than the rest.
            for now in [0, 5000] {
                let reads: Vec<_> = keys.iter().map(|key| l1.value(key)).collect();
                let mut one_by_one = Vec::new();
                let single = reads.iter().take_while(|read| {
                    let shape = resp2.then_some(Shape::Generic);
                    let found = l1.get(&space, read, now, shape, &mut one_by_one);
                    matches!(found, Lookup::Hit { .. })
                });
                let single = single.count();
                let (mut together, mut keyspaces) = (b"before".to_vec(), [9; AHEAD]);
                let hits = l1.hits(&space, &reads, now, resp2, &mut together, &mut keyspaces);
                assert_eq!(hits, vec![0; single]);
                assert_eq!(together, [b"before".to_vec(), one_by_one].concat());
            }
        }
    }

    /// Ends the writer, also where the test fails.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// While keys are dropped and filled anew in turn, the first never looks newer than a later one that was filled before it.
    #[test]
    fn is_a_snapshot() {
        let l1 = L1::new(Settings::default(), 2);
        let space = l1.add_space();
        let keys = keys();
        let over = AtomicBool::new(false);
        let mut whole = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for version in 0_u32.. {
                    // From the last to the first.
                    for key in keys.iter().rev() {
                        l1.invalidate(&space, key);
                        fill(
                            &l1,
                            &space,
                            key,
                            format!("$6\r\n{version:06}\r\n").as_bytes(),
                        );
                    }
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    std::thread::yield_now();
                }
            });
            let _over = Over(&over);
            let start = std::time::Instant::now();
            while whole < 2000 && start.elapsed().as_secs() < 20 {
                let reads: Vec<_> = keys.iter().map(|key| l1.value(key)).collect();
                let (mut out, mut keyspaces) = (Vec::new(), [0; AHEAD]);
                let hits = l1.hits(&space, &reads, 0, false, &mut out, &mut keyspaces);
                whole += usize::from(hits.len() == AHEAD);
                let versions: Vec<_> = out.chunks(12).map(|reply| reply[4..10].to_vec()).collect();
                assert!(versions.is_sorted(), "{versions:?}");
            }
        });
        assert!(whole > 0);
    }
}
