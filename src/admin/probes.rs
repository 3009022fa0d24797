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

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Facts;
use crate::downstream::drain::Stage;

/// How long a thread may take for a sign of life. A probe's `timeoutSeconds` has to be more to see the reason.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn routes(facts: &Arc<Facts>) -> Router {
    Router::new()
        .route("/liveness", get(liveness))
        .route("/readiness", get(readiness))
        .route("/startup", get(|| async { answer(Ok(())) }))
        .with_state(Arc::clone(facts))
}

async fn liveness(State(facts): State<Arc<Facts>>) -> Response {
    answer(facts.pulse.check(PATIENCE).await)
}

async fn readiness(State(facts): State<Arc<Facts>>) -> Response {
    answer(is_ready(&facts))
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
