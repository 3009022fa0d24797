//! A fault from its beginning to its end: a server, nearside as a program before it, clients at work, what happens to the
//! server, and what must hold of all that they were told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::load::Stage;
use super::own_writes::Writer;
use super::report::{Answer, Phase, Report, Route, Sample};
use crate::coherence::promise::{value, version};
use crate::coherence::world::KEYS;
use crate::support::client::Client;
use crate::support::program::Program;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;
use crate::support::{PATIENCE, eventually};

/// What hits may be older by at most.
pub const STALENESS: Duration = Duration::from_millis(500);
const READERS: usize = 4;
/// The name of connections that go straight to the server.
pub const OURS: &str = "direct";

fn named(mut client: Client) -> Client {
    client.must(&["CLIENT", "SETNAME", OURS]);
    client
}

/// nearside's settings: what it waits for is short, and what opens the circuit soon told.
const SETTINGS: [(&str, &str); 8] = [
    ("NEARSIDE_CONNECT_TIMEOUT", "300ms"),
    ("NEARSIDE_HANDSHAKE_TIMEOUT", "500ms"),
    ("NEARSIDE_REQUEST_TIMEOUT", "1s"),
    ("NEARSIDE_LANE_OVERDUE", "200ms"),
    ("NEARSIDE_L1_MAX_STALENESS", "500ms"),
    ("NEARSIDE_L1_ADMIT", "always"),
    ("NEARSIDE_BREAKER_FAILURE_THRESHOLD", "3"),
    ("NEARSIDE_BREAKER_RECOVERY_TIMEOUT", "300ms"),
];

/// An attempt to connect and a request's timeout, and as much again for a busy machine.
const LONGEST: Duration = Duration::from_secs(3);

/// What must hold at the end.
pub struct Expected<'a> {
    /// Beginnings of the errors that clients may get beside UNAVAILABLE, and of the only ones where `down` is not set.
    pub errors: &'a [&'a str],
    /// The upstream is taken for gone.
    pub down: bool,
    /// It is back so soon that the circuit may not have opened.
    pub at_once: bool,
    /// Connections of clients that need none of their own upstream may be closed too.
    pub closes: bool,
    /// Longest until clients are answered right again, and from memory too.
    pub back: Duration,
}

impl Default for Expected<'_> {
    fn default() -> Self {
        Self {
            errors: &[],
            down: true,
            at_once: false,
            closes: false,
            // The wait for the next probe, an attempt under way that hangs, the jitter between two.
            back: Duration::from_secs(4),
        }
    }
}

/// Who is at work beside the readers.
pub struct Cast<'a> {
    pub routes: &'a [Route],
    /// nearside's clients log in.
    pub login: Option<(&'a str, &'a str)>,
    /// nearside's settings beside the usual.
    pub settings: &'a [(&'a str, &'a str)],
}

impl Default for Cast<'_> {
    fn default() -> Self {
        Self {
            routes: &[Route::Lane, Route::Lane, Route::Script, Route::Transaction],
            login: None,
            settings: &[],
        }
    }
}

/// See the module's header. Ends in this order: the clients, nearside, the server.
pub struct Scene {
    name: &'static str,
    stage: Arc<Stage>,
    readers: Vec<JoinHandle<Vec<Sample>>>,
    writers: Vec<JoinHandle<(Ledger, Vec<Sample>)>>,
    others: Vec<JoinHandle<()>>,
    routes: Vec<Route>,
    struck: Instant,
    healed: Instant,
    /// How long after that there were hits.
    cached_again: Duration,
    pub near: Program,
    /// Straight to the server.
    pub direct: Client,
    pub server: RedisServer,
}

impl Scene {
    /// Nothing stands between nearside and the server.
    pub fn new(name: &'static str, server: RedisServer) -> Self {
        let upstream = format!("redis://{}", server.addr());
        Self::with(name, server, &upstream, &Cast::default())
    }

    /// With that `upstream` for nearside, behind which `server` is, and that cast. Every client has been served.
    pub fn with(name: &'static str, server: RedisServer, upstream: &str, cast: &Cast<'_>) -> Self {
        let settings = [&SETTINGS, cast.settings].concat();
        let near = Program::before(upstream, &settings);
        drop(near.connect());
        let clients = READERS + 1 + cast.routes.len();
        let stage = Stage::new(near.socket(), server.addr(), clients, STALENESS);
        let login = cast.login.map(|(user, word)| (user.into(), word.into()));
        *stage.login.lock().expect("unpoisoned") = login;
        let direct = named(server.client());
        let now = Instant::now();
        let mut scene = Self {
            name,
            stage: Arc::new(stage),
            readers: Vec::new(),
            writers: Vec::new(),
            others: Vec::new(),
            routes: cast.routes.to_vec(),
            struck: now,
            healed: now,
            cached_again: Duration::ZERO,
            near,
            direct,
            server,
        };
        scene.begin();
        scene
    }

    fn begin(&mut self) {
        let stage = || Arc::clone(&self.stage);
        for client in 0..READERS {
            let stage = stage();
            self.readers.push(thread::spawn(move || stage.read(client)));
        }
        let own = stage();
        self.readers
            .push(thread::spawn(move || Writer::new(&own, READERS).run()));
        for (n, &route) in self.routes.iter().enumerate() {
            let stage = stage();
            let keep = move || stage.keep_ledger(READERS + 1 + n, route);
            self.writers.push(thread::spawn(keep));
        }
        let [hot, linked, peeking] = [stage(), stage(), stage()];
        self.others.push(thread::spawn(move || peeking.peek()));
        self.others.push(thread::spawn(move || hot.overwrite()));
        self.others
            .push(thread::spawn(move || linked.overwrite_linked()));
        self.await_service("service before the fault");
        eventually("hits", || (self.hits() > 100).then_some(()));
    }

    fn await_service(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while let Some(unwell) = self.stage.unwell() {
            let broken = self.stage.broken();
            assert!(broken.is_empty(), "{}: {broken:?}", self.name);
            let in_time = Instant::now() < deadline;
            let routes = [&[Route::Read; READERS + 1], &self.routes[..]].concat();
            let unwell = unwell.into_iter().map(|client| routes[client]);
            assert!(
                in_time,
                "{}: no {what} for {:?}: {}",
                self.name,
                unwell.collect::<Vec<_>>(),
                self.near.log()
            );
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Reads that were answered from memory so far.
    pub fn hits(&self) -> i64 {
        let mut client = Client::connect_unix(&self.near.socket());
        // While the upstream refuses the lane it is refused too.
        let reply = eventually("statistics", || {
            let reply = client.call(&["NEARSIDE", "STATS"]);
            (!reply.is_error()).then_some(reply)
        });
        let mut words = reply.elements().iter();
        words.find(|word| word.text() == Some("hits"));
        match words.next() {
            Some(Value::Int(hits)) => *hits,
            other => panic!("{other:?} hits in {reply:?}"),
        }
    }

    /// The fault begins.
    pub fn strike(&mut self, fault: impl FnOnce(&mut Self)) {
        self.struck = self.stage.enter(Phase::Fault);
        fault(self);
    }

    /// The fault lasts.
    pub fn last(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
            assert!(self.near.runs(), "nearside ended: {}", self.near.log());
        }
    }

    /// The server loses all that it has.
    pub fn empty(&mut self) {
        self.server.kill();
        self.stage.world.begin_life();
        self.restart();
    }

    /// A server that was killed is started again.
    pub fn restart(&mut self) {
        self.server.start_again();
        self.direct = named(self.server.client());
    }

    /// Another server has all the data and takes the writes from now on.
    pub fn move_to(&mut self, server: &RedisServer) {
        self.stage.move_to(server.addr());
        self.direct = named(server.client());
    }

    /// Ends nearside's connections, and nobody else's.
    pub fn cut_nearside(&mut self) {
        let list = self.direct.must(&["CLIENT", "LIST"]);
        for line in list.text().expect("a list").lines() {
            let word = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
            if word("name=") != Some(OURS) {
                // It may be gone already.
                let id = word("id=").expect("a number");
                self.direct.call(&["CLIENT", "KILL", "ID", id]);
            }
        }
    }

    /// The fault ends with `cure`; waits until every client has been served again.
    pub fn heal(&mut self, cure: impl FnOnce(&mut Self)) {
        cure(self);
        self.healed = self.stage.enter(Phase::After);
        self.await_service("service after the fault");
        let before = self.hits();
        eventually("hits again", || (self.hits() > before + 20).then_some(()));
        self.cached_again = self.healed.elapsed();
        // What came late would be seen.
        self.last(STALENESS);
    }

    /// Another login for clients that connect from now on.
    pub fn log_in_with(&self, user: &str, password: &str) {
        let login = Some((user.to_owned(), password.to_owned()));
        *self.stage.login.lock().expect("unpoisoned") = login;
    }

    /// The clients end, and all that they were told is looked at.
    pub fn finish(mut self, expected: &Expected<'_>) {
        let (report, ledgers) = self.end();
        let mut wrong = self.stage.broken();
        let mut acknowledged = 0;
        for ledger in ledgers {
            let written = ledger.acknowledged();
            if written < 20 {
                let route = ledger.route();
                wrong.push(format!("{written} writes over {route:?} prove nothing"));
            }
            acknowledged += written;
            wrong.extend(ledger.audit(&mut self.direct, self.stage.world.base()));
        }
        self.check_newest(&mut wrong);
        self.check_answers(&report, expected, &mut wrong);
        let back = report.back(self.healed);
        let times: Vec<String> = back
            .iter()
            .map(|(route, time)| format!("{route:?} {} ms", time.as_millis()))
            .collect();
        let ends = self.healed - self.struck;
        let overwritten = self.stage.overwritten.load(Ordering::Relaxed);
        println!(
            "{} ({} ms) | {} | {}, hits {} ms | longest {:?}; {acknowledged} acknowledged, {overwritten} overwritten, {} hits",
            self.name,
            ends.as_millis(),
            report.told(),
            times.join(", "),
            self.cached_again.as_millis(),
            report.longest(&[Route::Read, Route::Lane]),
            self.hits(),
        );
        assert!(self.near.runs(), "nearside ended: {}", self.near.log());
        let log = self.near.log();
        assert!(!log.contains("panicked"), "{log}");
        wrong.truncate(20);
        assert!(wrong.is_empty(), "{}: {wrong:#?}\n{log}", self.name);
    }

    fn end(&mut self) -> (Report, Vec<Ledger>) {
        self.stage.over.store(true, Ordering::SeqCst);
        let (mut report, mut ledgers) = (Report::default(), Vec::new());
        for reader in std::mem::take(&mut self.readers) {
            report.samples.extend(reader.join().expect("a reader"));
        }
        for writer in std::mem::take(&mut self.writers) {
            let (ledger, samples) = writer.join().expect("a writer");
            ledgers.push(ledger);
            report.samples.extend(samples);
        }
        for other in std::mem::take(&mut self.others) {
            other.join().expect("a writer");
        }
        (report, ledgers)
    }

    /// Once the bound has passed everybody reads what was written last.
    fn check_newest(&mut self, wrong: &mut Vec<String>) {
        let world = &self.stage.world;
        let newest = world.base() + (1 << 30);
        for key in 0..KEYS {
            let name = world.name(key);
            self.direct.must(&["SET", name, &value(name, newest)]);
        }
        thread::sleep(STALENESS + Duration::from_millis(20));
        let login = self.stage.login.lock().expect("unpoisoned").clone();
        for _ in 0..3 {
            let mut client = Client::connect_unix(&self.near.socket());
            if let Some((user, password)) = &login {
                client.must(&["AUTH", user, password]);
            }
            for key in 0..KEYS {
                let name = world.name(key);
                let got = version(name, &client.call(&["GET", name]));
                if got != Ok(newest) {
                    wrong.push(format!("{name} at the end: {got:?}"));
                }
            }
        }
    }

    fn check_answers(&self, report: &Report, expected: &Expected<'_>, wrong: &mut Vec<String>) {
        for sample in &report.samples {
            if let Some(what) = expected.forbids(sample) {
                wrong.push(format!("{what}: {sample:?}"));
                break;
            }
        }
        for (route, time) in report.back(self.healed) {
            if time > expected.back {
                wrong.push(format!("{route:?} came back after {time:?}"));
            }
        }
        if self.cached_again > expected.back {
            wrong.push(format!("hits came back after {:?}", self.cached_again));
        }
        for route in [Route::Read, Route::Lane, Route::Script, Route::Transaction] {
            let longest = report.longest(&[route]);
            if longest > LONGEST {
                wrong.push(format!("over {route:?} a client waited for {longest:?}"));
            }
        }
        if !expected.down || expected.at_once {
            return;
        }
        // What was already waiting is let out first.
        let grace = Duration::from_millis(100);
        let known = report.known_down().map(|known| known + grace);
        match known.and_then(|known| report.refused_within(known, self.healed)) {
            None => wrong.push("it was never said that the circuit is open".into()),
            Some(took) if took > Duration::from_millis(100) => {
                wrong.push(format!("with the circuit open an error took {took:?}"));
            }
            Some(_) => {}
        }
    }
}

impl Expected<'_> {
    /// What is wrong with an answer, if anything is.
    fn forbids(&self, sample: &Sample) -> Option<&'static str> {
        let own = matches!(sample.route, Route::Script | Route::Transaction);
        let text = match &sample.answer {
            Answer::Right => return None,
            Answer::Nothing => return Some("no answer"),
            Answer::Closed if self.closes || own => return None,
            Answer::Closed => return Some("closed"),
            Answer::Refused(text) | Answer::InDoubt(text) => text,
        };
        let told = self.errors.iter().any(|start| text.starts_with(start));
        let gone = self.down && text.starts_with("UNAVAILABLE upstream");
        (!told && !gone).then_some("not an error of this fault")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stage.over.store(true, Ordering::SeqCst);
        // Frozen, it would keep those waiting that write to it.
        self.server.thaw();
        for reader in std::mem::take(&mut self.readers) {
            let _ = reader.join();
        }
        for writer in std::mem::take(&mut self.writers) {
            let _ = writer.join();
        }
        for other in std::mem::take(&mut self.others) {
            let _ = other.join();
        }
    }
}
