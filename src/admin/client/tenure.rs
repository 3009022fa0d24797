//! Until when a lease lives, and when the command that holds it has to go. Pure: `now` and every other instant here are
//! milliseconds of [`now_ms`](crate::telemetry::clock::now_ms), a clock that nobody sets and that goes on while a machine sleeps.
//!
//! ```text
//!   Held --not renewed, its life is over, asked back, gone--> Ending --it takes too long--> Killed
//! ```
//!
//! The ledger's clock is another one. What is known of it: a request that was sent at `s` was answered later than `s`, so a lease
//! that it gave lives until `s` and its time to live at least, and an instant of the ledger's that the answer tells comes that much
//! later than `s` at least. Every error is on the safe side: the command goes a little early, never late.

use super::lease::Lease;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Tenure {
    grace: u64,
    ttl: u64,
    /// An instant, and one of the ledger's clock that was no earlier.
    anchor: (u64, u64),
    /// The lease lives at least until then.
    until: u64,
    /// When it ends in any case, if it does, and how long the command may take to end then.
    end: Option<(u64, u64)>,
    /// What ends the command at once.
    loss: Option<Loss>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Held,
    Ending { why: Loss, since: u64 },
    Killed,
}

/// Why the command has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// The lease will have expired before it is renewed.
    NotRenewed,
    /// It ends in any case.
    Lifetime,
    /// It is asked back.
    AskedBack,
    /// It is over.
    Gone,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, until then.
    Wait(u64),
    /// The command is asked to end.
    Terminate(Loss),
    /// It is made to.
    Kill,
}

impl Tenure {
    /// A lease that a request gave which was sent at `asked`. The command may take `grace` to end.
    pub(super) fn new(asked: u64, lease: &Lease, grace: u64) -> Self {
        let mut tenure = Self {
            grace,
            ttl: lease.ttl,
            anchor: (asked, lease.granted),
            until: asked,
            end: None,
            loss: None,
            stage: Stage::Held,
        };
        tenure.renewed(asked, lease);
        tenure
    }

    /// A request that was sent at `asked` has renewed it.
    pub(super) fn renewed(&mut self, asked: u64, lease: &Lease) {
        let bound = lease.ends.into_iter().chain(lease.preempt).min();
        if bound.is_none_or(|bound| lease.expires < bound) {
            self.anchor = (asked, lease.expires.saturating_sub(lease.ttl));
        }
        self.until = self
            .here(lease.expires)
            .min(asked.saturating_add(lease.ttl));
        self.end = lease.ends.map(|ends| {
            let life = ends.saturating_sub(lease.granted);
            (self.here(ends), self.grace.min(life / 3))
        });
        if lease.preempt.is_some() {
            self.loss = self.loss.or(Some(Loss::AskedBack));
        }
    }

    /// It is over.
    pub(super) fn gone(&mut self) {
        self.loss = Some(Loss::Gone);
    }

    /// Whether the command was ended for want of the lease.
    pub(super) fn is_lost(&self) -> bool {
        self.stage != Stage::Held
    }

    /// Whether there is nothing left to release.
    pub(super) fn is_gone(&self) -> bool {
        self.loss == Some(Loss::Gone)
    }

    /// What is to be done at `now`; asked again until it is to wait.
    pub(super) fn step(&mut self, now: u64) -> Step {
        match self.stage {
            Stage::Held => match self.due() {
                (at, _) if self.loss.is_none() && now < at => Step::Wait(at),
                (_, due) => {
                    let why = self.loss.unwrap_or(due);
                    self.stage = Stage::Ending { why, since: now };
                    Step::Terminate(why)
                }
            },
            Stage::Ending { why, since } => {
                let patient = since.saturating_add(self.grace);
                let by = match why {
                    // Nothing is gained by haste.
                    Loss::Gone => patient,
                    Loss::NotRenewed | Loss::Lifetime | Loss::AskedBack => {
                        patient.min(self.until.saturating_sub(self.margin()))
                    }
                };
                if now < by {
                    return Step::Wait(by);
                }
                self.stage = Stage::Killed;
                Step::Kill
            }
            Stage::Killed => Step::Wait(u64::MAX),
        }
    }

    /// When the command has to be asked to end if nothing comes between, and why.
    fn due(&self) -> (u64, Loss) {
        let before = |at: u64, grace: u64| at.saturating_sub(grace + self.margin());
        let expiry = before(self.until, self.grace.min(self.ttl / 3));
        match self.end {
            Some((end, grace)) if before(end, grace) <= expiry || self.until >= end => {
                (before(end, grace).min(expiry), Loss::Lifetime)
            }
            _ => (expiry, Loss::NotRenewed),
        }
    }

    /// What a kill and its way through the machine may take.
    fn margin(&self) -> u64 {
        (self.ttl / 20).clamp(5, 500)
    }

    /// An instant of the ledger's clock here, or somewhat earlier.
    fn here(&self, theirs: u64) -> u64 {
        let (ours, anchor) = self.anchor;
        ours.saturating_add(theirs).saturating_sub(anchor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ledger's clock is so far ahead of the one here.
    const AHEAD: u64 = 1_000_000;

    /// A lease that was granted or renewed at `at`.
    fn lease(at: u64, ends: Option<u64>, preempt: Option<u64>) -> Lease {
        let at = at + AHEAD;
        let theirs = |instant: Option<u64>| instant.map(|instant| instant + AHEAD);
        let (ends, preempt) = (theirs(ends), theirs(preempt));
        let bound = ends.into_iter().chain(preempt).min();
        Lease {
            id: "l".to_owned(),
            fence: 1,
            ttl: 30_000,
            granted: AHEAD,
            expires: bound.unwrap_or(u64::MAX).min(at + 30_000),
            ends,
            preempt,
            env: Vec::new(),
        }
    }

    fn ended(tenure: &mut Tenure, at: u64, why: Loss, killed: u64) {
        assert_eq!(tenure.step(at - 1), Step::Wait(at));
        assert_eq!(tenure.step(at), Step::Terminate(why));
        assert_eq!(tenure.step(killed - 1), Step::Wait(killed));
        assert_eq!(tenure.step(killed), Step::Kill);
        assert_eq!(tenure.step(killed), Step::Wait(u64::MAX));
        assert!(tenure.is_lost());
    }

    #[test]
    fn what_is_not_renewed_is_left_before_it_expires() {
        let mut tenure = Tenure::new(0, &lease(20, None, None), 10_000);
        assert_eq!(tenure.step(0), Step::Wait(19_500));
        tenure.renewed(10_000, &lease(10_040, None, None));
        assert_eq!(tenure.until, 40_000);
        ended(&mut tenure, 29_500, Loss::NotRenewed, 39_500);
    }

    #[test]
    fn a_long_grace_leaves_time_to_renew() {
        let mut tenure = Tenure::new(0, &lease(0, None, None), 60_000);
        ended(&mut tenure, 19_500, Loss::NotRenewed, 29_500);
        let mut tenure = Tenure::new(0, &lease(0, None, None), 0);
        assert_eq!(tenure.step(0), Step::Wait(29_500));
    }

    #[test]
    fn who_slept_past_the_end_kills_at_once() {
        let mut tenure = Tenure::new(0, &lease(0, None, None), 10_000);
        assert_eq!(tenure.step(50_000), Step::Terminate(Loss::NotRenewed));
        assert_eq!(tenure.step(50_000), Step::Kill);
    }

    #[test]
    fn a_lease_that_is_gone_leaves_the_whole_grace() {
        let mut tenure = Tenure::new(0, &lease(0, None, None), 60_000);
        tenure.gone();
        assert_eq!(tenure.step(7), Step::Terminate(Loss::Gone));
        assert_eq!(tenure.step(7), Step::Wait(60_007));
        assert!(tenure.is_gone() && tenure.is_lost());
    }

    #[test]
    fn a_renewal_that_comes_late_gives_time_to_end() {
        let mut tenure = Tenure::new(0, &lease(0, None, None), 15_000);
        assert_eq!(tenure.step(19_500), Step::Terminate(Loss::NotRenewed));
        assert_eq!(tenure.step(19_500), Step::Wait(29_500));
        tenure.renewed(20_000, &lease(20_000, None, None));
        assert_eq!(tenure.step(29_500), Step::Wait(34_500));
    }

    #[test]
    fn its_longest_life_ends_with_the_whole_grace() {
        // The first request waited, so what it says of the ledger's clock is little.
        let mut tenure = Tenure::new(0, &lease(0, Some(100_000), None), 20_000);
        assert_eq!(tenure.step(0), Step::Wait(19_500));
        for at in (10_000..=70_000).step_by(10_000) {
            tenure.renewed(at, &lease(at + 3, Some(100_000), None));
        }
        tenure.renewed(72_000, &lease(72_000, Some(100_000), None));
        // The last anchor is of 70,000, when the answer was 3 ms late.
        assert_eq!(tenure.until, 99_997);
        ended(&mut tenure, 79_497, Loss::Lifetime, 99_497);
        // A life no longer than the time to live.
        let mut tenure = Tenure::new(0, &lease(0, Some(30_000), None), 60_000);
        ended(&mut tenure, 19_500, Loss::Lifetime, 29_500);
    }

    #[test]
    fn who_is_asked_back_goes_at_once_and_in_time() {
        let mut tenure = Tenure::new(0, &lease(0, None, None), 60_000);
        tenure.renewed(10_000, &lease(10_002, None, Some(20_000)));
        assert_eq!(tenure.step(10_010), Step::Terminate(Loss::AskedBack));
        assert_eq!(tenure.step(10_010), Step::Wait(19_500));
        // Being gone then takes nothing back.
        tenure.gone();
        assert_eq!(tenure.step(19_500), Step::Kill);
    }
}
