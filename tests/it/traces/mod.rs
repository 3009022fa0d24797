//! Traces, and metrics over OTLP, at a real receiver.

mod arriving;
mod leases;
mod running;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use nearside::telemetry::Telemetry;
use nearside::telemetry::durations::{Label, Route};
use nearside::telemetry::operation::{Key, Operation, Upstream, Why};
use nearside::telemetry::settings::Settings as TelemetrySettings;
use nearside::telemetry::traces::export::{self, Exporter};
use nearside::telemetry::traces::settings::{Protocol, Settings};
use nearside::telemetry::traces::{About, Named, Traces};
use nearside::upstream::tls;

use crate::support::eventually;
use crate::support::otlp::{Received, Receiver};

const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

/// What the data path tells, to a receiver.
struct Told {
    telemetry: Arc<Telemetry>,
    exporter: Option<Exporter>,
}

impl Told {
    /// Quick, or every test would wait for what an operator waits for.
    fn settings(receiver: &Receiver, protocol: Protocol) -> Settings {
        Settings {
            endpoint: receiver.endpoint(),
            protocol,
            ratio: 1_000_000,
            max_per_second: 1_000_000_000,
            export_interval: Duration::from_millis(5),
            ..Settings::default()
        }
    }

    fn start(settings: &Settings) -> Self {
        let about = About {
            names: |_| Named {
                command: "GET",
                span: "cache.get",
            },
            server: ("redis".to_owned(), Some(6379)),
        };
        let ca_file = settings.ca_file.clone();
        let tls = || match &ca_file {
            Some(file) => tls::client(Some(file), "tracing.ca_file"),
            None => tls::unused(),
        };
        let started = export::start(settings, about, tls).expect("it starts");
        let (traces, exporter) = started.expect("there is an endpoint");
        let telemetry = Telemetry::with_traces(&TelemetrySettings::default(), Some(traces));
        let exporter = Some(exporter);
        Self {
            telemetry,
            exporter,
        }
    }

    fn traces(&self) -> &Arc<Traces> {
        self.telemetry.traces().expect("they are on")
    }

    /// So many operations from each of so many threads, every other one by way of the upstream.
    fn note(&self, threads: u64, each: u64) {
        std::thread::scope(|scope| {
            for thread in 0..threads {
                scope.spawn(move || {
                    for number in 0..each {
                        self.telemetry.note(&operation(thread, number));
                    }
                });
            }
        });
    }

    /// Waits until nothing is on its way.
    fn settle(&self) {
        let tally = self.traces().tally();
        eventually("every operation's end", || {
            (tally.exported() + tally.all_dropped() == tally.sampled()).then_some(())
        });
    }

    /// Ends, and sends what is left.
    fn end(&mut self) {
        self.exporter.take();
        let tally = self.traces().tally();
        let ended = tally.exported() + tally.all_dropped();
        assert_eq!(ended, tally.sampled(), "{tally:?}");
    }
}

fn operation(session: u64, number: u64) -> Operation {
    let upstream = number % 2 == 1;
    Operation {
        label: Label(7),
        route: if upstream { Route::Lane } else { Route::L1 },
        key: Key::Hash(number),
        keyspace: Some(0),
        hit: Some(!upstream),
        session,
        began: 1000,
        ended: 1010,
        upstream: upstream.then_some(Upstream {
            sent: 1001,
            answered: 1009,
        }),
        reply_bytes: 0,
        error: None,
        why: Why::Drawn,
        context: None,
    }
}

/// How many operations arrived.
fn operations(arrived: &Received) -> u64 {
    let asked = |name: &str| name == "upstream.request";
    let spans = arrived.spans.iter();
    spans.filter(|span| !asked(&span.name)).count() as u64
}
