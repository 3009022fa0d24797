//! `[audit_reads]`.

use super::{Example, Row, Set, put};
use crate::config::value;

/// `[audit_reads]`.
pub(super) static TABLE: &[Row] = &[
    Row {
        key: "audit_reads.sample",
        doc: "The share of the hits that is read from the upstream as well, and compared; 0 for none.",
        expects: "a share from 0 to 1 such as 0.001, with six decimals at most",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.lane.audit.sample, value::share(text))),
        show: |settings| value::show_share(settings.lane.audit.sample),
    },
    Row {
        key: "audit_reads.max_per_second",
        doc: "Most reads a second that the upstream gets for that.",
        expects: "a whole number from 1 to 1000000",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.lane.audit.max_per_second,
                value::whole(text, 1..=1_000_000),
            )
        }),
        show: |settings| settings.lane.audit.max_per_second.to_string(),
    },
];
