//! Reading the configuration again: what of it can change while nearside runs, and what would need a restart.

use super::{Settings, describe};

/// Keys that change while nearside runs.
const WHILE_RUNNING: [&str; 4] = [
    "l1.mode",
    "l1.sample",
    "audit_reads.sample",
    "audit_reads.max_per_second",
];

/// The keys that differ and need a restart.
#[must_use]
pub fn needing_restart(running: &Settings, read: &Settings) -> Vec<String> {
    let (before, now) = (describe(running), describe(read));
    let mut keys: Vec<String> = Vec::new();
    // Whatever is in one and not in the other; key spaces may have been added or taken out.
    for (some, others) in [(&before, &now), (&now, &before)] {
        for pair in some {
            let changes = WHILE_RUNNING.contains(&pair.0.as_str());
            if !changes && !others.contains(pair) && !keys.contains(&pair.0) {
                keys.push(pair.0.clone());
            }
        }
    }
    let order = |settings: &Settings| -> Vec<String> {
        let each = settings.l1.keyspaces.iter();
        each.map(|keyspace| keyspace.name.clone()).collect()
    };
    if keys.is_empty() && order(running) != order(read) {
        keys.push("the order of [[keyspace]]".to_owned());
    }
    // A password is not shown.
    let upstream = "upstream".to_owned();
    if running.upstream != read.upstream && keys.is_empty() {
        keys.push(upstream);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::settings;

    fn read(file: &str) -> Settings {
        settings(file, &[], &[]).unwrap()
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        let space = |name: &str| format!("[[keyspace]]\nname = '{name}'\nmatch = '{name}:*'\n");
        let base = "upstream = 'redis://:a@h'\n";
        let running = read(&format!(
            "{base}[l1]\nmode = 'on'\n{}{}",
            space("a"),
            space("b")
        ));
        for (file, keys) in [
            (
                format!(
                    "{base}[l1]\nmode = 'off'\nsample = 0.5\n[audit_reads]\nsample = 0.5\nmax_per_second = 7\n{}{}",
                    space("a"),
                    space("b")
                ),
                &[][..],
            ),
            (
                format!("{base}workers = 9\n{}{}", space("a"), space("b")),
                &["workers"],
            ),
            (
                format!("upstream = 'redis://:b@h'\n{}{}", space("a"), space("b")),
                &["upstream"],
            ),
            (
                format!("{base}{}{}", space("b"), space("a")),
                &["the order of [[keyspace]]"],
            ),
        ] {
            assert_eq!(needing_restart(&running, &read(&file)), keys, "{file}");
        }
        let fewer = needing_restart(&running, &read(&format!("{base}{}", space("a"))));
        assert!(fewer.contains(&"keyspace.b.match".to_owned()), "{fewer:?}");
    }
}
