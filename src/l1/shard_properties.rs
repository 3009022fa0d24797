//! Any history of calls against a map of what was put in last.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Call {
    Get(u16, u64),
    Insert {
        space: u16,
        key: u64,
        len: usize,
        lives: u64,
    },
    Remove(u64),
    RemoveHash(u64),
    RemoveSpace(u16),
    Clear,
    Pass(u64),
}

fn call() -> impl Strategy<Value = Call> {
    let key = || 0..60_u64;
    let space = || 0..2_u16;
    prop_oneof![
        60 => (space(), key()).prop_map(|(space, key)| Call::Get(space, key)),
        60 => (space(), key(), 0..600_usize, 1..100_u64)
            .prop_map(|(space, key, len, lives)| Call::Insert { space, key, len, lives }),
        10 => key().prop_map(Call::Remove),
        5 => key().prop_map(Call::RemoveHash),
        1 => space().prop_map(Call::RemoveSpace),
        1 => Just(Call::Clear),
        10 => (0..20_u64).prop_map(Call::Pass),
    ]
}

/// Two keys share a hash, and most are in a sample.
fn hash(key: u64) -> u64 {
    (key / 2).wrapping_mul(0x9E37_79B9_7F4A_7C15) & 0xFFFF_FFFF_00FF_FFFF
}

proptest! {
    #[test]
    fn any_history_keeps_the_bound_and_shows_only_what_was_put_in_last(
        max_bytes in 100..8000_usize,
        calls in prop::collection::vec(call(), 1..300),
    ) {
        let mut shard = Shard::new(max_bytes);
        let mut last = HashMap::<(u16, u64), (Vec<u8>, u64)>::new();
        let mut now = 0;
        let mut puts = 0_u64;
        for call in calls {
            match call {
                Call::Get(space, key) => {
                    if let Some(entry) = shard.get(space, hash(key), &key.to_le_bytes(), now) {
                        let (reply, deadline) = &last[&(space, key)];
                        prop_assert_eq!(entry.reply(), &reply[..]);
                        prop_assert_eq!(entry.deadline(), *deadline);
                        prop_assert!(now < *deadline);
                    }
                }
                Call::Insert { space, key, len, lives } => {
                    puts += 1;
                    let mut reply = puts.to_le_bytes().to_vec();
                    reply.resize(8 + len, b'x');
                    let before = shard.len();
                    let had = shard.find(space, hash(key), &key.to_le_bytes()).is_some();
                    let evicted = shard.insert(space, hash(key), &key.to_le_bytes(), &reply, now + lives);
                    let fits = 8 + reply.len() + ENTRY_OVERHEAD <= max_bytes;
                    prop_assert_eq!(
                        shard.len() + usize::try_from(evicted).unwrap() + usize::from(had),
                        before + usize::from(fits)
                    );
                    let found = shard.find(space, hash(key), &key.to_le_bytes());
                    prop_assert_eq!(found.is_some(), fits);
                    last.insert((space, key), (reply, now + lives));
                }
                Call::Remove(key) => {
                    shard.remove(hash(key), &key.to_le_bytes());
                    last.retain(|&(_, held), _| held != key);
                }
                Call::RemoveHash(key) => {
                    shard.remove_hash(hash(key));
                    last.retain(|&(_, held), _| hash(held) != hash(key));
                }
                Call::RemoveSpace(space) => {
                    shard.remove_space(space);
                    last.retain(|&(held, _), _| held != space);
                }
                Call::Clear => {
                    shard.clear();
                    last.clear();
                }
                Call::Pass(time) => now += time,
            }
            prop_assert!(shard.bytes() <= max_bytes);
            prop_assert_eq!(shard.bytes(), shard.entries().map(Entry::bytes).sum::<usize>());
            prop_assert_eq!(shard.len(), shard.entries().count());
            for entry in shard.entries() {
                let key = u64::from_le_bytes(entry.key().try_into().unwrap());
                prop_assert!(last.contains_key(&(entry.space, key)));
            }
        }
    }
}
