//! `/liveness`, `/readiness` and `/startup`, for kubelet. What is wrong is said in one line.
//!
//! | probe | is false |
//! |---|---|
//! | `/startup` | before the client side listens: until then nobody answers on this port |
//! | `/liveness` | where a thread that serves clients does not answer within [`PATIENCE`], or has ended |
//! | `/readiness` | from the time on that an end was asked for; with `ready_requires_upstream` also while no lane is up |
//!
//! Readiness does not depend on the upstream otherwise: a short outage would take every pod out of service at once, those
//! included that could have answered from elsewhere. Liveness never does, since a restart mends no upstream.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::openapi::Routes;
use super::openapi::about::{About, about};
use super::{Facts, PLAIN};
use crate::downstream::drain::Stage;

/// How long a thread may take for a sign of life. A probe's `timeoutSeconds` has to be more to see the reason.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn routes(facts: &Arc<Facts>) -> Routes {
    const OK: StatusCode = StatusCode::OK;
    let about = |name, summary, ok| {
        let about = about("probes", name, summary);
        about.answers_text(OK, &[PLAIN], ok)
    };
    let or_why = |about: About| {
        const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        about.answers_text(UNAVAILABLE, &[PLAIN], "what is wrong, in a line")
    };
    let live = about("liveness", "Whether it is alive.", "each thread answers");
    let ready = about(
        "readiness",
        "Whether to send clients.",
        "clients are welcome",
    );
    let started = about("startup", "Whether it has started.", "clients can connect");
    let [living, reading] = [(); 2].map(|()| Arc::clone(facts));
    let liveness = move || async move { answer(living.pulse.check(PATIENCE).await) };
    let readiness = move || async move { answer(is_ready(&reading)) };
    let startup = || async { answer(Ok(())) };
    Routes::default()
        .at("/liveness", [or_why(live).get(liveness)])
        .at("/readiness", [or_why(ready).get(readiness)])
        .at("/startup", [started.get(startup)])
}

fn is_ready(facts: &Facts) -> Result<(), String> {
    match facts.ending.0.stage() {
        Stage::Serving => {}
        Stage::WaitClients => return Err("draining: waits for clients to leave".into()),
        Stage::AtOnce | Stage::Now => return Err("draining: takes no new connection".into()),
    }
    if facts.ready_requires_upstream && facts.lanes.up_count() == 0 {
        let address = &facts.lanes.endpoint().address;
        return Err(format!("no shared connection to upstream {address} is up"));
    }
    Ok(())
}

fn answer(outcome: Result<(), String>) -> Response {
    match outcome {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}
