//! `[[keyspace]]`: a table a key space, in the file alone.

use super::{DURATION, DURATION_ABOVE_ZERO, SIZE, TRUTH, TRUTHS, Wrong, l1, put};
use crate::config::value;
use crate::l1::keyspace::DEFAULT;
use crate::l1::settings::{FieldTtls, Keyspace, WritePolicy};

/// The name of the list of tables.
pub(in crate::config) const LIST: &str = "keyspace";

/// One key of a key space.
#[derive(Debug)]
pub(in crate::config) struct Row {
    /// Its name.
    pub(in crate::config) key: &'static str,
    /// One line of documentation.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the test of the example file reads it")
    )]
    pub(in crate::config) doc: &'static str,
    /// What a right value is; follows "is not".
    pub(in crate::config) expects: &'static str,
    /// What the example file has for it where there is no default.
    pub(in crate::config) example: Option<&'static str>,
    /// How to parse it.
    pub(in crate::config) set: fn(&mut Keyspace, &str) -> Result<(), Wrong>,
    /// Its value for people to read.
    pub(in crate::config) show: fn(&Keyspace) -> String,
}

impl Row {
    /// Whether a key space must have it.
    pub(in crate::config) fn is_required(&self) -> bool {
        self.example.is_some()
    }

    /// As messages name it.
    pub(in crate::config) fn full_key(&self) -> String {
        format!("{LIST}.{}", self.key)
    }
}

const WRITE_POLICIES: [(&str, WritePolicy); 2] = [
    ("invalidate", WritePolicy::Invalidate),
    ("write-through", WritePolicy::WriteThrough),
];
const FIELD_TTLS: [(&str, FieldTtls); 2] =
    [("possible", FieldTtls::Possible), ("none", FieldTtls::None)];

/// A name that is fit for a label.
fn name(text: &str) -> Result<String, Wrong> {
    if text == DEFAULT {
        return Err(Wrong::Because(
            "is the name of the keys that are in no key space; take another",
        ));
    }
    let fit = |c: char| c.is_ascii_alphanumeric() || "_:.-".contains(c);
    let named = !text.is_empty() && text.chars().all(fit);
    named.then(|| text.to_owned()).ok_or(Wrong::Shape)
}

/// Its keys.
pub(in crate::config) static TABLE: &[Row] = &[
    Row {
        key: "name",
        doc: "Its name, also as a label in metrics.",
        expects: "a name of letters, digits and _ : . -",
        example: Some("session"),
        set: |keyspace, text| put(&mut keyspace.name, Some(name(text)?)),
        show: |keyspace| keyspace.name.clone(),
    },
    Row {
        key: "match",
        doc: "Which keys are in it, as a pattern of Redis's own: * ? [abc] [^a] [a-z], and a backslash before what is meant as it is.",
        expects: "a pattern such as session:*",
        example: Some("session:*"),
        set: |keyspace, text| {
            let pattern = (!text.is_empty()).then(|| text.as_bytes().to_vec());
            put(&mut keyspace.pattern, pattern)
        },
        show: |keyspace| String::from_utf8_lossy(&keyspace.pattern).into_owned(),
    },
    Row {
        key: "cache",
        doc: "Whether its keys are put into L1 at all.",
        expects: TRUTH,
        example: None,
        set: |keyspace, text| put(&mut keyspace.cache, value::word(text, &TRUTHS)),
        show: |keyspace| keyspace.cache.to_string(),
    },
    Row {
        key: "entry_max_ttl",
        doc: "Longest life of an entry, whatever its TTL upstream.",
        expects: DURATION_ABOVE_ZERO,
        example: None,
        set: |keyspace, text| {
            put(
                &mut keyspace.entry_max_ttl,
                value::duration_above_zero(text),
            )
        },
        show: |keyspace| value::show_duration(keyspace.entry_max_ttl),
    },
    Row {
        key: "negative",
        doc: "Whether it is kept that there is no such key.",
        expects: TRUTH,
        example: None,
        set: |keyspace, text| put(&mut keyspace.negative, value::word(text, &TRUTHS)),
        show: |keyspace| keyspace.negative.to_string(),
    },
    Row {
        key: "max_entry_bytes",
        doc: "Replies longer than this are not kept.",
        expects: SIZE,
        example: None,
        set: |keyspace, text| put(&mut keyspace.max_entry_bytes, value::size_above_zero(text)),
        show: |keyspace| value::show_size(keyspace.max_entry_bytes),
    },
    Row {
        key: "admit",
        doc: "When a key is put into L1: on its second-read within the admission window, or always on the first.",
        expects: "one of second-read, always",
        example: None,
        set: |keyspace, text| put(&mut keyspace.admit, value::word(text, &l1::ADMITS)),
        show: |keyspace| value::show_word(&keyspace.admit, &l1::ADMITS),
    },
    Row {
        key: "write_policy",
        doc: "What a write of a key through nearside does to its entry: invalidate drops it, write-through drops it and reads it anew behind the write.",
        expects: "one of invalidate, write-through",
        example: None,
        set: |keyspace, text| {
            put(
                &mut keyspace.write_policy,
                value::word(text, &WRITE_POLICIES),
            )
        },
        show: |keyspace| value::show_word(&keyspace.write_policy, &WRITE_POLICIES),
    },
    Row {
        key: "hash_field_ttls",
        doc: "Whether fields of its hashes may end one by one: where that is possible, and the upstream has such, hashes are not kept.",
        expects: "one of none, possible",
        example: None,
        set: |keyspace, text| {
            put(
                &mut keyspace.hash_field_ttls,
                value::word(text, &FIELD_TTLS),
            )
        },
        show: |keyspace| value::show_word(&keyspace.hash_field_ttls, &FIELD_TTLS),
    },
    Row {
        key: "serve_stale",
        doc: "While the upstream is lost, what was held then is served for so long after it was last heard, and no longer than entry_max_ttl lets it live; 0s for never.",
        expects: DURATION,
        example: None,
        set: |keyspace, text| put(&mut keyspace.serve_stale, value::duration(text)),
        show: |keyspace| value::show_duration(keyspace.serve_stale),
    },
];

/// The row of a key.
pub(in crate::config) fn find(key: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.key == key)
}
