//! What is asked, what it weighs, and how long it is true.

use std::sync::OnceLock;
use std::time::Duration;

use nearside::l1::settings::{Admit, Keyspace, Mode, Settings};
use nearside::l1::{End, Fill, L1, Read};
use nearside::resp::downgrade::Shape;
use nearside::resp::encode;

use super::Sent;

/// Those of the second key space begin with `n`.
pub const KEYS: [&[u8]; 4] = [b"a", b"b", b"n:c", b"n:d"];
/// In milliseconds.
pub const STALENESS: u64 = 40;
/// Longest lives in the two key spaces, in milliseconds.
const LIVES: [u64; 2] = [30, 200];
/// Longest replies in the two key spaces.
pub const LONGEST: [usize; 2] = [300, 1000];

/// What is asked: a key's value, a field, or a union with the next key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    Value(usize),
    Field(usize),
    Union(usize),
}

impl What {
    pub fn of(byte: u8) -> Self {
        let key = usize::from(byte) % KEYS.len();
        match byte / 4 % 3 {
            0 => Self::Value(key),
            1 => Self::Field(key),
            _ => Self::Union(key),
        }
    }

    /// Its own first.
    pub fn keys(self) -> Vec<usize> {
        match self {
            Self::Value(key) | Self::Field(key) => vec![key],
            Self::Union(key) => vec![key, (key + 1) % KEYS.len()],
        }
    }

    pub fn request(self) -> Vec<u8> {
        let mut request = Vec::new();
        match self {
            Self::Value(key) => encode::request(&mut request, &[b"GET", KEYS[key]]),
            Self::Field(key) => encode::request(&mut request, &[b"HGET", KEYS[key], b"f"]),
            Self::Union(_) => {
                let keys = self.keys();
                encode::request(&mut request, &[b"SUNION", KEYS[keys[0]], KEYS[keys[1]]]);
            }
        }
        request
    }

    /// The command's name and where it ends in the request; none for a value.
    fn name(self) -> Option<(&'static str, usize)> {
        match self {
            Self::Value(_) => None,
            Self::Field(_) => Some(("HGET", "*3\r\n$4\r\nHGET".len())),
            Self::Union(_) => Some(("SUNION", "*3\r\n$6\r\nSUNION".len())),
        }
    }

    pub fn read(self, l1: &L1, request: &[u8], then: impl FnOnce(Read<'_>)) {
        let key = KEYS[self.keys()[0]];
        then(match self.name() {
            None => l1.value(key),
            Some((name, end)) => l1.reply(name, key, &request[end..]),
        });
    }

    /// What an entry of it counts for, with a reply of this length.
    pub fn weight(self, reply: usize, family: usize) -> usize {
        let further = self.keys().len() - 1;
        let joint = if further > 0 { 2 + 12 * further } else { 0 };
        let ident = match self.name() {
            None => KEYS[self.keys()[0]].len(),
            Some((name, end)) => name.len() + self.request().len() - end + family,
        };
        L1::entry_overhead() + ident + joint + reply
    }
}

/// The number of a key's.
pub fn keyspace(key: usize) -> usize {
    usize::from(!KEYS[key].starts_with(b"n"))
}

/// Two key spaces that differ in all that a fill depends on.
pub fn settings(max_bytes: usize, mode: Mode) -> Settings {
    let mut settings = Settings {
        mode,
        max_bytes,
        max_staleness: Duration::from_millis(STALENESS),
        entry_max_ttl: Duration::from_millis(LIVES[1]),
        max_entry_bytes: LONGEST[1],
        admit: Admit::Always,
        serve_stale: Duration::from_millis(LIVES[1]),
        ..Settings::default()
    };
    settings.keyspaces.push(Keyspace {
        name: "n".to_owned(),
        pattern: b"n:*".to_vec(),
        entry_max_ttl: Duration::from_millis(LIVES[0]),
        max_entry_bytes: LONGEST[0],
        negative: false,
        ..settings.default_keyspace()
    });
    settings
}

/// What a reply counts for beside what a value does, by trying it.
pub fn family() -> usize {
    static FAMILY: OnceLock<usize> = OnceLock::new();
    *FAMILY.get_or_init(tried_family)
}

fn tried_family() -> usize {
    let l1 = L1::new(settings(1 << 20, Mode::On), 1);
    let (space, what) = (l1.add_space(), What::Field(0));
    let request = what.request();
    what.read(&l1, &request, |read| {
        let fill = Fill {
            read,
            keys: &[read.key],
            reply: b"_\r\n",
            shape: Shape::Generic,
            sent: 1,
            end: End::Ttls(&[-1]),
            epoch: l1.epoch(),
            keyspace: 1,
        };
        assert!(l1.fill(&space, &fill));
    });
    l1.size().1 - what.weight(3, 0)
}

/// Until when a reply is true at most; none where what is said of its keys' expiry does not agree with it.
pub fn deadline(sent: &Sent, ttls: &[i64]) -> Option<u64> {
    let space = keyspace(sent.what.keys()[0]);
    let cap = sent.at + LIVES[space];
    if let Some((_, until)) = sent.held {
        return Some(cap.min(until));
    }
    let nothing = sent.reply == b"_\r\n" || sent.reply == b"~0\r\n";
    let gone = ttls.contains(&-2);
    // Its key space keeps no such news.
    let unwanted = nothing && gone && space == 0;
    let contradicts = match sent.what {
        What::Value(_) => nothing != gone,
        _ => gone && !nothing,
    };
    if unwanted || contradicts || ttls.iter().any(|&ttl| ttl < -2) {
        return None;
    }
    let ends = ttls.iter().filter(|&&ttl| ttl >= 0);
    let ends = ends.map(|ttl| sent.at + ttl.unsigned_abs());
    Some(ends.fold(cap, u64::min))
}
