//! Random work with fixed seeds: sessions read, write and pipeline through one or two nearsides while others write
//! by every way there is, over lanes of different pace, one of which is lost again and again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nearside::downstream::settings::ListenAddress;
use nearside::l1::settings::{Admit, Mode};
use nearside::proxy::settings::{Causality, Sharing};

use super::promise::{Checked, Promise, Violation, value};
use super::session::{Lost, Op, Session, Way, write};
use super::world::{HOT, KEYS, PAIR, TWIN, USERS, View, World};
use crate::audit::{EVERY_HIT, verdicts};
use crate::support::client::{Client, Protocol};
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::relay::{Pace, Relay};
use crate::support::resp::parse;
use crate::support::rng::Rng;

const LENGTH: Duration = Duration::from_secs(4);
const STALENESS: Duration = Duration::from_millis(300);
const SESSIONS: usize = 4;

#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what goes on beside the reads, each for itself"
)]
struct Plan {
    seed: u64,
    workers: usize,
    nearsides: usize,
    admit: Admit,
    pace: Pace,
    /// The lane is lost every now and then; then only the server's own clients write.
    lossy: bool,
    sharing: Sharing,
    causality: Option<Causality>,
    /// Sessions are of that many users in turn.
    users: usize,
    /// The same names mean other keys in each.
    databases: usize,
    /// Somebody drops what is cached by hand, all the time.
    by_hand: bool,
    /// L1 is switched on and off, and to the shadow, all the time.
    switching: bool,
    /// Every hit is audited, and none is to be found incoherent.
    audited: bool,
}

/// What goes on in one database.
struct Run<'a> {
    world: World,
    database: usize,
    over: &'a AtomicBool,
    broken: &'a Mutex<Option<Violation>>,
}

impl Run<'_> {
    /// Repeats `step` until the run is over; a violation ends the run.
    fn repeat(&self, mut step: impl FnMut() -> Checked) {
        while !self.over.load(Ordering::Relaxed) {
            if let Err(violation) = step() {
                self.broken
                    .lock()
                    .expect("unpoisoned")
                    .get_or_insert(violation);
                self.over.store(true, Ordering::Relaxed);
            }
        }
    }

    /// A client in the database, as the default user or as another.
    fn enter(&self, mut client: Client, user: usize) -> Client {
        if user > 0 {
            client.must(&["AUTH", &format!("user{user}"), "secret"]);
        }
        if self.database > 0 {
            client.must(&["SELECT", &self.database.to_string()]);
        }
        client
    }

    fn readers(&self, view: View, seed: u64, plan: &Plan, connect: impl Fn() -> Client) {
        let mut rng = Rng::new(seed);
        let lossy = plan.lossy;
        let mut session = Session::new(connect(), &self.world, view, lossy);
        session.private = plan.causality == Some(Causality::Session);
        self.repeat(|| {
            let checked = match rng.below(40) {
                0 if !lossy => session.read_in_exec(rng.below(KEYS)),
                1 | 2 if !lossy => {
                    session.write(rng.below(HOT), Way::ALL[rng.below(Way::ALL.len())]);
                    Ok(())
                }
                _ => session
                    .pipeline(&some_ops(&mut rng, lossy))
                    .unwrap_or_else(|Lost| {
                        session = Session::new(connect(), &self.world, view, lossy);
                        Ok(())
                    }),
            };
            if rng.one_in(20) {
                thread::sleep(Duration::from_micros(rng.next() % 1000));
            }
            checked
        });
    }

    fn hot_writer(&self, near: Option<usize>, seed: u64, mut client: Client) {
        let mut rng = Rng::new(seed);
        self.repeat(|| {
            let key = rng.below(HOT);
            let way = Way::ALL[rng.below(Way::ALL.len())];
            if let Some(mut version) = self.world.try_writer(key) {
                *version += 1;
                let name = self.world.name(key);
                write(&mut client, way, name, &value(name, *version));
                self.world.wrote(key, near, *version);
            }
            thread::sleep(Duration::from_micros(rng.next() % 1500));
            Ok(())
        });
    }

    /// Drops keys, patterns and everything.
    fn invalidator(&self, seed: u64, mut client: Client) {
        let mut rng = Rng::new(seed);
        self.repeat(|| {
            let name = self.world.name(rng.below(KEYS));
            let pattern = format!("*{}", &name[1..]);
            let how: &[&str] = match rng.below(10) {
                0 => &["ALL"],
                1 | 2 => &["PATTERN", &pattern],
                _ => &["KEY", name],
            };
            client.must(&[&["NEARSIDE", "INVALIDATE"], how].concat());
            thread::sleep(Duration::from_micros(rng.next() % 3000));
            Ok(())
        });
    }

    /// Writes the pair and the twins, each time through another of the clients.
    fn linked_writer(&self, seed: u64, mut clients: Vec<(Option<usize>, Client)>) {
        let mut rng = Rng::new(seed);
        let mut n = 0;
        self.repeat(|| {
            n += 1;
            let pick = rng.below(clients.len());
            let (near, client) = &mut clients[pick];
            for key in [PAIR[1], PAIR[0]] {
                let name = self.world.name(key);
                write(client, Way::Set, name, &value(name, n));
                self.world.wrote(key, *near, n);
            }
            let [x, y] = TWIN.map(|key| self.world.name(key));
            client.must(&["MSET", x, &value(x, n), y, &value(y, n)]);
            for key in TWIN {
                self.world.wrote(key, *near, n);
            }
            thread::sleep(Duration::from_micros(rng.next() % 1500));
            Ok(())
        });
    }
}

/// What one pipeline of a reader has.
pub fn some_ops(rng: &mut Rng, lossy: bool) -> Vec<Op> {
    let mut ops = Vec::new();
    for _ in 0..=rng.below(6) {
        match rng.below(11) {
            8 => ops.push(Op::Common),
            9 | 10 => ops.push(Op::Range(rng.below(KEYS))),
            0 => ops.extend(PAIR.map(Op::Get)),
            1 => ops.extend(TWIN.map(Op::Get)),
            2 => {
                let mut keys: Vec<usize> = (0..=rng.below(3)).map(|_| rng.below(KEYS)).collect();
                if rng.one_in(2) {
                    keys.extend(TWIN);
                }
                ops.push(Op::Mget(keys));
            }
            3 if !lossy && rng.one_in(3) => ops.push(Op::Set(rng.below(HOT))),
            _ => ops.push(Op::Get(rng.below(KEYS))),
        }
    }
    ops
}

/// Every entry of L1 is what the server has, at the latest after the bound.
fn end_state(near: &Nearside, server: &RedisServer) -> Checked {
    let mut direct = server.client().speaking(Protocol::Resp3);
    let deadline = Instant::now() + STALENESS + Duration::from_secs(2);
    for (request, _) in near.running().l1_entries() {
        loop {
            let entries = near.running().l1_entries();
            let Some((_, held)) = entries.into_iter().find(|(other, _)| *other == request) else {
                break;
            };
            let (held, _) = parse(&held).expect("an encoded reply");
            direct.send_raw(&request);
            direct.flush();
            let truth = direct.read();
            if held == truth {
                break;
            }
            if Instant::now() > deadline {
                let asked = String::from_utf8_lossy(&request).replace("\r\n", " ");
                let got = format_args!("{held:?} in L1 at the end").to_string();
                return Err(Promise::BoundedStaleness.broken(
                    &asked,
                    got,
                    format_args!("{truth:?}"),
                ));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

fn start(plan: &Plan, upstream: SocketAddr, socket: PathBuf) -> Nearside {
    let near = Nearside::start(upstream, |settings| {
        settings.downstream.workers = plan.workers;
        settings.downstream.listen.push(ListenAddress::Unix(socket));
        settings.l1.admit = plan.admit;
        settings.l1.max_staleness = STALENESS;
        settings.proxy.sharing = plan.sharing;
        settings.proxy.causality = plan.causality;
        if plan.audited {
            settings.lane.audit = EVERY_HIT;
        }
    });
    eventually("the lane", || near.running().lane_is_up().then_some(()));
    near
}

/// What happens from outside until the time is over.
fn disturb(
    plan: &Plan,
    over: &AtomicBool,
    seeds: &mut Rng,
    relays: &[Relay],
    nearsides: &[Nearside],
) {
    let end = Instant::now() + LENGTH;
    while Instant::now() < end && !over.load(Ordering::Relaxed) {
        if plan.switching {
            thread::sleep(Duration::from_millis(seeds.next() % 40));
            let modes = [Mode::On, Mode::Off, Mode::On, Mode::Shadow];
            let mode = modes[seeds.below(modes.len())];
            for near in nearsides {
                let switched = near.running().switch().set(Some(mode), None);
                switched.expect("nobody needs a restart");
            }
            continue;
        }
        thread::sleep(Duration::from_millis(100 + seeds.next() % 200));
        if plan.lossy {
            relays[seeds.below(relays.len())].kill_lane();
        }
    }
}

fn run(plan: Plan) {
    assert!(plan.users <= USERS, "{plan:?}");
    let server = RedisServer::start(&[]);
    for user in 1..plan.users {
        let user = format!("user{user}");
        server.client().must(&[
            "ACL", "SETUSER", &user, "on", ">secret", "~*", "&*", "+@all",
        ]);
    }
    let relays: Vec<Relay> = (0..plan.nearsides)
        .map(|_| Relay::start(server.addr()))
        .collect();
    let socket = |near: usize| server.dir().join(format!("near{near}.sock"));
    let nearsides: Vec<Nearside> = relays
        .iter()
        .enumerate()
        .map(|(near, relay)| {
            relay.set_pace(plan.pace);
            start(&plan, relay.addr(), socket(near))
        })
        .collect();
    let (over, broken) = (AtomicBool::new(false), Mutex::new(None));
    let runs: Vec<Run<'_>> = (0..plan.databases)
        .map(|database| Run {
            world: World::new(STALENESS),
            database,
            over: &over,
            broken: &broken,
        })
        .collect();
    thread::scope(|scope| {
        let mut seeds = Rng::new(plan.seed);
        let plan = &plan;
        for run in &runs {
            let direct = || run.enter(server.client(), 0);
            let mut linked = vec![(None, direct())];
            for (near, nearside) in nearsides.iter().enumerate() {
                for n in 0..SESSIONS {
                    let (seed, path) = (seeds.next(), socket(near));
                    let user = n % plan.users;
                    let connect = move || {
                        let client = if n == 0 {
                            Nearside::unix_session(&path)
                        } else {
                            nearside.session()
                        };
                        let protocol = [Protocol::Resp2, Protocol::Resp3][n / 2 % 2];
                        run.enter(client.speaking(protocol), user)
                    };
                    let view = View { near, user };
                    scope.spawn(move || run.readers(view, seed, plan, connect));
                }
                if !plan.lossy {
                    linked.push((Some(near), run.enter(nearside.session(), 0)));
                    let client = run.enter(nearside.session(), plan.users - 1);
                    let seed = seeds.next();
                    scope.spawn(move || run.hot_writer(Some(near), seed, client));
                }
                if plan.by_hand {
                    let (seed, client) = (seeds.next(), nearside.session());
                    scope.spawn(move || run.invalidator(seed, client));
                }
            }
            let (seed, client) = (seeds.next(), direct());
            scope.spawn(move || run.hot_writer(None, seed, client));
            let seed = seeds.next();
            scope.spawn(move || run.linked_writer(seed, linked));
        }
        disturb(plan, &over, &mut seeds, &relays, &nearsides);
        over.store(true, Ordering::Relaxed);
    });
    drop(runs);
    let broken = broken.into_inner().expect("unpoisoned");
    // Entries of several databases cannot be told apart there.
    let told_apart = nearsides.iter().filter(|_| plan.databases == 1);
    let ended = told_apart
        .map(|near| end_state(near, &server))
        .find_map(Result::err);
    if let Some(violation) = broken.or(ended) {
        panic!("{plan:?}: {violation}");
    }
    for near in &nearsides {
        let (hits, fills) = (near.hits(), near.running().fills());
        println!("{plan:?}: {hits} hits, {fills} fills");
        assert!(
            near.running().shadow()[2] == 0,
            "in the shadow: {:?}",
            near.running().shadow()
        );
        if plan.audited {
            let [same, explained, incoherent, unanswered] = verdicts(near);
            println!("{same} same, {explained} explained, {unanswered} unanswered");
            assert_eq!(incoherent, 0, "{plan:?}: an audit found one");
            assert!(same > 0, "{plan:?}: without audits this proves nothing");
        }
        assert!(
            hits > 50 && fills > 50,
            "without hits this proves nothing: {hits} hits, {fills} fills"
        );
    }
}

const PLAN: Plan = Plan {
    seed: 1,
    workers: 1,
    nearsides: 1,
    admit: Admit::Always,
    pace: Pace::Flowing,
    lossy: false,
    sharing: Sharing::Lane,
    causality: None,
    users: 1,
    databases: 1,
    by_hand: false,
    switching: false,
    audited: false,
};

#[test]
fn one_worker() {
    run(PLAN);
}

#[test]
fn two_workers_and_a_trickle() {
    run(Plan {
        seed: 2,
        workers: 2,
        pace: Pace::Trickle(Duration::from_micros(50)),
        ..PLAN
    });
}

#[test]
fn two_nearsides_far_away() {
    run(Plan {
        seed: 3,
        workers: 2,
        nearsides: 2,
        pace: Pace::Delayed(Duration::from_millis(2)),
        ..PLAN
    });
}

#[test]
fn admitted_on_the_second_read() {
    run(Plan {
        seed: 4,
        nearsides: 2,
        admit: Admit::SecondRead,
        pace: Pace::Trickle(Duration::from_micros(50)),
        ..PLAN
    });
}

#[test]
fn lanes_that_are_lost() {
    run(Plan {
        seed: 5,
        workers: 2,
        nearsides: 2,
        lossy: true,
        ..PLAN
    });
}

#[test]
fn dedicated_connections() {
    run(Plan {
        seed: 6,
        sharing: Sharing::Dedicated,
        ..PLAN
    });
}

#[test]
fn dedicated_connections_and_two_workers() {
    run(Plan {
        seed: 7,
        workers: 2,
        sharing: Sharing::Dedicated,
        causality: Some(Causality::Session),
        ..PLAN
    });
}

#[test]
fn two_users() {
    run(Plan {
        seed: 8,
        workers: 2,
        users: 2,
        pace: Pace::Trickle(Duration::from_micros(50)),
        ..PLAN
    });
}

#[test]
fn two_users_in_two_databases() {
    run(Plan {
        seed: 9,
        workers: 2,
        users: 2,
        databases: 2,
        ..PLAN
    });
}

#[test]
fn two_users_in_two_databases_on_dedicated_connections() {
    run(Plan {
        seed: 10,
        workers: 2,
        users: 2,
        databases: 2,
        sharing: Sharing::Dedicated,
        causality: Some(Causality::Session),
        ..PLAN
    });
}

#[test]
fn process_causality_over_two_users() {
    run(Plan {
        seed: 11,
        workers: 2,
        users: 2,
        causality: Some(Causality::Process),
        ..PLAN
    });
}

#[test]
fn dropped_by_hand() {
    run(Plan {
        seed: 12,
        workers: 2,
        users: 2,
        by_hand: true,
        pace: Pace::Trickle(Duration::from_micros(50)),
        ..PLAN
    });
}

#[test]
fn switched_on_and_off() {
    run(Plan {
        seed: 14,
        workers: 2,
        switching: true,
        ..PLAN
    });
}

#[test]
fn dropped_by_hand_on_dedicated_connections() {
    run(Plan {
        seed: 13,
        workers: 2,
        nearsides: 2,
        by_hand: true,
        sharing: Sharing::Dedicated,
        ..PLAN
    });
}

#[test]
fn switched_on_and_off_with_two_users_and_a_trickle() {
    run(Plan {
        seed: 15,
        workers: 2,
        users: 2,
        pace: Pace::Trickle(Duration::from_micros(50)),
        switching: true,
        ..PLAN
    });
}

#[test]
fn switched_on_and_off_on_dedicated_connections() {
    run(Plan {
        seed: 16,
        workers: 2,
        sharing: Sharing::Dedicated,
        switching: true,
        ..PLAN
    });
}

#[test]
fn audited() {
    run(Plan {
        seed: 17,
        audited: true,
        ..PLAN
    });
}

#[test]
fn audited_with_two_workers_and_two_users_in_two_databases() {
    run(Plan {
        seed: 18,
        workers: 2,
        users: 2,
        databases: 2,
        audited: true,
        ..PLAN
    });
}

#[test]
fn audited_on_lanes_that_are_lost() {
    run(Plan {
        seed: 19,
        workers: 2,
        lossy: true,
        audited: true,
        ..PLAN
    });
}

#[test]
fn audited_while_it_is_switched_on_and_off() {
    run(Plan {
        seed: 20,
        workers: 2,
        switching: true,
        by_hand: true,
        audited: true,
        ..PLAN
    });
}
