//! L1 against a model that says what it may serve: nothing that was dropped since it was put in, nothing that was to be
//! refused when it was, nothing past its deadline, and only while it serves at all, or stale as of the time when its lane was
//! lost; and that it holds no more than it may
//! and accounts for what it holds.
//!
//! The input is a list of operations, such as sessions, the readers of two lanes, and an operator carry out. L1 may know
//! less than the model where keys share a stripe, and where it has evicted; it may never know more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nearside::l1::keyspace::Missed;
use nearside::l1::settings::Mode;
use nearside::l1::{Bar, Cursor, End, Epoch, Fill, Held, L1, Lookup, Space};
use nearside::resp::downgrade::Shape;

use self::asked::{KEYS, LONGEST, STALENESS, What, deadline, family, keyspace, settings};

mod asked;
mod dropped;

const MODES: [Mode; 3] = [Mode::On, Mode::Off, Mode::Shadow];

/// What was put in last.
#[derive(Debug)]
struct Kept {
    reply: Vec<u8>,
    deadline: u64,
    /// A further key of it was dropped: it is held, and true no more.
    untrue: bool,
}

/// A read whose reply has not come yet.
#[derive(Debug)]
struct Sent {
    lane: usize,
    what: What,
    reply: Vec<u8>,
    at: u64,
    epoch: Epoch,
    /// It is a plain read, of a key that is held until this time at most.
    held: Option<(Held, u64)>,
    /// A push has named one of its keys, so that the lane's reader puts it in no more.
    pushed: bool,
    /// L1 must refuse it.
    void: bool,
    /// L1 may refuse it.
    doubtful: bool,
}

/// One lane's part.
struct Lane {
    space: Arc<Space>,
    proof: Option<u64>,
    /// It is lost, and what it holds is frozen as of then.
    frozen: Option<u64>,
    tracked: bool,
    /// What pushes have named, `None` for all keys.
    pushes: Vec<Option<usize>>,
}

struct Model {
    l1: L1,
    max_bytes: usize,
    /// What a reply counts for beside what a value does.
    family: usize,
    now: u64,
    lanes: [Lane; 2],
    kept: HashMap<(usize, What), Kept>,
    sent: Vec<Sent>,
    writes: [u32; KEYS.len()],
    writes_of_any: u32,
    closed: u32,
    asked: Mode,
    holds: Mode,
    mute: u32,
    announcing: u32,
    /// There were evictions since all was empty: what is kept may be gone.
    evicted: bool,
    evictions: u64,
    puts: u64,
}

/// Any operations leave L1 within what the model allows.
///
/// # Panics
/// They do not.
pub fn check(input: &[u8]) {
    let Some((&config, operations)) = input.split_first() else {
        return;
    };
    let mut model = Model::new(config);
    for operation in operations.chunks_exact(3) {
        let [op, a, b] = [operation[0], operation[1], operation[2]];
        model.step(op % 32, a, b);
        model.agree();
    }
    model.finish();
}

impl Model {
    fn new(config: u8) -> Self {
        let max_bytes = [300, 900, 3000, 16 << 20][usize::from(config % 4)];
        let mode = MODES[usize::from(config / 4 % 3)];
        let l1 = L1::new(settings(max_bytes, mode), 1 + usize::from(config >= 128));
        let lanes = [(); 2].map(|()| Lane::new(l1.add_space()));
        Self {
            l1,
            max_bytes,
            family: family(),
            now: 1000,
            lanes,
            kept: HashMap::new(),
            sent: Vec::new(),
            writes: [0; KEYS.len()],
            writes_of_any: 0,
            closed: 0,
            asked: mode,
            holds: mode,
            mute: 0,
            announcing: 0,
            evicted: false,
            evictions: 0,
            puts: 0,
        }
    }

    fn hash(&self, key: usize) -> u64 {
        self.l1.hash(KEYS[key])
    }

    fn step(&mut self, op: u8, a: u8, b: u8) {
        let key = usize::from(a) % KEYS.len();
        let lane = usize::from(b) % 2;
        match op {
            0..=5 => self.send(lane, What::of(a), b / 2),
            6..=11 => self.receive(a, b),
            12..=15 => self.read(lane, What::of(a)),
            16 | 17 => self.push(lane, key),
            18 => self.void(lane, a),
            19 | 20 => self.begin_write(key, b),
            21 | 22 => self.end_write(key, b),
            23 => self.drop_by_hand(key, b),
            24 => self.switch(a),
            25 => self.sessions(a),
            26 => self.sample(a),
            27 => match a % 2 {
                0 => {
                    self.l1.close();
                    self.closed += 1;
                    for lane in 0..2 {
                        self.thaw(lane);
                    }
                }
                _ if self.closed > 0 => {
                    self.l1.open(1);
                    self.closed -= 1;
                }
                _ => {}
            },
            28 => {
                let tracked = !a.is_multiple_of(4);
                self.lanes[lane].tracked = tracked;
                self.lanes[lane].space.set_tracked(tracked);
            }
            29 => self.look_at_pushes(lane, key, a),
            // Nothing is answered on a lane that is lost.
            30 if self.lanes[lane].frozen.is_some() => {}
            30 => {
                self.lanes[lane].space.prove(self.now);
                self.lanes[lane].proof = Some(self.now);
            }
            _ => self.now += u64::from(a % 32),
        }
    }

    /// A read that missed is sent where L1 wants it put in, or one behind a write.
    fn send(&mut self, lane: usize, what: What, kind: u8) {
        let keys = what.keys();
        let policy = self.l1.keyspaces().of(KEYS[keys[0]]);
        let policy = self.l1.keyspaces().policy(policy);
        let space = Arc::clone(&self.lanes[lane].space);
        let bar = self.l1.bar(&space, self.hash(keys[0]), policy);
        let mut admitted = false;
        what.read(&self.l1, &what.request(), |read| {
            admitted = self.l1.admits(&space, &read, policy);
        });
        assert_eq!(admitted, bar.is_none(), "{bar:?}");
        assert!(!admitted || self.holds != Mode::Off && self.lanes[lane].tracked);
        assert!(!admitted || self.writes[keys[0]] == 0);
        // Behind a write it is read whatever L1 wants, and L1 may be warming up.
        let through = kind % 8 == 7 && matches!(what, What::Value(_)) && self.lanes[lane].tracked;
        if !admitted && !through {
            return;
        }
        let mut held = None;
        if keys.len() == 1 && !through {
            held = self
                .l1
                .held(&space, self.hash(keys[0]), KEYS[keys[0]], self.now);
        }
        let held = held.map(|held| {
            let of_key = self.kept.iter().filter(|((of, what), kept)| {
                *of == lane && what.keys()[0] == keys[0] && kept.deadline > self.now
            });
            let until = of_key.map(|(_, kept)| kept.deadline).max();
            (held, until.expect("the server tracks no such key"))
        });
        self.puts += 1;
        let nothing = kind.is_multiple_of(4);
        let text = "x".repeat([1, 60, 250, 800][usize::from(kind / 4 % 4)]);
        let text = format!("{}{text}", self.puts);
        let reply = match what {
            What::Union(_) if nothing => "~0\r\n".to_owned(),
            What::Union(_) => format!("~1\r\n${}\r\n{text}\r\n", text.len()),
            _ if nothing => "_\r\n".to_owned(),
            _ => format!("${}\r\n{text}\r\n", text.len()),
        };
        self.sent.push(Sent {
            lane,
            what,
            reply: reply.into_bytes(),
            at: self.now,
            epoch: self.l1.epoch(),
            held,
            pushed: false,
            void: false,
            doubtful: false,
        });
    }

    /// The replies to a read have come, with these times to live.
    fn receive(&mut self, a: u8, b: u8) {
        if self.sent.is_empty() {
            return;
        }
        let at = usize::from(a) % self.sent.len();
        if self.lanes[self.sent[at].lane].frozen.is_some() {
            return;
        }
        let sent = self.sent.remove(at);
        if sent.pushed {
            return;
        }
        let keys = sent.what.keys();
        let ttls = [b % 8, b / 8 % 8].map(|n| [-1, -1, -1, -2, 0, 9, 100, -3][usize::from(n)]);
        let ttls = &ttls[..keys.len()];
        let hashes: Vec<u64> = keys.iter().map(|&key| self.hash(key)).collect();
        let deadline = deadline(&sent, ttls);
        let fitting = sent.reply.len() <= LONGEST[keyspace(keys[0])];
        let written = keys.iter().any(|&key| self.writes[key] > 0) || self.writes_of_any > 0;
        let sampled = self.l1.samples(hashes[0]);
        let may = deadline.is_some() && fitting && sampled && !written && !sent.void;
        let weight = sent.what.weight(sent.reply.len(), self.family);
        // What shares a stripe with a write in flight is refused with it.
        let shares = hashes.iter().any(|&hash| self.l1.write_in_flight(hash));
        let must =
            may && weight <= self.max_bytes && !shares && !sent.doubtful && sent.held.is_none();
        let space = Arc::clone(&self.lanes[sent.lane].space);
        let (mut put, mut there) = (false, None);
        sent.what.read(&self.l1, &sent.what.request(), |read| {
            let fill = Fill {
                read,
                keys: &hashes,
                reply: &sent.reply,
                shape: Shape::Generic,
                sent: sent.at,
                end: sent
                    .held
                    .map_or(End::Ttls(ttls), |(held, _)| End::Held(held)),
                epoch: sent.epoch,
                keyspace: self.l1.keyspaces().of(KEYS[keys[0]]),
            };
            put = self.l1.fill(&space, &fill);
            match self.l1.get(&space, &read, self.now, None, &mut Vec::new()) {
                Lookup::Hit { until, .. } => there = Some(until),
                Lookup::Miss(_) => {}
            }
        });
        assert!(may || !put, "it was to be refused: {sent:?} {ttls:?}");
        assert!(put || !must, "refused for no reason: {sent:?} {ttls:?}");
        if put {
            let latest = deadline.expect("seen above");
            match (there, sent.held) {
                (Some(until), None) => assert_eq!(until, latest),
                (Some(until), Some(_)) => assert!(until <= latest),
                // What shares a stripe with one of its keys ends it.
                (None, None) => assert!(latest <= self.now || keys.len() > 1),
                (None, Some(_)) => {}
            }
            let kept = Kept {
                reply: sent.reply,
                deadline: there.unwrap_or_default(),
                untrue: false,
            };
            self.kept.insert((sent.lane, sent.what), kept);
        }
        if there.is_none() {
            self.kept.remove(&(sent.lane, sent.what));
        }
        self.note_evictions();
    }

    fn note_evictions(&mut self) {
        let evictions = self.l1.counters.evictions.load(Ordering::Relaxed);
        self.evicted |= evictions > self.evictions;
        self.evictions = evictions;
        // Nothing is held, so nothing of what is kept here may be gone unnoticed.
        if self.kept.is_empty() {
            self.evicted = false;
        }
    }

    fn read(&mut self, lane: usize, what: What) {
        let Lane {
            space,
            proof,
            tracked,
            ..
        } = &self.lanes[lane];
        let heard = proof.is_some_and(|proof| self.now - proof <= STALENESS);
        let serves = self.holds != Mode::Off && self.closed == 0 && *tracked && heard;
        assert_eq!(self.l1.serving(space, self.now), serves);
        assert_eq!(self.l1.true_until(space), self.true_until(lane));
        let (mut out, mut found) = (Vec::new(), Lookup::Miss(Missed::NotHeld));
        what.read(&self.l1, &what.request(), |read| {
            found = self.l1.get(space, &read, self.now, None, &mut out);
        });
        let kept = self.kept.get(&(lane, what));
        let kept = kept.filter(|kept| !kept.untrue && kept.deadline > self.now);
        match (found, kept) {
            (Lookup::Hit { until, .. }, Some(kept)) => {
                assert_eq!((until, &out), (kept.deadline, &kept.reply));
            }
            (Lookup::Hit { .. }, None) => panic!("{what:?} is served and should not be"),
            (Lookup::Miss(_), kept) => {
                let gone = kept.is_none() || self.evicted || what.keys().len() > 1;
                assert!(gone, "{what:?} is lost");
                self.kept.remove(&(lane, what));
            }
        }
    }

    /// Until when what a lane holds was true for certain, where it may be served stale.
    fn true_until(&self, lane: usize) -> Option<u64> {
        let serves = self.holds == Mode::On && self.closed == 0;
        let Lane {
            proof,
            frozen,
            tracked,
            ..
        } = &self.lanes[lane];
        frozen.or(*proof).filter(|_| serves && *tracked)
    }

    fn switch(&mut self, to: u8) {
        let to = MODES[usize::from(to) % 3];
        self.l1.switch(to);
        let before = std::mem::replace(&mut self.asked, to);
        if before != to {
            match to {
                Mode::On | Mode::Shadow if before == Mode::Off => self.open_if_heard(),
                Mode::On | Mode::Shadow if self.holds == Mode::Off => {}
                Mode::On => self.holds = to,
                Mode::Off | Mode::Shadow => {
                    self.holds = to;
                    self.refuse_sent();
                    self.drop_all();
                }
            }
        }
        assert_eq!(self.l1.is_announced_to(), to != Mode::Off);
    }

    /// Sessions come, and do what they are to in each mode.
    fn sessions(&mut self, how: u8) {
        match how % 3 {
            0 => {
                let announces = self.l1.enter();
                assert_eq!(announces, self.asked != Mode::Off);
                self.mute += u32::from(!announces);
                self.announcing += u32::from(announces);
            }
            1 if self.announcing > 0 => {
                let muted = self.l1.fall_mute();
                assert_eq!(muted, self.asked == Mode::Off);
                self.mute += u32::from(muted);
                self.announcing -= u32::from(muted);
            }
            2 if self.mute > 0 => {
                self.l1.speak_up();
                self.mute -= 1;
                self.announcing += 1;
                self.open_if_heard();
            }
            _ => {}
        }
    }

    fn open_if_heard(&mut self) {
        if self.mute == 0 && self.asked != self.holds {
            self.refuse_sent();
            self.drop_all();
            self.holds = self.asked;
        }
    }

    fn sample(&mut self, share: u8) {
        let share = [0, 300_000, 700_000, 1_000_000][usize::from(share) % 4];
        let before = self.l1.sample();
        self.l1.set_sample(share);
        if share < before {
            self.refuse_sent();
            self.drop_all();
        }
    }

    /// Whether a push has named the key since some moment, as far as the space knows.
    fn look_at_pushes(&mut self, lane: usize, key: usize, since: u8) {
        let Lane { space, pushes, .. } = &self.lanes[lane];
        let from = pushes.len() - usize::from(since).min(pushes.len());
        let named = pushes[from..]
            .iter()
            .any(|push| push.is_none_or(|named| named == key));
        let to = space.push_count();
        assert_eq!(to, pushes.len() as u64);
        let between = space.pushed_between(from as u64, to, &[self.hash(key)]);
        // What is forgotten may have been named.
        assert!(between == named || between && pushes.len() > 1000);
        // Those who tell the upstream what was read find only what is held.
        let taken = self
            .l1
            .take_read(space, &mut Cursor::default(), usize::MAX, usize::MAX);
        let held = |request: &Vec<u8>| {
            let mut of_it = self.kept.keys();
            of_it.any(|&(of, what)| of == lane && what.request() == *request)
        };
        assert!(taken.iter().all(held));
    }

    /// What can be asked at any time.
    fn agree(&self) {
        assert_eq!(self.l1.mode(), self.holds);
        assert_eq!(self.l1.asked_mode(), (self.asked, self.asked != self.holds));
        let (count, bytes) = self.l1.size();
        assert!(bytes <= self.max_bytes, "{bytes} of {}", self.max_bytes);
        let by_keyspace = self.l1.kept();
        let sums = by_keyspace.iter().fold((0, 0), |(entries, bytes), one| {
            (entries + one.entries, bytes + one.bytes)
        });
        assert_eq!(sums, (count as u64, bytes as u64));
        let weight =
            |((_, what), kept): (&(usize, What), &Kept)| what.weight(kept.reply.len(), self.family);
        if self.evicted {
            assert!(count <= self.kept.len());
        } else {
            assert_eq!(count, self.kept.len());
            assert_eq!(bytes, self.kept.iter().map(weight).sum::<usize>());
        }
        for (request, reply) in self.l1.entries(self.now) {
            let is_it = |((_, what), kept): (&(usize, What), &Kept)| {
                what.request() == request
                    && kept.reply == reply
                    && !kept.untrue
                    && kept.deadline > self.now
            };
            assert!(self.kept.iter().any(is_it), "{}", request.escape_ascii());
        }
        for &(lane, what) in self.kept.keys() {
            let (space, hash) = (&self.lanes[lane].space, self.hash(what.keys()[0]));
            let policy = self.l1.keyspaces().policy(0);
            assert_ne!(self.l1.bar(space, hash, policy), Some(Bar::Sample));
        }
    }

    /// Every write that has begun has ended: nothing is in flight.
    fn finish(&mut self) {
        for key in 0..KEYS.len() {
            for _ in 0..self.writes[key] {
                self.l1.end_write(self.hash(key));
            }
        }
        let hashes = (0..KEYS.len()).map(|key| self.hash(key));
        assert!(!hashes.into_iter().any(|hash| self.l1.write_in_flight(hash)));
    }
}

impl Lane {
    fn new(space: Arc<Space>) -> Self {
        Self {
            space,
            proof: None,
            frozen: None,
            tracked: true,
            pushes: Vec::new(),
        }
    }
}
