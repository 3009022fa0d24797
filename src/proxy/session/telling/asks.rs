//! Commands that were asked of somebody and are not answered yet.

use std::collections::VecDeque;

use crate::telemetry::durations::Label;
use crate::telemetry::operation::{Context, Key};

/// A command that somebody was asked.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Ask {
    pub(super) label: Label,
    /// When it was read from the client, in microseconds of the boot clock.
    pub(super) began: u64,
    /// When it was handed to an own connection, in microseconds of the boot clock.
    pub(super) sent: u64,
    /// Hash of its (first) key, where an own connection is asked and it has one.
    pub(in crate::proxy) key: Option<u64>,
    /// It may wait for something to happen, and is not slow for that.
    pub(in crate::proxy) waits: bool,
    pub(super) told: Option<Box<Told>>,
}

/// What is kept of a command that will be told of.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) key: Key,
    pub(super) keyspace: Option<u8>,
    pub(super) context: Option<Context>,
}

/// Commands that wait for their replies, in order, like ones together.
#[derive(Debug, Default)]
pub(super) struct Asks {
    pub(super) older: VecDeque<(Ask, u64)>,
    /// The newest that are alike, of which nobody is told; none where it is 0.
    newest: (Label, u64, u64),
}

impl Asks {
    #[inline]
    pub(super) fn push(&mut self, label: Label, began: u64) {
        if self.newest.0 != label || self.newest.1 != began {
            self.turn();
            (self.newest.0, self.newest.1) = (label, began);
        }
        self.newest.2 += 1;
    }

    /// One that is told of, whatever becomes of it.
    pub(super) fn push_told(&mut self, ask: Ask) {
        self.turn();
        self.older.push_back((ask, 1));
    }

    /// What comes next is not like the newest.
    pub(super) fn turn(&mut self) {
        let (label, began, count) = &mut self.newest;
        if *count > 0 {
            let ask = Ask {
                label: *label,
                began: *began,
                ..Ask::default()
            };
            self.older.push_back((ask, std::mem::take(count)));
        }
    }

    /// The newest, back.
    pub(super) fn pop_newest(&mut self) -> Option<Ask> {
        self.turn();
        let (last, count) = self.older.back_mut()?;
        if *count > 1 {
            *count -= 1;
            return Some(Ask {
                label: last.label,
                began: last.began,
                ..Ask::default()
            });
        }
        self.older.pop_back().map(|(ask, _)| ask)
    }

    /// The oldest, if all of them are alike, and so many of them are taken out.
    #[inline]
    pub(super) fn take_alike(&mut self, replies: u64) -> Option<(Label, u64)> {
        if !self.older.is_empty() || self.newest.2 < replies {
            return None;
        }
        self.newest.2 -= replies;
        Some((self.newest.0, self.newest.1))
    }
}
