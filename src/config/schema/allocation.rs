//! `[ledger]` and `[allocation]`.

use super::{AUTO, DURATION, DURATION_ABOVE_ZERO, Example, Row, SHARE, Set, Wrong, put, show_some};
use crate::allocation::request::{MOST, is_name};
use crate::config::{Settings, address, value};
use crate::upstream::settings::Choice;

const NAME: &str = "a name of 1 to 63 letters, digits, '.', '_' and '-'";

fn name(text: &str) -> Option<String> {
    is_name(text).then(|| text.to_owned())
}

/// `500m` or `2`, in thousandths.
pub(in crate::config) fn cpus(text: &str) -> Option<u64> {
    match text.strip_suffix('m') {
        Some(millicores) => value::whole(millicores, 1..=MOST),
        None => value::whole(text, 1..=MOST / 1000).map(|cpus: u64| cpus * 1000),
    }
}

fn show_cpus(settings: &Settings) -> String {
    settings.allocation.cpu_millicores.map_or_else(
        || AUTO.to_owned(),
        |millicores| match millicores % 1000 {
            0 => (millicores / 1000).to_string(),
            _ => format!("{millicores}m"),
        },
    )
}

/// In whole MiB.
fn mib(text: &str) -> Option<u64> {
    let bytes = value::size_above_zero(text)?;
    let mib = u64::try_from(bytes >> 20).ok()?;
    (mib > 0).then_some(mib)
}

/// Leases.
pub(super) static TABLE: &[Row] = &[
    Row {
        key: "ledger.url",
        doc: "The Redis that holds the ledger of leases, with credentials of its own; the upstream without it. TLS is spoken as [tls] says.",
        expects: "redis://[user:password@]host[:port][/db], rediss:// for TLS or unix:/path",
        secret: true,
        example: Example::None("redis://127.0.0.1:6379"),
        set: Set::One(|draft, text| match address::upstream(text)? {
            Choice::Private => Err(Wrong::Shape),
            Choice::Endpoint(endpoint) => {
                draft.allocation.ledger.endpoint = Some(endpoint);
                Ok(())
            }
        }),
        show: |settings| {
            let endpoint = settings.allocation.ledger.endpoint.clone();
            show_some(endpoint.map(|endpoint| address::show_upstream(&Choice::Endpoint(endpoint))))
        },
    },
    Row {
        key: "ledger.name",
        doc: "Nearsides with one name in one Redis promise from the same pools.",
        expects: NAME,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.allocation.ledger.name, name(text))),
        show: |settings| settings.allocation.ledger.name.clone(),
    },
    Row {
        key: "ledger.timeout",
        doc: "Bound on one call to the ledger, and on connecting to it.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.allocation.ledger.timeout,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.allocation.ledger.timeout),
    },
    Row {
        key: "ledger.idempotency_retention",
        doc: "How long it is remembered that a lease has ended, and its Idempotency-Key with it.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.allocation.ledger.idempotency_retention,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.allocation.ledger.idempotency_retention),
    },
    Row {
        key: "ledger.reassert_window",
        doc: "How long grants pause once the ledger has lost data or is new, for all leases to be asserted again.",
        expects: DURATION_ABOVE_ZERO,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.allocation.ledger.reassert_window,
                value::duration_above_zero(text),
            )
        }),
        show: |settings| value::show_duration(settings.allocation.ledger.reassert_window),
    },
    Row {
        key: "allocation.pod",
        doc: "The pod's name, by which its own resources are counted; the host's name without it.",
        expects: NAME,
        secret: false,
        example: Example::None("ranker-0"),
        set: Set::One(|draft, text| put(&mut draft.allocation.pod, name(text).map(Some))),
        show: |settings| show_some(settings.allocation.pod.as_ref()),
    },
    Row {
        key: "allocation.node",
        doc: "The node's name, by which pools of scope node are counted; without it nothing is promised of them.",
        expects: NAME,
        secret: false,
        example: Example::None("node-1"),
        set: Set::One(|draft, text| put(&mut draft.allocation.node, name(text).map(Some))),
        show: |settings| show_some(settings.allocation.node.as_ref()),
    },
    Row {
        key: "allocation.cpu",
        doc: "What leases of cpu may add up to in this pod, such as 500m or 2; auto: what its cgroup allows.",
        expects: "auto, or CPUs such as 500m or 2",
        secret: false,
        example: Example::Auto,
        set: Set::One(|draft, text| {
            let parsed = match text {
                AUTO => Some(draft.limits.millicores),
                text => cpus(text).map(Some),
            };
            put(&mut draft.allocation.cpu_millicores, parsed)
        }),
        show: show_cpus,
    },
    Row {
        key: "allocation.memory",
        doc: "The same for memory; auto: what its cgroup allows.",
        expects: "auto, or a size of at least 1MiB such as 512MiB or 8GiB",
        secret: false,
        example: Example::Auto,
        set: Set::One(|draft, text| {
            let parsed = match text {
                AUTO => Some(draft.limits.memory_mib()),
                text => mib(text).map(Some),
            };
            put(&mut draft.allocation.memory_mib, parsed)
        }),
        show: |settings| {
            let mib = settings.allocation.memory_mib;
            mib.map_or_else(|| AUTO.to_owned(), |mib| format!("{mib}MiB"))
        },
    },
    Row {
        key: "allocation.preemption_grace",
        doc: "How long a preemptible lease lives on that is asked to leave for a request of a higher priority.",
        expects: DURATION,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.allocation.preemption.grace,
                value::duration(text),
            )
        }),
        show: |settings| value::show_duration(settings.allocation.preemption.grace),
    },
    Row {
        key: "allocation.preemption_cap",
        doc: "The share of a pool that may be asked to leave at once, though always one lease; 0 asks nobody.",
        expects: SHARE,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.allocation.preemption.cap, value::share(text))),
        show: |settings| value::show_share(settings.allocation.preemption.cap),
    },
];
