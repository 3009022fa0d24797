//! Big keys: those whose replies were the largest, in a fixed room. Replies of less than [`BIG`] are not looked at, so the
//! others cost a comparison each.
//!
//! What a reply is of is known by the hash of the key from the reader on; its name is known where the session still has the
//! request at hand, and is taken in then. A key's largest reply counts, whatever command asked for it.
//!
//! Its lock is taken for a big reply and by who asks, each for one step.

use parking_lot::Mutex;

use super::durations::Label;

/// Bytes from which on a reply is looked at.
pub const BIG: u64 = 16 * 1024;
/// Keys that are kept.
pub const KEPT: usize = 128;
/// Longer names are left out.
const LONGEST: usize = 1024;

/// A key with a big reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BigKey {
    /// Hash of its name.
    pub hash: u64,
    /// Its name, once it was known.
    pub key: Option<Box<[u8]>>,
    /// Bytes of its largest reply, as the upstream wrote it.
    pub bytes: u64,
    /// The command that had it.
    pub label: Label,
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct BigKeys(Mutex<Vec<BigKey>>);

impl BigKeys {
    /// A reply of so many bytes has come for a key.
    pub fn note(&self, hash: u64, key: Option<&[u8]>, bytes: u64, label: Label) {
        if bytes < BIG {
            return;
        }
        let key = key.filter(|key| key.len() <= LONGEST);
        let mut kept = self.0.lock();
        if let Some(known) = kept.iter_mut().find(|one| one.hash == hash) {
            if known.key.is_none() {
                known.key = key.map(Into::into);
            }
            if bytes > known.bytes {
                (known.bytes, known.label) = (bytes, label);
            }
            return;
        }
        let new = BigKey {
            hash,
            key: key.map(Into::into),
            bytes,
            label,
        };
        if kept.len() < KEPT {
            kept.push(new);
        } else if let Some(least) = kept.iter_mut().min_by_key(|one| one.bytes)
            && least.bytes < bytes
        {
            *least = new;
        }
    }

    /// Up to `count` of them, the biggest first.
    #[must_use]
    pub fn biggest(&self, count: usize) -> Vec<BigKey> {
        let mut all = self.0.lock().clone();
        all.sort_by_key(|one| std::cmp::Reverse(one.bytes));
        all.truncate(count);
        all
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_each_key_once() {
        let keys = BigKeys::default();
        keys.note(1, None, BIG - 1, Label(7));
        assert!(keys.biggest(9).is_empty());
        for n in 0..1000 {
            keys.note(n, None, BIG + n % 500, Label(7));
        }
        let biggest = keys.biggest(usize::MAX);
        assert_eq!(biggest.len(), KEPT);
        let least = biggest.last().map(|one| one.bytes);
        assert_eq!(least, Some(BIG + 500 - KEPT as u64 / 2));
        keys.note(999, Some(b"name"), BIG, Label(8));
        keys.note(999, Some(b"other"), BIG + 9999, Label(9));
        let first = &keys.biggest(1)[0];
        assert_eq!(first.key.as_deref(), Some(&b"name"[..]));
        assert_eq!((first.bytes, first.label), (BIG + 9999, Label(9)));
        assert_eq!(keys.biggest(usize::MAX).len(), KEPT);
        keys.clear();
        assert!(keys.biggest(1).is_empty());
    }
}
