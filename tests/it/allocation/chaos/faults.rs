//! Faults that lose nothing: whatever the ledger said stays true, and all comes back in the end.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::super::api::Port;
use super::super::rig::Caller;
use super::super::wire::Wire;
use super::{Book, Manner, hold};
use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::rng::Rng;

const WINDOW: Duration = Duration::from_millis(700);

/// A journal that is written before anything is answered.
const JOURNAL: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

const BUSY: Manner = Manner {
    most: 2,
    holds: 30,
    leaves: 6,
    keys: 4,
    ttl: 20_000,
    rounds: 30,
};

/// Where a fault takes seconds.
const SLOW: Manner = Manner { rounds: 10, ..BUSY };

/// Three nearsides in front of one server, each over a wire of its own.
pub(super) struct Three {
    pub(super) wires: [Wire; 3],
    ports: [Port; 3],
}

impl Three {
    pub(super) fn start(server: SocketAddr, capacity: u64, window: Duration) -> Self {
        let wires = [(); 3].map(|()| Wire::start(server));
        let ports = [0, 1, 2].map(|at| {
            Port::start(wires[at].addr(), &format!("pod-{at}"), |settings| {
                settings.allocation.ledger.reassert_window = window;
            })
        });
        ports[0].put("p", capacity);
        Self { wires, ports }
    }

    /// Three holders at each nearside, while `fault` is done again and again, each time with another number.
    pub(super) fn run(&self, manner: Manner, mut fault: impl FnMut(u64)) -> Book {
        let book = Book::default();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let holders = (0..9_u16).map(|at| {
                let http = self.ports[usize::from(at % 3)].http;
                let book = &book;
                scope.spawn(move || hold(http, u64::from(at) + 1, manner, book))
            });
            let holders: Vec<_> = holders.collect();
            let over = &over;
            scope.spawn(move || {
                for holder in holders {
                    let _ = holder.join();
                }
                over.store(true, Ordering::SeqCst);
            });
            let mut number = 0;
            while !over.load(Ordering::SeqCst) {
                fault(number);
                number += 1;
            }
            assert!(number > 1, "it was over before the second fault");
        });
        book
    }

    /// All was given back or has expired, and the ledger's numbers agree.
    pub(super) fn assert_settled(&self, server: &RedisServer, book: &Book, capacity: u64) {
        book.assert_kept(capacity);
        eventually("all of it back", || {
            (self.ports[0].used("p") == 0).then_some(())
        });
        let mut caller = Caller::new(server.addr(), "default", "auditor", 0);
        caller.scripts = Some(true);
        caller.assert_sound();
        let (granted, refused) = (book.promises().len(), book.refused());
        assert!(refused < granted, "{granted} granted, {refused} refused");
    }
}

pub(super) fn pause(rng: &mut Rng, most: usize) {
    thread::sleep(Duration::from_millis(20 + rng.below(most) as u64));
}

#[test]
fn a_server_that_is_killed_and_has_a_journal() {
    let mut server = RedisServer::start(&JOURNAL);
    let three = Three::start(server.addr(), 7, WINDOW);
    let mut rng = Rng::new(1);
    let book = three.run(SLOW, |_| {
        pause(&mut rng, 1500);
        server.kill();
        pause(&mut rng, 500);
        server.start_again();
    });
    three.assert_settled(&server, &book, 7);
}

#[test]
fn connections_that_are_cut_and_answers_that_are_lost() {
    let server = RedisServer::start(&[]);
    let three = Three::start(server.addr(), 7, WINDOW);
    let mut rng = Rng::new(2);
    let book = three.run(BUSY, |number| {
        pause(&mut rng, 80);
        let wire = &three.wires[rng.below(3)];
        match number % 4 {
            0 => wire.cut(),
            1 => wire.lose(r#""outcome":"granted""#, 1),
            2 => wire.lose(r#""outcome":"released""#, 1),
            _ => wire.lose(r#""outcome":"queued""#, 1),
        }
    });
    let lost: usize = three.wires.iter().map(Wire::lost).sum();
    assert!(lost > 3, "only {lost} answers were lost");
    three.assert_settled(&server, &book, 7);
}

#[test]
fn functions_and_scripts_that_are_flushed() {
    let server = RedisServer::start(&[]);
    let three = Three::start(server.addr(), 7, WINDOW);
    let mut redis = server.client();
    let mut rng = Rng::new(3);
    let book = three.run(BUSY, |number| {
        pause(&mut rng, 50);
        let what = if number % 2 == 0 {
            "FUNCTION"
        } else {
            "SCRIPT"
        };
        redis.must(&[what, "FLUSH"]);
    });
    three.assert_settled(&server, &book, 7);
}

#[test]
fn scripts_that_are_flushed_where_there_are_no_functions() {
    let server = RedisServer::start(&[
        "--rename-command",
        "FCALL",
        "",
        "--rename-command",
        "FUNCTION",
        "",
    ]);
    let three = Three::start(server.addr(), 7, WINDOW);
    let mut redis = server.client();
    let mut rng = Rng::new(4);
    let book = three.run(BUSY, |_| {
        pause(&mut rng, 50);
        redis.must(&["SCRIPT", "FLUSH"]);
    });
    three.assert_settled(&server, &book, 7);
}

#[test]
fn a_server_that_is_stopped_for_a_while() {
    let server = RedisServer::start(&[]);
    let three = Three::start(server.addr(), 7, WINDOW);
    let mut rng = Rng::new(5);
    let book = three.run(SLOW, |_| {
        pause(&mut rng, 900);
        server.freeze();
        pause(&mut rng, 1200);
        server.thaw();
    });
    three.assert_settled(&server, &book, 7);
}

#[test]
fn a_server_without_memory() {
    let server = RedisServer::start(&[]);
    let three = Three::start(server.addr(), 7, WINDOW);
    let mut redis = server.client();
    let mut rng = Rng::new(6);
    let book = three.run(BUSY, |_| {
        pause(&mut rng, 1500);
        redis.must(&["CONFIG", "SET", "maxmemory", "1"]);
        pause(&mut rng, 300);
        redis.must(&["CONFIG", "SET", "maxmemory", "0"]);
    });
    three.assert_settled(&server, &book, 7);
}

/// 1,000 requests with five seconds each, and room for all of them.
#[test]
fn nearly_every_request_is_granted_through_faults_of_two_seconds() {
    let mut server = RedisServer::start(&JOURNAL);
    // What it is where nobody says otherwise.
    let three = Three::start(server.addr(), 18, Duration::from_secs(2));
    // What tells that grants go on takes no room from anybody.
    three.ports[0].put("q", 1);
    let other = json!({ "resources": [{ "type": "pool:q", "amount": 1 }], "wait_ms": 10_000 });
    let mut rng = Rng::new(7);
    let manner = Manner {
        most: 2,
        holds: 80,
        leaves: 0,
        keys: 10,
        ttl: 20_000,
        rounds: 112,
    };
    let book = three.run(manner, |number| {
        pause(&mut rng, 500);
        let wire = &three.wires[rng.below(3)];
        match number % 6 {
            0 => {
                server.kill();
                thread::sleep(Duration::from_millis(1700));
                server.start_again();
                // Its journal is whole, but nobody can know that: grants pause.
                let granted = three.ports[0].acquire(&other);
                assert_eq!(granted.status, 201, "{granted:?}");
                assert_eq!(three.ports[0].release(&granted).status, 204);
            }
            1 => wire.cut(),
            2 => wire.lose(r#""outcome":"granted""#, 3),
            3 => drop(server.client().must(&["FUNCTION", "FLUSH"])),
            4 => {
                server.freeze();
                thread::sleep(Duration::from_secs(2));
                server.thaw();
            }
            _ => wire.lose(r#""outcome":"released""#, 3),
        }
    });
    three.assert_settled(&server, &book, 18);
    let (granted, refused) = (book.promises().len(), book.refused());
    assert!(
        granted + refused > 1000 && refused <= 1,
        "{granted} granted, {refused} refused"
    );
}
