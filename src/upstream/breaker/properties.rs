//! Any history of calls, first against a model that remembers everything and then against what the header
//! promises in so many words.

mod history;

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;
use history::{History, Outcome};

#[derive(Debug, Clone, Copy)]
enum Event {
    /// Milliseconds pass.
    Pass(u64),
    /// Time passes up to the next probe, give or take; where none is due, one such step.
    PassUntilDue {
        early: u64,
        late: u64,
    },
    Admit,
    Record {
        successes: u32,
        slow: u32,
    },
    Failed(Kind),
    Probed(Result<(), Kind>),
    Abandoned,
    Force(Option<Forced>),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(&Kind::ALL[..])
}

fn event() -> impl Strategy<Value = Event> {
    let orders = [Some(Forced::Open), Some(Forced::Closed), None, None];
    prop_oneof![
        8 => (0..1500u64).prop_map(Event::Pass),
        12 => (0..2u64, 0..2u64).prop_map(|(early, late)| Event::PassUntilDue { early, late }),
        24 => Just(Event::Admit),
        8 => (0..6u32, 0..8u32).prop_map(|(successes, slow)| Event::Record { successes, slow }),
        24 => kind().prop_map(Event::Failed),
        4 => Just(Event::Probed(Ok(()))),
        12 => kind().prop_map(|kind| Event::Probed(Err(kind))),
        2 => Just(Event::Abandoned),
        3 => prop::sample::select(orders.to_vec()).prop_map(Event::Force),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 1..200)
}

prop_compose! {
    fn settings()(
        failure_threshold in prop_oneof![1..6u32, Just(1000)],
        longest in prop_oneof![0..20_000u64, Just(u64::MAX)],
        half_open_max_calls in 1..4u32,
        rates in (1..=WHOLE, 1..=WHOLE),
        minimum_calls in 1..12u32,
        window in 10..8000u64,
        slow in any::<bool>(),
    ) -> Settings {
        Settings {
            failure_threshold,
            recovery_timeout: Duration::from_millis(longest),
            half_open_max_calls,
            failure_rate: rates.0,
            minimum_calls,
            window: Duration::from_millis(window),
            slow_call_duration: slow.then_some(Duration::from_millis(100)),
            slow_call_rate: rates.1,
            ..Settings::default()
        }
    }
}

/// A clock's first reading: also one at whose end it would overflow.
fn start() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(7u64), 1 => any::<u64>(), 1 => u64::MAX - 30_000..=u64::MAX]
}

/// What an event came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Admission(Admission),
    Step(Option<Transition>),
}

impl Answer {
    fn transition(self) -> Option<Transition> {
        match self {
            Self::Admission(admission) => admission.transition(),
            Self::Step(transition) => transition,
        }
    }
}

/// When it is after `event`.
fn pass(breaker: &Breaker, now: u64, event: Event) -> u64 {
    match event {
        Event::Pass(time) => now.saturating_add(time),
        Event::PassUntilDue { early, late } => {
            let left = breaker.opens_in(now).unwrap_or(0).saturating_sub(early);
            now.saturating_add(left).saturating_add(late)
        }
        _ => now,
    }
}

fn apply(breaker: &mut Breaker, now: u64, event: Event) -> Answer {
    Answer::Step(match event {
        Event::Pass(_) | Event::PassUntilDue { .. } => None,
        Event::Admit => return Answer::Admission(breaker.admit(now)),
        Event::Record { successes, slow } => breaker.record(now, successes, slow),
        Event::Failed(kind) => breaker.failed(now, kind),
        Event::Probed(outcome) => breaker.probed(now, outcome),
        Event::Abandoned => {
            breaker.probe_abandoned();
            None
        }
        Event::Force(order) => breaker.force(order, now),
    })
}

fn remember(history: &mut History, event: Event) -> Answer {
    Answer::Step(match event {
        Event::Pass(_) | Event::PassUntilDue { .. } => None,
        Event::Admit => return Answer::Admission(history.admit()),
        Event::Record { successes, slow } => {
            let slow = slow.min(successes) as usize;
            let mut outcomes = vec![Outcome::Good; successes as usize];
            outcomes[..slow].fill(Outcome::Slow);
            history.ordinary(&outcomes)
        }
        Event::Failed(_) => history.ordinary(&[Outcome::Bad]),
        Event::Probed(outcome) => history.probed(Some(outcome)),
        Event::Abandoned => history.probed(None),
        Event::Force(order) => history.force(order),
    })
}

/// One event, seen from outside.
#[derive(Debug, Clone, Copy)]
struct Seen {
    now: u64,
    event: Event,
    before: Snapshot,
    answer: Answer,
    after: Snapshot,
}

fn watch(settings: Settings, start: u64, events: Vec<Event>) -> Vec<Seen> {
    let (mut breaker, mut now) = (Breaker::new(settings), start);
    let mut seen = Vec::new();
    for event in events {
        now = pass(&breaker, now, event);
        let before = breaker.snapshot(now);
        let answer = apply(&mut breaker, now, event);
        let after = breaker.snapshot(now);
        seen.push(Seen {
            now,
            event,
            before,
            answer,
            after,
        });
    }
    seen
}

fn first_wait(settings: &Settings) -> u64 {
    millis(settings.recovery_timeout).min(1000)
}

/// Nothing goes through an open circuit before the wait is over, and waits are as the header says.
fn waits(settings: &Settings, seen: &[Seen]) -> Result<(), TestCaseError> {
    let longest = millis(settings.recovery_timeout);
    let first = first_wait(settings);
    let mut closed_until = 0;
    let mut opened = None;
    for one in seen {
        if let (Answer::Admission(admission), true) = (one.answer, one.now < closed_until) {
            prop_assert_eq!(admission, Admission::Refused);
        }
        let Some(transition) = one.answer.transition() else {
            continue;
        };
        prop_assert!(Transition::STEPS.contains(&(transition.to, transition.cause)));
        let loading = matches!(one.event, Event::Probed(Err(Kind::Loading)));
        let wait = match (transition.to, transition.cause) {
            (Position::Open, Cause::Released) => 0,
            (Position::Open, Cause::ProbeFailed) if !loading => {
                let twice = one.before.wait.unwrap().saturating_mul(2);
                twice.max(first).min(longest)
            }
            (Position::Open, _) => first,
            _ => 0,
        };
        if transition.to == Position::Open {
            prop_assert!(wait <= longest);
            let left = wait.min(u64::MAX - one.now);
            prop_assert_eq!(
                (one.after.wait, one.after.next_attempt),
                (Some(wait), Some(left))
            );
        }
        closed_until = one.now.saturating_add(wait);
        // It does not flap faster than the first wait, save at an operator's hands.
        match (transition.from, transition.cause) {
            (_, Cause::Forced | Cause::Released) => opened = None,
            (Position::Closed, _) => {
                let faster = opened.is_some_and(|at| one.now < at + first);
                prop_assert!(!faster, "opened at {:?} and {}", opened, one.now);
                opened = Some(one.now);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Only a probe's success closes, or the end of forced-closed.
fn closings(seen: &[Seen]) -> Result<(), TestCaseError> {
    for one in seen
        .iter()
        .filter(|one| one.after.position == Position::Closed)
    {
        match (one.before.position, one.event) {
            (Position::Closed, _) | (Position::ForcedClosed, Event::Force(None)) => {}
            (Position::HalfOpen, Event::Probed(Ok(()))) => prop_assert!(one.before.probes > 0),
            other => prop_assert!(false, "closed by {:?}", other),
        }
    }
    Ok(())
}

/// At most `half_open_max_calls` probes are out, as their makers count them.
fn probes(settings: &Settings, seen: &[Seen]) -> Result<(), TestCaseError> {
    let mut out = 0u32;
    for one in seen {
        match (one.event, one.answer) {
            (_, Answer::Admission(Admission::Probe(_))) => out += 1,
            (Event::Probed(_) | Event::Abandoned, _) => out = out.saturating_sub(1),
            _ => {}
        }
        prop_assert!(out <= settings.half_open_max_calls);
        prop_assert_eq!(one.after.probes, out);
    }
    Ok(())
}

/// Nothing but an order moves what is forced, and what it lets through has nothing to do with failures.
fn orders(seen: &[Seen]) -> Result<(), TestCaseError> {
    for one in seen {
        let admission = match one.before.position {
            Position::ForcedOpen => Admission::Refused,
            Position::ForcedClosed => Admission::Call,
            _ => continue,
        };
        match one.event {
            Event::Force(_) => continue,
            Event::Admit => prop_assert_eq!(one.answer, Answer::Admission(admission)),
            _ => prop_assert_eq!(one.answer, Answer::Step(None)),
        }
        prop_assert_eq!(one.after.position, one.before.position);
    }
    Ok(())
}

/// What is told of ordinary calls while none goes through is as if it had not been told.
fn late_news(seen: &[Seen]) -> Result<(), TestCaseError> {
    for one in seen {
        let ordinary = matches!(one.event, Event::Record { .. } | Event::Failed(_));
        let passes = matches!(
            one.before.position,
            Position::Closed | Position::ForcedClosed
        );
        if ordinary && !passes {
            prop_assert_eq!(one.before, one.after);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_history_is_answered_as_one_who_remembers_it_would(
        settings in settings(),
        start in start(),
        events in events(),
    ) {
        let mut breaker = Breaker::new(settings.clone());
        let mut history = History::new(settings, start);
        for event in events {
            history.now = pass(&breaker, history.now, event);
            let answer = apply(&mut breaker, history.now, event);
            prop_assert_eq!(answer, remember(&mut history, event), "{:?} in {:?}", event, history);
            let shown = breaker.snapshot(history.now);
            let waits = matches!(history.position(), Position::Open | Position::HalfOpen);
            let open = history.position() == Position::Open;
            prop_assert_eq!(shown.position, history.position());
            prop_assert_eq!(shown.consecutive_failures, history.row);
            prop_assert_eq!(shown.window, history.window());
            prop_assert_eq!(shown.probes, history.outstanding);
            prop_assert_eq!(shown.wait, history.wait().filter(|_| waits));
            let left = history.due().map(|due| due.saturating_sub(history.now));
            prop_assert_eq!(shown.next_attempt, left.filter(|_| open));
        }
    }

    #[test]
    fn any_history_keeps_what_the_header_promises(settings in settings(), events in events()) {
        let seen = watch(settings.clone(), 7, events);
        waits(&settings, &seen)?;
        closings(&seen)?;
        probes(&settings, &seen)?;
        orders(&seen)?;
        late_news(&seen)?;
    }

    #[test]
    fn the_window_has_what_is_younger_than_nine_tenths_of_it_and_nothing_older_than_it(
        window in 10..100_000u64,
        calls in prop::collection::vec((0..20_000u64, 0..1000u32), 1..60),
        later in 0..200_000u64,
    ) {
        let settings = Settings { window: Duration::from_millis(window), ..Settings::default() };
        let (mut breaker, mut now) = (Breaker::new(settings), 0);
        let mut told = Vec::new();
        for (passed, successes) in calls {
            now += passed;
            breaker.record(now, successes, 0);
            told.push((now, u64::from(successes)));
        }
        now += later;
        let since = |age: u64| -> u64 {
            told.iter().filter(|(at, _)| now - at < age).map(|(_, calls)| calls).sum()
        };
        let counted = breaker.snapshot(now).window.calls;
        // A bucket's width is whole milliseconds.
        let bucket = window / 10;
        prop_assert!((since(9 * bucket)..=since(window)).contains(&counted), "{} at {}", counted, now);
    }

    #[test]
    fn the_greatest_numbers_do_no_harm(
        mut events in events(),
        start in prop_oneof![Just(0u64), Just(u64::MAX - 1), Just(u64::MAX)],
        leap in any::<u64>(),
    ) {
        let settings = Settings {
            recovery_timeout: Duration::MAX,
            window: Duration::MAX,
            minimum_calls: u32::MAX,
            failure_threshold: u32::MAX,
            ..Settings::default()
        };
        events.push(Event::Pass(leap));
        for _ in 0..4 {
            events.extend([Event::Record { successes: u32::MAX, slow: u32::MAX }, Event::Failed(Kind::Lost)]);
        }
        for one in watch(settings, start, events) {
            let Counts { calls, failures, slow } = one.after.window;
            prop_assert!(failures <= calls && slow <= calls && failures + slow <= calls);
        }
    }
}
