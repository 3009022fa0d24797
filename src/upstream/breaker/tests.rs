//! One walk along each arrow of the header's picture.

use std::time::Duration;

use super::*;

fn breaker(adjust: impl FnOnce(&mut Settings)) -> Breaker {
    let mut settings = Settings::default();
    adjust(&mut settings);
    Breaker::new(settings)
}

/// Opened at `now` by failures in a row.
fn opened(now: u64, adjust: impl FnOnce(&mut Settings)) -> Breaker {
    let mut breaker = breaker(adjust);
    let threshold = breaker.settings().failure_threshold;
    for _ in 0..threshold {
        breaker.failed(now, Kind::Connect);
    }
    assert_eq!(breaker.position(), Position::Open);
    breaker
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it is what every call answers with"
)]
fn step(from: Position, to: Position, cause: Cause, at: u64) -> Option<Transition> {
    Some(Transition {
        from,
        to,
        cause,
        at,
    })
}

#[test]
fn it_opens_at_the_threshold_and_doubles_up_to_the_bound() {
    let mut breaker = breaker(|settings| settings.recovery_timeout = Duration::from_secs(3));
    for _ in 0..4 {
        assert_eq!(breaker.failed(0, Kind::Connect), None);
        assert_eq!(breaker.admit(0), Admission::Call);
    }
    assert_eq!(
        breaker.failed(0, Kind::Connect),
        step(
            Position::Closed,
            Position::Open,
            Cause::ConsecutiveFailures,
            0
        )
    );
    assert_eq!(breaker.admit(999), Admission::Refused);
    let half = step(Position::Open, Position::HalfOpen, Cause::WaitOver, 1000);
    assert_eq!(breaker.admit(1000), Admission::Probe(half));
    assert_eq!(
        breaker.admit(1000),
        Admission::Refused,
        "one probe at a time"
    );
    assert_eq!(
        breaker.probed(1000, Err(Kind::Timeout)),
        step(Position::HalfOpen, Position::Open, Cause::ProbeFailed, 1000)
    );
    assert_eq!(breaker.admit(2999), Admission::Refused);
    assert!(breaker.admit(3000).is_probe());
    breaker.probed(3000, Err(Kind::Lost));
    assert_eq!(
        breaker.opens_in(3000),
        Some(3000),
        "never longer than recovery_timeout"
    );
    assert!(breaker.admit(6000).is_probe());
    assert_eq!(
        breaker.probed(6000, Ok(())),
        step(
            Position::HalfOpen,
            Position::Closed,
            Cause::ProbeSucceeded,
            6000
        )
    );
    assert_eq!(breaker.admit(6000), Admission::Call);
    assert_eq!(breaker.snapshot(6000).consecutive_failures, 0);
}

#[test]
fn a_success_ends_the_row() {
    let mut breaker = breaker(|_| {});
    for now in 0..9 {
        assert_eq!(breaker.failed(now, Kind::Lost), None);
        if now % 4 == 3 {
            breaker.record(now, 1, 0);
        }
    }
    assert_eq!(breaker.snapshot(9).consecutive_failures, 1);
}

#[test]
fn half_of_the_windows_calls_open_it_be_the_last_one_good_or_bad() {
    for last_is_good in [false, true] {
        let mut breaker = breaker(|_| {});
        for now in 0..9 {
            assert_eq!(breaker.failed(now, Kind::Timeout), None);
            assert_eq!(breaker.record(now, 1, 0), None);
        }
        let open = if last_is_good {
            assert_eq!(breaker.failed(9, Kind::Timeout), None, "19 calls");
            breaker.record(9, 1, 0)
        } else {
            assert_eq!(breaker.record(9, 1, 0), None, "19 calls");
            breaker.failed(9, Kind::Timeout)
        };
        assert_eq!(
            open,
            step(Position::Closed, Position::Open, Cause::FailureRate, 9)
        );
    }
}

#[test]
fn what_failed_before_the_window_does_not_count() {
    let mut breaker = breaker(|settings| settings.minimum_calls = 21);
    let mut now = 0;
    for _ in 0..100 {
        breaker.record(now, 1, 0);
        assert_eq!(breaker.failed(now, Kind::Lost), None, "at {now}");
        now += 1000;
    }
    assert_eq!(breaker.snapshot(now).window.calls, 18);
    assert_eq!(breaker.snapshot(now + 10_000).window, Counts::default());
}

#[test]
fn slow_calls_open_it_only_where_a_duration_is_set() {
    for slow_call_duration in [None, Some(Duration::from_millis(100))] {
        let mut breaker = breaker(|settings| settings.slow_call_duration = slow_call_duration);
        assert_eq!(breaker.record(5, 19, 19), None);
        let open = step(Position::Closed, Position::Open, Cause::SlowCalls, 5);
        assert_eq!(
            breaker.record(5, 1, 0),
            open.filter(|_| slow_call_duration.is_some())
        );
    }
}

#[test]
fn a_server_that_loads_is_probed_every_second() {
    let mut breaker = opened(0, |_| {});
    for now in [1000, 3000] {
        assert!(breaker.admit(now).is_probe());
        breaker.probed(now, Err(Kind::Connect));
    }
    assert_eq!(breaker.opens_in(3000), Some(4000));
    for now in (7000..20_000).step_by(1000) {
        assert!(breaker.admit(now).is_probe(), "at {now}");
        breaker.probed(now, Err(Kind::Loading));
        assert_eq!(breaker.opens_in(now), Some(1000));
    }
    assert!(breaker.admit(20_000).is_probe());
    breaker.probed(20_000, Err(Kind::Connect));
    assert_eq!(
        breaker.opens_in(20_000),
        Some(2000),
        "it doubles from there"
    );
}

#[test]
fn late_news_of_ordinary_calls_neither_close_nor_open() {
    let mut breaker = opened(0, |_| {});
    let open = breaker.snapshot(0);
    assert_eq!(breaker.record(0, 100, 0), None);
    assert_eq!(breaker.failed(0, Kind::Lost), None);
    assert_eq!(breaker.snapshot(0), open);
    assert!(breaker.admit(1000).is_probe());
    let half = breaker.snapshot(1000);
    assert_eq!(breaker.record(1000, 100, 0), None);
    assert_eq!(breaker.failed(1000, Kind::Lost), None);
    assert_eq!(breaker.snapshot(1000), half);
}

#[test]
fn probes_of_an_earlier_round_take_up_room_and_decide_nothing_while_open() {
    let mut breaker = opened(0, |settings| settings.half_open_max_calls = 2);
    assert!(breaker.admit(1000).is_probe());
    assert!(breaker.admit(1000).is_probe());
    breaker.probed(1000, Err(Kind::Connect));
    assert_eq!(breaker.snapshot(1000).probes, 1);
    assert_eq!(
        breaker.probed(1001, Ok(())),
        None,
        "the round is lost already"
    );
    assert_eq!(breaker.opens_in(1001), Some(1999));
    assert_eq!(breaker.probed(3000, Ok(())), None, "there is none");
    assert_eq!(breaker.position(), Position::Open);
}

#[test]
fn an_abandoned_probe_makes_room_for_the_next() {
    let mut breaker = opened(0, |_| {});
    assert!(breaker.admit(1000).is_probe());
    breaker.probe_abandoned();
    assert_eq!(breaker.position(), Position::HalfOpen);
    assert_eq!(breaker.admit(1000), Admission::Probe(None));
    assert!(breaker.probed(1000, Ok(())).is_some());
}

#[test]
fn an_attempts_outcome_goes_where_its_admission_says() {
    let mut breaker = breaker(|settings| settings.failure_threshold = 1);
    let call = breaker.admit(0);
    assert!(breaker.attempted(0, call, Err(Kind::Connect)).is_some());
    assert_eq!(breaker.attempted(0, call, Ok(())), None);
    let refused = breaker.admit(0);
    assert_eq!(breaker.attempted(0, refused, Ok(())), None);
    let probe = breaker.admit(1000);
    assert_eq!(breaker.attempted(1000, call, Ok(())), None);
    assert_eq!(breaker.position(), Position::HalfOpen);
    assert!(breaker.attempted(1000, probe, Ok(())).is_some());
    assert!(breaker.is_closed());
}

#[test]
fn forced_open_ends_with_a_probe_at_once() {
    let mut breaker = breaker(|_| {});
    assert_eq!(
        breaker.force(Some(Forced::Open), 5),
        step(Position::Closed, Position::ForcedOpen, Cause::Forced, 5)
    );
    assert_eq!(breaker.force(Some(Forced::Open), 6), None);
    assert_eq!(breaker.admit(u64::MAX), Admission::Refused);
    assert_eq!(breaker.opens_in(6), None);
    assert_eq!(
        breaker.force(None, 7),
        step(Position::ForcedOpen, Position::Open, Cause::Released, 7)
    );
    assert_eq!(breaker.opens_in(7), Some(0));
    assert!(breaker.admit(7).is_probe());
    breaker.probed(7, Err(Kind::Connect));
    assert_eq!(breaker.opens_in(7), Some(1000), "the first wait");
}

#[test]
fn forced_closed_counts_and_ends_with_clean_counts() {
    let mut breaker = opened(0, |_| {});
    assert_eq!(
        breaker.force(Some(Forced::Closed), 0),
        step(Position::Open, Position::ForcedClosed, Cause::Forced, 0)
    );
    for _ in 0..100 {
        assert_eq!(breaker.failed(0, Kind::Connect), None);
        assert_eq!(breaker.admit(0), Admission::Call);
    }
    assert_eq!(breaker.snapshot(0).window.failures, 105);
    assert_eq!(
        breaker.force(None, 0),
        step(Position::ForcedClosed, Position::Closed, Cause::Released, 0)
    );
    assert_eq!(breaker.snapshot(0).window, Counts::default());
    assert_eq!(breaker.failed(0, Kind::Connect), None);
    assert_eq!(breaker.force(None, 0), None);
}

#[test]
fn an_operators_page() {
    let mut breaker = opened(40, |_| {});
    let snapshot = breaker.snapshot(100);
    assert_eq!(
        snapshot,
        Snapshot {
            position: Position::Open,
            consecutive_failures: 5,
            window: Counts {
                calls: 5,
                failures: 5,
                slow: 0
            },
            probes: 0,
            wait: Some(1000),
            next_attempt: Some(940),
            last_failure: Some(Kind::Connect),
            last: step(
                Position::Closed,
                Position::Open,
                Cause::ConsecutiveFailures,
                40
            ),
        }
    );
    assert!(breaker.admit(1040).is_probe());
    breaker.probed(1040, Err(Kind::Timeout));
    let snapshot = breaker.snapshot(1040);
    assert_eq!(
        (snapshot.consecutive_failures, snapshot.last_failure),
        (6, Some(Kind::Timeout))
    );
}

#[test]
fn settings_that_make_no_sense_do_no_harm() {
    let mut breaker = breaker(|settings| {
        settings.failure_threshold = 0;
        settings.half_open_max_calls = 0;
        settings.failure_rate = 0;
        settings.minimum_calls = 0;
        settings.window = Duration::ZERO;
        settings.recovery_timeout = Duration::MAX;
    });
    assert_eq!(breaker.record(1, 1, 0), None);
    assert!(breaker.failed(1, Kind::Lost).is_some());
    assert!(breaker.admit(1001).is_probe());
    assert!(breaker.probed(1001, Ok(())).is_some());
}

#[test]
fn names_are_unlike_each_other() {
    let mut names: Vec<&str> = Position::ALL.map(Position::as_str).to_vec();
    names.extend(Cause::ALL.map(Cause::as_str));
    names.extend(Kind::ALL.map(Kind::as_str));
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
