//! Who is at work while the upstream fails: clients that read, and check what they read, clients that write into
//! [ledgers](super::ledger), and others that write straight to the server.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::report::{Answer, Phase, Route, Sample};
use super::scenario::OURS;
use crate::coherence::promise::{Checked, Promise, Violation, value, version};
use crate::coherence::random::some_ops;
use crate::coherence::session::{Lost, Session, Way, try_write};
use crate::coherence::world::{HOT, KEYS, PAIR, TWIN, View, World};
use crate::support::client::Client;
use crate::support::resp::Value;
use crate::support::rng::Rng;

/// How long a client waits that could not get in.
pub const AGAIN: Duration = Duration::from_millis(5);

/// What all of them share.
pub struct Stage {
    pub world: World,
    /// nearside's socket.
    pub socket: PathBuf,
    server: Mutex<SocketAddr>,
    /// As whom its clients log in, if they do.
    pub login: Mutex<Option<(String, String)>>,
    pub over: AtomicBool,
    phase: Mutex<(Phase, Instant)>,
    /// By client, whether it was answered right since the upstream is well again.
    well: Vec<AtomicBool>,
    broken: Mutex<Vec<String>>,
    /// Writes straight to the server that were acknowledged.
    pub overwritten: AtomicU64,
}

impl Stage {
    /// For so many clients of nearside, whose hits are no older than that.
    pub fn new(socket: PathBuf, server: SocketAddr, clients: usize, staleness: Duration) -> Self {
        Self {
            world: World::new(staleness),
            socket,
            server: Mutex::new(server),
            login: Mutex::default(),
            over: AtomicBool::new(false),
            phase: Mutex::new((Phase::Before, Instant::now())),
            well: (0..clients).map(|_| AtomicBool::new(false)).collect(),
            broken: Mutex::default(),
            overwritten: AtomicU64::new(0),
        }
    }

    /// Where the server is that takes writes.
    fn server(&self) -> SocketAddr {
        *self.server.lock().expect("unpoisoned")
    }

    /// Writes go straight to another server from now on.
    pub fn move_to(&self, server: SocketAddr) {
        *self.server.lock().expect("unpoisoned") = server;
    }

    pub fn phase(&self) -> (Phase, Instant) {
        *self.phase.lock().expect("unpoisoned")
    }

    /// Goes on to `phase`, and since when.
    pub fn enter(&self, phase: Phase) -> Instant {
        let now = Instant::now();
        for well in &self.well {
            well.store(false, Ordering::SeqCst);
        }
        *self.phase.lock().expect("unpoisoned") = (phase, now);
        now
    }

    /// The clients that were not answered right in this phase yet, if there are any.
    pub fn unwell(&self) -> Option<Vec<usize>> {
        let clients = self.well.iter().enumerate();
        let unwell = clients.filter(|(_, well)| !well.load(Ordering::SeqCst));
        let unwell: Vec<usize> = unwell.map(|(client, _)| client).collect();
        (!unwell.is_empty()).then_some(unwell)
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// What is wrong so far.
    pub fn broken(&self) -> Vec<String> {
        self.broken.lock().expect("unpoisoned").clone()
    }

    pub fn violated(&self, violation: &Violation) {
        let mut broken = self.broken.lock().expect("unpoisoned");
        let (phase, since) = self.phase();
        broken.push(format!("{violation} ({phase:?} for {:?})", since.elapsed()));
    }

    pub fn note(&self, client: usize, sample: &Sample) {
        let (_, since) = self.phase();
        if sample.begun >= since && sample.answer == Answer::Right {
            self.well[client].store(true, Ordering::SeqCst);
        }
    }

    /// A client of nearside's, logged in; what it is told meanwhile is noted. `None` when all is over.
    pub fn connect(&self, resp3: bool, mut refused: impl FnMut(Sample)) -> Option<Client> {
        while !self.is_over() {
            let mut client = Client::connect_unix(&self.socket);
            let (begun, (phase, _)) = (Instant::now(), self.phase());
            let login = self.login.lock().expect("unpoisoned").clone();
            let reply = match (&login, resp3) {
                (Some((user, password)), true) => {
                    client.try_call(&["HELLO", "3", "AUTH", user, password])
                }
                (Some((user, password)), false) => client.try_call(&["AUTH", user, password]),
                (None, true) => client.try_call(&["HELLO", "3"]),
                (None, false) => return Some(client),
            };
            let answer = Answer::of(&reply);
            if answer == Answer::Right {
                return Some(client);
            }
            refused(Sample {
                route: Route::Read,
                begun,
                took: begun.elapsed(),
                phase,
                answer,
            });
            thread::sleep(AGAIN);
        }
        None
    }

    /// Reads until all is over, and checks what it reads against all promises.
    pub fn read(&self, client: usize) -> Vec<Sample> {
        let samples = RefCell::new(Vec::new());
        let mut rng = Rng::new(client as u64);
        let keep = |sample: Sample| {
            self.note(client, &sample);
            samples.borrow_mut().push(sample);
        };
        while let Some(connection) = self.connect(client % 2 == 1, keep) {
            let view = View { near: 0, user: 0 };
            let mut session = Session::new(connection, &self.world, view, true);
            let phase = std::cell::Cell::new(Phase::Before);
            let phase = &phase;
            session.heard = Some(Box::new(move |begun, reply| {
                keep(Sample {
                    route: Route::Read,
                    begun,
                    took: begun.elapsed(),
                    phase: phase.get(),
                    answer: Answer::of(reply),
                });
            }));
            while !self.is_over() {
                phase.set(self.phase().0);
                match session.pipeline(&some_ops(&mut rng, true)) {
                    Ok(Ok(())) => {}
                    Ok(Err(violation)) => self.violated(&violation),
                    Err(Lost) => break,
                }
                thread::sleep(Duration::from_micros(rng.next() % 1500));
            }
            drop(session);
            if !self.is_over() {
                thread::sleep(AGAIN);
            }
        }
        samples.into_inner()
    }

    /// Reads until all is over, each time over a connection of its own, and waits for none that has to ask the server: so
    /// there are hits for as long as there may be.
    pub fn peek(&self) {
        let mut rng = Rng::new(2);
        while let Some(mut client) = self.connect(false, drop) {
            let key = rng.below(KEYS);
            if let Err(violation) = self.peek_at(&mut client, key) {
                self.violated(&violation);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn peek_at(&self, client: &mut Client, key: usize) -> Checked {
        let (begun, base, name) = (Instant::now(), self.world.base(), self.world.name(key));
        let floor = self.world.floor(key, View { near: 0, user: 0 });
        client.send(&["GET", name]);
        let sent = client.try_flush();
        let answered = sent.and_then(|()| client.try_has_reply(Duration::from_millis(10)));
        if !answered.unwrap_or(false) {
            return Ok(());
        }
        let reply = client.read();
        if reply.is_error() || self.world.base() != base {
            return Ok(());
        }
        let got = self
            .world
            .of_this_life(name, version(name, &reply)?, base, begun)?;
        Promise::MonotonicKeys.at_least(name, got, floor.seen)?;
        Promise::BoundedStaleness.at_least(name, got, floor.settled)
    }

    /// Writes into a ledger until all is over.
    pub fn keep_ledger(&self, client: usize, route: Route) -> (Ledger, Vec<Sample>) {
        let mut ledger = Ledger::new(&format!("{client}"), route);
        let mut samples = Vec::new();
        let mut rng = Rng::new(client as u64);
        'connection: while let Some(mut connection) = self.connect(false, |s| samples.push(s)) {
            while !self.is_over() {
                let (phase, _) = self.phase();
                let told = ledger.write(&mut connection, phase, || self.world.base());
                let mut lost = false;
                for sample in told {
                    self.note(client, &sample);
                    lost |= matches!(sample.answer, Answer::Closed | Answer::Nothing);
                    samples.push(sample);
                }
                if lost {
                    thread::sleep(AGAIN);
                    continue 'connection;
                }
                thread::sleep(Duration::from_micros(500 + rng.next() % 1500));
            }
        }
        (ledger, samples)
    }

    /// A client straight to the server, as soon as there is one, and where it is.
    fn direct(&self) -> Option<(Client, SocketAddr)> {
        while !self.is_over() {
            let server = self.server();
            let named = Client::try_connect(server).and_then(|mut client| {
                client.try_call(&["CLIENT", "SETNAME", OURS])?;
                Ok(client)
            });
            match named {
                Ok(client) => return Some((client, server)),
                Err(_) => thread::sleep(AGAIN),
            }
        }
        None
    }

    /// Writes keys that anybody reads by every way there is, straight to the server, until all is over.
    pub fn overwrite(&self) {
        let mut rng = Rng::new(0);
        while let Some((mut client, server)) = self.direct() {
            while !self.is_over() && server == self.server() {
                let (key, way) = (rng.below(HOT), Way::ALL[rng.below(Way::ALL.len())]);
                let mut version = self.world.try_writer(key).expect("nobody else writes it");
                *version += 1;
                let name = self.world.name(key);
                match try_write(&mut client, way, name, &value(name, *version)) {
                    Ok(()) => self.wrote(key, *version),
                    Err(error) if error.kind() == std::io::ErrorKind::Other => {}
                    Err(_) => break,
                }
                drop(version);
                thread::sleep(Duration::from_micros(rng.next() % 1500));
            }
        }
    }

    fn wrote(&self, key: usize, version: u64) {
        self.world.wrote(key, None, version);
        self.overwritten.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes the pair and the twins straight to the server until all is over.
    pub fn overwrite_linked(&self) {
        let (mut rng, mut n) = (Rng::new(1), 0);
        while let Some((mut client, server)) = self.direct() {
            while !self.is_over() && server == self.server() {
                n = self.world.base().max(n) + 1;
                match self.write_linked(&mut client, n) {
                    Err(error) if error.kind() != std::io::ErrorKind::Other => break,
                    _ => thread::sleep(Duration::from_micros(rng.next() % 1500)),
                }
            }
        }
    }

    /// The second of the pair is not written where the first was not.
    fn write_linked(&self, client: &mut Client, n: u64) -> std::io::Result<()> {
        for key in [PAIR[1], PAIR[0]] {
            let name = self.world.name(key);
            try_write(client, Way::Set, name, &value(name, n))?;
            self.wrote(key, n);
        }
        let [x, y] = TWIN.map(|key| self.world.name(key));
        match client.try_call(&["MSET", x, &value(x, n), y, &value(y, n)])? {
            Value::Error(text) => return Err(std::io::Error::other(text)),
            _ => TWIN.into_iter().for_each(|key| self.wrote(key, n)),
        }
        Ok(())
    }
}
