//! What a cacheable read asks for, and how L1 knows it again.

/// What tells a read from every other read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ident<'a> {
    /// A key's value: GET of this key, and this key in an MGET.
    Value(&'a [u8]),
    /// A command's reply.
    Reply {
        /// The command's name, in upper case.
        name: &'static str,
        /// The request behind its name, as it was sent: two spellings of one read are two reads.
        rest: &'a [u8],
    },
}

impl Ident<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Value(key) => key.len(),
            Self::Reply { name, rest } => name.len() + rest.len(),
        }
    }

    /// Appends it, for [`Self::is`] later.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Value(key) => out.extend_from_slice(key),
            Self::Reply { name, rest } => {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(rest);
            }
        }
    }

    /// Whether it is the one whose bytes these are, both being values or both replies.
    #[must_use]
    pub fn is(&self, written: &[u8]) -> bool {
        match self {
            Self::Value(key) => written == *key,
            Self::Reply { name, rest } => {
                let (front, behind) = written.split_at(name.len().min(written.len()));
                front == name.as_bytes() && behind == *rest
            }
        }
    }
}

/// One read of one or more keys. Made by [`super::L1::value`] and [`super::L1::reply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read<'a> {
    /// Hash of its first key, under which it is dropped.
    pub key: u64,
    /// Its own hash, under which it is found; a value's is its key's.
    pub hash: u64,
    /// What it is.
    pub ident: Ident<'a>,
}
