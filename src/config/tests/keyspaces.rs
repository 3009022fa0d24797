//! Key spaces, from the file to the policy.

use std::fmt::Write as _;

use super::*;
use crate::l1::keyspace::MOST;
use crate::l1::settings::{Admit, FieldTtls, Keyspace, WritePolicy};

#[test]
fn a_key_space_has_what_it_says_and_the_rest_from_l1() {
    let file = "\
[l1]
entry_max_ttl = '30s'
serve_stale = '20s'

[[keyspace]]
name = 'session'
match = 'session:*'
cache = false

[[keyspace]]
name = 'a_B-1.2:3'
match = 'x[ab]'
entry_max_ttl = '5s'
negative = false
max_entry_bytes = '1KiB'
admit = 'always'
write_policy = 'write-through'
hash_field_ttls = 'none'
serve_stale = '0s'
";
    // A stronger source's, where the key space says nothing.
    let env = [("NEARSIDE_L1_MAX_ENTRY_BYTES", "2KiB")];
    let settings = settings(file, &env, &["--upstream", "private"]).unwrap();
    let session = Keyspace {
        name: "session".to_owned(),
        pattern: b"session:*".to_vec(),
        cache: false,
        entry_max_ttl: Duration::from_secs(30),
        negative: true,
        max_entry_bytes: 2 << 10,
        admit: Admit::SecondRead,
        write_policy: WritePolicy::Invalidate,
        hash_field_ttls: FieldTtls::Possible,
        serve_stale: Duration::from_secs(20),
    };
    let other = Keyspace {
        name: "a_B-1.2:3".to_owned(),
        pattern: b"x[ab]".to_vec(),
        cache: true,
        entry_max_ttl: Duration::from_secs(5),
        negative: false,
        max_entry_bytes: 1 << 10,
        admit: Admit::Always,
        write_policy: WritePolicy::WriteThrough,
        hash_field_ttls: FieldTtls::None,
        serve_stale: Duration::ZERO,
    };
    assert_eq!(settings.l1.keyspaces, [session, other]);
    let shown = describe(&settings);
    for (key, value) in [
        ("keyspace.session.match", "session:*"),
        ("keyspace.session.cache", "false"),
        ("keyspace.session.entry_max_ttl", "30s"),
        ("keyspace.session.serve_stale", "20s"),
        ("keyspace.a_B-1.2:3.write_policy", "write-through"),
    ] {
        assert!(
            shown.contains(&(key.to_owned(), value.to_owned())),
            "{shown:?}"
        );
    }
}

#[test]
fn a_pattern_of_several_lines_is_shown_on_one() {
    let file = "[[keyspace]]\nname = 'a'\nmatch = \"x\\ny\"";
    let shown = describe(&from_file(file).unwrap());
    let found = shown.iter().find(|(key, _)| key == "keyspace.a.match");
    assert_eq!(found.unwrap().1, "x\\ny");
}

#[test]
fn wrong_key_spaces() {
    let named = |rest: &str| format!("[[keyspace]]\nname = 'a'\nmatch = 'a:*'\n{rest}");
    for (file, line) in [
        (
            "\n[[keyspace]]\nmatch = 'a'".to_owned(),
            "n.toml:2: keyspace.name: is missing; give a name of letters, digits and _ : . -",
        ),
        (
            "[[keyspace]]\nname = 'a'".to_owned(),
            "n.toml:1: keyspace.match: is missing; give a pattern such as session:*",
        ),
        (
            named("[[keyspace]]\nname = 'b'"),
            "n.toml:4: keyspace.match: is missing; give a pattern such as session:*",
        ),
        (
            "[[keyspace]]\nname = ''\nmatch = 'a'".to_owned(),
            r#"n.toml:2: keyspace.name: "" is not a name of letters, digits and _ : . -"#,
        ),
        (
            "[[keyspace]]\nname = 'a b'\nmatch = 'a'".to_owned(),
            r#"n.toml:2: keyspace.name: "a b" is not a name of letters, digits and _ : . -"#,
        ),
        (
            "[[keyspace]]\nname = 'default'\nmatch = 'a'".to_owned(),
            r#"n.toml:2: keyspace.name: "default" is the name of the keys that are in no key space; take another"#,
        ),
        (
            "[[keyspace]]\nname = 'a'\nmatch = ''".to_owned(),
            r#"n.toml:3: keyspace.match: "" is not a pattern such as session:*"#,
        ),
        (
            named("cache = 'no'"),
            r#"n.toml:4: keyspace.cache: "no" is not true or false"#,
        ),
        (
            named("negative = 0"),
            "n.toml:4: keyspace.negative: 0 is not true or false",
        ),
        (
            named("admit = ['always']"),
            "n.toml:4: keyspace.admit: a list is not one of second-read, always",
        ),
        (
            named("write_policy = 'through'"),
            r#"n.toml:4: keyspace.write_policy: "through" is not one of invalidate, write-through"#,
        ),
        (
            named("entry_max_ttl = '0s'"),
            r#"n.toml:4: keyspace.entry_max_ttl: "0s" is not a duration above 0 such as 250ms, 2s or 1m, at most 24h"#,
        ),
        (
            named("serve_stale = 30"),
            "n.toml:4: keyspace.serve_stale: 30 is not a duration such as 250ms, 2s or 1m, at most 24h",
        ),
        (
            named("hash_field_ttls = {}"),
            "n.toml:4: keyspace.hash_field_ttls: a table is not one of none, possible",
        ),
        (
            named("max-entry-bytes = 1"),
            "n.toml:4: keyspace.max-entry-bytes: unknown key of a key space; did you mean max_entry_bytes?",
        ),
        (
            named("colour = 'red'"),
            "n.toml:4: keyspace.colour: unknown key of a key space; there are name, match, cache, entry_max_ttl, \
             negative, max_entry_bytes, admit, write_policy, hash_field_ttls, serve_stale",
        ),
        (
            "[keyspace]\nname = 'a'".to_owned(),
            "n.toml:1: keyspace: is a list of tables; write [[keyspace]] and the keys of one below",
        ),
        (
            "keyspace = 'a:*'".to_owned(),
            "n.toml:1: keyspace: is a list of tables; write [[keyspace]] and the keys of one below",
        ),
        (
            "keyspace = ['a:*']".to_owned(),
            "n.toml:1: keyspace: is a list of tables; write [[keyspace]] and the keys of one below",
        ),
    ] {
        assert_eq!(refusal(from_file(&file)), line);
    }
}

#[test]
fn key_spaces_that_cannot_stand_together() {
    let first = "[[keyspace]]\nname = 'a'\nmatch = 'a:*'\n[[keyspace]]\n";
    for (second, line) in [
        (
            "name = 'a'\nmatch = 'b:*'",
            r#"n.toml:5: keyspace.name: "a" is given twice; give each its own"#,
        ),
        (
            "name = 'b'\nmatch = 'a:*'",
            r#"n.toml:6: keyspace.match: "a:*" can never match, since "a:*" of a comes first and takes those keys; put the narrower one first"#,
        ),
        (
            "name = 'b'\nmatch = 'a:b:*'",
            r#"n.toml:6: keyspace.match: "a:b:*" can never match, since "a:*" of a comes first and takes those keys; put the narrower one first"#,
        ),
        (
            "name = 'b'\nmatch = 'b'\nmax_entry_bytes = '128MiB'",
            "n.toml:7: keyspace.max_entry_bytes: 128MiB is more than l1.max_bytes, which is 64MiB",
        ),
    ] {
        assert_eq!(refusal(from_file(&format!("{first}{second}"))), line);
    }
    from_file(&format!("{first}name = 'b'\nmatch = '*'")).unwrap();
    let all = "[[keyspace]]\nname = 'all'\nmatch = '*'\n[[keyspace]]\nname = 'b'\nmatch = '?b'";
    assert!(refusal(from_file(all)).contains("can never match"));
}

#[test]
fn as_many_as_there_can_be() {
    let mut file = String::new();
    for n in 0..MOST {
        writeln!(file, "[[keyspace]]\nname = 'n{n}'\nmatch = '{n}:*'").unwrap();
    }
    assert_eq!(from_file(&file).unwrap().l1.keyspaces.len(), MOST);
    file.push_str("[[keyspace]]\nname = 'more'\nmatch = 'more'");
    let line = refusal(from_file(&file));
    let said = format!("keyspace.name: is one more than the {MOST} that there can be");
    assert!(line.ends_with(&said), "{line}");
}
