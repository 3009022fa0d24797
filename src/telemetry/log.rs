//! The log: on standard error, a line for each event, as text or as JSON. Lines that are repeated are limited: of one place
//! in the code the first 10 in 10 s are written, the others are counted, and how many there were is said with the
//! first line that is written after the period. A client that fails a thousand times a second fills no disk, and what
//! happened once is always there.
//!
//! The limiter has a mutex, held while a line is looked at and written, which no data path waits for: nothing is logged for
//! each command.

use std::collections::HashMap;
use std::fmt;

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::clock::now_ms;
use super::settings::{LogFormat, Settings};

/// Lines of one place in the code that are written in a period.
const FIRST: u64 = 10;
/// How long a period is, in milliseconds.
const PERIOD: u64 = 10_000;

/// Starts the log on standard error. A second call changes nothing.
pub fn start(settings: &Settings) {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(Level::from(settings.log_level))
        .with_target(false);
    // Fails only where a log has been started before.
    let _ = match settings.log {
        LogFormat::Text => {
            let limited = |format| Limited::new(format, LogFormat::Text);
            let builder = builder.with_ansi(false).map_event_format(limited);
            builder.try_init()
        }
        LogFormat::Json => {
            let limited = |format| Limited::new(format, LogFormat::Json);
            builder.json().map_event_format(limited).try_init()
        }
    };
}

/// Lines of one place.
#[derive(Debug)]
struct Place {
    /// When its period began, in milliseconds.
    since: u64,
    written: u64,
    left_out: u64,
    level: Level,
    /// What the first line said that was left out.
    message: String,
}

/// Which lines are written. There are as many places as the code has, and no more.
#[derive(Debug, Default)]
struct Limiter(HashMap<Identifier, Place>);

impl Limiter {
    /// Whether a line of a place is written at `now`; `message` is asked what it says where that is needed.
    fn admits(
        &mut self,
        place: Identifier,
        level: Level,
        now: u64,
        message: impl FnOnce() -> String,
    ) -> bool {
        let place = self.0.entry(place).or_insert(Place {
            since: now,
            written: 0,
            left_out: 0,
            level,
            message: String::new(),
        });
        if now.saturating_sub(place.since) >= PERIOD && place.left_out == 0 {
            (place.since, place.written) = (now, 0);
        }
        if place.written < FIRST {
            place.written += 1;
            return true;
        }
        if place.left_out == 0 {
            place.message = message();
        }
        place.left_out += 1;
        false
    }

    /// Those whose period is over and of which lines were left out: the level, what they said and how many.
    fn take_ended(&mut self, now: u64) -> Vec<(Level, String, u64)> {
        let ended =
            |place: &&mut Place| place.left_out > 0 && now.saturating_sub(place.since) >= PERIOD;
        let ended = self.0.values_mut().filter(ended).map(|place| {
            (place.since, place.written) = (now, 0);
            let message = std::mem::take(&mut place.message);
            (place.level, message, std::mem::take(&mut place.left_out))
        });
        ended.collect()
    }
}

/// What writes lines, without those that are too many.
struct Limited<F> {
    format: F,
    form: LogFormat,
    limiter: Mutex<Limiter>,
}

impl<F> Limited<F> {
    fn new(format: F, form: LogFormat) -> Self {
        Self {
            format,
            form,
            limiter: Mutex::default(),
        }
    }

    /// One line on those that were left out.
    fn tell(&self, to: &mut Writer<'_>, level: Level, said: &str, count: u64) -> fmt::Result {
        let text = "lines like this were left out";
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        match self.form {
            LogFormat::Text => writeln!(
                to,
                "{time} {level:>5} {text} line={said:?} suppressed={count}"
            ),
            LogFormat::Json => {
                let fields =
                    serde_json::json!({"message": text, "line": said, "suppressed": count});
                let line = serde_json::json!({"timestamp": time, "level": level.to_string(), "fields": fields});
                writeln!(to, "{line}")
            }
        }
    }
}

impl<S, N, F> FormatEvent<S, N> for Limited<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (now, of) = (now_ms(), event.metadata());
        let mut limiter = self.limiter.lock();
        let ended = limiter.take_ended(now);
        let message = || {
            let mut said = Said::default();
            event.record(&mut said);
            said.0
        };
        let admitted = limiter.admits(of.callsite(), *of.level(), now, message);
        drop(limiter);
        for (level, said, count) in ended {
            self.tell(&mut to, level, &said, count)?;
        }
        if admitted {
            self.format.format_event(context, to, event)
        } else {
            Ok(())
        }
    }
}

/// An event's message.
#[derive(Default)]
struct Said(String);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places in the code.
    fn places() -> [Identifier; 2] {
        use tracing::metadata::Kind;
        struct Here(u8);
        impl tracing::Callsite for Here {
            fn set_interest(&self, _: tracing::subscriber::Interest) {}
            fn metadata(&self) -> &tracing::Metadata<'_> {
                unreachable!("only its address counts, {} and {:?}", self.0, Kind::EVENT)
            }
        }
        static PLACES: [Here; 2] = [Here(0), Here(1)];
        [Identifier(&PLACES[0]), Identifier(&PLACES[1])]
    }

    #[test]
    fn the_first_of_a_period_are_written_and_the_rest_is_counted() {
        let [here, there] = places();
        let mut limiter = Limiter::default();
        let at = |limiter: &mut Limiter, place: &Identifier, now| {
            limiter.admits(place.clone(), Level::WARN, now, || "told".into())
        };
        let written = (0..100)
            .filter(|&n| at(&mut limiter, &here, 1000 + n))
            .count();
        assert_eq!(written as u64, FIRST);
        assert!(at(&mut limiter, &there, 1100), "another place has its own");
        assert!(limiter.take_ended(1000 + PERIOD - 1).is_empty());
        let told = limiter.take_ended(1000 + PERIOD);
        assert_eq!(told, [(Level::WARN, "told".to_owned(), 100 - FIRST)]);
        assert!(limiter.take_ended(1000 + PERIOD).is_empty(), "said once");
        assert!(at(&mut limiter, &here, 1000 + PERIOD), "a new period");
        // One now and then is never left out.
        let mut limiter = Limiter::default();
        let seldom = (0..100).all(|n| at(&mut limiter, &there, n * (PERIOD / FIRST + 1)));
        assert!(seldom);
    }
}
