//! The HTTP side port, on a thread and a runtime of its own: nothing on it can slow the data path.

mod allocations;
mod cache;
pub mod client;
pub mod metrics;
mod mode;
mod openapi;
mod pools;
mod probes;
mod problem;
mod quit;
pub mod settings;
mod slow_log;
mod traced;
mod upstreams;
pub mod wait;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::allocation::service::Service;
use crate::downstream::drain::Ending;
use crate::downstream::pulse::Pulse;
use crate::downstream::settings::Drain;
use crate::downstream::switch::Switch;
use crate::proxy::control::Control;
use crate::telemetry::openmetrics::Exemplars;
use crate::telemetry::traces::Traces;
use crate::upstream::lanes::Lanes;
use metrics::Metrics;
use openapi::Routes;
use openapi::about::about;
use settings::Settings;

/// What the side port shows.
pub struct Facts {
    /// The lanes.
    pub lanes: Arc<Lanes>,
    /// Cache control.
    pub control: Arc<Control>,
    /// Leases.
    pub allocation: Arc<Service>,
    /// The numbers; `None` where they are off.
    pub metrics: Option<Arc<Metrics>>,
    /// What is shown as examples of durations.
    pub exemplars: Box<Exemplars>,
    /// `/config`'s text, secrets redacted.
    pub config: Box<dyn Fn() -> String + Send + Sync>,
    /// What changes L1's mode.
    pub switch: Switch,
    /// What ends the client side, and how that is done where nothing else is said.
    pub ending: (Arc<Ending>, Drain),
    /// Whether the threads that serve clients are alive.
    pub pulse: Pulse,
    /// Readiness waits for a lane.
    pub ready_requires_upstream: bool,
    /// Where the spans of requests go.
    pub traces: Option<Arc<Traces>>,
}

/// What runs on the side port's runtime beside it, for as long as it runs.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The media type of texts that are for people.
const PLAIN: &str = "text/plain; charset=utf-8";
/// How long answers that are under way at the end are waited for.
const PARTING: Duration = Duration::from_secs(1);

/// The running side port.
#[derive(Debug)]
pub struct Admin {
    http: Option<SocketAddr>,
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Admin {
    /// Whoever has asked for the end is to have the answer.
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // If it panicked it has said so already.
            let _ = thread.join();
        }
    }
}

impl Admin {
    /// Binds and serves from now on.
    ///
    /// # Errors
    /// One line on which address could not be bound, and why.
    pub fn start(settings: &Settings, facts: Facts, tasks: Vec<Task>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| format!("cannot start the side port: {error}"))?;
        let facts = Arc::new(facts);
        let bind = |address: SocketAddr| {
            runtime
                .block_on(TcpListener::bind(address))
                .and_then(|listener| listener.local_addr().map(|local| (listener, local)))
                .map_err(|error| format!("cannot listen on {address} for the side port: {error}"))
        };
        let http = settings.http.map(bind).transpose()?;
        let metrics = settings.metrics_listen.map(bind).transpose()?;
        let local = http.as_ref().map(|(_, local)| *local);
        for (_, address) in http.iter().chain(&metrics) {
            tracing::info!(%address, "side port on {address}");
        }
        let whole = http.map(|(listener, _)| (listener, all_routes(&facts)));
        let public = metrics.map(|(listener, _)| (listener, public_routes(&facts).undocumented()));
        let (stop, stopped) = watch::channel(());
        let serve = move || {
            runtime.block_on(async move {
                for task in tasks {
                    tokio::spawn(task);
                }
                serve(whole.into_iter().chain(public), stopped).await;
            });
            // What else runs here ends; a look-up of a name that hangs is not waited for.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new()
            .name("side-port".into())
            .spawn(serve)
            .map_err(|error| format!("cannot start the side port: {error}"))?;
        Ok(Self {
            http: local,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }
}

/// Serves until the sender of `stopped` is gone, and the answers that are under way by then.
async fn serve(
    ports: impl Iterator<Item = (TcpListener, Router)>,
    mut stopped: watch::Receiver<()>,
) {
    let mut served = JoinSet::new();
    for (listener, router) in ports {
        let mut stopped = stopped.clone();
        served.spawn(async move {
            let stopped = async move { while stopped.changed().await.is_ok() {} };
            let at_once = listener.tap_io(|stream| {
                // It would only be slower without.
                let _ = stream.set_nodelay(true);
            });
            axum::serve(at_once, router)
                .with_graceful_shutdown(stopped)
                .await
        });
    }
    while stopped.changed().await.is_ok() {}
    // Nobody is to hold up the end with a connection.
    let _ = timeout(PARTING, served.join_all()).await;
}

/// What only the pod itself reaches.
fn all_routes(facts: &Arc<Facts>) -> Router {
    let orders = cache::routes(&facts.control)
        .merge(allocations::routes(&facts.allocation))
        .merge(pools::routes(&facts.allocation))
        .merge(mode::routes(facts))
        .merge(upstreams::routes(&facts.lanes))
        .merge(quit::routes(facts))
        .merge(slow_log::routes(&facts.lanes))
        .traced(|router| traced::layer(router, facts.traces.as_ref()));
    public_routes(facts)
        .merge(configuration(facts))
        .merge(metrics::catalogue())
        .merge(orders)
        .documented()
}

/// What anybody may see.
fn public_routes(facts: &Arc<Facts>) -> Routes {
    probes::routes(facts).merge(metrics::routes(facts))
}

/// `/config`.
fn configuration(facts: &Arc<Facts>) -> Routes {
    let facts = Arc::clone(facts);
    let about = about("process", "showConfig", "The configuration as it is now.").answers_text(
        StatusCode::OK,
        &[PLAIN],
        "a key and its value a line, secrets redacted",
    );
    let show = move || async move { (facts.config)() };
    Routes::default().at("/config", [about.get(show)])
}
