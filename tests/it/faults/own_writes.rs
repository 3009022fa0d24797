//! A client that reads what it has written, over two sessions: none of them may get what is older than a write that was
//! acknowledged, whatever happens to the lane in between.
//!
//! A write in doubt may be carried out later than the next one would be. So its key is written no more, and only read.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::load::{AGAIN, Stage};
use super::report::{Answer, Phase, Route, Sample};
use crate::coherence::promise::{Checked, Promise, value, version};
use crate::support::client::Client;
use crate::support::resp::Value;
use crate::support::rng::Rng;

/// Keys in doubt that are still read.
const DOUBTED: usize = 8;

struct Key {
    name: String,
    /// The version that was acknowledged last.
    acknowledged: u64,
    /// The newest that was read.
    seen: u64,
}

impl Key {
    fn check(&mut self, reply: &Value) -> Checked {
        let got = version(&self.name, reply)?;
        Promise::OwnWrites.at_least(&self.name, got, self.acknowledged)?;
        Promise::MonotonicKeys.at_least(&self.name, got, self.seen)?;
        self.seen = got;
        Ok(())
    }
}

pub struct Writer<'a> {
    stage: &'a Stage,
    client: usize,
    /// The life of the server that the keys are of.
    base: u64,
    made: usize,
    /// In doubt all but the last.
    keys: Vec<Key>,
    samples: Vec<Sample>,
}

/// A connection has ended.
struct Lost;

impl<'a> Writer<'a> {
    pub fn new(stage: &'a Stage, client: usize) -> Self {
        Self {
            stage,
            client,
            base: 0,
            made: 0,
            keys: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Until all is over.
    pub fn run(mut self) -> Vec<Sample> {
        let mut rng = Rng::new(self.client as u64);
        'connections: while let Some(mut sessions) = self.connect() {
            while !self.stage.is_over() {
                if self.round(&mut sessions, &mut rng).is_err() {
                    thread::sleep(AGAIN);
                    continue 'connections;
                }
                thread::sleep(Duration::from_micros(500 + rng.next() % 1500));
            }
        }
        self.samples
    }

    fn connect(&mut self) -> Option<[Client; 2]> {
        let samples = &mut self.samples;
        let mut connect = |resp3| self.stage.connect(resp3, |sample| samples.push(sample));
        Some([connect(false)?, connect(true)?])
    }

    /// Writes once, and reads over both.
    fn round(&mut self, sessions: &mut [Client; 2], rng: &mut Rng) -> Result<(), Lost> {
        if self.base != self.stage.world.base() {
            self.base = self.stage.world.base();
            self.keys.clear();
        }
        if self.keys.is_empty() {
            self.add_key();
        }
        let (begun, phase) = (Instant::now(), self.stage.phase().0);
        let key = self.keys.last().expect("made above");
        let (name, next) = (key.name.clone(), key.acknowledged + 1);
        let [first, second] = sessions;
        first.send(&["SET", &name, &value(&name, next)]);
        // Behind it in one write, or when it has been answered.
        let together = rng.one_in(2);
        if together {
            first.send(&["GET", &name]);
        }
        drop(first.try_flush());
        let reply = first.try_read();
        let answer = self.note(Route::Lane, begun, phase, &reply);
        self.wrote(next, &answer)?;
        let doubted = rng.below(self.keys.len());
        if together {
            let at = self.find(&name);
            self.read(at, begun, phase, &first.try_read())?;
        }
        for session in [first, second] {
            for at in [Some(doubted), self.find(&name)].into_iter().flatten() {
                let (begun, phase) = (Instant::now(), self.stage.phase().0);
                let reply = session.try_call(&["GET", &self.keys[at].name]);
                self.read(Some(at), begun, phase, &reply)?;
            }
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.keys.iter().position(|key| key.name == name)
    }

    fn add_key(&mut self) {
        self.made += 1;
        self.keys.push(Key {
            name: format!("own:{}:{}", self.client, self.made),
            acknowledged: 0,
            seen: 0,
        });
        if self.keys.len() > DOUBTED {
            self.keys.remove(0);
        }
    }

    fn wrote(&mut self, next: u64, answer: &Answer) -> Result<(), Lost> {
        match answer {
            Answer::Right => {
                self.keys.last_mut().expect("it was written").acknowledged = next;
                Ok(())
            }
            Answer::Refused(_) => Ok(()),
            Answer::InDoubt(_) => {
                self.add_key();
                Ok(())
            }
            Answer::Closed | Answer::Nothing => {
                self.add_key();
                Err(Lost)
            }
        }
    }

    /// Looks at the reply to a read of that key.
    fn read(
        &mut self,
        at: Option<usize>,
        begun: Instant,
        phase: Phase,
        reply: &io::Result<Value>,
    ) -> Result<(), Lost> {
        let answer = self.note(Route::Read, begun, phase, reply);
        let here = self.base == self.stage.world.base();
        match (answer, reply, at) {
            (Answer::Right, Ok(reply), Some(at)) if here => {
                if let Err(violation) = self.keys[at].check(reply) {
                    self.stage.violated(&violation);
                }
                Ok(())
            }
            (Answer::Closed | Answer::Nothing, ..) => Err(Lost),
            _ => Ok(()),
        }
    }

    fn note(
        &mut self,
        route: Route,
        begun: Instant,
        phase: Phase,
        reply: &io::Result<Value>,
    ) -> Answer {
        let answer = Answer::of(reply);
        let sample = Sample {
            route,
            begun,
            took: begun.elapsed(),
            phase,
            answer: answer.clone(),
        };
        self.stage.note(self.client, &sample);
        self.samples.push(sample);
        answer
    }
}
