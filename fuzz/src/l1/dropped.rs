//! What is dropped, by whom, and what that means for what is kept and for what is on its way.

use std::sync::Arc;

use nearside::l1::settings::Mode;
use nearside::l1::{Cursor, Known};

use super::asked::{KEYS, What};
use super::{Lane, Model, Sent};

impl Model {
    pub fn push(&mut self, lane: usize, key: usize) {
        let before = self.l1.drops();
        self.l1.invalidate(&self.lanes[lane].space, KEYS[key]);
        assert_ne!(self.l1.drops(), before);
        self.lanes[lane].pushes.push(Some(key));
        self.drop_key(key);
        let on_it = self.sent.iter_mut().filter(|sent| sent.lane == lane);
        for sent in on_it {
            // A plain read is L1's to refuse.
            sent.pushed |= sent.held.is_none() && sent.what.keys().contains(&key);
        }
    }

    /// Everything, or all of a lane, is void.
    pub fn void(&mut self, lane: usize, how: u8) {
        match how % 8 {
            6 => return self.freeze(lane),
            7 => {
                self.l1.thaw(&self.lanes[lane].space);
                return self.thaw(lane);
            }
            _ => {}
        }
        let before = self.l1.drops();
        let space = Arc::clone(&self.lanes[lane].space);
        match how % 8 {
            0 => {
                self.l1.flush(&space);
                self.lanes[lane].pushes.push(None);
                self.drop_all();
                let on_it = self.sent.iter_mut().filter(|sent| sent.lane == lane);
                on_it.for_each(|sent| sent.pushed |= sent.held.is_none());
            }
            1 => {
                self.l1.clear();
                self.drop_all();
            }
            2 => {
                self.l1.clear_and_refuse_sent();
                self.refuse_sent();
                self.drop_all();
            }
            3 => {
                self.l1.lane_lost(&space);
                self.lose(lane);
            }
            4 => {
                self.l1.remove_space(&space);
                self.lose(lane);
                self.lanes[lane] = Lane::new(self.l1.add_space());
            }
            _ => {
                self.l1.clear_space(&space);
                self.drop_lane(lane);
            }
        }
        assert_ne!(self.l1.drops(), before);
    }

    /// The lane is lost: what it holds may be kept for stale service.
    fn freeze(&mut self, lane: usize) {
        let known = self.closed == 0 && self.writes_of_any == 0;
        let Lane {
            space,
            proof,
            frozen,
            tracked,
            ..
        } = &mut self.lanes[lane];
        self.l1.freeze(space);
        if frozen.is_some() {
            return;
        }
        if proof.is_none() || !known || self.holds != Mode::On || !*tracked {
            return self.lose(lane);
        }
        *frozen = proof.take();
        self.lanes[lane].pushes.push(None);
        self.sent.retain(|sent| sent.lane != lane);
    }

    /// What is frozen of a lane is dropped.
    pub fn thaw(&mut self, lane: usize) {
        if self.lanes[lane].frozen.is_some() {
            self.lose(lane);
        }
    }

    pub fn lose(&mut self, lane: usize) {
        self.lanes[lane].proof = None;
        self.lanes[lane].frozen = None;
        self.lanes[lane].pushes.push(None);
        self.drop_lane(lane);
        self.sent.retain(|sent| sent.lane != lane);
    }

    pub fn begin_write(&mut self, key: usize, how: u8) {
        match how % 4 {
            0 => {
                self.l1.begin_write_of_any();
                self.writes_of_any += 1;
                self.drop_all();
                return;
            }
            1 => self.l1.begin_write_of(self.hash(key)),
            _ => self.l1.begin_write(self.hash(key), KEYS[key]),
        }
        self.writes[key] += 1;
        self.drop_key(key);
    }

    pub fn end_write(&mut self, key: usize, how: u8) {
        if how.is_multiple_of(4) && self.writes_of_any > 0 {
            self.l1.end_write_of_any();
            self.writes_of_any -= 1;
        } else if self.writes[key] > 0 {
            self.l1.end_write(self.hash(key));
            self.writes[key] -= 1;
        }
    }

    pub fn drop_by_hand(&mut self, key: usize, how: u8) {
        match how % 8 {
            0 => {
                let (held, _) = self.l1.size();
                assert_eq!(self.l1.clear_by_hand(), held as u64);
                self.refuse_sent();
                self.drop_all();
            }
            1 => self.drop_by_pattern(key),
            2 => {
                // More than is remembered: what was sent before may be refused.
                for _ in 0..1030 {
                    self.l1.drop_by_hand(b"elsewhere");
                }
                self.sent.iter_mut().for_each(|sent| sent.doubtful = true);
            }
            _ => {
                let before = self.l1.drops();
                self.l1.drop_by_hand(KEYS[key]);
                assert_ne!(self.l1.drops(), before);
                let named = |sent: &&mut Sent| sent.what.keys().contains(&key);
                let sent = self.sent.iter_mut().filter(named);
                sent.for_each(|sent| sent.void = true);
                self.drop_key(key);
            }
        }
    }

    /// Drops all that a walk finds of a key, and of those before it.
    pub fn drop_by_pattern(&mut self, last: usize) {
        self.l1.begin_drop_by_pattern();
        self.refuse_sent();
        let (mut walk, mut named) = (Cursor::default(), Vec::new());
        while let Some(known) = self.l1.walk(&mut walk) {
            named.extend(known);
        }
        let kept: Vec<What> = self.kept.keys().map(|&(_, what)| what).collect();
        for what in &kept {
            let known = match what {
                What::Value(key) => Known::Value(KEYS[*key].to_vec()),
                _ => Known::Reply(what.request()),
            };
            assert!(
                self.evicted || named.contains(&known),
                "the walk misses {what:?}"
            );
        }
        for (key, name) in KEYS.into_iter().enumerate().take(last + 1) {
            self.l1.drop_named(name);
            self.drop_key(key);
        }
    }

    pub fn refuse_sent(&mut self) {
        self.sent.iter_mut().for_each(|sent| sent.void = true);
    }

    pub fn drop_key(&mut self, key: usize) {
        self.kept.retain(|(_, what), _| what.keys()[0] != key);
        for ((_, what), kept) in &mut self.kept {
            kept.untrue |= what.keys().contains(&key);
        }
        for sent in &mut self.sent {
            sent.void |= sent.held.is_some() && sent.what.keys()[0] == key;
        }
    }

    pub fn drop_all(&mut self) {
        self.kept.clear();
        self.evicted = false;
        for sent in &mut self.sent {
            sent.void |= sent.held.is_some();
        }
    }

    pub fn drop_lane(&mut self, lane: usize) {
        self.kept.retain(|&(of, _), _| of != lane);
        for sent in &mut self.sent {
            sent.void |= sent.held.is_some() && sent.lane == lane;
            sent.doubtful = true;
        }
    }
}
