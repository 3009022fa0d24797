//! Key spaces: from the file's tables to policies, with what they do not say taken from `[l1]`.

use crate::l1::glob;
use crate::l1::keyspace::MOST;
use crate::l1::settings::{Keyspace, Settings};

use super::draft::Written;
use super::failure::{Failure, Origin};
use super::schema::Wrong;
use super::schema::keyspace::{LIST, Row, TABLE};
use super::value;

/// One key space as the file has it.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// Where its table begins.
    pub(super) origin: Origin,
    /// Its values, in the file's order.
    pub(super) values: Vec<(&'static Row, Origin, Written)>,
}

impl Given {
    fn origin(&self, key: &str) -> &Origin {
        let value = self.values.iter().find(|(row, _, _)| row.key == key);
        value.map_or(&self.origin, |(_, origin, _)| origin)
    }

    fn says(&self, key: &str, what: &str) -> Failure {
        self.origin(key).says(&format!("{LIST}.{key}"), what)
    }

    fn policy(&self, settings: &Settings) -> Result<Keyspace, Failure> {
        let mut policy = settings.default_keyspace();
        for (row, origin, written) in &self.values {
            let refuse = |wrong| {
                let shown = &written.shown;
                let what = match wrong {
                    Wrong::Shape => format!("{shown} is not {}", row.expects),
                    Wrong::Because(reason) => format!("{shown} {reason}"),
                };
                origin.says(&row.full_key(), &what)
            };
            (row.set)(&mut policy, &written.text).map_err(refuse)?;
        }
        let given = |row: &&Row| self.values.iter().any(|(other, _, _)| other.key == row.key);
        let missing = TABLE.iter().find(|row| row.is_required() && !given(row));
        match missing {
            Some(row) => Err(self.says(row.key, &format!("is missing; give {}", row.expects))),
            None => Ok(policy),
        }
    }
}

/// The policies, in the file's order.
///
/// # Errors
/// The first wrong value, missing key or two key spaces that cannot stand together.
pub(super) fn resolve(all: &[Given], settings: &Settings) -> Result<Vec<Keyspace>, Failure> {
    let mut policies: Vec<Keyspace> = Vec::with_capacity(all.len());
    for given in all {
        let policy = given.policy(settings)?;
        if policies.len() == MOST {
            let what = format!("is one more than the {MOST} that there can be");
            return Err(given.says("name", &what));
        }
        if policies.iter().any(|earlier| earlier.name == policy.name) {
            let what = format!("{:?} is given twice; give each its own", policy.name);
            return Err(given.says("name", &what));
        }
        let pattern = &policy.pattern;
        if let Some(earlier) = policies.iter().find(|one| covers(&one.pattern, pattern)) {
            let what = format!(
                "{:?} can never match, since {:?} of {} comes first and takes those keys; put the narrower one first",
                show(pattern),
                show(&earlier.pattern),
                earlier.name
            );
            return Err(given.says("match", &what));
        }
        let (entry, most) = (policy.max_entry_bytes, settings.max_bytes);
        let said = given
            .values
            .iter()
            .any(|(row, _, _)| row.key == "max_entry_bytes");
        if said && entry > most {
            let (entry, most) = (value::show_size(entry), value::show_size(most));
            let what = format!("{entry} is more than l1.max_bytes, which is {most}");
            return Err(given.says("max_entry_bytes", &what));
        }
        policies.push(policy);
    }
    Ok(policies)
}

fn show(pattern: &[u8]) -> String {
    String::from_utf8_lossy(pattern).into_owned()
}

/// Whether all that `later` matches is matched by `earlier` too, as far as is easily told.
fn covers(earlier: &[u8], later: &[u8]) -> bool {
    let (prefix, rest) = literal(earlier);
    let (start, behind) = literal(later);
    let all_behind = !rest.is_empty() && rest.iter().all(|&b| b == b'*');
    earlier == later
        || all_behind && start.starts_with(&prefix)
        || behind.is_empty() && glob::matches(earlier, &start)
}

/// What a pattern begins with, taken as it is, and the rest.
fn literal(pattern: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut start = Vec::new();
    let mut rest = pattern;
    loop {
        rest = match rest {
            [b'\\', escaped, behind @ ..] => {
                start.push(*escaped);
                behind
            }
            [] | [b'*' | b'?' | b'[', ..] => return (start, rest),
            [plain, behind @ ..] => {
                start.push(*plain);
                behind
            }
        };
    }
}

/// Every key of every key space with its value, for people to read.
pub(super) fn describe(all: &[Keyspace]) -> impl Iterator<Item = (String, String)> {
    all.iter().flat_map(|keyspace| {
        let rows = TABLE.iter().filter(|row| row.key != "name");
        rows.map(|row| {
            let key = format!("{LIST}.{}.{}", keyspace.name, row.key);
            let value = (row.show)(keyspace);
            // One line a value, whatever a pattern has in it.
            let plain = |c: char| {
                if c.is_control() {
                    c.escape_default().collect::<String>()
                } else {
                    c.to_string()
                }
            };
            (key, value.chars().map(plain).collect())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn what_an_earlier_pattern_leaves_nothing_to() {
        for (earlier, later, covered) in [
            ("*", "user:*", true),
            ("**", "x", true),
            ("user:*", "user:1:*", true),
            ("user:*", "user:[ab]*", true),
            ("user:*", "user:*", true),
            ("us\\er:*", "user:?", true),
            ("user:?", "user:1", true),
            ("[a-c]", "b", true),
            ("user:*", "user", false),
            ("user:*:x", "user:1*", false),
            ("user:1:*", "user:*", false),
            ("a?", "a*", false),
            ("\\*", "a", false),
        ] {
            let told = covers(earlier.as_bytes(), later.as_bytes());
            assert_eq!(told, covered, "{earlier} {later}");
        }
    }
}
