//! `nearside alloc run`: a lease for as long as a command runs.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::mpsc;

use super::call::Ask;
use super::child::{Child, Signals};
use super::keep::{Keeper, News, Pace, reach};
use super::lease::Lease;
use super::said::{Said, say};
use super::seek::{Found, seek};
use super::tenure::{Loss, Step, Tenure};
use super::wire::Wire;
use crate::telemetry::clock::{millis, now_ms};

/// How long it is tried to release the lease of a command that has ended.
const RELEASE: Duration = Duration::from_secs(5);
/// The same where it could not be renewed before.
const LAST_TRY: Duration = Duration::from_secs(1);

/// Takes the lease, runs the command, and ends with its exit code.
///
/// # Errors
/// There was no lease, it could not be run, or the lease was lost before it ended.
pub(super) async fn run(
    wire: &Wire,
    ask: &Ask,
    grace: Duration,
    command: &[OsString],
) -> Result<ExitCode, Said> {
    let signals = Signals::listen();
    let mut signals = signals.map_err(|error| Said::failed(format!("cannot start: {error}")))?;
    let found = seek(wire, ask, &mut signals).await?;
    let keeper = Keeper::new(wire, &found.lease.id, Some(found.lease.fence));
    let pace = Pace::of(found.lease.ttl, ask.preemptible);
    let sure = tokio::select! {
        sure = assured(&keeper, pace, found) => sure,
        said = signals.ending() => Err(said),
    };
    let started = sure.and_then(|found| {
        let child = Child::start(command, &found.lease.env)?;
        Ok((child, found))
    });
    let (child, found) = match started {
        Ok(started) => started,
        Err(said) => {
            release(&keeper, RELEASE).await;
            return Err(said);
        }
    };
    let tenure = Tenure::new(found.asked, &found.lease, millis(grace));
    let (tell, news) = mpsc::unbounded_channel();
    let renewing = tokio::spawn(keeper.clone().keep(found.asked, pace, tell));
    let mut hold = Hold {
        lease: found.lease,
        tenure,
        child,
        trouble: None,
    };
    hold.until_ended(&mut signals, news).await;
    renewing.abort();
    hold.end(&keeper).await
}

/// The lease, renewed where the time for which it is sure to live has shrunk: it may have been waited for.
async fn assured(keeper: &Keeper, pace: Pace, found: Found) -> Result<Found, Said> {
    let Found { asked, lease } = found;
    let answered = now_ms();
    if answered.saturating_sub(asked) < lease.ttl / 6 {
        return Ok(Found { asked, lease });
    }
    loop {
        match keeper.renew(pace).await {
            News::Renewed(asked, lease) => return Ok(Found { asked, lease }),
            News::Late(why) if now_ms() >= answered.saturating_add(lease.ttl) => {
                return Err(Said::later(format!(
                    "the lease could not be renewed: {why}"
                )));
            }
            News::Late(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            News::Gone(why) => return Err(Said::later(format!("the lease is lost: {why}"))),
        }
    }
}

/// A lease and the command that it is held for.
struct Hold {
    lease: Lease,
    tenure: Tenure,
    child: Child,
    /// What is known of why it is not renewed.
    trouble: Option<String>,
}

impl Hold {
    /// Until the command has ended, by itself or because it had to.
    async fn until_ended(
        &mut self,
        signals: &mut Signals,
        mut news: mpsc::UnboundedReceiver<News>,
    ) {
        loop {
            let next = self.act();
            tokio::select! {
                biased;
                () = self.child.ended() => return,
                signal = signals.next() => self.child.pass(signal),
                Some(news) = news.recv() => self.learn(news),
                () = reach(next) => {}
            }
        }
    }

    /// Does what is due, and says when the next may be.
    fn act(&mut self) -> u64 {
        loop {
            match self.tenure.step(now_ms()) {
                Step::Wait(until) => return until,
                Step::Terminate(why) => {
                    self.say_lost(why);
                    self.child.terminate();
                }
                Step::Kill => {
                    say("the command has not ended in time, and is killed");
                    self.child.kill();
                }
            }
        }
    }

    fn say_lost(&self, why: Loss) {
        let id = &self.lease.id;
        let because = self
            .trouble
            .as_ref()
            .map_or_else(String::new, |trouble| format!(": {trouble}"));
        say(&match why {
            Loss::NotRenewed => {
                format!("the lease {id} could not be renewed and the command is ended{because}")
            }
            Loss::Lifetime => format!(
                "the lease {id} has reached the end of its longest life and the command is ended"
            ),
            Loss::AskedBack => format!(
                "the lease {id} is asked back for a request of a higher priority and the command is ended"
            ),
            Loss::Gone => format!("the lease {id} is lost and the command is ended{because}"),
        });
    }

    fn learn(&mut self, news: News) {
        match news {
            News::Renewed(asked, lease) => {
                self.tenure.renewed(asked, &lease);
                self.trouble = None;
            }
            News::Late(why) => self.trouble = Some(why),
            News::Gone(why) => {
                self.trouble = Some(why);
                self.tenure.gone();
            }
        }
    }

    /// Gives the lease back.
    async fn end(self, keeper: &Keeper) -> Result<ExitCode, Said> {
        let lost = self.tenure.is_lost();
        if lost {
            // What it has started goes too.
            self.child.kill();
        }
        let code = self.child.reap();
        if !self.tenure.is_gone() {
            let patience = match self.trouble {
                Some(_) => LAST_TRY,
                None => RELEASE,
            };
            release(keeper, patience).await;
        }
        if lost {
            return Err(Said::lost());
        }
        Ok(ExitCode::from(code))
    }
}

/// What is not released expires by itself, so that is no failure.
async fn release(keeper: &Keeper, patience: Duration) {
    if let Err(why) = keeper.release(patience).await {
        say(&format!("the lease could not be released: {why}"));
    }
}
