//! What a command is called where operations are told of.

use super::{Flags, Row, by_label};
use crate::telemetry::durations::Label;
use crate::telemetry::traces::Named;

/// Those that take keys away, and do nothing else.
const DELETES: [&str; 5] = ["DEL", "UNLINK", "GETDEL", "FLUSHALL", "FLUSHDB"];

/// The command that has this label, and what its operation is: `cache.get` reads keys, `cache.set` writes them, `cache.delete`
/// takes them away, and `redis.command` is anything else.
#[must_use]
pub fn named(label: Label) -> Named {
    by_label(label).map_or(
        Named {
            command: "OTHER",
            span: "redis.command",
        },
        |row| Named {
            command: row.name,
            span: span(row),
        },
    )
}

fn span(row: &Row) -> &'static str {
    if DELETES.contains(&row.name) {
        "cache.delete"
    } else if row.specs.is_empty() {
        "redis.command"
    } else if row.flags.has(Flags::WRITE) {
        "cache.set"
    } else if row.flags.has(Flags::READONLY) {
        "cache.get"
    } else {
        "redis.command"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::all_rows;

    #[test]
    fn commands_are_what_they_do() {
        let named = |name: &str| {
            let row = all_rows().find(|row| row.name == name);
            named(row.expect("a row").label)
        };
        for (name, span) in [
            ("GET", "cache.get"),
            ("MGET", "cache.get"),
            ("HGETALL", "cache.get"),
            ("SET", "cache.set"),
            ("INCR", "cache.set"),
            ("DEL", "cache.delete"),
            ("FLUSHDB", "cache.delete"),
            ("PING", "redis.command"),
            ("EVAL", "redis.command"),
            ("PUBLISH", "redis.command"),
        ] {
            assert_eq!(
                named(name),
                Named {
                    command: name,
                    span
                },
                "{name}"
            );
        }
        assert_eq!(super::named(Label::OTHER).command, "OTHER");
    }
}
