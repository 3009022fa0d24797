//! The example file against the table.

use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::config::schema::{Example, Set, keyspace};
use crate::l1::settings::Keyspace;

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
            (Example::None(value), Set::Many { .. }) => ("#", format!("{:?}", [value])),
            (Example::None(value), Set::One(_)) => ("#", format!("{value:?}")),
            (Example::Auto, _) => ("", "\"auto\"".to_owned()),
            (Example::Default, Set::Many { .. }) => {
                ("", format!("{:?}", value.split(", ").collect::<Vec<_>>()))
            }
            (Example::Default, Set::One(_))
                if value.parse::<u64>().is_ok() || value.parse::<bool>().is_ok() =>
            {
                ("", value)
            }
            (Example::Default, Set::One(_)) => ("", format!("{value:?}")),
        };
        writeln!(text, "\n# {}\n{comment}{name} = {value}", row.doc).unwrap();
    }
    text.push_str(
        "\n# A policy of its own for the keys that match a pattern, in this file alone; as many as need be, and the first that\n\
         # matches a key is its own. What a key space does not say it has from [l1].\n#[[keyspace]]\n",
    );
    for row in keyspace::TABLE {
        let value = (row.show)(&defaults.l1.default_keyspace());
        let value = match row.example {
            Some(value) => format!("{value:?}"),
            None if value.parse::<bool>().is_ok() => value,
            None => format!("{value:?}"),
        };
        writeln!(text, "\n# {}\n#{} = {value}", row.doc, row.key).unwrap();
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
                .filter(|rest| rest.contains(" = ") || rest.starts_with("[["))
                .unwrap_or(line)
        })
        .collect::<Vec<_>>()
        .join("\n");
    let mut file = file::parse("nearside.toml", &text).unwrap();
    let keys: Vec<&str> = file.given.iter().map(|given| given.row.key).collect();
    let table: Vec<&str> = rows().map(|row| row.key).collect();
    assert_eq!(keys, table);
    file.given
        .retain(|given| !matches!(given.row.example, Example::None(_)));
    let private = environment::read(variables(&[("NEARSIDE_UPSTREAM", "private")])).unwrap();
    let settings = resolve(file, [private, Vec::new()], Limits::default()).unwrap();
    let defaults = Settings::with_upstream(Choice::Private);
    let keyspace = Keyspace {
        name: "session".to_owned(),
        pattern: b"session:*".to_vec(),
        ..defaults.l1.default_keyspace()
    };
    assert_eq!(settings.l1.keyspaces, [keyspace]);
    let l1 = l1::settings::Settings {
        keyspaces: Vec::new(),
        ..settings.l1
    };
    assert_eq!(Settings { l1, ..settings }, defaults);
}
