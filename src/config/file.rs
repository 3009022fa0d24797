//! The file: TOML whose keys and sections are the table's.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::draft::{Given, Written};
use super::failure::{Failure, Origin};
use super::schema::{self, Row, Wrong};
use super::suggest;

/// The values in a file, in its own order.
///
/// # Errors
/// The file cannot be read, is not TOML, or has a key that is not in the table.
pub(super) fn read(path: &Path) -> Result<Vec<Given>, Failure> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| Failure::new(&format!("{name}: {error}")))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(&name, text),
        Err(error) => {
            let line = line_of(&bytes, error.valid_up_to());
            Err(Failure::new(&format!("{name}:{line}: not UTF-8")))
        }
    }
}

/// The values in the text of the file that is called `name`.
///
/// # Errors
/// As [`read`].
pub(super) fn parse(name: &str, text: &str) -> Result<Vec<Given>, Failure> {
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = line_of(text.as_bytes(), at);
        Failure::new(&format!("{name}:{line}: {}", error.message()))
    })?;
    let mut entries = Vec::new();
    flatten(&mut entries, None, document.get_ref());
    entries.sort_by_key(|entry| entry.at);
    let given = |entry: Entry<'_, '_>| {
        let line = line_of(text.as_bytes(), entry.at);
        entry.given(Origin::File {
            path: name.to_owned(),
            line,
        })
    };
    entries.into_iter().map(given).collect()
}

/// Counted from 1.
fn line_of(text: &[u8], at: usize) -> usize {
    let before = &text[..at.min(text.len())];
    before
        .iter()
        .fold(1, |line, byte| line + usize::from(*byte == b'\n'))
}

/// A key with its value, where it starts in the file.
struct Entry<'t, 'i> {
    key: String,
    at: usize,
    value: &'t DeValue<'i>,
}

/// Sections become part of the key, also those that there are not: what is refused is then the key within, which
/// tells more about what was meant.
fn flatten<'t, 'i>(
    entries: &mut Vec<Entry<'t, 'i>>,
    section: Option<&str>,
    table: &'t DeTable<'i>,
) {
    for (name, value) in table {
        let key = match section {
            Some(section) => format!("{section}.{}", name.get_ref()),
            None => name.get_ref().to_string(),
        };
        let leads_on = |inside: &DeTable<'_>| is_section(&key) || !inside.is_empty();
        match value.get_ref() {
            DeValue::Table(inside) if schema::find(&key).is_none() && leads_on(inside) => {
                flatten(entries, Some(&key), inside);
            }
            value => entries.push(Entry {
                key,
                at: name.span().start,
                value,
            }),
        }
    }
}

fn is_section(name: &str) -> bool {
    sections().any(|section| section == name)
}

fn sections() -> impl Iterator<Item = &'static str> {
    schema::rows().filter_map(|row| Some(row.key.split_once('.')?.0))
}

impl Entry<'_, '_> {
    fn given(&self, origin: Origin) -> Result<Given, Failure> {
        let Some(row) = schema::find(&self.key) else {
            return Err(self.unknown(&origin));
        };
        let values = match self.value {
            DeValue::Array(items) => items
                .iter()
                .map(|item| written(row, &origin, item.get_ref()))
                .collect::<Result<_, _>>()?,
            one => vec![written(row, &origin, one)?],
        };
        Ok(Given {
            row,
            origin,
            values,
        })
    }

    fn unknown(&self, origin: &Origin) -> Failure {
        let Origin::File { path, line } = origin else {
            unreachable!("an entry comes from a file");
        };
        let key = &self.key;
        let (what, hint) = if is_section(key) {
            (
                format!("{key} is a section"),
                format!("write [{key}] and its keys below"),
            )
        } else if let Some(near) = suggest::nearest(key) {
            (
                format!("unknown key {key}"),
                format!("did you mean {}?", near.key),
            )
        } else {
            let section = key
                .split_once('.')
                .map(|(section, _)| section)
                .filter(|name| is_section(name));
            (
                format!("unknown key {key}"),
                format!("there are {}", keys_in(section)),
            )
        };
        Failure::new(&format!("{path}:{line}: {what}; {hint}"))
    }
}

/// The keys of a section, or those without one and the sections.
fn keys_in(section: Option<&str>) -> String {
    let mut names: Vec<String> = Vec::new();
    for row in schema::rows() {
        let name = match (section, row.key.split_once('.')) {
            (None, None) => row.key.to_owned(),
            (None, Some((of, _))) => format!("[{of}]"),
            (Some(section), Some((of, _))) if of == section => row.key.to_owned(),
            (Some(_), _) => continue,
        };
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

/// A scalar's text; numbers as TOML wrote them, so that `0x10` is not taken for 10.
fn written(row: &Row, origin: &Origin, value: &DeValue<'_>) -> Result<Written, Failure> {
    let text = match value {
        DeValue::String(text) => return Ok(Written::quoted(text)),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => return Err(row.refuse(origin, "a list within a list", Wrong::Shape)),
        DeValue::Table(_) => return Err(row.refuse(origin, "a table", Wrong::Shape)),
    };
    Ok(Written {
        shown: text.clone(),
        text,
    })
}
