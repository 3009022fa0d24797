//! Putting the rooms together.

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::admin::metrics::{Metrics, Sources, exemplars};
use crate::admin::{Admin, Facts, Task};
use crate::allocation::ledger::redis::Redis;
use crate::allocation::service::Service;
use crate::allocation::source::Budget;
use crate::command::{self, told};
use crate::config::reload::needing_restart;
use crate::config::{Failure, Settings, describe};
use crate::downstream::Downstream;
use crate::downstream::drain::{Ending, Stage};
use crate::downstream::settings::{Drain, ListenAddress};
use crate::downstream::switch::Switch;
use crate::l1::L1;
use crate::l1::keyspace::Counters;
use crate::proxy::control::{Control, Fleet};
use crate::proxy::fleet::Member;
use crate::telemetry::clock::now_ms;
use crate::telemetry::durations::{Durations, Route};
use crate::telemetry::traces::export::{self, Exporter};
use crate::telemetry::traces::settings::Endpoint as Receiver;
use crate::telemetry::traces::{About, Traces};
use crate::telemetry::{self, Telemetry};
use crate::upstream::audit::{Auditor, Outcome};
use crate::upstream::lanes::Lanes;
use crate::upstream::node::Node;
use crate::upstream::private::PrivateServer;
use crate::upstream::settings::{Address, Choice, Endpoint};
use crate::upstream::tls;

/// Why nearside did not start, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A running nearside.
pub struct Running {
    downstream: Downstream,
    admin: Admin,
    lanes: Arc<Lanes>,
    l1: Arc<L1>,
    drain_timeout: Duration,
    traces: Option<Arc<Traces>>,
    // Behind whatever has spans to tell.
    exporter: Option<Exporter>,
    // Last, so that it ends after the sessions.
    _private: Option<PrivateServer>,
}

/// Starts nearside on threads of its own.
///
/// # Errors
/// What could not be bound or started.
pub fn start(settings: &Settings) -> Result<Running, StartError> {
    let (endpoint, private) = match &settings.upstream {
        Choice::Endpoint(endpoint) => (endpoint.clone(), None),
        Choice::Private => {
            let server = PrivateServer::start().map_err(|error| StartError(error.to_string()))?;
            let endpoint = server.endpoint().clone();
            tracing::info!(pid = server.pid(), address = %endpoint.address, "private redis-server");
            (endpoint, Some(server))
        }
    };
    let l1 = Arc::new(L1::new(settings.l1.clone(), settings.downstream.workers));
    let (traces, exporter) = traces(&settings.telemetry, &endpoint)?.unzip();
    let telemetry = Telemetry::with_traces(&settings.telemetry, traces.clone());
    let allocation = allocation(settings, &endpoint, traces.clone());
    let lanes = Lanes::new(
        endpoint,
        settings.lane.clone(),
        Arc::clone(&l1),
        Arc::clone(&telemetry),
    );
    let lanes = lanes.map_err(StartError)?;
    let member = settings.proxy.fleet.as_deref();
    let member = member.map(|name| Member::new(name, &lanes));
    let fleet = member
        .clone()
        .map(|member| Box::new(member) as Box<dyn Fleet>);
    let (control, orders) = Control::new(&lanes, fleet);
    let downstream = Downstream::start(
        &settings.downstream,
        &settings.proxy,
        &lanes,
        Arc::clone(&control),
    );
    let downstream = downstream.map_err(StartError)?;
    let (shown, now) = (settings.clone(), Arc::clone(&l1));
    let auditor = Arc::clone(lanes.auditor());
    let config = move || {
        let mut current = shown.clone();
        (current.l1.mode, _) = now.asked_mode();
        current.l1.sample = now.sample();
        current.lane.audit = auditor.settings();
        let mut text = String::new();
        for (key, value) in describe(&current) {
            text.extend([&key, " = ", &value, "\n"]);
        }
        text
    };
    let metrics = settings.telemetry.metrics.then(|| {
        Metrics::new(Sources {
            lanes: Arc::clone(&lanes),
            sessions: Box::new(downstream.session_count()),
            tasks: Box::new(downstream.task_count()),
            allocation: Arc::clone(&allocation),
            ending: downstream.ending(),
        })
    });
    let facts = Facts {
        lanes: Arc::clone(&lanes),
        control: Arc::clone(&control),
        allocation: Arc::clone(&allocation),
        metrics: metrics.clone(),
        exemplars: exemplars::of(traces.clone()),
        config: Box::new(config),
        switch: downstream.switch(),
        ending: (downstream.ending(), settings.downstream.drain),
        pulse: downstream.pulse(),
        ready_requires_upstream: settings.admin.ready_requires_upstream,
        traces: traces.clone(),
    };
    let mut tasks: Vec<Task> = vec![
        Box::pin(orders.serve(Arc::clone(&control))),
        Box::pin(allocation.run()),
    ];
    if let Some(metrics) = metrics {
        if let Some(traces) = &traces {
            traces.gather_from(metrics.gatherer());
        }
        tasks.push(Box::pin(metrics.follow()));
    }
    if let Some(member) = member {
        tasks.push(Box::pin(member.follow(control)));
    }
    let admin = Admin::start(&settings.admin, facts, tasks).map_err(StartError)?;
    let drain_timeout = settings.downstream.drain_timeout;
    Ok(Running {
        downstream,
        admin,
        lanes,
        l1,
        drain_timeout,
        traces,
        exporter,
        _private: private,
    })
}

/// What takes spans in, and what sends them, where traces are on.
fn traces(
    settings: &telemetry::settings::Settings,
    upstream: &Endpoint,
) -> Result<Option<(Arc<Traces>, Exporter)>, StartError> {
    let settings = &settings.traces;
    let about = About {
        names: told::named,
        server: match &upstream.address {
            Address::Tcp { host, port } => (host.clone(), Some(*port)),
            Address::Unix(path) => (path.display().to_string(), None),
        },
    };
    let speaks_tls = settings.endpoint.as_ref().is_some_and(Receiver::is_tls);
    let tls = || {
        if speaks_tls {
            tls::client(settings.ca_file.as_deref(), "tracing.ca_file")
        } else {
            tls::unused()
        }
    };
    export::start(settings, about, tls).map_err(StartError)
}

/// Leases, from the ledger in a Redis of its own or in the upstream.
fn allocation(
    settings: &Settings,
    upstream: &Endpoint,
    traces: Option<Arc<Traces>>,
) -> Arc<Service> {
    let settings = &settings.allocation;
    let ledger = &settings.ledger;
    let endpoint = ledger.endpoint.clone().unwrap_or_else(|| upstream.clone());
    let way = Redis::new(endpoint, &ledger.name, ledger.timeout);
    let budget = Budget::new(settings);
    Service::new(Arc::new(way), Box::new(budget), settings.clone(), traces)
}

impl Running {
    /// Where clients connect, with real ports.
    #[must_use]
    pub fn listen(&self) -> Vec<ListenAddress> {
        self.downstream.addresses().to_vec()
    }

    /// Where the side port listens.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.admin.http()
    }

    /// Every live entry of L1: what would be asked for it, as a request, and the encoded reply.
    #[must_use]
    pub fn l1_entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.l1.entries(now_ms())
    }

    /// The upstream node.
    #[must_use]
    pub fn node(&self) -> &Node {
        self.lanes.node()
    }

    /// Cacheable reads that were not answered from memory, so far.
    #[must_use]
    pub fn misses(&self) -> u64 {
        let keyspaces = self.lanes.l1().keyspaces();
        keyspaces.total(Counters::misses)
    }

    /// Reads answered from memory so far.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.l1.keyspaces().total(|one| one.hits.get())
    }

    /// Misses so far that shared another session's read.
    #[must_use]
    pub fn reads_shared(&self) -> u64 {
        let keyspaces = self.l1.keyspaces();
        keyspaces.total(|one| one.shared.load(Ordering::Relaxed))
    }

    /// Reads served stale so far.
    #[must_use]
    pub fn stale_served(&self) -> u64 {
        let keyspaces = self.l1.keyspaces();
        keyspaces.total(|one| one.stale.load(Ordering::Relaxed))
    }

    /// Replies put into L1 so far.
    #[must_use]
    pub fn fills(&self) -> u64 {
        self.l1
            .keyspaces()
            .total(|one| one.fills.load(Ordering::Relaxed))
    }

    /// Fills refused so far.
    #[must_use]
    pub fn fills_refused(&self) -> u64 {
        self.l1.keyspaces().total(Counters::refused)
    }

    /// Shadow mode: answers that L1 would have given and that were the upstream's, that were not with a push on the way, and
    /// that were not without one.
    #[must_use]
    pub fn shadow(&self) -> [u64; 3] {
        let total = |of: fn(&Counters) -> &AtomicU64| {
            let keyspaces = self.l1.keyspaces();
            keyspaces.total(|one| of(one).load(Ordering::Relaxed))
        };
        [
            total(|one| &one.same),
            total(|one| &one.moved),
            total(|one| &one.different),
        ]
    }

    /// How long commands took, by name and route.
    #[must_use]
    pub fn durations(&self) -> Vec<(&'static str, Route, Durations)> {
        let (each, _) = self.lanes.telemetry().recorders.sum();
        let each = each.into_iter().map(|(label, route, durations)| {
            let name = command::by_label(label).map_or("other", |row| row.name);
            (name, route, durations)
        });
        each.collect()
    }

    /// What was audited so far, by [`Outcome::ALL`].
    #[must_use]
    pub fn audited(&self) -> [u64; 4] {
        Outcome::ALL.map(|outcome| self.lanes.auditor().count(outcome))
    }

    /// What decides on which hits are audited.
    #[must_use]
    pub fn auditor(&self) -> &Arc<Auditor> {
        self.lanes.auditor()
    }

    /// Where spans go, if they go anywhere.
    #[must_use]
    pub fn traces(&self) -> Option<&Arc<Traces>> {
        self.traces.as_ref()
    }

    /// What changes L1's mode.
    #[must_use]
    pub fn switch(&self) -> Switch {
        self.downstream.switch()
    }

    /// Whether a lane is connected.
    #[must_use]
    pub fn lane_is_up(&self) -> bool {
        self.lanes.up_count() > 0
    }

    /// How many lanes are connected.
    #[must_use]
    pub fn lanes_up(&self) -> usize {
        self.lanes.up_count()
    }

    /// What asks for the end. [`stop`](Self::stop) is to be called when it was.
    #[must_use]
    pub fn ending(&self) -> Arc<Ending> {
        self.downstream.ending()
    }

    /// Ends in the way that was asked for; where nothing was, takes no new connection and lets every session finish what it
    /// has sent.
    pub fn stop(self) {
        let left = self.downstream.drain(self.drain_timeout);
        if left > 0 {
            tracing::warn!(sessions = left, "these sessions were cut off");
        }
        // Its last requests have spans too.
        drop(self.admin);
        drop(self.exporter);
    }
}

/// Runs until SIGTERM, SIGINT or `POST /v1/quit`, then drains. At SIGHUP the settings are read again.
///
/// Whoever asks for the end gets it: the exit code is that of a success, whether sessions had to be cut off or not.
#[must_use]
pub fn run(
    settings: &Settings,
    read: impl Fn() -> Result<Settings, Failure> + Send + 'static,
) -> ExitCode {
    telemetry::log::start(&settings.telemetry);
    let signals = signals();
    let running = match start(settings) {
        Ok(running) => running,
        Err(error) => {
            eprintln!("nearside: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (ending, switch) = (running.ending(), running.switch());
    let (known, asked) = (settings.clone(), Arc::clone(&ending));
    let auditor = Arc::clone(running.auditor());
    // A thread of its own, since signals come during the drain too.
    let obeying = signals.and_then(|mut signals| {
        let obey = move || {
            loop {
                match signals.next() {
                    Signal::Reload => reload(&known, &switch, &auditor, &read),
                    Signal::End => obey_end(&asked, known.downstream.drain),
                }
            }
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(obey)
    });
    if let Err(error) = obeying {
        eprintln!("nearside: cannot wait for signals: {error}");
        return ExitCode::FAILURE;
    }
    ending.wait();
    running.stop();
    ExitCode::SUCCESS
}

/// The end was asked for by a signal.
fn obey_end(ending: &Ending, drain: Drain) {
    match ending.signal(drain) {
        Stage::Serving => {}
        Stage::WaitClients => tracing::info!("draining, until the last client has left"),
        Stage::AtOnce => tracing::info!("draining, without new connections"),
        Stage::Now => tracing::info!("ending now"),
    }
}

/// Takes over what can change while nearside runs, and says what cannot.
fn reload(
    settings: &Settings,
    switch: &Switch,
    auditor: &Auditor,
    read: &impl Fn() -> Result<Settings, Failure>,
) {
    let read = match read() {
        Ok(read) => read,
        Err(failure) => {
            tracing::error!(error = %failure, "the configuration is as it was");
            return;
        }
    };
    let restart = needing_restart(settings, &read);
    if !restart.is_empty() {
        tracing::warn!(keys = restart.join(", "), "changed, and needs a restart");
    }
    auditor.set(read.lane.audit);
    match switch.set(Some(read.l1.mode), Some(read.l1.sample)) {
        Ok(()) => tracing::info!(
            mode = read.l1.mode.name(),
            sample = f64::from(read.l1.sample) / 1e6,
            "the configuration was read again"
        ),
        Err(reason) => tracing::warn!(%reason, "l1.mode is as it was"),
    }
}

/// What a process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Reload,
    End,
}

struct Signals {
    runtime: tokio::runtime::Runtime,
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
}

impl Signals {
    fn next(&mut self) -> Signal {
        let Self {
            runtime,
            term,
            int,
            hup,
        } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = term.recv() => Signal::End,
                _ = int.recv() => Signal::End,
                _ = hup.recv() => Signal::Reload,
            }
        })
    }
}

/// Catches the signals before anything is started, so that an early one is not lost.
fn signals() -> std::io::Result<Signals> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let inside = runtime.enter();
    let (term, int, hup) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    );
    drop(inside);
    Ok(Signals {
        runtime,
        term,
        int,
        hup,
    })
}
