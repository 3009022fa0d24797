//! The protocols of locks and atomics that are L1's and the lane's own, under many schedules.

use std::panic;
use std::sync::Arc;
use std::time::Duration;

use nearside_interleavings::l1::settings::{Admit, Mode, Settings};
use nearside_interleavings::l1::{
    End, Epoch, Fill, L1, Lookup, Read, Rule, RuleSet, Settling, Space, Unsettled,
};
use nearside_interleavings::resp::downgrade::Shape;
use nearside_interleavings::sync::Mutex;
use nearside_interleavings::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use nearside_interleavings::upstream::answer;
use nearside_interleavings::upstream::flights::{Departures, Flight, Flights, Join};
use nearside_interleavings::upstream::mailbox::Mailbox;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::mpsc::channel;
use shuttle::{Config, Runner, thread};

/// Random schedules of each protocol, and twice as many of those with few changes of thread, which find other faults.
const SCHEDULES: usize = 400;
/// How often as many are searched for one in which a protocol fails that has to.
const SEARCHES: usize = 20;

fn explore(protocol: impl Fn() + Send + Sync + Clone + 'static) {
    let mut config = Config::new();
    // That orderings are taken for sequentially consistent is said where the primitives are chosen.
    config.silence_warnings = true;
    let random = RandomScheduler::new(SCHEDULES);
    Runner::new(random, config.clone()).run(protocol.clone());
    let few_changes = PctScheduler::new(3, 2 * SCHEDULES);
    Runner::new(few_changes, config).run(protocol);
}

/// Whether a schedule is found in which the protocol fails.
fn fails(protocol: impl Fn() + Send + Sync + Clone + 'static) -> bool {
    let quiet = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    // What happens in few schedules is not among the first ones in every run.
    let found = (0..SEARCHES).any(|_| {
        let explored = panic::AssertUnwindSafe(|| explore(protocol.clone()));
        panic::catch_unwind(explored).is_err()
    });
    panic::set_hook(quiet);
    found
}

/// A script's reply closes L1, and its marker goes down the lane where that is up, while the lane is lost and what it held
/// is kept to be served stale: whoever has seen the reply is not shown what was before the script.
fn lost_beside_a_script() {
    let settings = Settings {
        admit: Admit::Always,
        max_bytes: 1 << 23,
        serve_stale: Duration::from_secs(30),
        ..Settings::default()
    };
    let l1 = Arc::new(L1::new(settings, 2));
    let space = l1.add_space();
    space.prove(1);
    assert!(fill(&l1, &space, b"k", 1, l1.epoch()));
    // The markers that it has, while it is up.
    let lane = Arc::new(Mutex::new(Some(Vec::new())));
    let lost = thread::spawn({
        let (l1, space, lane) = (Arc::clone(&l1), Arc::clone(&space), Arc::clone(&lane));
        move || {
            l1.freeze(&space);
            let markers = lane.lock().take();
            drop(markers);
        }
    });
    l1.close();
    let closure = Unsettled {
        closures: 1,
        ..Unsettled::default()
    };
    let settling = Settling::new(&l1, closure);
    if let Some(markers) = lane.lock().as_mut() {
        markers.push(Arc::clone(&settling));
    }
    drop(settling);
    let shown = || {
        l1.true_until(&space)
            .and_then(|_| look(&l1, &space, &l1.value(b"k")))
    };
    assert_eq!(shown(), None);
    lost.join().expect("no panic");
    assert_eq!(shown(), None);
}

#[test]
fn what_was_before_a_script_is_not_served_stale() {
    explore(lost_beside_a_script);
}

/// Without one rule, if any.
fn l1(mode: Mode, knocked_out: Option<Rule>) -> Arc<L1> {
    let settings = Settings {
        mode,
        admit: Admit::Always,
        max_bytes: 1 << 23,
        knocked_out: knocked_out.map_or(RuleSet::none(), RuleSet::only),
        ..Settings::default()
    };
    Arc::new(L1::new(settings, 2))
}

/// The lane's reader brings a value that was read at `epoch`.
fn fill(l1: &L1, space: &Space, key: &[u8], version: u64, epoch: Epoch) -> bool {
    put(
        l1,
        space,
        l1.value(key),
        &[l1.hash(key)],
        version,
        epoch,
        End::Ttls(&[-1]),
    )
}

fn put(
    l1: &L1,
    space: &Space,
    read: Read<'_>,
    keys: &[u64],
    version: u64,
    epoch: Epoch,
    end: End<'_>,
) -> bool {
    let reply = format!("${}\r\n{version}\r\n", version.to_string().len());
    let fill = Fill {
        read,
        keys,
        reply: reply.as_bytes(),
        shape: Shape::Generic,
        sent: 1,
        end,
        epoch,
        keyspace: 0,
    };
    l1.fill(space, &fill)
}

/// The version that a look-up shows.
fn look(l1: &L1, space: &Space, read: &Read<'_>) -> Option<u64> {
    let mut out = Vec::new();
    let Lookup::Hit { .. } = l1.get(space, read, 2, None, &mut out) else {
        return None;
    };
    let text = String::from_utf8(out).expect("a number");
    text.lines().nth(1).and_then(|line| line.parse().ok())
}

/// An MGET that finds all its keys is answered only if no drop came between: two keys that are always written together are
/// never shown apart. The second was evicted before, so that one drop is all that tells of the write.
fn snapshot(drop: impl Fn(&L1, &Space, &[u8]) + Send + Sync + 'static) {
    let l1 = l1(Mode::On, None);
    let space = l1.add_space();
    let keys = [b"x", b"y"];
    assert!(fill(&l1, &space, keys[0], 1, l1.epoch()));
    let lane = thread::spawn({
        let (l1, space) = (Arc::clone(&l1), Arc::clone(&space));
        move || {
            drop(&l1, &space, keys[0]);
            // What was known of the first may still be in somebody's hands.
            fill(&l1, &space, keys[1], 2, l1.epoch());
        }
    });
    let drops = l1.drops();
    let found = keys.map(|key| look(&l1, &space, &l1.value(key)));
    if l1.drops() == drops && !found.contains(&None) {
        assert_eq!(found[0], found[1]);
    }
    lane.join().expect("no panic");
}

#[test]
fn an_mget_of_hits_is_a_snapshot() {
    explore(|| snapshot(L1::invalidate));
    explore(|| snapshot(|l1, space, _| l1.flush(space)));
    explore(|| snapshot(|l1, space, _| l1.lane_lost(space)));
    explore(|| {
        snapshot(|l1, _, key| {
            l1.drop_by_hand(key);
        });
    });
    explore(|| {
        snapshot(|l1, _, _| {
            l1.clear_by_hand();
        });
    });
}

/// A session announces a write and does it over a connection of its own, while the lane brings what was read before and, in
/// its own time, the push and the marker behind it. Neither that session, from the announcement on, nor anybody who has
/// seen it acknowledged is shown the older value.
fn own_write(way: Write, rule: Option<Rule>) {
    let l1 = l1(Mode::On, rule);
    let space = l1.add_space();
    let server = Arc::new(AtomicU64::new(1));
    let acknowledged = Arc::new(AtomicBool::new(false));
    let (marker, incoming) = channel();
    let lane = thread::spawn({
        let (l1, space, server) = (Arc::clone(&l1), Arc::clone(&space), Arc::clone(&server));
        move || {
            for _ in 0..2 {
                let epoch = l1.epoch();
                let version = server.load(Ordering::SeqCst);
                way.fill(&l1, &space, version, epoch);
            }
            incoming.recv().expect("a marker");
            l1.invalidate(&space, b"k");
            way.settle(&l1);
        }
    });
    let other = thread::spawn({
        let (l1, space, seen) = (
            Arc::clone(&l1),
            Arc::clone(&space),
            Arc::clone(&acknowledged),
        );
        move || {
            if seen.load(Ordering::SeqCst) && l1.serving(&space, 2) {
                assert_ne!(way.look(&l1, &space), Some(1), "acknowledged");
            }
        }
    });
    space.prove(1);
    way.announce(&l1);
    server.store(2, Ordering::SeqCst);
    if way == Write::Script {
        // Its reply is not given before.
        l1.close();
    }
    acknowledged.store(true, Ordering::SeqCst);
    if l1.serving(&space, 2) {
        assert_ne!(way.look(&l1, &space), Some(1), "its own");
    }
    marker.send(()).expect("a lane");
    lane.join().expect("no panic");
    if l1.serving(&space, 2) {
        assert_ne!(way.look(&l1, &space), Some(1), "settled");
    }
    other.join().expect("no panic");
    assert!(!l1.write_in_flight(l1.hash(b"k")) && l1.serving(&space, 2));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    /// Of the key that is read.
    Key,
    /// The same, known by its hash alone.
    Hash,
    /// Of the second key of what is read.
    Further,
    /// Of any key.
    Any,
    /// Of a script, whose keys are not known.
    Script,
}

impl Write {
    fn read<T>(self, l1: &L1, then: impl FnOnce(Read<'_>, &[u64]) -> T) -> T {
        let (first, key) = (l1.hash(b"first"), l1.hash(b"k"));
        match self {
            Self::Further => then(l1.reply("SUNION", b"first", b"first, k"), &[first, key]),
            _ => then(l1.value(b"k"), &[key]),
        }
    }

    fn fill(self, l1: &L1, space: &Space, version: u64, epoch: Epoch) {
        self.read(l1, |read, keys| {
            put(
                l1,
                space,
                read,
                keys,
                version,
                epoch,
                End::Ttls(&[-1, -1][..keys.len()]),
            );
        });
    }

    fn look(self, l1: &L1, space: &Space) -> Option<u64> {
        self.read(l1, |read, _| look(l1, space, &read))
    }

    fn announce(self, l1: &L1) {
        match self {
            Self::Key | Self::Further => l1.begin_write(l1.hash(b"k"), b"k"),
            Self::Hash => l1.begin_write_of(l1.hash(b"k")),
            Self::Any => l1.begin_write_of_any(),
            Self::Script => {}
        }
    }

    fn settle(self, l1: &L1) {
        match self {
            Self::Key | Self::Further | Self::Hash => l1.end_write(l1.hash(b"k")),
            Self::Any => l1.end_write_of_any(),
            Self::Script => l1.open(1),
        }
    }
}

#[test]
fn nobody_is_shown_what_is_older_than_an_acknowledged_write() {
    for way in [
        Write::Key,
        Write::Hash,
        Write::Further,
        Write::Any,
        Write::Script,
    ] {
        explore(move || own_write(way, None));
    }
    for way in [Write::Key, Write::Hash, Write::Further] {
        let broken = fails(move || own_write(way, Some(Rule::InFlight)));
        assert!(broken, "{way:?}: the rule is needed");
    }
}

/// A lane is lost while a session announces a write and has it acknowledged over a connection of its own; the marker for it
/// fails with the lane, which comes back. Nobody who has seen it acknowledged is served what was frozen before it.
fn lost_lane(way: Write) {
    let settings = Settings {
        admit: Admit::Always,
        max_bytes: 1 << 23,
        serve_stale: Duration::from_secs(1),
        ..Settings::default()
    };
    let l1 = Arc::new(L1::new(settings, 2));
    let space = l1.add_space();
    space.prove(1);
    way.fill(&l1, &space, 1, l1.epoch());
    let server = Arc::new(AtomicU64::new(1));
    let (marker, pending) = channel();
    let lane = thread::spawn({
        let (l1, space, server) = (Arc::clone(&l1), Arc::clone(&space), Arc::clone(&server));
        move || {
            l1.freeze(&space);
            pending.recv().expect("a marker");
            way.settle(&l1);
            l1.thaw(&space);
            way.fill(&l1, &space, server.load(Ordering::SeqCst), l1.epoch());
            space.prove(3);
        }
    });
    let stale = {
        let (l1, space) = (Arc::clone(&l1), Arc::clone(&space));
        move || l1.true_until(&space).and_then(|_| way.look(&l1, &space))
    };
    way.announce(&l1);
    server.store(2, Ordering::SeqCst);
    if way == Write::Script {
        l1.close();
    }
    assert_ne!(stale(), Some(1), "acknowledged");
    marker.send(()).expect("a lane");
    assert_ne!(stale(), Some(1), "settled");
    lane.join().expect("no panic");
    assert_eq!(stale(), Some(2), "what the lane reads when it is back");
}

#[test]
fn nothing_older_than_an_acknowledged_write_is_served_stale() {
    for way in [
        Write::Key,
        Write::Hash,
        Write::Further,
        Write::Any,
        Write::Script,
    ] {
        explore(move || lost_lane(way));
    }
}

/// A write is in flight until the last of two lanes has brought its push.
fn settling() {
    let l1 = l1(Mode::On, None);
    let key = l1.hash(b"k");
    let server = Arc::new(AtomicU64::new(1));
    let lanes = [(); 2].map(|()| {
        let (l1, space, server) = (Arc::clone(&l1), l1.add_space(), Arc::clone(&server));
        let (marker, incoming) = channel::<Arc<Settling>>();
        let brought = Arc::clone(&space);
        let lane = thread::spawn(move || {
            let epoch = l1.epoch();
            fill(&l1, &space, b"k", server.load(Ordering::SeqCst), epoch);
            let settling = incoming.recv().expect("a marker");
            l1.invalidate(&space, b"k");
            drop(settling);
        });
        (marker, lane, brought)
    });
    l1.begin_write(key, b"k");
    server.store(2, Ordering::SeqCst);
    let writes = Unsettled {
        hashes: vec![key],
        ..Unsettled::default()
    };
    let settling = Settling::new(&l1, writes);
    for (marker, ..) in &lanes {
        marker.send(Arc::clone(&settling)).expect("a lane");
    }
    drop(settling);
    for (_, _, space) in &lanes {
        assert_ne!(look(&l1, space, &l1.value(b"k")), Some(1));
    }
    for (_, lane, space) in lanes {
        lane.join().expect("no panic");
        assert_ne!(look(&l1, &space, &l1.value(b"k")), Some(1));
    }
    assert!(!l1.write_in_flight(key));
}

#[test]
fn a_write_is_in_flight_until_every_lane_has_brought_its_push() {
    explore(settling);
}

/// A session finds a key held and sends a plain read of something else of it. If a drop comes before the reply, in whichever
/// thread, the server may track the key no more, and the reply must not be kept.
fn plain_read(drop: impl Fn(&L1, &Space) + Send + Sync + 'static, rule: Option<Rule>) {
    let l1 = l1(Mode::On, rule);
    let space = l1.add_space();
    fill(&l1, &space, b"k", 1, l1.epoch());
    let (send, incoming) = channel();
    let lane = thread::spawn({
        let (l1, space) = (Arc::clone(&l1), Arc::clone(&space));
        move || {
            drop(&l1, &space);
            let Ok((held, epoch)) = incoming.recv() else {
                return;
            };
            let read = l1.reply("HGET", b"k", b"k, f");
            put(
                &l1,
                &space,
                read,
                &[l1.hash(b"k")],
                1,
                epoch,
                End::Held(held),
            );
        }
    });
    let epoch = l1.epoch();
    if let Some(held) = l1.held(&space, l1.hash(b"k"), b"k", 2) {
        send.send((held, epoch)).expect("a lane");
    }
    std::mem::drop(send);
    lane.join().expect("no panic");
    assert_eq!(look(&l1, &space, &l1.reply("HGET", b"k", b"k, f")), None);
}

#[test]
fn a_plain_read_of_a_key_that_was_held_is_kept_only_if_nothing_has_dropped_it() {
    let push = |l1: &L1, space: &Space| l1.invalidate(space, b"k");
    explore(move || plain_read(push, None));
    explore(|| plain_read(L1::flush, None));
    explore(|| plain_read(L1::clear_space, None));
    explore(|| plain_read(|l1, _| l1.begin_write(l1.hash(b"k"), b"k"), None));
    explore(|| {
        let drop = |l1: &L1, _: &Space| {
            l1.drop_by_hand(b"k");
        };
        plain_read(drop, None);
    });
    explore(|| {
        let drop = |l1: &L1, _: &Space| {
            l1.clear_by_hand();
        };
        plain_read(drop, None);
    });
    assert!(fails(move || plain_read(push, Some(Rule::Held))));
}

/// What was sent before a drop by hand, or before all was dropped for good, is not put in behind it.
fn refused(drop: impl Fn(&L1) + Send + Sync + 'static) {
    let l1 = l1(Mode::On, None);
    let space = l1.add_space();
    let epoch = l1.epoch();
    let lane = thread::spawn({
        let (l1, space) = (Arc::clone(&l1), Arc::clone(&space));
        move || fill(&l1, &space, b"k", 1, epoch)
    });
    drop(&l1);
    assert_eq!(look(&l1, &space, &l1.value(b"k")), None);
    lane.join().expect("no panic");
    assert_eq!(look(&l1, &space, &l1.value(b"k")), None);
}

#[test]
fn what_was_sent_before_a_drop_by_hand_is_not_there_behind_it() {
    explore(|| {
        refused(|l1| {
            l1.drop_by_hand(b"k");
        });
    });
    explore(|| {
        refused(|l1| {
            l1.clear_by_hand();
        });
    });
    explore(|| refused(L1::clear_and_refuse_sent));
    explore(|| refused(|l1| l1.set_sample(1)));
    explore(|| refused(|l1| l1.switch(Mode::Off)));
    explore(|| {
        refused(|l1| {
            l1.begin_drop_by_pattern();
            l1.drop_named(b"k");
        });
    });
}

/// A session that writes now and then, announced where it is to be, while L1 is switched off and on and the lane brings
/// what it has read. What it writes unannounced no push has told of, even at the end; neither it nor anybody who has seen
/// it acknowledged is shown what is older.
fn modes(first: Mode) {
    let l1 = l1(first, None);
    let space = l1.add_space();
    let server = Arc::new(AtomicU64::new(1));
    // The lane's stream: nothing comes between a read and its fill, but what other connections do.
    let stream = Arc::new(Mutex::new(()));
    let lane = thread::spawn({
        let (l1, space, server) = (Arc::clone(&l1), Arc::clone(&space), Arc::clone(&server));
        let stream = Arc::clone(&stream);
        move || {
            for _ in 0..2 {
                let _stream = stream.lock();
                // As behind a write that is written through: whether L1 is on is not asked.
                let epoch = l1.epoch();
                let version = server.load(Ordering::SeqCst);
                fill(&l1, &space, b"k", version, epoch);
            }
        }
    });
    let operator = thread::spawn({
        let l1 = Arc::clone(&l1);
        move || {
            for mode in [Mode::Off, Mode::On] {
                l1.switch(mode);
            }
        }
    });
    let acknowledged = Arc::new(AtomicU64::new(1));
    let other = thread::spawn({
        let (l1, space, seen) = (
            Arc::clone(&l1),
            Arc::clone(&space),
            Arc::clone(&acknowledged),
        );
        move || {
            for _ in 0..2 {
                let least = seen.load(Ordering::SeqCst);
                if l1.mode() == Mode::On {
                    let shown = look(&l1, &space, &l1.value(b"k"));
                    assert!(
                        shown.is_none_or(|shown| shown >= least),
                        "{shown:?} of {least}"
                    );
                }
            }
        }
    });
    let (key, mut announces) = (l1.hash(b"k"), l1.enter());
    for version in 2..4 {
        if announces && !l1.is_announced_to() {
            announces = !l1.fall_mute();
        } else if !announces && l1.is_announced_to() {
            l1.speak_up();
            announces = true;
        }
        if announces {
            l1.begin_write(key, b"k");
            let lane = stream.lock();
            server.store(version, Ordering::SeqCst);
            l1.invalidate(&space, b"k");
            drop(lane);
            l1.end_write(key);
        } else {
            server.store(version, Ordering::SeqCst);
        }
        acknowledged.store(version, Ordering::SeqCst);
        if announces && l1.mode() == Mode::On {
            let shown = look(&l1, &space, &l1.value(b"k"));
            assert!(
                shown.is_none_or(|shown| shown == version),
                "{shown:?} of {version}"
            );
        }
    }
    operator.join().expect("no panic");
    other.join().expect("no panic");
    if !announces {
        l1.speak_up();
    }
    assert_eq!(l1.asked_mode(), (Mode::On, false), "all have spoken up");
    let shown = look(&l1, &space, &l1.value(b"k"));
    assert!(shown.is_none_or(|shown| shown == 3), "{shown:?} in the end");
    lane.join().expect("no panic");
    let shown = look(&l1, &space, &l1.value(b"k"));
    assert!(
        shown.is_none_or(|shown| shown == 3),
        "{shown:?} behind the lane"
    );
}

#[test]
fn what_was_written_unannounced_is_not_contradicted_when_l1_is_on_again() {
    explore(|| modes(Mode::On));
    explore(|| modes(Mode::Off));
}

/// What is sent down a lane.
enum Sent {
    Read(Arc<Flight>),
    Write(u64),
    Marker,
}

/// How a session writes before another joins a read.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    /// Over a connection of its own, with a marker down the lane behind it.
    Own,
    /// Down the lane of the read.
    Lane,
    /// As the first, and announced as if it were the second.
    OwnInDisguise,
    /// Down another lane, and it may have changed any key; with a marker down this one.
    AnyElsewhere,
}

/// A session that joins a read gets its reply, once, and it is not older than what another was told that it has written
/// before the session joined.
fn flight(written: Written, rule: Option<Rule>) {
    let l1 = l1(Mode::On, rule);
    let space = l1.add_space();
    let flights = Arc::new(Flights::default());
    let (server, acknowledged) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(1)));
    let (send, incoming) = channel();
    let lane = thread::spawn({
        let (l1, space, flights) = (Arc::clone(&l1), Arc::clone(&space), Arc::clone(&flights));
        let (server, acknowledged) = (Arc::clone(&server), Arc::clone(&acknowledged));
        move || {
            while let Ok(sent) = incoming.recv() {
                match sent {
                    Sent::Read(flight) => {
                        let version = server.load(Ordering::SeqCst);
                        answer(&flights, &flight, version.to_string().as_bytes());
                    }
                    Sent::Write(version) => {
                        server.store(version, Ordering::SeqCst);
                        acknowledged.store(version, Ordering::SeqCst);
                        l1.end_write(l1.hash(b"k"));
                        l1.invalidate(&space, b"k");
                    }
                    Sent::Marker if written == Written::AnyElsewhere => l1.end_write_of_any(),
                    Sent::Marker => l1.end_write(l1.hash(b"k")),
                }
            }
        }
    });
    let ask = {
        let (l1, flights, send) = (Arc::clone(&l1), Arc::clone(&flights), send.clone());
        move || {
            let flight = Departures::default().begin(&l1, &l1.value(b"k"), 1);
            // Its reply may be there before it is known to be under way.
            send.send(Sent::Read(Arc::clone(&flight))).expect("a lane");
            flights.add(flight);
        }
    };
    let first = thread::spawn(ask.clone());
    let writer = thread::spawn({
        let (l1, space, send) = (Arc::clone(&l1), Arc::clone(&space), send.clone());
        let acknowledged = Arc::clone(&acknowledged);
        move || {
            let key = l1.hash(b"k");
            match written {
                Written::Own => l1.begin_write(key, b"k"),
                Written::Lane | Written::OwnInDisguise => l1.begin_lane_write(&space, key, b"k"),
                Written::AnyElsewhere => l1.begin_write_of_any(),
            }
            // Somebody reads before it is sent.
            ask();
            if written == Written::Lane {
                send.send(Sent::Write(2)).expect("a lane");
            } else {
                server.store(2, Ordering::SeqCst);
                acknowledged.store(2, Ordering::SeqCst);
                send.send(Sent::Marker).expect("a lane");
            }
        }
    });
    let session: Arc<Mailbox> = Arc::default();
    let read = l1.value(b"k");
    let least = acknowledged.load(Ordering::SeqCst);
    let join = Join {
        session: &session,
        resp2: None,
        repeatable: true,
        now: 1,
    };
    let barred = l1.written_beside(&space, read.key) && rule.is_none();
    let joined = !barred && flights.join(&l1, &read, &join);
    if joined {
        // As a session waits: it is woken by what comes.
        shuttle::future::block_on(std::future::poll_fn(|context| {
            session.register(context.waker());
            if session.lock().answered == 1 {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        }));
    }
    first.join().expect("no panic");
    writer.join().expect("no panic");
    drop(send);
    lane.join().expect("no panic");
    let mail = session.lock();
    assert_eq!(
        (mail.submitted, mail.answered),
        (u64::from(joined), u64::from(joined))
    );
    let told = std::str::from_utf8(&mail.out).expect("text").parse();
    assert!(
        !joined || told.is_ok_and(|version: u64| version >= least),
        "{:?}, and {least} was written",
        mail.out
    );
}

#[test]
fn who_joins_a_read_gets_its_reply_and_none_that_is_older_than_what_was_written() {
    explore(|| flight(Written::Own, None));
    explore(|| flight(Written::Lane, None));
    explore(|| flight(Written::AnyElsewhere, None));
    assert!(fails(|| flight(Written::Own, Some(Rule::JoinDropped))));
    assert!(fails(|| flight(Written::OwnInDisguise, None)));
}

/// A claim is taken while the lane's reader applies what takes the entry back: it finds nothing, or is known to have been
/// withdrawn by whoever has applied that. Otherwise an audit would hold what was written for an error of L1's.
fn claimed(drop: impl Fn(&L1, &Space) + Send + Sync + 'static) {
    let l1 = l1(Mode::On, None);
    let space = l1.add_space();
    space.prove(1);
    assert!(fill(&l1, &space, b"k", 1, l1.epoch()));
    let reader = thread::spawn({
        let (l1, space) = (Arc::clone(&l1), Arc::clone(&space));
        move || drop(&l1, &space)
    });
    let read = l1.value(b"k");
    let claim = l1.claim(&space, &read, &[read.key], 2);
    reader.join().expect("no panic");
    assert!(claim.is_none_or(|claim| l1.has_withdrawn(&claim)));
}

#[test]
fn a_claim_is_known_to_be_withdrawn() {
    explore(|| claimed(|l1, space| l1.invalidate(space, b"k")));
    explore(|| claimed(L1::flush));
    explore(|| claimed(L1::lane_lost));
    explore(|| claimed(|l1, _| l1.begin_write(l1.hash(b"k"), b"k")));
    explore(|| claimed(|l1, _| l1.clear_and_refuse_sent()));
    explore(|| {
        claimed(|l1, _| {
            l1.clear_by_hand();
        });
    });
}
