//! Any history of calls against a map of what was put in last: values and replies of two spaces, some under keys that
//! share a hash.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// What is asked of a key: its value, or one of several commands' replies.
type What = (u64, u8);

#[derive(Debug, Clone)]
enum Call {
    Get(u16, What),
    Insert {
        space: u16,
        what: What,
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
    let what = || (key(), 0..4_u8);
    let space = || 0..2_u16;
    prop_oneof![
        60 => (space(), what()).prop_map(|(space, what)| Call::Get(space, what)),
        60 => (space(), what(), 0..600_usize, 1..100_u64)
            .prop_map(|(space, what, len, lives)| Call::Insert { space, what, len, lives }),
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

fn bytes(what: What) -> Vec<u8> {
    let (key, variant) = what;
    let mut bytes = key.to_le_bytes().to_vec();
    if variant > 0 {
        bytes.push(variant);
    }
    bytes
}

fn read(what: What, bytes: &[u8]) -> Read<'_> {
    let (key, variant) = what;
    if variant == 0 {
        return Read {
            key: hash(key),
            hash: hash(key),
            ident: Ident::Value(bytes),
        };
    }
    Read {
        key: hash(key),
        hash: hash(key * 4 + u64::from(variant)).rotate_left(7),
        ident: Ident::Reply {
            name: "HGET",
            rest: bytes,
        },
    }
}

proptest! {
    #[test]
    fn any_history_keeps_the_bound_and_shows_only_what_was_put_in_last(
        max_bytes in 100..8000_usize,
        calls in prop::collection::vec(call(), 1..300),
    ) {
        let mut table = Table::new(max_bytes, 1);
        let generations = Generations::default();
        let mut last = HashMap::<(u16, What), (Vec<u8>, u64)>::new();
        let mut now = 0;
        let mut puts = 0_u64;
        for call in calls {
            match call {
                Call::Get(space, what) => {
                    let ident = bytes(what);
                    if let Ok(entry) = table.get(space, &read(what, &ident), now, &generations) {
                        let (reply, deadline) = &last[&(space, what)];
                        prop_assert_eq!(entry.reply(), &reply[..]);
                        prop_assert_eq!(entry.deadline(), *deadline);
                        prop_assert!(now < *deadline);
                    }
                }
                Call::Insert { space, what, len, lives } => {
                    puts += 1;
                    let mut reply = puts.to_le_bytes().to_vec();
                    reply.resize(8 + len, b'x');
                    let ident = bytes(what);
                    let read = read(what, &ident);
                    let before = table.len();
                    let had = table.find(space, &read).is_some();
                    let new = New {
                        space,
                        read: &read,
                        reply: &reply,
                        joint: &[],
                        same_in_both: true,
                        deadline: now + lives,
                        keyspace: 0,
                    };
                    let fits = new.entry().unwrap().bytes() <= max_bytes;
                    let evicted = table.insert(&new);
                    prop_assert_eq!(evicted.is_some(), fits);
                    prop_assert_eq!(
                        table.len() + usize::try_from(evicted.unwrap_or(0)).unwrap() + usize::from(had),
                        before + usize::from(fits)
                    );
                    prop_assert_eq!(table.find(space, &read).is_some(), fits);
                    last.insert((space, what), (reply, now + lives));
                }
                Call::Remove(key) => {
                    table.remove(hash(key), &bytes((key, 0)));
                    last.retain(|&(_, (held, variant)), _| {
                        if variant == 0 { held != key } else { hash(held) != hash(key) }
                    });
                }
                Call::RemoveHash(key) => {
                    table.remove_hash(hash(key));
                    last.retain(|&(_, (held, _)), _| hash(held) != hash(key));
                }
                Call::RemoveSpace(space) => {
                    table.remove_space(space);
                    last.retain(|&(held, _), _| held != space);
                }
                Call::Clear => {
                    table.clear();
                    last.clear();
                }
                Call::Pass(time) => now += time,
            }
            prop_assert!(table.bytes() <= max_bytes);
            prop_assert_eq!(table.bytes(), table.entries().map(Entry::bytes).sum::<usize>());
            prop_assert_eq!(table.len(), table.entries().count());
            for entry in table.entries() {
                let ident = entry.ident();
                let ident = if entry.is_reply() { &ident["HGET".len()..] } else { ident };
                let (key, variant) = ident.split_at(8);
                let key = u64::from_le_bytes(key.try_into().unwrap());
                let variant = variant.first().copied().unwrap_or_default();
                prop_assert!(last.contains_key(&(entry.space(), (key, variant))));
            }
        }
    }
}
