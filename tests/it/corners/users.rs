//! Users whose passwords change while they are here.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use crate::coherence::rig::QUIET;
use crate::support::client::Client;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::scripted::{Scripted, usual};
use crate::support::{PATIENCE, eventually};

fn start(server: &RedisServer) -> Nearside {
    Nearside::start(server.addr(), |settings| settings.l1.max_staleness = QUIET)
}

fn set_password(server: &RedisServer, password: &str) {
    let password = format!(">{password}");
    server.client().must(&[
        "ACL", "SETUSER", "amy", "reset", "on", &password, "~*", "&*", "+@all",
    ]);
}

/// The numbers of her lanes at the server.
fn lanes(server: &RedisServer) -> Vec<String> {
    let list = server.client().call(&["CLIENT", "LIST"]);
    let list = list.text().expect("a list").to_owned();
    list.lines()
        .filter(|line| line.contains(" name=nearside-lane ") && line.contains(" user=amy "))
        .map(|line| {
            line.split([' ', '='])
                .nth(1)
                .expect("its number")
                .to_owned()
        })
        .collect()
}

fn cut_lanes(server: &RedisServer) {
    for id in lanes(server) {
        server.client().must(&["CLIENT", "KILL", "ID", &id]);
    }
}

fn is_closed(session: &mut Client) -> bool {
    session.send(&["GET", "k"]);
    session.try_flush().is_err() || session.try_read().is_err()
}

/// With the password changed nobody is cut off before the lane has to be made again, as Redis keeps who is in.
#[test]
fn a_changed_password_locks_out_at_the_lane_s_reconnect_in_every_database() {
    let server = RedisServer::start(&[]);
    let near = start(&server);
    set_password(&server, "old");
    let mut sessions: Vec<Client> = ["0", "1", "2"]
        .iter()
        .map(|db| {
            let mut session = near.session();
            session.must(&["AUTH", "amy", "old"]);
            session.must(&["SELECT", db]);
            session.must(&["SET", "k", db]);
            session
        })
        .collect();
    // Has authenticated, and is somebody else now.
    let mut elsewhere = near.session();
    elsewhere.must(&["AUTH", "amy", "old"]);
    elsewhere.must(&["RESET"]);
    eventually("her lanes", || (lanes(&server).len() == 3).then_some(()));
    set_password(&server, "new");
    for session in &mut sessions {
        session.must(&["GET", "k"]);
    }
    cut_lanes(&server);
    for session in &mut sessions {
        eventually("its end", || is_closed(session).then_some(()));
    }
    elsewhere.must(&["GET", "k"]);
    let mut late = near.session();
    let refusal = late.call(&["AUTH", "amy", "old"]);
    assert_eq!(refusal, server.client().call(&["AUTH", "amy", "old"]));
    // Whoever has the new password is let in at once, in every database, and stays.
    for db in ["2", "1", "0"] {
        let mut session = near.session();
        session.must(&["AUTH", "amy", "new"]);
        session.must(&["SELECT", db]);
        assert_eq!(session.call(&["GET", "k"]).text(), Some(db));
        assert_eq!(session.call(&["ACL", "WHOAMI"]).text(), Some("amy"));
        eventually("her lane", || {
            assert_eq!(session.call(&["GET", "k"]).text(), Some(db));
            (lanes(&server).len() > 2 - db.parse::<usize>().expect("a number")).then_some(())
        });
    }
}

/// A client that was locked out while it was idle is not let in again by somebody else's password.
#[test]
fn who_was_locked_out_stays_so_when_another_is_let_in() {
    let server = RedisServer::start(&[]);
    let near = start(&server);
    set_password(&server, "old");
    let (mut idle, mut busy) = (near.session(), near.session());
    for session in [&mut idle, &mut busy] {
        session.must(&["AUTH", "amy", "old"]);
        session.must(&["SET", "k", "1"]);
    }
    eventually("nearside's own lane and hers", || {
        (near.running().lanes_up() == 2).then_some(())
    });
    // From here on they are served by that.
    for session in [&mut idle, &mut busy] {
        session.must(&["GET", "k"]);
    }
    set_password(&server, "new");
    cut_lanes(&server);
    eventually("the end of the busy one", || {
        is_closed(&mut busy).then_some(())
    });
    let mut fresh = near.session();
    fresh.must(&["AUTH", "amy", "new"]);
    eventually("her lane", || {
        assert_eq!(fresh.call(&["GET", "k"]).text(), Some("1"));
        (lanes(&server).len() == 1).then_some(())
    });
    assert!(is_closed(&mut idle));
    assert_eq!(fresh.call(&["GET", "k"]).text(), Some("1"));
}

/// The same password, right again, lets in who gives it.
#[test]
fn a_user_that_is_switched_off_and_on_again_is_back() {
    let server = RedisServer::start(&[]);
    let near = start(&server);
    set_password(&server, "old");
    let mut before = near.session();
    before.must(&["AUTH", "amy", "old"]);
    before.must(&["SET", "k", "1"]);
    eventually("nearside's own lane and hers", || {
        (near.running().lanes_up() == 2).then_some(())
    });
    // From here on it is served by that.
    before.must(&["GET", "k"]);
    server.client().must(&["ACL", "SETUSER", "amy", "off"]);
    cut_lanes(&server);
    eventually("its end", || is_closed(&mut before).then_some(()));
    server.client().must(&["ACL", "SETUSER", "amy", "on"]);
    let mut fresh = near.session();
    fresh.must(&["AUTH", "amy", "old"]);
    eventually("her lane", || {
        assert_eq!(fresh.call(&["GET", "k"]).text(), Some("1"));
        (lanes(&server).len() == 1).then_some(())
    });
    assert_eq!(fresh.call(&["GET", "k"]).text(), Some("1"));
}

/// The lane's attempt with the old password is refused after the upstream has taken the new one from a client.
#[test]
fn a_refusal_that_comes_late_locks_out_nobody_who_was_let_in_meanwhile() {
    let (release, released) = channel::<()>();
    let (seen, attempt) = channel::<()>();
    let (seen, released) = (Mutex::new(seen), Mutex::new(released));
    let password = Arc::new(Mutex::new("old"));
    let right = Arc::clone(&password);
    let upstream = Scripted::start(move |_, command| {
        let refused = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
        let right = *right.lock().expect("unpoisoned");
        match command {
            ["HELLO", "3", "AUTH", "amy", "old"] if right == "new" => {
                seen.lock().expect("unpoisoned").send(()).ok();
                released.lock().expect("unpoisoned").recv().ok();
                Some(refused.to_vec())
            }
            ["HELLO", "3", "AUTH", "amy", given] | ["AUTH", "amy", given] if *given != right => {
                Some(refused.to_vec())
            }
            _ => Some(usual(command)),
        }
    });
    // Dropped before the upstream is, which waits for its threads.
    let release = release;
    let near = Nearside::start(upstream.addr(), |settings| {
        settings.lane.handshake_timeout = QUIET;
    });
    let mut before = near.session();
    before.must(&["AUTH", "amy", "old"]);
    before.must(&["GET", "k"]);
    eventually("nearside's own lane and hers", || {
        (near.running().lanes_up() == 2).then_some(())
    });
    *password.lock().expect("unpoisoned") = "new";
    upstream.cut();
    let attempted = attempt.recv_timeout(PATIENCE);
    attempted.expect("an attempt with the old password");
    let mut session = near.session();
    session.must(&["AUTH", "amy", "new"]);
    release.send(()).expect("the attempt");
    drop(release);
    for _ in 0..3 {
        assert_eq!(session.call(&["GET", "k"]).text(), Some("v"));
    }
    // The next attempt is with the new one, and does not keep it waiting.
    eventually("her lane", || {
        (upstream.count(&["HELLO", "3", "AUTH", "amy", "new"]) > 0).then_some(())
    });
    for _ in 0..3 {
        assert_eq!(session.call(&["GET", "k"]).text(), Some("v"));
    }
    assert!(is_closed(&mut before));
}
