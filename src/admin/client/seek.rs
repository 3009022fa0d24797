//! A lease for a command: asked for under an idempotency key, waited for without holding the line, and given up where a
//! signal comes first.
//!
//! The key makes it safe to ask again where an answer was lost: there is one lease. A request that waits has an id at once, by
//! which it is called off; one that held the line could not be, since under a key the server goes on with it.

use std::time::Duration;

use http::{Method, StatusCode};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::{Instant, sleep, timeout};

use super::call::Ask;
use super::child::Signals;
use super::keep::Keeper;
use super::lease::Lease;
use super::said::Said;
use super::wire::{Answer, Question, Silence, Why, Wire, segment};
use crate::telemetry::clock::{millis, now_ms};

/// How long an answer may take that is not to be waited for.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The longest look at a request that waits.
const LOOK: Duration = Duration::from_secs(10);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// For how long more than was to be waited it is asked what became of a request.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// How long an answer under way is waited for that has to be called off.
const PARTING: Duration = Duration::from_secs(2);

/// A lease, and when the request was sent that it was granted to, or somewhat earlier.
pub(super) struct Found {
    pub(super) asked: u64,
    pub(super) lease: Lease,
}

/// The lease that is asked for.
///
/// # Errors
/// Why there is none.
pub(super) async fn seek(wire: &Wire, ask: &Ask, signals: &mut Signals) -> Result<Found, Said> {
    let wait = ask.wait.unwrap_or_default();
    let until = Instant::now() + wait;
    let seeker = Seeker {
        wire,
        question: Question::new(Method::POST, "/v1/allocations")
            .with_body(&ask.body())
            .with_headers([
                ("idempotency-key", key()),
                ("prefer", "respond-async".to_owned()),
            ]),
        look: ask.ttl.map_or(LOOK, |ttl| (ttl / 3).min(LOOK)),
        until,
        last: until + AFTERWARDS,
    };
    seeker.seek(signals).await
}

/// What an answer is.
enum Heard {
    Lease(Lease),
    Queued(String),
    /// Ask again, until then; otherwise it is this.
    Again(Instant, Said),
    /// The nearside that knew the request was started again, and the ledger has forgotten it too.
    Unknown(Said),
    Refused(Said),
}

struct Seeker<'a> {
    wire: &'a Wire,
    question: Question,
    look: Duration,
    /// How long it is to be waited for.
    until: Instant,
    last: Instant,
}

impl Seeker<'_> {
    async fn seek(&self, signals: &mut Signals) -> Result<Found, Said> {
        let mut asked = now_ms();
        loop {
            let heard = match self.post(signals).await? {
                Heard::Queued(id) => tokio::select! {
                    outcome = self.outcome(&id, &mut asked) => outcome,
                    said = signals.ending() => {
                        call_off(self.wire, &id).await;
                        return Err(said);
                    }
                },
                heard => heard,
            };
            match heard {
                Heard::Lease(lease) => return Ok(Found { asked, lease }),
                Heard::Again(until, said) if Instant::now() >= until => return Err(said),
                Heard::Unknown(said) if Instant::now() >= self.until => return Err(said),
                // It is made anew.
                Heard::Again(..) | Heard::Unknown(_) | Heard::Queued(_) => {}
                Heard::Refused(said) => return Err(said),
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                said = signals.ending() => return Err(said),
            }
        }
    }

    /// Asks for it once. Whatever it gives is called off where a signal comes first.
    async fn post(&self, signals: &mut Signals) -> Result<Heard, Said> {
        let mut asking = std::pin::pin!(self.wire.ask(&self.question, ATTEMPT));
        let said = tokio::select! {
            answer = &mut asking => return Ok(self.heard(answer)),
            said = signals.ending() => said,
        };
        if let Ok(answer) = timeout(PARTING, asking).await {
            match self.heard(answer) {
                Heard::Lease(Lease { id, .. }) | Heard::Queued(id) => {
                    call_off(self.wire, &id).await;
                }
                Heard::Again(..) | Heard::Unknown(_) | Heard::Refused(_) => {}
            }
        }
        Err(said)
    }

    /// What becomes of a request that waits. `asked` is moved to when it waited last.
    async fn outcome(&self, id: &str, asked: &mut u64) -> Heard {
        let path = format!("/v1/allocations/{}", segment(id));
        loop {
            let look = format!("{path}?wait={}ms", millis(self.look));
            let sent = now_ms();
            let question = Question::new(Method::GET, look);
            match self.heard(self.wire.ask(&question, self.look + ATTEMPT).await) {
                Heard::Queued(_) if Instant::now() < self.last => *asked = sent,
                Heard::Queued(_) => {
                    call_off(self.wire, id).await;
                    return Heard::Refused(Said::later("there was no lease in time"));
                }
                Heard::Again(until, _) if Instant::now() < until => sleep(PAUSE).await,
                other => return other,
            }
        }
    }

    fn heard(&self, answer: Result<Answer, Silence>) -> Heard {
        let answer = match answer {
            Ok(answer) => answer,
            Err(silence) => {
                let until = match silence.why {
                    Why::Unreached => self.until,
                    Why::Lost => self.last,
                };
                return Heard::Again(until, Said::silence(&silence));
            }
        };
        match answer.status {
            StatusCode::ACCEPTED => {
                let id = answer
                    .json()
                    .and_then(|body| Some(body["id"].as_str()?.to_owned()));
                id.map_or_else(strange, Heard::Queued)
            }
            status if status.is_success() => {
                let lease = answer.json().as_ref().and_then(Lease::parse);
                lease.map_or_else(strange, Heard::Lease)
            }
            // An earlier attempt under the same key waits.
            StatusCode::CONFLICT if answer.retry => Heard::Again(self.last, Said::refused(&answer)),
            StatusCode::NOT_FOUND => Heard::Unknown(Said::refused(&answer)),
            StatusCode::SERVICE_UNAVAILABLE => Heard::Again(self.until, Said::refused(&answer)),
            _ => Heard::Refused(Said::refused(&answer)),
        }
    }
}

fn strange() -> Heard {
    Heard::Refused(Said::failed(
        "the answer is no lease; is it a nearside that was asked?",
    ))
}

/// Best effort: what is not called off expires.
async fn call_off(wire: &Wire, id: &str) {
    let _ = Keeper::new(wire, id, None).release(PARTING).await;
}

/// 128 random bits.
fn key() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the kernel gives random bytes");
    format!("nearside-alloc-{:032x}", u128::from_be_bytes(bytes))
}
