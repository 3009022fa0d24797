//! `/metrics`, and what it is gathered from. One set of families serves all who ask: Prometheus in either text format, and
//! an exporter, which takes [`Metrics::gatherer`].
//!
//! ```text
//!   counters of L1, lanes, sessions; recorders of all threads --gather--> families --> text 0.0.4
//!   what the ledger of leases said last -----------------------|
//!   the upstream's own statistics, asked every 10 s while wanted --^          |------> OpenMetrics, with exemplars
//!   snapshots of the reads, one a second, for what happened lately -^         |------> OTLP
//! ```
//!
//! Everything is read where it is counted; nothing waits, and what is locked is locked as for one operation.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;
use tokio::time::{MissedTickBehavior, interval};

use super::Facts;
use super::problem::Problem;
use crate::allocation::service::Service;
use crate::downstream::drain::Ending;
use crate::telemetry::catalogue;
use crate::telemetry::clock::now_ms;
use crate::telemetry::families::Gather;
use crate::telemetry::openmetrics;
use crate::telemetry::window::Window;
use crate::upstream::lanes::Lanes;
use crate::upstream::statistics::Statistics;
use negotiation::wants_openmetrics;
use ratio::Reads;

pub mod exemplars;
mod gather;
mod negotiation;
mod ratio;

/// What "lately" is for ratios, in milliseconds.
const LATELY: u64 = 60_000;
/// How often reads are looked at for that.
const LOOK: Duration = Duration::from_secs(1);

/// Where the numbers are.
pub struct Sources {
    /// The lanes.
    pub lanes: Arc<Lanes>,
    /// Counts open sessions.
    pub sessions: Box<dyn Fn() -> usize + Send + Sync>,
    /// Counts the tasks of sessions and lanes.
    pub tasks: Box<dyn Fn() -> usize + Send + Sync>,
    /// Leases.
    pub allocation: Arc<Service>,
    /// Whether the end was asked for.
    pub ending: Arc<Ending>,
}

/// See the module's header.
pub struct Metrics {
    sources: Sources,
    statistics: Arc<Statistics>,
    reads: Mutex<Window<Box<[Reads]>>>,
}

impl Metrics {
    /// Of these; [`follow`](Self::follow) is to run with it.
    #[must_use]
    pub fn new(sources: Sources) -> Arc<Self> {
        let reads = ratio::so_far(sources.lanes.l1().keyspaces());
        Arc::new(Self {
            reads: Mutex::new(Window::new(LATELY, now_ms(), reads)),
            sources,
            statistics: Arc::default(),
        })
    }

    /// Every metric as it stands now, in the catalogue's order. A metric without samples is left out.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        gather::all(self, now_ms())
    }

    /// The same for whoever sends them elsewhere.
    #[must_use]
    pub fn gatherer(self: &Arc<Self>) -> Gather {
        let metrics = Arc::clone(self);
        Arc::new(move || metrics.gather())
    }

    /// What has to run beside it: the look at the reads, and the questions to the upstream.
    pub async fn follow(self: Arc<Self>) {
        let lanes = Arc::clone(&self.sources.lanes);
        let asks = Arc::clone(&self.statistics).follow(lanes);
        tokio::join!(self.look(), asks);
    }

    async fn look(&self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let reads = ratio::so_far(self.sources.lanes.l1().keyspaces());
            self.reads.lock().push(now_ms(), reads);
        }
    }
}

/// `/metrics`, on every port.
pub(super) fn routes(facts: &Arc<Facts>) -> Router {
    let facts = Arc::clone(facts);
    let show = move |headers: HeaderMap| async move { answer(&facts, &headers) };
    Router::new().route(
        "/metrics",
        get(show).fallback(|| async { Problem::method("GET, HEAD") }),
    )
}

/// `/v1/metrics/catalogue`, for the pod alone.
pub(super) fn catalogue() -> Router {
    let show = || async {
        let metrics: Vec<_> = catalogue::all().collect();
        let body = serde_json::json!({ "metrics": metrics }).to_string();
        ([(CONTENT_TYPE, "application/json")], body)
    };
    Router::new().route(
        "/v1/metrics/catalogue",
        get(show).fallback(|| async { Problem::method("GET, HEAD") }),
    )
}

fn answer(facts: &Facts, headers: &HeaderMap) -> Result<Response, Problem> {
    let Some(metrics) = &facts.metrics else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "metrics-off",
            "Metrics are off",
            "this nearside was started with enabled = false in [metrics]; it needs a restart with true",
        ));
    };
    let families = metrics.gather();
    let accept = headers.get_all(ACCEPT).iter();
    let accept = accept.filter_map(|value| value.to_str().ok());
    let (kind, text) = if wants_openmetrics(accept) {
        let text = openmetrics::encode(&families, &facts.exemplars);
        (openmetrics::CONTENT_TYPE, text)
    } else {
        let text = TextEncoder::new().encode_to_string(&families);
        let text = text.expect("each family has a name, and samples");
        (prometheus::TEXT_FORMAT, text)
    };
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

#[cfg(test)]
mod tests;
