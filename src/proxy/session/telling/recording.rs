//! Recording what was answered: durations and failures, and operations that are told of.

use super::asks::{Ask, Told};
use super::{Done, Telling};
use crate::telemetry::big_keys::BIG;
use crate::telemetry::durations::{Label, Route};
use crate::telemetry::operation::{Key, Upstream, Why};

impl Telling {
    /// Records what has been answered, by a clock that shows `now` in microseconds.
    #[inline]
    pub(in crate::proxy::session) fn record(&mut self, now: u64) {
        if self.kinds > 0 {
            self.record_done(now);
        }
        if self.taken > 0 {
            self.record_lane(now);
        }
    }

    fn record_done(&mut self, now: u64) {
        for at in 0..std::mem::take(&mut self.kinds) {
            let Done {
                label,
                route,
                began,
                count,
            } = self.done[at];
            let took = now.saturating_sub(began);
            if let Some(recorder) = &self.recorder {
                recorder.record(label, route, took, count);
            }
            if took >= self.slow {
                // One for all that are alike: which of them held the others up is not known.
                let mut operation = self.operation(label, route, began, Told::default());
                (operation.ended, operation.why) = (now, Why::Slow);
                self.telemetry.note(&operation);
            }
        }
        if !self.ending.is_empty() {
            self.tell_ended(now);
        }
    }

    #[cold]
    fn tell_ended(&mut self, now: u64) {
        for mut operation in self.ending.drain(..) {
            operation.ended = now;
            self.telemetry.note(&operation);
        }
    }

    fn record_lane(&mut self, now: u64) {
        if self.notes.is_empty()
            && let Some((label, began)) = self.lane.take_alike(self.taken)
        {
            let took = now.saturating_sub(began);
            let replies = std::mem::take(&mut self.taken);
            if let Some(recorder) = &self.recorder {
                recorder.record(label, Route::Lane, took, replies);
            }
            if took >= self.slow {
                self.tell_of_lane(label, began, None, replies, now);
            }
            self.recorded += replies;
            return;
        }
        self.lane.turn();
        while self.taken > 0 {
            let Some((ask, count)) = self.lane.older.front_mut() else {
                debug_assert!(false, "a reply was taken for which nobody had asked");
                self.recorded += std::mem::take(&mut self.taken);
                break;
            };
            let replies = self.taken.min(*count);
            let took = now.saturating_sub(ask.began);
            if let Some(recorder) = &self.recorder {
                recorder.record(ask.label, Route::Lane, took, replies);
            }
            *count -= replies;
            self.taken -= replies;
            let last = self.recorded + replies;
            let (label, began, told) = (ask.label, ask.began, ask.told.take());
            if *count == 0 {
                self.lane.older.pop_front();
            }
            let noted = self.notes.iter().any(|note| note.ordinal <= last);
            if told.is_some() || took >= self.slow || noted {
                self.tell_of_lane(label, began, told, replies, now);
            }
            self.recorded = last;
        }
        if !self.notes.is_empty() {
            // Of a reply that was taken back.
            self.notes.retain(|note| note.ordinal > self.recorded);
        }
    }

    /// Tells of so many of the lane's replies, the next behind those that are recorded.
    #[cold]
    fn tell_of_lane(
        &mut self,
        label: Label,
        began: u64,
        mut told: Option<Box<Told>>,
        replies: u64,
        now: u64,
    ) {
        let slow = now.saturating_sub(began) >= self.slow;
        for ordinal in self.recorded + 1..=self.recorded + replies {
            let note = self.notes.iter().position(|note| note.ordinal == ordinal);
            let note = note.map(|at| self.notes.swap_remove(at));
            let followed = told.take();
            let drawn = followed.is_some();
            let mut operation =
                self.operation(label, Route::Lane, began, *followed.unwrap_or_default());
            operation.ended = now;
            if let Some(note) = note {
                if note.error.is_some()
                    && let Some(recorder) = &self.recorder
                {
                    recorder.failed(label, Route::Lane);
                }
                if note.bytes >= BIG
                    && let Some(hash) = note.key
                {
                    self.big.push((ordinal, hash, note.bytes, label));
                }
                operation.error = note.error;
                operation.reply_bytes = note.bytes;
                operation.upstream = note.upstream;
                if let (Key::None, Some(hash)) = (&operation.key, note.key) {
                    operation.key = Key::Hash(hash);
                }
            }
            operation.why = match operation.error {
                _ if drawn => Why::Drawn,
                Some(_) => Why::Failed,
                None if slow => Why::Slow,
                None => continue,
            };
            self.telemetry.note(&operation);
        }
    }

    /// An own connection has answered, or never will: with this error, if with one.
    pub(in crate::proxy::session) fn own_ended(
        &mut self,
        ask: Ask,
        now: u64,
        error: Option<Box<str>>,
    ) {
        let took = now.saturating_sub(ask.began);
        if let Some(recorder) = &self.recorder {
            recorder.record(ask.label, Route::Own, took, 1);
            if error.is_some() {
                recorder.failed(ask.label, Route::Own);
            }
        }
        let slow = took >= self.slow && !ask.waits;
        let drawn = ask.told.is_some();
        let why = match &error {
            _ if drawn => Why::Drawn,
            Some(_) => Why::Failed,
            None if slow => Why::Slow,
            None => return,
        };
        let told = *ask.told.unwrap_or_default();
        let mut operation = self.operation(ask.label, Route::Own, ask.began, told);
        (operation.ended, operation.error, operation.why) = (now, error, why);
        if let (Key::None, Some(hash)) = (&operation.key, ask.key) {
            operation.key = Key::Hash(hash);
        }
        operation.upstream = Some(Upstream {
            sent: ask.sent,
            answered: now,
        });
        self.telemetry.note(&operation);
    }
}
