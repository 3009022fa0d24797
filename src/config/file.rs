//! The file: TOML whose keys and sections are the table's, and a list of key spaces.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::{Given, Written};
use super::failure::{Failure, Origin};
use super::schema::{self, Wrong, keyspace};
use super::{keyspaces, suggest};

/// What a file says.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    /// The values of the table's keys, in the file's order.
    pub(super) given: Vec<Given>,
    /// The key spaces, in the file's order.
    pub(super) keyspaces: Vec<keyspaces::Given>,
}

/// What a file says.
///
/// # Errors
/// The file cannot be read, is not TOML, or has a key that is not in the table.
pub(super) fn read(path: &Path) -> Result<Contents, Failure> {
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

/// What the text says of the file that is called `name`.
///
/// # Errors
/// As [`read`].
pub(super) fn parse(name: &str, text: &str) -> Result<Contents, Failure> {
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = line_of(text.as_bytes(), at);
        Failure::new(&format!("{name}:{line}: {}", error.message()))
    })?;
    let mut entries = Vec::new();
    flatten(&mut entries, None, document.get_ref());
    entries.sort_by_key(|entry| entry.at);
    let origin = |at: usize| Origin::File {
        path: name.to_owned(),
        line: line_of(text.as_bytes(), at),
    };
    let mut contents = Contents::default();
    for entry in entries {
        let is_list = entry.key == keyspace::LIST;
        match entry.value {
            DeValue::Array(tables) if is_list => {
                for table in tables {
                    let given = keyspace(table, entry.at, &origin)?;
                    contents.keyspaces.push(given);
                }
            }
            _ => contents.given.push(entry.given(origin(entry.at))?),
        }
    }
    Ok(contents)
}

/// One key space; `list` is where the first of them begins.
fn keyspace(
    table: &Spanned<DeValue<'_>>,
    list: usize,
    origin: &impl Fn(usize) -> Origin,
) -> Result<keyspaces::Given, Failure> {
    let DeValue::Table(inside) = table.get_ref() else {
        return Err(not_a_list(&origin(list)));
    };
    let mut keys: Vec<_> = inside.iter().collect();
    keys.sort_by_key(|(name, _)| name.span().start);
    let mut values = Vec::with_capacity(keys.len());
    for (name, value) in keys {
        let origin = origin(name.span().start);
        let name: &str = name.get_ref();
        let Some(row) = keyspace::find(name) else {
            let hint = suggest::nearest_of_keyspace(name).map_or_else(
                || {
                    let all: Vec<_> = keyspace::TABLE.iter().map(|row| row.key).collect();
                    format!("there are {}", all.join(", "))
                },
                |near| format!("did you mean {}?", near.key),
            );
            let what = format!("unknown key of a key space; {hint}");
            return Err(origin.says(&format!("{}.{name}", keyspace::LIST), &what));
        };
        let refuse = |what: &str| {
            let what = format!("{what} is not {}", row.expects);
            origin.says(&row.full_key(), &what)
        };
        let written = written(value.get_ref(), refuse)?;
        values.push((row, origin, written));
    }
    let origin = origin(table.span().start);
    Ok(keyspaces::Given { origin, values })
}

fn not_a_list(origin: &Origin) -> Failure {
    let list = keyspace::LIST;
    let what = format!("is a list of tables; write [[{list}]] and the keys of one below");
    origin.says(list, &what)
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
            DeValue::Table(inside)
                if key != keyspace::LIST && schema::find(&key).is_none() && leads_on(inside) =>
            {
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
        let refuse = |what: &str| row.refuse(&origin, what, Wrong::Shape);
        let values = match self.value {
            DeValue::Array(items) => items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::Array(_) => Err(refuse("a list within a list")),
                    one => written(one, refuse),
                })
                .collect::<Result<_, _>>()?,
            one => vec![written(one, refuse)?],
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
        if key == keyspace::LIST || key.starts_with(&format!("{}.", keyspace::LIST)) {
            return not_a_list(origin);
        }
        let (what, hint) = if is_section(key) {
            (
                format!("{key} is a section"),
                format!("write [{key}] and its keys below"),
            )
        } else if suggest::is_near(key, keyspace::LIST) {
            (
                format!("unknown key {key}"),
                format!("did you mean [[{}]]?", keyspace::LIST),
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
    if section.is_none() {
        names.push(format!("[[{}]]", keyspace::LIST));
    }
    names.join(", ")
}

/// A scalar's text; numbers as TOML wrote them, so that `0x10` is not taken for 10.
fn written(value: &DeValue<'_>, refuse: impl Fn(&str) -> Failure) -> Result<Written, Failure> {
    let text = match value {
        DeValue::String(text) => return Ok(Written::quoted(text)),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => return Err(refuse("a list")),
        DeValue::Table(_) => return Err(refuse("a table")),
    };
    Ok(Written {
        shown: text.clone(),
        text,
    })
}
