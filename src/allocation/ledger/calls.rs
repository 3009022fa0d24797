//! What is counted of the calls to the ledger: how long its answers took, and why there was none.

use parking_lot::Mutex;

use super::library::Function;
use super::way::Cause;
use crate::telemetry::durations::BOUNDS;
use crate::telemetry::histogram::Histogram;

#[derive(Debug, Clone)]
struct Counted {
    answers: [Option<Histogram>; Function::ALL.len()],
    troubles: [u64; Cause::ALL.len()],
}

/// See the module's header.
#[derive(Debug)]
pub struct Calls(Mutex<Counted>);

impl Default for Calls {
    fn default() -> Self {
        Self(Mutex::new(Counted {
            answers: [const { None }; Function::ALL.len()],
            troubles: [0; Cause::ALL.len()],
        }))
    }
}

impl Calls {
    /// It answered, after so many microseconds.
    pub fn answered(&self, function: Function, us: u64) {
        let answers = &mut self.0.lock().answers[function as usize];
        let histogram = answers.get_or_insert_with(|| Histogram::new(&BOUNDS));
        histogram.record(us);
    }

    /// It did not.
    pub fn failed(&self, cause: Cause) {
        self.0.lock().troubles[cause as usize] += 1;
    }

    /// How long answers took, of each function that was answered.
    #[must_use]
    pub fn answers(&self) -> Vec<(Function, Histogram)> {
        let answers = self.0.lock().answers.clone();
        let each = Function::ALL.into_iter().zip(answers);
        each.filter_map(|(function, histogram)| Some((function, histogram?)))
            .collect()
    }

    /// How often there was none, for each cause.
    #[must_use]
    pub fn troubles(&self) -> Vec<(Cause, u64)> {
        let troubles = self.0.lock().troubles;
        Cause::ALL.into_iter().zip(troubles).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{catalogue, names};

    #[test]
    fn each_has_its_place() {
        for (at, function) in Function::ALL.into_iter().enumerate() {
            assert_eq!(function as usize, at, "{function:?}");
        }
        for (at, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, at, "{cause:?}");
        }
        let row = catalogue::find(names::LEDGER_ERRORS).expect("a row");
        assert_eq!(row.labels[0].values, Cause::ALL.map(Cause::as_str));
        let calls = Calls::default();
        calls.answered(Function::Hello, 7);
        calls.failed(Cause::Timeout);
        let answers = calls.answers();
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0].0, answers[0].1.sum_us()), (Function::Hello, 7));
        assert!(calls.troubles().contains(&(Cause::Timeout, 1)));
    }
}
