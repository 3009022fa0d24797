//! What is told in two forms: as JSON, and as RESP, where a map is a flat array in RESP2.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::resp::encode;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// Nothing to tell for now.
    Null,
    /// A number.
    Number(u64),
    /// A text of ours.
    Text(String),
    /// Bytes of a client's. JSON has text only: what is not UTF-8 is escaped there as redis-cli shows it.
    Bytes(Vec<u8>),
    /// Several.
    List(Vec<Tree>),
    /// Several with names, in this order.
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// A map with these fields.
    #[must_use]
    pub fn map<const N: usize>(fields: [(&str, Self); N]) -> Self {
        Self::Map(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// A number, if there is one.
    #[must_use]
    pub fn number(number: Option<u64>) -> Self {
        number.map_or(Self::Null, Self::Number)
    }

    /// Appends it in RESP.
    pub fn write(&self, out: &mut Vec<u8>, resp2: bool) {
        match self {
            Self::Null => encode::nil(out, resp2),
            Self::Number(n) => encode::header(out, b':', *n),
            Self::Text(text) => encode::bulk(out, text.as_bytes()),
            Self::Bytes(bytes) => encode::bulk(out, bytes),
            Self::List(list) => {
                encode::header(out, b'*', list.len() as u64);
                for one in list {
                    one.write(out, resp2);
                }
            }
            Self::Map(fields) => {
                let fields_each = if resp2 { (b'*', 2) } else { (b'%', 1) };
                encode::header(out, fields_each.0, fields.len() as u64 * fields_each.1);
                for (name, value) in fields {
                    encode::bulk(out, name.as_bytes());
                    value.write(out, resp2);
                }
            }
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Number(n) => to.serialize_u64(*n),
            Self::Text(text) => to.serialize_str(text),
            Self::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => to.serialize_str(text),
                Err(_) => to.serialize_str(&escaped(bytes)),
            },
            Self::List(list) => to.collect_seq(list),
            Self::Map(fields) => {
                let mut map = to.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

/// As redis-cli prints it, without the quotes.
fn escaped(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x07 => text.push_str("\\a"),
            0x08 => text.push_str("\\b"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("writing to a string"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_each_form() {
        let tree = Tree::map([
            ("n", Tree::number(Some(7))),
            ("no", Tree::number(None)),
            (
                "keys",
                Tree::List(vec![
                    Tree::Bytes("k\u{fc}".into()),
                    Tree::Bytes(b"\xff\"\n".into()),
                ]),
            ),
        ]);
        let json = serde_json::to_string(&tree).expect("JSON");
        assert_eq!(json, r#"{"n":7,"no":null,"keys":["kü","\\xff\\\"\\n"]}"#);
        let written = |resp2| {
            let mut out = Vec::new();
            tree.write(&mut out, resp2);
            out
        };
        let n: &[u8] = b"$1\r\nn\r\n:7\r\n$2\r\nno\r\n";
        let keys: &[u8] = b"$4\r\nkeys\r\n*2\r\n$3\r\nk\xc3\xbc\r\n$3\r\n\xff\"\n\r\n";
        assert_eq!(written(true), [b"*6\r\n", n, b"$-1\r\n", keys].concat());
        assert_eq!(written(false), [b"%3\r\n", n, b"_\r\n", keys].concat());
    }
}
