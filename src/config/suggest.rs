//! Which name someone most likely meant.

use super::schema::{Row, keyspace, rows};

/// The row that someone who wrote `name` most likely meant. Sections may be missing or wrong in it, and
/// dots, dashes and case do not count, so that it serves variables too. `None` if nothing is near.
pub(super) fn nearest(name: &str) -> Option<&'static Row> {
    let plain = |text: &str| text.to_lowercase().replace(['.', '-'], "_");
    let last = |text: &str| plain(text.rsplit('.').next().unwrap_or(text));
    let distance = |row: &Row| {
        let whole = edits(&plain(name), &plain(row.key));
        whole.min(edits(&last(name), &last(row.key)) + 1)
    };
    let near = rows().min_by_key(|row| distance(row))?;
    (distance(near) <= far(name)).then_some(near)
}

/// The key of a key space that someone most likely meant.
pub(super) fn nearest_of_keyspace(name: &str) -> Option<&'static keyspace::Row> {
    let plain = name.to_lowercase().replace('-', "_");
    let distance = |row: &keyspace::Row| edits(&plain, row.key);
    let near = keyspace::TABLE.iter().min_by_key(|row| distance(row))?;
    (distance(near) <= far(name)).then_some(near)
}

/// Whether someone who wrote `name` most likely meant `word`.
pub(super) fn is_near(name: &str, word: &str) -> bool {
    edits(&name.to_lowercase().replace(['-', '_'], ""), word) <= 2
}

/// Edits above which a name was not meant.
fn far(name: &str) -> usize {
    (name.len() / 3).max(2).min(name.len().saturating_sub(1))
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(from != *to);
            row.push(replaced.min(above[j + 1] + 1).min(row[j] + 1));
        }
        above = row;
    }
    above[b.len()]
}
