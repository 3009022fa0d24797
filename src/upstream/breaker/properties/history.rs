//! The model: a caller that remembers everything and works out each answer from that.

use super::super::{Admission, Cause, Counts, Forced, Kind, Position, Settings, Transition};

/// An ordinary call of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    Slow,
    Bad,
}

/// What a caller that remembers everything knows.
#[derive(Debug)]
pub(super) struct History {
    settings: Settings,
    pub(super) now: u64,
    /// Ordinary calls since the circuit closed last.
    calls: Vec<(u64, Outcome)>,
    /// Failures at the end of `calls`, and of probes behind them.
    pub(super) row: u32,
    forced: Option<Forced>,
    /// When the circuit opened last, and how often its wait has doubled since the first; `None` for no wait.
    opened: Option<(u64, Option<u32>)>,
    /// Whether there was a probe since then.
    half: bool,
    pub(super) outstanding: u32,
}

impl History {
    pub(super) fn new(settings: Settings, now: u64) -> Self {
        Self {
            settings,
            now,
            calls: Vec::new(),
            row: 0,
            forced: None,
            opened: None,
            half: false,
            outstanding: 0,
        }
    }

    pub(super) fn position(&self) -> Position {
        match (self.forced, self.opened) {
            (Some(Forced::Open), _) => Position::ForcedOpen,
            (Some(Forced::Closed), _) => Position::ForcedClosed,
            (None, None) => Position::Closed,
            (None, Some(_)) if self.half => Position::HalfOpen,
            (None, Some(_)) => Position::Open,
        }
    }

    /// 1 s, twice that after each round, never more than `recovery_timeout`.
    pub(super) fn wait(&self) -> Option<u64> {
        let longest = u64::try_from(self.settings.recovery_timeout.as_millis()).unwrap();
        let doubled = |times: u32| 1000u64.saturating_mul(1 << times.min(54)).min(longest);
        self.opened.map(|(_, times)| times.map_or(0, doubled))
    }

    pub(super) fn due(&self) -> Option<u64> {
        Some(self.opened?.0.saturating_add(self.wait()?))
    }

    fn counted(&self) -> impl Iterator<Item = Outcome> {
        let bucket = u64::try_from(self.settings.window.as_millis()).unwrap() / 10;
        let recent = move |at: u64| self.now / bucket - at / bucket < 10;
        let recent = self.calls.iter().filter(move |(at, _)| recent(*at));
        recent.map(|(_, outcome)| *outcome)
    }

    pub(super) fn window(&self) -> Counts {
        let of = |which| self.counted().filter(|outcome| *outcome == which).count() as u64;
        Counts {
            calls: self.counted().count() as u64,
            failures: of(Outcome::Bad),
            slow: of(Outcome::Slow),
        }
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "it is what every call answers with"
    )]
    fn moved(&self, from: Position, cause: Cause) -> Option<Transition> {
        Some(Transition {
            from,
            to: self.position(),
            cause,
            at: self.now,
        })
    }

    pub(super) fn ordinary(&mut self, outcomes: &[Outcome]) -> Option<Transition> {
        let from = self.position();
        if outcomes.is_empty() || !matches!(from, Position::Closed | Position::ForcedClosed) {
            return None;
        }
        for outcome in outcomes {
            self.calls.push((self.now, *outcome));
            self.row = match outcome {
                Outcome::Bad => self.row + 1,
                Outcome::Good | Outcome::Slow => 0,
            };
        }
        let cause = self.reason().filter(|_| from == Position::Closed)?;
        self.opened = Some((self.now, Some(0)));
        self.moved(from, cause)
    }

    #[expect(clippy::cast_precision_loss, reason = "the counts are small")]
    fn reason(&self) -> Option<Cause> {
        let Counts {
            calls,
            failures,
            slow,
        } = self.window();
        let share = |some: u64, rate: u32| {
            calls >= u64::from(self.settings.minimum_calls)
                && some as f64 / calls as f64 * 1e6 >= f64::from(rate) - 1e-6
                && some > 0
        };
        if self.row >= self.settings.failure_threshold {
            return Some(Cause::ConsecutiveFailures);
        }
        if share(failures, self.settings.failure_rate) {
            return Some(Cause::FailureRate);
        }
        let slow = share(slow, self.settings.slow_call_rate);
        (slow && self.settings.slow_call_duration.is_some()).then_some(Cause::SlowCalls)
    }

    pub(super) fn admit(&mut self) -> Admission {
        let from = self.position();
        let due = self.due().is_some_and(|due| self.now >= due);
        let free = self.outstanding < self.settings.half_open_max_calls;
        match from {
            Position::Closed | Position::ForcedClosed => Admission::Call,
            Position::Open | Position::HalfOpen if due && free => {
                self.outstanding += 1;
                self.half = true;
                let first = from == Position::Open;
                Admission::Probe(self.moved(from, Cause::WaitOver).filter(|_| first))
            }
            _ => Admission::Refused,
        }
    }

    pub(super) fn probed(&mut self, outcome: Option<Result<(), Kind>>) -> Option<Transition> {
        let from = self.position();
        let real = self.outstanding > 0;
        self.outstanding = self.outstanding.saturating_sub(1);
        let outcome = outcome.filter(|_| real && from == Position::HalfOpen)?;
        self.half = false;
        let Err(kind) = outcome else {
            self.forget();
            return self.moved(from, Cause::ProbeSucceeded);
        };
        self.row += 1;
        let times = self.opened.and_then(|(_, times)| times);
        let times = match kind {
            Kind::Loading => 0,
            _ => times.map_or(0, |times| times + 1),
        };
        self.opened = Some((self.now, Some(times)));
        self.moved(from, Cause::ProbeFailed)
    }

    fn forget(&mut self) {
        self.calls.clear();
        self.row = 0;
        self.opened = None;
        self.half = false;
    }

    pub(super) fn force(&mut self, order: Option<Forced>) -> Option<Transition> {
        let from = self.position();
        let before = std::mem::replace(&mut self.forced, order);
        if before == order {
            return None;
        }
        if order.is_some() {
            return self.moved(from, Cause::Forced);
        }
        self.forget();
        self.opened = (before == Some(Forced::Open)).then_some((self.now, None));
        self.moved(from, Cause::Released)
    }
}
