//! `[l1]` and `[fleet]`.

use super::{AUTO, DURATION, DURATION_ABOVE_ZERO, Example, Row, SIZE, Set, Wrong, put, show_some};
use crate::command;
use crate::config::value;
use crate::l1::settings::{Admit, Mode};

pub(super) const ADMITS: [(&str, Admit); 2] = [
    ("second-read", Admit::SecondRead),
    ("always", Admit::Always),
];

/// The name of a command that is not in the table, in upper case.
fn module_command(text: &str) -> Result<String, Wrong> {
    let name = text.to_ascii_uppercase();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Wrong::Shape);
    }
    if command::rows().any(|row| row.name == name) {
        return Err(Wrong::Because(
            "is a command of Redis's own, of which it is known whether it is kept; leave it out",
        ));
    }
    Ok(name)
}

/// `[l1]` and `[fleet]`.
pub(super) static TABLE: &[Row] = &[
    Row {
        key: "fleet.name",
        doc: "Nearsides of one upstream with the same name here tell each other what is dropped by hand for the fleet.",
        expects: "a name of 1 to 64 letters, digits, dots, dashes and underscores",
        secret: false,
        example: Example::None("shop"),
        set: Set::One(|draft, text| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
            let right = (1..=64).contains(&text.len()) && text.bytes().all(fits);
            put(&mut draft.proxy.fleet, right.then(|| Some(text.to_owned())))
        }),
        show: |settings| show_some(settings.proxy.fleet.as_ref()),
    },
    Row {
        key: "l1.mode",
        doc: "Whether reads are answered from memory; in the shadow the upstream answers, and what memory would have said is compared with that and counted.",
        expects: "one of on, off, shadow",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.l1.mode, value::word(text, &Mode::NAMES))),
        show: |settings| value::show_word(&settings.l1.mode, &Mode::NAMES),
    },
    Row {
        key: "l1.sample",
        doc: "The share of the keys that is put into L1, by their hash.",
        expects: "a share from 0 to 1 such as 0.1, with six decimals at most",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.l1.sample, value::share(text))),
        show: |settings| value::show_share(settings.l1.sample),
    },
    Row {
        key: "l1.max_bytes",
        doc: "Bound on keys, values and overhead; auto is a quarter of the cgroup's memory, at most 256MiB, and 64MiB without a limit.",
        expects: "a size above 0 such as 256KiB, 64MiB, 1GiB or a number of bytes, or auto",
        secret: false,
        example: Example::Auto,
        set: Set::One(|draft, text| {
            let parsed = match text {
                AUTO => Some(draft.limits.l1_max_bytes()),
                _ => value::size_above_zero(text),
            };
            put(&mut draft.l1.max_bytes, parsed)
        }),
        show: |settings| value::show_size(settings.l1.max_bytes),
    },
    Row {
        key: "l1.max_staleness",
        doc: "A hit is served only while the upstream was heard from within this time.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.l1.max_staleness,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.l1.max_staleness),
    },
    Row {
        key: "l1.entry_max_ttl",
        doc: "Longest life of an entry, whatever its TTL upstream.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.l1.entry_max_ttl,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.l1.entry_max_ttl),
    },
    Row {
        key: "l1.max_entry_bytes",
        doc: "Replies longer than this are not kept.",
        expects: SIZE,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(&mut draft.l1.max_entry_bytes, value::size_above_zero(text))
        }),
        show: |settings| value::show_size(settings.l1.max_entry_bytes),
    },
    Row {
        key: "l1.admit",
        doc: "When a key is put into L1: on its second-read within the admission window, or always on the first.",
        expects: "one of second-read, always",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.l1.admit, value::word(text, &ADMITS))),
        show: |settings| value::show_word(&settings.l1.admit, &ADMITS),
    },
    Row {
        key: "l1.serve_stale",
        doc: "While the upstream is lost, what was held then is served for so long after it was last heard, and no longer than entry_max_ttl lets it live; 0s for never.",
        expects: DURATION,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.l1.serve_stale, value::duration(text))),
        show: |settings| value::show_duration(settings.l1.serve_stale),
    },
    Row {
        key: "l1.touch_interval",
        doc: "How often, at most, an upstream that evicts by last use is told by TOUCH of a key that is served; 0s for never.",
        expects: DURATION,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.l1.touch_interval, value::duration(text))),
        show: |settings| value::show_duration(settings.l1.touch_interval),
    },
    Row {
        key: "l1.module_reads",
        doc: "Commands of modules whose reads you vouch for: they depend on their keys alone, and all that changes those tells the clients that track them.",
        expects: "the name of a module's command",
        secret: false,
        example: Example::None("JSON.GET"),
        set: Set::Many {
            clear: |draft| draft.l1.module_reads.clear(),
            add: |draft, text| {
                draft.l1.module_reads.push(module_command(text)?);
                Ok(())
            },
        },
        show: |settings| settings.l1.module_reads.join(", "),
    },
];
