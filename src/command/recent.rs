//! The row that was found last: most pipelines ask for one command over and over.

use std::ops::Range;

use super::Row;

/// Longest name that is remembered, in bytes; one more is for its length.
const LONGEST: usize = size_of::<u64>() - 1;

/// See the module's header.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recent {
    /// The name as it was sent, and the row that every request of that name has.
    found: Option<(u64, &'static Row)>,
}

impl Recent {
    /// As [`super::of`].
    #[inline]
    #[must_use]
    pub fn of(&mut self, request: &[u8], args: &[Range<usize>]) -> Option<&'static Row> {
        let name = args.first().and_then(|name| few_bytes(request, name));
        if let Some((same, row)) = self.found
            && name == Some(same)
        {
            return Some(row);
        }
        let row = super::find(&request[args.first()?.clone()])?;
        if !row.is_told_by_name() {
            return super::narrowed(row, request, args);
        }
        self.found = name.map(|name| (name, row));
        Some(row)
    }
}

/// A short name with its length in the highest byte, where eight bytes can be read from its begin on.
#[inline]
fn few_bytes(request: &[u8], name: &Range<usize>) -> Option<u64> {
    let length = name.len();
    if !(1..=LONGEST).contains(&length) {
        return None;
    }
    let bytes = request.get(name.start..)?.first_chunk()?;
    let beyond = u64::BITS as usize - 8 * length;
    let name = u64::from_le_bytes(*bytes) << beyond >> beyond;
    Some(name | (length as u64) << (8 * LONGEST))
}

#[cfg(test)]
mod tests {
    use super::Recent;
    use crate::command;
    use crate::resp::encode;
    use crate::resp::request::RequestScanner;

    /// Whatever was asked for before.
    #[test]
    fn finds_what_the_table_has() {
        let mut names: Vec<Vec<u8>> = command::rows().map(|row| row.name.into()).collect();
        for name in [
            "get", "GeT", "GET\0", "GE", "", "GETX", "MSETNXX", "P\u{e9}",
        ] {
            names.push(name.into());
        }
        let argument: [&[u8]; 5] = [b"", b"k", b"ID", b"block", b"help"];
        let mut recent = Recent::default();
        for name in &names {
            for first in argument {
                for second in argument {
                    let mut request = Vec::new();
                    encode::request(&mut request, &[name, first, second]);
                    let mut scanner = RequestScanner::default();
                    scanner.scan(&request).expect("a sound request");
                    let found = recent.of(&request, scanner.args());
                    let expected = command::of(&request, scanner.args());
                    assert!(
                        found.map(std::ptr::from_ref) == expected.map(std::ptr::from_ref),
                        "{}: {found:?}, not {expected:?}",
                        String::from_utf8_lossy(&request)
                    );
                }
            }
        }
    }
}
