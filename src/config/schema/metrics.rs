//! `[metrics]` and `[slow_log]`.

use super::{Example, Row, Set, TRUTH, TRUTHS, put};
use crate::config::value;

/// What stands for no threshold.
const OFF: &str = "off";

/// What is counted for operators.
pub(super) static TABLE: &[Row] = &[
    Row {
        key: "metrics.enabled",
        doc: "Whether durations of commands are recorded and /metrics is served; the rest is counted all the same.",
        expects: TRUTH,
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| put(&mut draft.telemetry.metrics, value::word(text, &TRUTHS))),
        show: |settings| value::show_word(&settings.telemetry.metrics, &TRUTHS),
    },
    Row {
        key: "slow_log.threshold",
        doc: "Operations that take at least this long are kept in the slow log, with where the time went; off keeps none.",
        expects: "a duration such as 10ms or 1s, or off",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            let parsed = match text {
                OFF => Some(None),
                text => value::duration(text).map(Some),
            };
            put(&mut draft.telemetry.slow_log.threshold, parsed)
        }),
        show: |settings| {
            let threshold = settings.telemetry.slow_log.threshold;
            threshold.map_or_else(|| OFF.to_owned(), value::show_duration)
        },
    },
    Row {
        key: "slow_log.max_entries",
        doc: "So many of them are kept, the newest.",
        expects: "a whole number from 0 to 10000",
        secret: false,
        example: Example::Default,
        set: Set::One(|draft, text| {
            put(
                &mut draft.telemetry.slow_log.max_entries,
                value::whole(text, 0..=10_000),
            )
        }),
        show: |settings| settings.telemetry.slow_log.max_entries.to_string(),
    },
];
