//! What an MGET gathers is one moment's: two keys that are always written together are never seen apart.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::settings::Settings;
use super::{End, Fill, L1, Space};
use crate::resp::downgrade::Shape;

const ROUNDS: u64 = 30_000;

fn fill(l1: &L1, space: &Space, key: &[u8], version: u64) {
    let reply = format!("$20\r\n{version:020}\r\n");
    let read = l1.value(key);
    let fill = Fill {
        read,
        keys: &[read.key],
        reply: reply.as_bytes(),
        shape: Shape::Generic,
        sent: 1,
        end: End::Ttls(&[-1]),
        epoch: l1.epoch(),
        keyspace: 0,
    };
    assert!(l1.fill(space, &fill));
}

/// Does what a lane's reader does while another thread looks both keys up; `change` ends what is known of them.
fn never_torn(change: impl Fn(&L1, &Space, &[u8]) + Sync) {
    let l1 = L1::new(Settings::default(), 2);
    let space = l1.add_space();
    let over = AtomicBool::new(false);
    let (hits, torn) = thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let (mut hits, mut torn) = (0_u64, Vec::new());
            let reads = [l1.value(b"x"), l1.value(b"y")];
            while !over.load(Ordering::Relaxed) {
                let mut out = Vec::new();
                let drops = l1.drops();
                let found = reads.map(|read| l1.get(&space, &read, 2, None, &mut out));
                if found
                    .iter()
                    .all(|one| matches!(one, super::Lookup::Hit { .. }))
                    && l1.drops() == drops
                {
                    hits += 1;
                    let (first, second) = out.split_at(out.len() / 2);
                    if first != second {
                        torn.push(String::from_utf8_lossy(&out).into_owned());
                    }
                }
            }
            (hits, torn)
        });
        for version in 0..ROUNDS {
            for key in [b"x", b"y"] {
                change(&l1, &space, key);
            }
            // The second is refilled first: what was known of the first may still be in somebody's hands.
            for key in [b"y", b"x"] {
                fill(&l1, &space, key, version);
            }
            if version % 64 == 0 {
                thread::sleep(Duration::from_micros(1));
            }
        }
        over.store(true, Ordering::Relaxed);
        looking.join().expect("no panic")
    });
    assert_eq!(torn, Vec::<String>::new());
    assert!(hits > 0, "without hits this proves nothing");
}

#[test]
fn by_pushes() {
    never_torn(L1::invalidate);
}

#[test]
fn by_the_loss_of_the_lane() {
    never_torn(|l1, space, _| l1.lane_lost(space));
}

#[test]
fn by_a_null_push() {
    never_torn(|l1, space, _| l1.flush(space));
}

/// The other key was evicted before, so that the server has nothing to say of it.
#[test]
fn by_a_push_for_one() {
    never_torn(|l1, space, key| {
        if key == b"x" {
            let y = l1.hash(b"y");
            l1.table.write().remove(y, b"y");
            l1.invalidate(space, key);
        }
    });
}

/// Where a value is another one than before, the count of pushes that was taken before the first look shows a push for it.
/// Several look at a time, so that who drops it has to wait for the lock.
#[test]
fn what_has_changed_was_pushed_since() {
    let l1 = L1::new(Settings::default(), 2);
    let space = l1.add_space();
    let over = AtomicBool::new(false);
    let look = || {
        let (mut changed, mut unseen) = (0_u64, 0_u64);
        let read = l1.value(b"x");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        while !over.load(Ordering::Relaxed) {
            first.clear();
            let before = space.push_count();
            if matches!(
                l1.get(&space, &read, 2, None, &mut first),
                super::Lookup::Miss(_)
            ) {
                continue;
            }
            second.clear();
            while matches!(
                l1.get(&space, &read, 2, None, &mut second),
                super::Lookup::Miss(_)
            ) && !over.load(Ordering::Relaxed)
            {
                std::hint::spin_loop();
            }
            if !second.is_empty() && first != second {
                changed += 1;
                let shown = space.pushed_between(before, space.push_count(), &[read.key]);
                unseen += u64::from(!shown);
            }
        }
        (changed, unseen)
    };
    let (changed, unseen) = thread::scope(|scope| {
        let looking = [(); 4].map(|()| scope.spawn(look));
        for version in 0..4 * ROUNDS {
            l1.invalidate(&space, b"x");
            fill(&l1, &space, b"x", version);
        }
        over.store(true, Ordering::Relaxed);
        let seen = looking.map(|looking| looking.join().expect("no panic"));
        seen.iter()
            .fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    });
    assert_eq!(unseen, 0, "of {changed}");
    assert!(changed > 0, "without changes this proves nothing");
}
