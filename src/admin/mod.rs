//! The HTTP side port, on a thread and a runtime of its own: nothing on it can slow the data path.

mod cache;
mod mode;
mod problem;
pub mod settings;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::oneshot;

use crate::downstream::switch::Switch;
use crate::l1::L1;
use crate::l1::keyspace::Counters;
use crate::proxy::control::Control;
use crate::telemetry::names;
use crate::upstream::breaker::Position;
use crate::upstream::lanes::Lanes;
use settings::Settings;

/// What the side port shows.
pub struct Facts {
    /// The lanes.
    pub lanes: Arc<Lanes>,
    /// Cache control.
    pub control: Arc<Control>,
    /// Counts open sessions.
    pub sessions: Box<dyn Fn() -> usize + Send + Sync>,
    /// `/config`'s text, secrets redacted.
    pub config: Box<dyn Fn() -> String + Send + Sync>,
    /// What changes L1's mode.
    pub switch: Switch,
}

/// What runs on the side port's runtime beside it, for as long as it runs.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The running side port.
#[derive(Debug)]
pub struct Admin {
    http: Option<SocketAddr>,
    _stop: oneshot::Sender<()>,
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
        let (stop, stopped) = oneshot::channel::<()>();
        let bind = |address: SocketAddr| {
            runtime
                .block_on(tokio::net::TcpListener::bind(address))
                .and_then(|listener| listener.local_addr().map(|local| (listener, local)))
                .map_err(|error| format!("cannot listen on {address} for the side port: {error}"))
        };
        let http = settings.http.map(bind).transpose()?;
        let probes = settings.metrics_listen.map(bind).transpose()?;
        let local = http.as_ref().map(|(_, local)| *local);
        for (_, address) in http.iter().chain(&probes) {
            tracing::info!("side port on {address}");
        }
        let serve = move || {
            runtime.block_on(async move {
                for task in tasks {
                    tokio::spawn(task);
                }
                if let Some((listener, _)) = http {
                    let config = Arc::clone(&facts);
                    let router = probe_routes(&facts)
                        .route("/config", get(|| async move { (config.config)() }))
                        .merge(cache::routes(&facts.control))
                        .merge(mode::routes(&facts));
                    tokio::spawn(async move { axum::serve(listener, router).await });
                }
                if let Some((listener, _)) = probes {
                    let router = probe_routes(&facts);
                    tokio::spawn(async move { axum::serve(listener, router).await });
                }
                // Ends when the sender is gone.
                let _ = stopped.await;
            });
        };
        std::thread::Builder::new()
            .name("side-port".into())
            .spawn(serve)
            .map_err(|error| format!("cannot start the side port: {error}"))?;
        Ok(Self {
            http: local,
            _stop: stop,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }
}

fn probe_routes(facts: &Arc<Facts>) -> Router {
    let facts = Arc::clone(facts);
    Router::new()
        .route("/liveness", get(|| async { "ok\n" }))
        .route("/readiness", get(|| async { "ok\n" }))
        .route("/startup", get(|| async { "ok\n" }))
        .route("/metrics", get(move || async move { metrics(&facts) }))
}

/// The Prometheus text format, 0.0.4.
fn metrics(facts: &Facts) -> impl IntoResponse + use<> {
    let l1 = facts.lanes.l1();
    let (entries, bytes) = l1.size();
    let breaker = match facts.lanes.node().position() {
        Position::Closed | Position::ForcedClosed => 0,
        Position::HalfOpen => 1,
        Position::Open | Position::ForcedOpen => 2,
    };
    let counter = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
    let rows = [
        (
            names::HITS,
            "counter",
            "Reads answered from memory.",
            l1.keyspaces().total(|one| counter(&one.hits)),
        ),
        (
            names::MISSES,
            "counter",
            "Cacheable reads that went upstream.",
            l1.keyspaces().total(|one| counter(&one.misses)),
        ),
        (
            names::FILLS,
            "counter",
            "Replies put into L1.",
            l1.keyspaces().total(|one| counter(&one.fills)),
        ),
        (
            names::FILLS_REFUSED,
            "counter",
            "Fills refused.",
            l1.keyspaces().total(Counters::refused),
        ),
        (
            names::INVALIDATIONS,
            "counter",
            "Keys named by invalidation pushes.",
            counter(&l1.counters.invalidations),
        ),
        (
            names::CLEARS,
            "counter",
            "Times that L1 was dropped whole.",
            counter(&l1.counters.clears),
        ),
        (
            names::EVICTIONS,
            "counter",
            "Entries evicted.",
            counter(&l1.counters.evictions),
        ),
        (names::ENTRIES, "gauge", "Entries in L1.", entries as u64),
        (
            names::BYTES,
            "gauge",
            "Accounted bytes of L1.",
            bytes as u64,
        ),
        (
            names::SESSIONS,
            "gauge",
            "Open client sessions.",
            (facts.sessions)() as u64,
        ),
        (
            names::LANE_UP,
            "gauge",
            "Lanes that are up: shared upstream connections, one for each identity and database in use.",
            facts.lanes.up_count() as u64,
        ),
        (
            names::BREAKER,
            "gauge",
            "0 closed, 1 half-open, 2 open.",
            breaker,
        ),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
        )
        .expect("writing to a string");
    }
    let (tracked, untracked) = facts.lanes.tracked();
    let name = names::LANES;
    writeln!(
        text,
        "# HELP {name} Lanes that are up, by whether the upstream tracks what they read; without that L1 is off for them.\n\
         # TYPE {name} gauge\n{name}{{tracked=\"true\"}} {tracked}\n{name}{{tracked=\"false\"}} {untracked}"
    )
    .expect("writing to a string");
    stale(l1, &mut text);
    shadow(l1, &mut text);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// What was served stale, for the key spaces that there are.
fn stale(l1: &L1, text: &mut String) {
    let name = names::STALE_SERVED;
    let help = "Reads answered, while the upstream was lost, with what was true before.";
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter").expect("writing to a string");
    for (_, policy, counters) in l1.keyspaces().all() {
        let (keyspace, count) = (&policy.name, counters.stale.load(Ordering::Relaxed));
        writeln!(text, "{name}{{cache_type=\"{keyspace}\"}} {count}").expect("writing to a string");
    }
}

/// What shadow mode has counted, for the key spaces that it has.
fn shadow(l1: &L1, text: &mut String) {
    let name = names::SHADOW;
    let mut rows = String::new();
    for (_, policy, counters) in l1.keyspaces().all() {
        let counts = [
            ("same", &counters.same),
            ("moved", &counters.moved),
            ("different", &counters.different),
        ];
        for (outcome, count) in counts {
            let (keyspace, count) = (&policy.name, count.load(Ordering::Relaxed));
            writeln!(
                rows,
                "{name}{{cache_type=\"{keyspace}\",outcome=\"{outcome}\"}} {count}"
            )
            .expect("writing to a string");
        }
    }
    write!(
        text,
        "# HELP {name} Shadow mode: answers that L1 would have given, by what the upstream answered: the same, another with an \
         invalidation on the way (moved), or another without one (different), which should never be.\n# TYPE {name} counter\n{rows}"
    )
    .expect("writing to a string");
}
