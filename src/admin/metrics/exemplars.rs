//! Examples of commands in the buckets of their durations: the newest that was traced of each command and route.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::command;
use crate::telemetry::durations::{Label, Route, bucket};
use crate::telemetry::names;
use crate::telemetry::openmetrics::{Exemplar, Exemplars};
use crate::telemetry::traces::Traces;

static LABELS: LazyLock<HashMap<&str, Label>> = LazyLock::new(|| {
    let rows = command::all_rows().map(|row| (row.name, row.label));
    rows.chain([("other", Label::OTHER)]).collect()
});

/// Finds them, where there are traces.
#[must_use]
pub fn of(traces: Option<Arc<Traces>>) -> Box<Exemplars> {
    Box::new(move |name, labels, number| {
        let traces = traces
            .as_ref()
            .filter(|_| name == names::COMMAND_DURATION)?;
        let value = |name: &str| labels.iter().find(|pair| pair.name() == name);
        let label = *LABELS.get(value("command")?.value())?;
        let route = value("route")?.value();
        let route = Route::ALL.into_iter().find(|one| one.as_str() == route)?;
        let found = traces.exemplars().get(label, route)?;
        (bucket(found.took_us) == number).then(|| Exemplar {
            trace_id: found.trace,
            span_id: found.span,
            value: Duration::from_micros(found.took_us).as_secs_f64(),
            timestamp: Duration::from_secs_f64(found.ended_unix()),
        })
    })
}
