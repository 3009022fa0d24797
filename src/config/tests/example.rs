//! The example file against the table.

use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::config::schema::{Example, Set};

/// What the example file should be: the table, with every default written out.
fn example() -> String {
    let mut text = String::from(
        "# Everything that can be set, with its default. Each key is also a variable of the environment: l1.mode is\n\
         # NEARSIDE_L1_MODE. Flags win over the environment, and that over this file.\n",
    );
    let defaults = Settings::with_upstream(Choice::Private);
    let mut section = "";
    for row in rows() {
        let (of, name) = row.key.split_once('.').unwrap_or(("", row.key));
        if of != section {
            section = of;
            write!(text, "\n[{section}]\n").unwrap();
        }
        let value = (row.show)(&defaults);
        let (comment, value) = match (row.example, &row.set) {
            (Example::None(value), _) => ("#", format!("{value:?}")),
            (Example::Auto, _) => ("", "\"auto\"".to_owned()),
            (Example::Default, Set::Many { .. }) => {
                ("", format!("{:?}", value.split(", ").collect::<Vec<_>>()))
            }
            (Example::Default, Set::One(_)) if value.parse::<u64>().is_ok() => ("", value),
            (Example::Default, Set::One(_)) => ("", format!("{value:?}")),
        };
        writeln!(text, "\n# {}\n{comment}{name} = {value}", row.doc).unwrap();
    }
    text
}

/// After a change of the table, `BLESS=1 cargo test example_file` writes the file anew.
#[test]
fn the_example_file_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/nearside.toml");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, example()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        example(),
        "BLESS=1 cargo test example_file writes it anew"
    );
}

#[test]
fn the_example_file_has_every_key_once_at_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/nearside.toml");
    let text = std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| rest.contains(" = "))
                .unwrap_or(line)
        })
        .collect::<Vec<_>>()
        .join("\n");
    let mut given = file::parse("nearside.toml", &text).unwrap();
    let keys: Vec<&str> = given.iter().map(|given| given.row.key).collect();
    let table: Vec<&str> = rows().map(|row| row.key).collect();
    assert_eq!(keys, table);
    given.retain(|given| !matches!(given.row.example, Example::None(_)));
    let private = environment::read(variables(&[("NEARSIDE_UPSTREAM", "private")])).unwrap();
    let settings = resolve([given, private, Vec::new()], Limits::default()).unwrap();
    assert_eq!(settings, Settings::with_upstream(Choice::Private));
}
