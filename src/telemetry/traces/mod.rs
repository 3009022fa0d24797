//! Traces: operations that have ended become spans and are sent to an OpenTelemetry receiver; the metrics go there too, if
//! they are asked for.
//!
//! ```text
//!  worker threads                     exporter's thread, a runtime of its own
//!  note(operation) --chosen--> Queue ==batches==> convert --> Wire --> OTLP by gRPC or HTTP
//!        |                       | no room                      | given up, refused
//!        '-> Exemplars           '-> Tally: dropped             '-> Tally: exported, dropped
//! ```
//!
//! | owns | in |
//! |---|---|
//! | what can be set | `settings` |
//! | which operations are sent | here |
//! | what waits | `queue` |
//! | how many a second | `rate` |
//! | what became of it | `tally` |
//! | spans of what is no operation | `span` |
//! | what an operation looks like as spans | `convert` |
//! | what the metrics look like | `families` |
//! | requests and what their answers mean | `wire` |
//! | batches, trying again, the end | `export` |
//!
//! Not the OpenTelemetry SDK, only its messages. Its spans begin when an operation begins, and ours can only be chosen at the
//! end, when it is known which were slow or failed: so they are built from recorded times. Its batch processor drops what
//! has no room without a count, takes a request of which a part was refused for a success, and flushing it on the runtime
//! that carries it hangs. Here each sampled operation is waiting, exported or dropped for a [`Reason`], and
//! [`Tally`] has them all. A receiver whose answer is lost may have what counts as dropped: nobody can know.
//!
//! Nothing of it holds up the data path: it pushes into a queue with a bound, and what has no room is dropped and counted.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::proto::MetricFamily;

mod convert;
pub mod exemplars;
pub mod export;
mod families;
mod ids;
mod queue;
mod rate;
pub mod settings;
pub mod span;
pub mod tally;
mod wire;

use super::clock::{micros, now_us};
use super::durations::Label;
use super::operation::{Context, Operation, Why};
use exemplars::{Exemplar, Exemplars};
use queue::{Place, Queue, Queued, Work};
use rate::Rate;
use settings::{Keys, Settings};
use span::{Kind, Span};
use tally::{Reason, Tally};

/// What a command is called in spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// The command, as `GET` or `CONFIG|GET`.
    pub command: &'static str,
    /// Its operation's span: `cache.get`, `cache.set`, `cache.delete` or `redis.command`.
    pub span: &'static str,
}

/// What this room cannot know of itself.
#[derive(Debug, Clone)]
pub struct About {
    /// What commands are called.
    pub names: fn(Label) -> Named,
    /// The upstream: a host and a port, or a path.
    pub server: (String, Option<u16>),
}

/// Gathers the metrics.
pub type Gather = Arc<dyn Fn() -> Vec<MetricFamily> + Send + Sync>;

/// What takes operations and spans in. It is made by [`export::start`].
pub struct Traces {
    /// The share of operations that is drawn, in millionths.
    ratio: u32,
    /// What takes so long is sent, in microseconds.
    slow: u64,
    keys: Keys,
    /// Of what is sent because it was chosen, and because it failed or took long.
    chosen: Rate,
    others: Rate,
    queue: Queue,
    tally: Tally,
    exemplars: Exemplars,
    gather: OnceLock<Gather>,
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Traces")
            .field("ratio", &self.ratio)
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

impl Traces {
    fn new(settings: &Settings) -> Self {
        Self {
            ratio: settings.ratio,
            slow: settings.slow_threshold.map_or(u64::MAX, micros),
            keys: settings.keys,
            chosen: Rate::new(settings.max_per_second),
            others: Rate::new(settings.max_per_second),
            queue: Queue::new(settings.queue_size),
            tally: Tally::default(),
            exemplars: Exemplars::default(),
            gather: OnceLock::new(),
        }
    }

    /// The share of operations that is to be drawn.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        f64::from(self.ratio) / 1e6
    }

    /// The least time, in microseconds, after which it wants to hear of an operation that was not drawn.
    #[must_use]
    pub fn slow(&self) -> u64 {
        self.slow
    }

    /// Whether keys are told as they are.
    #[must_use]
    pub fn tells_keys(&self) -> bool {
        self.keys == Keys::Plain
    }

    /// What became of the sampled operations.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Operations that wait to be sent.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// The newest sampled operations.
    #[must_use]
    pub fn exemplars(&self) -> &Exemplars {
        &self.exemplars
    }

    /// From where the metrics come; the first one stays.
    pub fn gather_from(&self, gather: Gather) {
        let _ = self.gather.set(gather);
    }

    /// Takes an operation that has ended, if it is to be sent: it was drawn and whoever asked has nothing against it, or its
    /// parent is sampled, or it failed, or it took long.
    pub fn note(&self, operation: &Operation) {
        let chosen = match operation.context {
            Some(context) => context.sampled,
            None => operation.why == Why::Drawn,
        };
        let failed = operation.why == Why::Failed || operation.error.is_some();
        if !chosen && !failed && operation.took() < self.slow {
            return;
        }
        let rate = if chosen { &self.chosen } else { &self.others };
        if !rate.admits(operation.ended) {
            self.tally.sample();
            self.tally.drop(Reason::TooMany, 1);
            return;
        }
        let place = Place {
            trace: operation.context.map_or_else(ids::trace, |one| one.trace),
            span: ids::span(),
            parent: operation.context.map(|context| (context.parent, true)),
        };
        let work = Work::Operation(operation.clone());
        if self.queue(Queued { place, work }) {
            let exemplar = Exemplar {
                trace: place.trace,
                span: place.span,
                took_us: operation.took(),
                ended: operation.ended,
            };
            self.exemplars
                .put(operation.label, operation.route, exemplar);
        }
    }

    /// Begins a span of something else, at this time of the boot clock in microseconds. For a [`Kind::Server`] the parent is
    /// another process's, for the others it is one of ours.
    pub fn span(
        self: &Arc<Self>,
        name: impl Into<std::borrow::Cow<'static, str>>,
        kind: Kind,
        parent: Option<Context>,
        began: u64,
    ) -> Span {
        Span::begin(self, name, kind, parent, began)
    }

    /// Counts it, and puts it in if there is room.
    fn queue(&self, queued: Queued) -> bool {
        self.tally.sample();
        match self.queue.push(queued) {
            Ok(()) => true,
            Err(reason) => {
                self.tally.drop(reason, 1);
                false
            }
        }
    }
}

/// Nanoseconds from the Unix epoch to the boot clock's 0, as things stand now.
#[must_use]
pub fn boot_in_unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let unix = nanos(since.unwrap_or_default());
    unix.saturating_sub(now_us().saturating_mul(1000))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
