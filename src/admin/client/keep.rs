//! A lease that is renewed for as long as its holder wants it, and released.

use std::time::Duration;

use http::{Method, StatusCode};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep};

use super::lease::Lease;
use super::said::reason;
use super::wire::{Question, Wire, segment};
use crate::telemetry::clock::now_ms;

/// How long is slept at most before the clock is read again: it goes on while the machine sleeps, and timers do not.
const LONGEST_SLEEP: u64 = 1000;
/// The longest between two looks at a lease that may be asked back, in milliseconds.
const WATCHFUL: u64 = 2000;
/// How long one attempt to release may take.
const RELEASE: Duration = Duration::from_secs(2);
/// Between two attempts to release.
const PAUSE: Duration = Duration::from_millis(200);

/// What became of a renewal.
#[derive(Debug)]
pub(super) enum News {
    /// It was renewed by a request that was sent at this instant.
    Renewed(u64, Lease),
    /// There was no such answer; it is tried again.
    Late(String),
    /// It is over. Nothing is tried any more.
    Gone(String),
}

/// How often a lease is renewed. In milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    every: u64,
    /// How long an attempt may take.
    attempt: u64,
    /// Between attempts.
    pause: u64,
}

impl Pace {
    /// For a lease with this time to live.
    pub(super) fn of(ttl: u64, preemptible: bool) -> Self {
        let every = ttl / 3;
        Self {
            every: if preemptible {
                every.min(WATCHFUL)
            } else {
                every
            },
            attempt: (ttl / 4).clamp(100, 5000),
            pause: (ttl / 20).clamp(20, 1000),
        }
    }
}

/// Which lease, and where.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    wire: Wire,
    path: String,
    fence: Option<u64>,
}

impl Keeper {
    /// `None` for whatever its fence is.
    pub(super) fn new(wire: &Wire, id: &str, fence: Option<u64>) -> Self {
        Self {
            wire: wire.clone(),
            path: format!("/v1/allocations/{}", segment(id)),
            fence,
        }
    }

    /// Renews it for ever, from one renewal's time after `last` on.
    pub(super) async fn keep(self, mut last: u64, pace: Pace, tell: UnboundedSender<News>) {
        loop {
            reach(last.saturating_add(pace.every)).await;
            loop {
                let news = self.renew(pace).await;
                let (over, renewed) = match &news {
                    News::Renewed(asked, _) => (false, Some(*asked)),
                    News::Late(_) => (false, None),
                    News::Gone(_) => (true, None),
                };
                if tell.send(news).is_err() || over {
                    return;
                }
                if let Some(asked) = renewed {
                    last = asked;
                    break;
                }
                sleep(Duration::from_millis(pace.pause)).await;
            }
        }
    }

    /// Renews it once.
    pub(super) async fn renew(&self, pace: Pace) -> News {
        let question =
            Question::new(Method::POST, format!("{}/renew", self.path)).if_match(self.fence);
        let asked = now_ms();
        let within = Duration::from_millis(pace.attempt);
        let answer = match self.wire.ask(&question, within).await {
            Ok(answer) => answer,
            Err(silence) => return News::Late(silence.to_string()),
        };
        match answer.status {
            status if status.is_success() => {
                let lease = answer.json().as_ref().and_then(Lease::parse);
                lease.map_or_else(
                    || News::Late("the answer is no lease".to_owned()),
                    |lease| News::Renewed(asked, lease),
                )
            }
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::PRECONDITION_FAILED => {
                News::Gone(reason(&answer))
            }
            _ => News::Late(reason(&answer)),
        }
    }

    /// Releases it, trying for so long.
    ///
    /// # Errors
    /// Why it is not, in a line.
    pub(super) async fn release(&self, patience: Duration) -> Result<(), String> {
        let question = Question::new(Method::DELETE, self.path.clone()).if_match(self.fence);
        let until = Instant::now() + patience;
        let mut asked_before = false;
        loop {
            let why = match self.wire.ask(&question, RELEASE.min(patience)).await {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                // An earlier attempt whose answer was lost may have done it.
                Ok(answer) if asked_before && answer.status == StatusCode::GONE => return Ok(()),
                Ok(answer) if answer.status.is_client_error() => return Err(reason(&answer)),
                Ok(answer) => reason(&answer),
                Err(silence) => silence.to_string(),
            };
            asked_before = true;
            if Instant::now() + PAUSE >= until {
                return Err(why);
            }
            sleep(PAUSE).await;
        }
    }
}

/// Resolves when the clock shows this instant.
pub(super) async fn reach(instant: u64) {
    loop {
        let left = instant.saturating_sub(now_ms());
        if left == 0 {
            return;
        }
        sleep(Duration::from_millis(left.min(LONGEST_SLEEP))).await;
    }
}
