//! Any history of calls against the state machine of the module's header.

use proptest::prelude::*;

use super::*;

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
    Succeeded,
    Failed,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..5000u64).prop_map(Event::Pass),
        3 => (0..2u64, 0..2u64).prop_map(|(early, late)| Event::PassUntilDue { early, late }),
        6 => Just(Event::Admit),
        1 => Just(Event::Succeeded),
        6 => Just(Event::Failed),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    (1..6u32, 0..20_000u64, 1..4u32).prop_map(|(failure_threshold, longest, calls)| Settings {
        failure_threshold,
        recovery_timeout: Duration::from_millis(longest),
        half_open_max_calls: calls,
    })
}

/// What a caller that remembers everything knows.
#[derive(Debug, Default)]
struct History {
    /// Failures since the last success, while the circuit was closed.
    failures: u32,
    /// Rounds of probes that failed since then.
    rounds: u32,
    /// When the circuit opened last; `None` while it is closed.
    opened: Option<u64>,
    /// Probes admitted since it opened last.
    probes: u32,
}

impl History {
    /// 1 s, twice that after each round, never more than `recovery_timeout`.
    fn due(&self, settings: &Settings) -> Option<u64> {
        let longest = u64::try_from(settings.recovery_timeout.as_millis()).expect("a short time");
        let wait = 1000u64.saturating_mul(1 << self.rounds.min(50));
        self.opened.map(|opened| opened + wait.min(longest))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_history_is_answered_as_the_header_says(settings in settings(), events in prop::collection::vec(event(), 1..120)) {
        let mut breaker = Breaker::new(settings.clone());
        let (mut past, mut now) = (History::default(), 7);
        for event in events {
            match event {
                Event::Pass(time) => now += time,
                Event::PassUntilDue { early, late } => {
                    now = now.max(past.due(&settings).unwrap_or(now).saturating_sub(early)) + late;
                }
                Event::Admit => {
                    let probe = past.due(&settings).map(|due| now >= due && past.probes < settings.half_open_max_calls);
                    prop_assert_eq!(breaker.admit(now), probe.unwrap_or(true), "at {} after {:?}", now, past);
                    past.probes += u32::from(probe == Some(true));
                }
                Event::Succeeded => {
                    breaker.succeeded();
                    past = History::default();
                    prop_assert_eq!(breaker.state(), State::Closed { failures: 0 });
                }
                Event::Failed => {
                    breaker.failed(now);
                    match past.opened {
                        None => {
                            past.failures += 1;
                            if past.failures == settings.failure_threshold {
                                past.opened = Some(now);
                            }
                        }
                        // A call from before the circuit opened, or one whose round has failed already.
                        Some(_) if past.probes == 0 => {}
                        Some(_) => {
                            past.opened = Some(now);
                            past.rounds += 1;
                            past.probes = 0;
                        }
                    }
                }
            }
            let waits = past.due(&settings).filter(|_| past.probes == 0);
            prop_assert_eq!(breaker.opens_in(now), waits.map(|due| due.saturating_sub(now)), "at {} after {:?}", now, past);
            match breaker.state() {
                State::Closed { failures } => {
                    prop_assert!(past.opened.is_none() && failures == past.failures);
                    prop_assert!(failures < settings.failure_threshold);
                }
                State::Open { .. } => prop_assert!(past.opened.is_some() && past.probes == 0),
                State::HalfOpen { probes, .. } => {
                    prop_assert!(probes == past.probes && (1..=settings.half_open_max_calls).contains(&probes));
                }
            }
        }
    }
}
