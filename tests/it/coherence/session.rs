//! A client session that checks every reply against what it, and its nearside, already know.

use std::collections::BTreeMap;
use std::io;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::promise::{Checked, Promise, value, version};
use super::world::{Floor, KEYS, TWIN, TWINS, View, World, no_older, twins_agree};
use crate::support::client::Client;
use crate::support::resp::Value;

/// One command of a pipeline.
#[derive(Debug, Clone)]
pub enum Op {
    Get(usize),
    Mget(Vec<usize>),
    /// GETRANGE of the whole value.
    Range(usize),
    /// LCS of the twins: what they have in common is their version.
    Common,
    /// Left out while somebody else writes the key.
    Set(usize),
}

/// How a write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Set,
    EvalDeclared,
    EvalUndeclared,
    Exec,
    ExecWatched,
    Rename,
}

impl Way {
    pub const ALL: [Self; 6] = [
        Self::Set,
        Self::EvalDeclared,
        Self::EvalUndeclared,
        Self::Exec,
        Self::ExecWatched,
        Self::Rename,
    ];
}

/// Writes `text` to `key` and reads every reply.
pub fn write(client: &mut Client, way: Way, key: &str, text: &str) {
    if let Err(error) = try_write(client, way, key, text) {
        panic!("writing {text:?}, {way:?}: {error}");
    }
}

/// The same where the server may be gone, or refuse it: [`io::ErrorKind::Other`], and it may have been carried out in part.
pub fn try_write(client: &mut Client, way: Way, key: &str, text: &str) -> io::Result<()> {
    let script = format!("return redis.call('SET', '{key}', '{text}')");
    let from = format!("from:{key}");
    let commands: &[&[&str]] = match way {
        Way::Set => &[&["SET", key, text]],
        Way::EvalDeclared => &[&[
            "EVAL",
            "return redis.call('SET', KEYS[1], ARGV[1])",
            "1",
            key,
            text,
        ]],
        Way::EvalUndeclared => &[&["EVAL", &script, "0"]],
        Way::Exec => &[&["MULTI"], &["SET", key, text], &["EXEC"]],
        Way::ExecWatched => &[
            &["WATCH", "unrelated"],
            &["MULTI"],
            &["SET", key, text],
            &["EXEC"],
        ],
        Way::Rename => &[&["SET", &from, text], &["RENAME", &from, key]],
    };
    for command in commands {
        client.send(command);
    }
    client.try_flush()?;
    let mut refused = Ok(());
    for command in commands {
        let reply = client.try_read()?;
        if reply.is_error() || reply == Value::Nil {
            refused = refused.and(Err(io::Error::other(format!("{command:?} got {reply:?}"))));
        }
    }
    refused
}

pub struct Session<'a> {
    client: Client,
    world: &'a World,
    /// The life that what follows is of.
    base: u64,
    view: View,
    /// Written by this session.
    own: [u64; KEYS],
    /// Read by this session.
    seen: [u64; KEYS],
    /// Follows from what was relayed to this session.
    told: [u64; KEYS],
    /// Errors and lost connections are part of the run.
    lossy: bool,
    /// What is read behind a write, over the session's own connection, binds nobody else.
    pub private: bool,
    /// Told of each reply in a lossy run.
    pub heard: Option<Box<Heard<'a>>>,
}

/// Is told of a reply, or of the connection's end, and when its command was sent.
pub type Heard<'a> = dyn FnMut(Instant, &io::Result<Value>) + 'a;

/// The session's connection was lost in a lossy run.
pub struct Lost;

/// What was known when a pipeline was sent, and what comes behind one of its commands.
struct Asked<'a> {
    begun: Instant,
    floors: &'a [Floor],
    later: &'a [(&'a Op, u64)],
    private: bool,
}

impl<'a> Session<'a> {
    pub fn new(client: Client, world: &'a World, view: View, lossy: bool) -> Self {
        Self {
            client,
            world,
            base: world.base(),
            view,
            own: [0; KEYS],
            seen: [0; KEYS],
            told: [0; KEYS],
            lossy,
            private: false,
            heard: None,
        }
    }

    /// The next reply; in a lossy run it may be an error (`Nothing`), or the connection is gone.
    fn reply(&mut self, begun: Instant) -> Result<Option<Value>, Lost> {
        if !self.lossy {
            let reply = self.client.read();
            assert!(!reply.is_error(), "got {reply:?}");
            return Ok(Some(reply));
        }
        let reply = self.client.try_read();
        if let Some(heard) = &mut self.heard {
            heard(begun, &reply);
        }
        match reply {
            Ok(Value::Error(_)) => Ok(None),
            Ok(reply) => Ok(Some(reply)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                panic!("no reply: {error}")
            }
            Err(_) => Err(Lost),
        }
    }

    fn flush(&mut self) -> Result<(), Lost> {
        match self.client.try_flush() {
            Ok(()) => Ok(()),
            Err(_) if self.lossy => Err(Lost),
            Err(error) => panic!("writing: {error}"),
        }
    }

    /// A version that the lane or L1 gave for `key`, or, `private`, an own connection, in a read that started when `floor` held.
    fn check(&mut self, key: usize, got: u64, floor: Floor, private: bool) -> Checked {
        let name = self.world.name(key);
        Promise::OwnWrites.at_least(name, got, self.own[key].max(floor.acknowledged))?;
        Promise::Causality.at_least(name, got, self.told[key])?;
        Promise::MonotonicKeys.at_least(name, got, self.seen[key].max(floor.seen))?;
        Promise::BoundedStaleness.at_least(name, got, floor.settled)?;
        self.seen[key] = got;
        if !private {
            let seen = &self.world.keys[key].seen[self.view.near][self.view.user];
            seen.fetch_max(got, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Forgets what was of another life.
    fn enter_life(&mut self) {
        let base = self.world.base();
        if base != self.base {
            self.base = base;
            self.own = [0; KEYS];
            self.seen = [0; KEYS];
            self.told = [0; KEYS];
        }
    }

    /// Sends the commands in one write and checks all replies.
    pub fn pipeline(&mut self, ops: &[Op]) -> Result<Checked, Lost> {
        let world = self.world;
        self.enter_life();
        let begun = Instant::now();
        let floors: Vec<Floor> = (0..KEYS).map(|key| world.floor(key, self.view)).collect();
        let mut writing: BTreeMap<usize, MutexGuard<'_, u64>> = BTreeMap::new();
        // What was sent: a SET with its version.
        let mut commands: Vec<(&Op, u64)> = Vec::new();
        for op in ops {
            match op {
                Op::Get(key) => self.client.send(&["GET", world.name(*key)]),
                Op::Mget(keys) => {
                    let names = keys.iter().map(|&key| world.name(key));
                    let command: Vec<&str> = std::iter::once("MGET").chain(names).collect();
                    self.client.send(&command);
                }
                Op::Range(key) => {
                    let name = world.name(*key);
                    self.client.send(&["GETRANGE", name, "0", "-1"]);
                }
                Op::Common => self.client.send(&["LCS", TWINS[0], TWINS[1]]),
                Op::Set(key) => {
                    if !writing.contains_key(key) {
                        let Some(guard) = world.try_writer(*key) else {
                            continue;
                        };
                        writing.insert(*key, guard);
                    }
                    let version = writing.get_mut(key).expect("inserted above");
                    **version += 1;
                    let name = world.name(*key);
                    self.client.send(&["SET", name, &value(name, **version)]);
                    commands.push((op, **version));
                    continue;
                }
            }
            commands.push((op, 0));
        }
        self.flush()?;
        // Versions seen earlier in this pipeline bind what is read later in it, by their order.
        let mut ordered = [0; KEYS];
        for at in 0..commands.len() {
            let (op, set) = commands[at];
            let Some(reply) = self.reply(begun)? else {
                continue;
            };
            if world.base() != self.base {
                // It may be of either life.
                continue;
            }
            let both;
            let read: Vec<(usize, &Value)> = match op {
                Op::Set(key) => {
                    let name = world.name(*key);
                    if reply.text() != Some("OK") {
                        return Ok(Err(Promise::Order.broken(
                            name,
                            format_args!("{reply:?}"),
                            "OK",
                        )));
                    }
                    self.own[*key] = set;
                    world.wrote(*key, Some(self.view.near), set);
                    continue;
                }
                Op::Get(key) => vec![(*key, &reply)],
                Op::Range(key) => {
                    // What is not there is empty here.
                    let is_empty = reply.text() == Some("");
                    vec![(*key, if is_empty { &Value::Nil } else { &reply })]
                }
                Op::Common => {
                    let version = reply.text().unwrap_or_default();
                    both = TWINS.map(|name| match version {
                        "" => Value::Nil,
                        version => Value::Bulk(format!("{name}{version}").into_bytes()),
                    });
                    TWIN.into_iter().zip(&both).collect()
                }
                Op::Mget(keys) => keys.iter().copied().zip(reply.elements()).collect(),
            };
            let (before, later) = commands.split_at(at);
            let private = self.private && before.iter().any(|(op, _)| matches!(op, Op::Set(_)));
            let asked = Asked {
                begun,
                floors: &floors,
                later,
                private,
            };
            let checked = self.check_reads(&read, &asked, &mut ordered);
            if let Err(violation) = checked {
                return Ok(Err(violation));
            }
        }
        for (key, least) in ordered.into_iter().enumerate() {
            self.told[key] = self.told[key].max(least);
        }
        Ok(Ok(()))
    }

    fn check_reads(
        &mut self,
        read: &[(usize, &Value)],
        asked: &Asked<'_>,
        ordered: &mut [u64; KEYS],
    ) -> Checked {
        let world = self.world;
        let named: Vec<(&str, &Value)> = read
            .iter()
            .map(|&(key, value)| (world.name(key), value))
            .collect();
        twins_agree(&named)?;
        for &(key, value) in read {
            let name = world.name(key);
            let got = version(name, value)?;
            let got = world.of_this_life(name, got, self.base, asked.begun)?;
            let later_set = asked
                .later
                .iter()
                .find(|(op, _)| matches!(op, Op::Set(k) if *k == key));
            if let Some((_, set)) = later_set {
                Promise::Order.below(name, got, *set)?;
            }
            Promise::Order.at_least(name, got, ordered[key])?;
            self.check(key, got, asked.floors[key], asked.private)?;
            if let Some(other) = no_older(key) {
                ordered[other] = ordered[other].max(got);
            }
        }
        Ok(())
    }

    /// Reads `key` inside MULTI, over the session's own connection: what it says binds this session alone.
    pub fn read_in_exec(&mut self, key: usize) -> Checked {
        let name = self.world.name(key);
        for command in [
            &["WATCH", "unrelated"][..],
            &["MULTI"],
            &["GET", name],
            &["EXEC"],
        ] {
            self.client.send(command);
        }
        self.client.flush();
        let mut last = Value::Nil;
        for _ in 0..4 {
            last = self.client.read();
        }
        let got = version(name, &last.elements()[0])?;
        Promise::MonotonicKeys.at_least(name, got, self.seen[key])?;
        self.told[key] = self.told[key].max(got);
        if let Some(other) = no_older(key) {
            self.told[other] = self.told[other].max(got);
        }
        Ok(())
    }

    /// Writes the next version of `key`, unless somebody else is writing it.
    pub fn write(&mut self, key: usize, way: Way) {
        if let Some(mut version) = self.world.try_writer(key) {
            *version += 1;
            let name = self.world.name(key);
            write(&mut self.client, way, name, &value(name, *version));
            self.own[key] = *version;
            self.world.wrote(key, Some(self.view.near), *version);
        }
    }
}
