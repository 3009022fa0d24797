//! A whole reply as a tree, with maps and sets as lists, so that both protocols look alike. Counts are never trusted
//! before their elements are there.

use crate::resp::frame::parse_integer;

/// Deepest nesting; `COMMAND` needs eight.
const DEPTH: u8 = 16;
/// Elements taken in.
const ELEMENTS: usize = 1 << 20;

/// One element.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Text(&'a [u8]),
    Number(i64),
    List(Vec<Item<'a>>),
    /// A null, an error, or what `COMMAND` has no use for.
    Other,
}

impl<'a> Item<'a> {
    /// A map's value for this name.
    pub fn field(&self, name: &str) -> Option<&Item<'a>> {
        let Item::List(fields) = self else {
            return None;
        };
        fields.chunks_exact(2).find_map(|pair| match &pair[0] {
            Item::Text(text) if *text == name.as_bytes() => Some(&pair[1]),
            _ => None,
        })
    }

    /// A map's number for this name.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.field(name)? {
            Item::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// The tree of a reply; `None` if it is not whole, or no RESP, or beyond the limits.
pub fn parse(reply: &[u8]) -> Option<Item<'_>> {
    Parser {
        rest: reply,
        elements: 0,
    }
    .item(0)
}

struct Parser<'a> {
    rest: &'a [u8],
    elements: usize,
}

impl<'a> Parser<'a> {
    fn line(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 2..];
        Some(line)
    }

    fn item(&mut self, depth: u8) -> Option<Item<'a>> {
        self.elements += 1;
        if depth > DEPTH || self.elements > ELEMENTS {
            return None;
        }
        let (kind, text) = self.line()?.split_first()?;
        match kind {
            b'+' => Some(Item::Text(text)),
            b':' => Some(parse_integer(text).map_or(Item::Other, Item::Number)),
            b'-' | b'_' | b'#' | b',' | b'(' => Some(Item::Other),
            b'$' | b'=' | b'!' => {
                let Ok(length) = usize::try_from(parse_integer(text)?) else {
                    return Some(Item::Other);
                };
                let body = self.rest.get(..length)?;
                self.rest = self.rest.get(length..)?.strip_prefix(b"\r\n")?;
                Some(match kind {
                    b'$' => Item::Text(body),
                    _ => Item::Other,
                })
            }
            b'*' | b'~' | b'%' => {
                let Ok(count) = usize::try_from(parse_integer(text)?) else {
                    return Some(Item::Other);
                };
                let count = if *kind == b'%' {
                    count.checked_mul(2)?
                } else {
                    count
                };
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.item(depth + 1)?);
                }
                Some(Item::List(items))
            }
            _ => None,
        }
    }
}
