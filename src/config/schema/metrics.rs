//! `[metrics]`.

use super::{Example, Row, Set, TRUTH, TRUTHS, put};
use crate::config::value;

/// What is counted for operators.
pub(super) static TABLE: &[Row] = &[Row {
    key: "metrics.enabled",
    doc: "Whether durations of commands are recorded and /metrics is served; the rest is counted all the same.",
    expects: TRUTH,
    secret: false,
    example: Example::Default,
    set: Set::One(|draft, text| put(&mut draft.telemetry.metrics, value::word(text, &TRUTHS))),
    show: |settings| value::show_word(&settings.telemetry.metrics, &TRUTHS),
}];
