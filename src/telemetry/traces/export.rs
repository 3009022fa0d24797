//! The exporter: a thread with a runtime of its own that takes batches out of the queue and sees them through.
//!
//! ```text
//!                .----------- answered, refused, or [timeout] is over -----------.
//!                v                                                               |
//!  wait for a batch, or for [export_interval] --> send --> may be tried again --> pause, twice as long each time
//!                |
//!                '-- end asked for --> send what is left, for FLUSH at most --> close the queue, count the rest
//! ```
//!
//! One batch is under way at a time: a receiver that cannot keep up is not sent more at once, the queue fills up, and what
//! has no room there is counted. The metrics have a loop of their own beside that, so that neither waits for the other.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message as _;
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::convert::Converter;
use super::families::{self, Span};
use super::settings::Settings;
use super::tally::Reason;
use super::wire::{Signal, Taken, Trouble, Wire};
use super::{About, Traces, ids, nanos};
use crate::telemetry::clock::micros;

/// How long what is left at the end may take to be sent.
pub const FLUSH: Duration = Duration::from_secs(3);
/// Before a request is tried again the first time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Between two attempts at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The thread. Dropping it sends what is left, and ends.
#[derive(Debug)]
pub struct Exporter {
    stop: watch::Sender<Option<Instant>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop.send_replace(Some(Instant::now() + FLUSH));
        if let Some(thread) = self.thread.take() {
            // If it panicked it has said so already.
            let _ = thread.join();
        }
    }
}

/// Starts sending to where `settings` say; `None` where they say nothing. `tls` makes what an `https://` receiver needs.
///
/// # Errors
/// One line on a file that cannot be used, or on what the system refuses.
pub fn start(
    settings: &Settings,
    about: About,
    tls: impl FnOnce() -> Result<ClientConfig, String>,
) -> Result<Option<(Arc<Traces>, Exporter)>, String> {
    let Some(endpoint) = &settings.endpoint else {
        return Ok(None);
    };
    let wire = Wire::new(settings, endpoint, tls()?);
    wire.headers()?;
    let traces = Arc::new(Traces::new(settings));
    let converter = Converter::new(about, settings.keys, &settings.service_name);
    let resource = converter.resource().clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let failed = |error: std::io::Error| format!("cannot start the exporter of traces: {error}");
    let runtime = runtime.map_err(failed)?;
    let (stop, stopped) = watch::channel(None);
    let carrier = |signal| Carrier {
        signal,
        wire: wire.clone(),
        timeout: settings.timeout,
        not_before: None,
        lost: None,
        rejects: false,
    };
    let (spans, metrics) = (carrier(Signal::Traces), carrier(Signal::Metrics));
    let (interval, every) = (settings.export_interval, settings.metrics_interval);
    let shared = Arc::clone(&traces);
    let run = move || {
        runtime.block_on(async {
            let spans = send_spans(&shared, converter, spans, interval, stopped.clone());
            let metrics = async {
                if let Some(every) = every {
                    let start = unix_now();
                    let gather = |now| {
                        let families = shared.gather.get()?();
                        let span = Span { start, now };
                        let request = families::request(&families, &resource, span);
                        Some(request.encode_to_vec().into())
                    };
                    send_metrics(gather, metrics, every, stopped.clone()).await;
                }
            };
            tokio::select! {
                _ = async { tokio::join!(spans, metrics) } => {}
                () = over(stopped.clone()) => {}
            }
            // Whoever comes from now on is told, and what has come is counted.
            shared.queue.close();
            loop {
                match shared.queue.take().len() {
                    0 => break,
                    left => shared.tally.drop(Reason::Shutdown, left as u64),
                }
            }
        });
        // A look-up of a name that hangs is not waited for.
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new()
        .name("traces".into())
        .spawn(run)
        .map_err(failed)?;
    let thread = Some(thread);
    Ok(Some((traces, Exporter { stop, thread })))
}

fn unix_now() -> u64 {
    nanos(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

/// Returns when the end is asked for.
async fn asked(stopped: &mut watch::Receiver<Option<Instant>>) {
    // Without a sender nobody will ask any more.
    let _ = stopped.wait_for(Option::is_some).await;
}

/// Returns when the time for the end is over.
async fn over(mut stopped: watch::Receiver<Option<Instant>>) {
    let deadline = stopped.wait_for(Option::is_some).await;
    let deadline = deadline.ok().and_then(|deadline| *deadline);
    sleep_until(deadline.unwrap_or_else(Instant::now)).await;
}

async fn send_spans(
    traces: &Traces,
    converter: Converter,
    mut carrier: Carrier,
    interval: Duration,
    mut stopped: watch::Receiver<Option<Instant>>,
) {
    loop {
        let ends = tokio::select! {
            () = asked(&mut stopped) => true,
            () = traces.queue.filled() => false,
            () = sleep(interval) => false,
        };
        loop {
            let batch = traces.queue.take();
            if batch.is_empty() {
                break;
            }
            let flight = traces.tally.depart(batch.len() as u64);
            let operations = batch.len();
            let (request, spans) = converter.request(batch);
            let message = Bytes::from(request.encode_to_vec());
            match carrier.deliver(message, operations).await {
                Ok(taken) => flight.arrived(spans, taken.rejected),
                Err(reason) => flight.failed(reason),
            }
        }
        if ends {
            return;
        }
    }
}

async fn send_metrics(
    gather: impl Fn(u64) -> Option<Bytes>,
    mut carrier: Carrier,
    every: Duration,
    mut stopped: watch::Receiver<Option<Instant>>,
) {
    loop {
        let ends = tokio::select! {
            () = asked(&mut stopped) => true,
            () = sleep(every) => false,
        };
        if let Some(message) = gather(unix_now()) {
            // What did not arrive is in the next one.
            let _ = carrier.deliver(message, 0).await;
        }
        if ends {
            return;
        }
    }
}

/// Sees messages through, and says when that stops working and when it works again.
struct Carrier {
    signal: Signal,
    wire: Wire,
    timeout: Duration,
    /// The receiver has asked for so much time.
    not_before: Option<Instant>,
    /// Operations lost since it stopped working.
    lost: Option<usize>,
    /// It refuses parts of what it takes.
    rejects: bool,
}

impl Carrier {
    async fn deliver(&mut self, message: Bytes, operations: usize) -> Result<Taken, Reason> {
        if let Some(not_before) = self.not_before.take() {
            sleep_until(not_before).await;
        }
        let (reason, why) = match self.attempt(message).await {
            Ok(taken) => {
                self.tell_taken(&taken);
                return Ok(taken);
            }
            Err(trouble) => trouble,
        };
        let signal = self.signal.as_str();
        let lost = self.lost.get_or_insert_with(|| {
            tracing::warn!(signal, reason = reason.as_str(), error = %why, "the receiver of traces does not take them");
            0
        });
        *lost += operations;
        Err(reason)
    }

    /// Once, and again while that may help and there is time.
    async fn attempt(&mut self, message: Bytes) -> Result<Taken, (Reason, String)> {
        let deadline = Instant::now() + self.timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            let sent = self.wire.send(self.signal, message.clone());
            let Ok(answer) = timeout_at(deadline, sent).await else {
                self.wire.renew();
                let why = format!("no answer within {}s", self.timeout.as_secs_f64());
                return Err((Reason::Unreachable, why));
            };
            match answer {
                Ok(taken) => return Ok(taken),
                Err(Trouble::Never(why)) => return Err((Reason::Refused, why)),
                Err(Trouble::Later(why, after)) => {
                    let wait = after
                        .unwrap_or_else(|| Duration::from_micros(ids::jittered(micros(pause))));
                    // Far more than it can mean would not be a time.
                    let next = Instant::now() + wait.min(Duration::from_secs(60 * 60));
                    if next >= deadline {
                        self.not_before = after.map(|_| next);
                        return Err((Reason::Unreachable, why));
                    }
                    sleep_until(next).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn tell_taken(&mut self, taken: &Taken) {
        let signal = self.signal.as_str();
        if let Some(lost) = self.lost.take() {
            tracing::info!(signal, lost, "the receiver of traces takes them again");
        }
        let rejects = taken.rejected > 0;
        if rejects && !self.rejects {
            let message = &taken.message;
            tracing::warn!(
                signal,
                rejected = taken.rejected,
                error = %message,
                "the receiver of traces refuses a part"
            );
        }
        self.rejects = rejects;
    }
}
