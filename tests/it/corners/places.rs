//! Sessions whose user and database have no lane, for want of rights or of room.

use std::time::Duration;

use nearside::upstream::settings::Choice;

use crate::coherence::rig::QUIET;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::relay::Relay;
use crate::support::resp::Value;

/// A server with a user who may do anything but change the database.
fn server_with_amy() -> RedisServer {
    let server = RedisServer::start(&[]);
    let rights = ["on", ">secret", "~*", "&*", "+@all", "-select"];
    let mut command = vec!["ACL", "SETUSER", "amy"];
    command.extend(rights);
    server.client().must(&command);
    server
}

fn all(client: &mut Client, commands: &[&[&str]]) -> Vec<Value> {
    for command in commands {
        client.send(command);
    }
    client.flush();
    commands.iter().map(|_| client.read()).collect()
}

/// Such a user comes to a database by being let in where the session already is; there is no lane of it, and its
/// session is served all the same, from the first command on.
#[test]
fn a_user_who_may_not_select_is_served_in_the_database_where_it_was_let_in() {
    let server = server_with_amy();
    let near = Nearside::start(server.addr(), |settings| {
        settings.l1.max_staleness = QUIET;
    });
    let attempt = |mut client: Client, key: &str| {
        let mut replies = all(
            &mut client,
            &[
                &["SELECT", "3"],
                &["AUTH", "amy", "secret"],
                &["SET", key, "1"],
                &["GET", key],
            ],
        );
        for _ in 0..20 {
            replies.extend(all(&mut client, &[&["INCR", key], &["SELECT", "3"]]));
        }
        replies.extend(all(
            &mut client,
            &[&["MULTI"], &["INCR", key], &["EXEC"], &["DEL", key]],
        ));
        replies
    };
    let expected = attempt(server.client(), "k");
    for _ in 0..2 {
        assert_eq!(attempt(near.session(), "k"), expected);
    }
}

/// The same where the operator has chosen that database for everybody.
#[test]
fn a_user_who_may_not_select_is_served_in_the_database_of_all() {
    let server = server_with_amy();
    let near = Nearside::start(server.addr(), |settings| {
        if let Choice::Endpoint(endpoint) = &mut settings.upstream {
            endpoint.db = 3;
        }
    });
    let mut direct = server.client();
    direct.must(&["SELECT", "3"]);
    for n in 1..10 {
        let mut session = near.session();
        let replies = all(
            &mut session,
            &[&["AUTH", "amy", "secret"], &["INCR", "k"], &["GET", "k"]],
        );
        assert_eq!(replies[1], Value::Int(n), "{replies:?}");
        assert_eq!(direct.call(&["GET", "k"]), replies[2]);
    }
}

/// SELECT is refused in the server's own words, also of the database where the session is, and where others are.
#[test]
fn select_is_refused_to_a_user_without_the_right_to_it() {
    let server = server_with_amy();
    let near = Nearside::start(server.addr(), |_| {});
    let attempt = |mut client: Client| {
        client.must(&["AUTH", "amy", "secret"]);
        client.must(&["SET", "k", "1"]);
        all(&mut client, &[&["SELECT", "0"], &["SELECT", "1"]])
    };
    let expected = attempt(server.client());
    assert!(expected.iter().all(Value::is_error));
    for _ in 0..2 {
        assert_eq!(attempt(near.session()), expected);
    }
    // From elsewhere to where her lane is up.
    let attempt = |mut client: Client| {
        client.must(&["SELECT", "1"]);
        client.must(&["AUTH", "amy", "secret"]);
        all(&mut client, &[&["SELECT", "0"], &["SELECT", "1"]])
    };
    let mut first = near.session();
    first.must(&["AUTH", "amy", "secret"]);
    first.must(&["SET", "k", "1"]);
    assert_eq!(attempt(near.session()), attempt(server.client()));
}

/// A connection that the server gives up takes a client along for whom there could be no other.
#[test]
fn a_user_who_cannot_be_let_in_again_is_cut_off_with_its_connection() {
    let server = server_with_amy();
    let near = Nearside::start(server.addr(), |_| {});
    let mut session = near.session();
    session.must(&["SELECT", "3"]);
    session.must(&["AUTH", "amy", "secret"]);
    session.must(&["SET", "k", "1"]);
    eventually("the end of the lane's attempt", || {
        let log = server.client().call(&["ACL", "LOG"]);
        (!log.elements().is_empty()).then_some(())
    });
    session.must(&["SET", "k", "2"]);
    let mut direct = server.client();
    let list = direct.call(&["CLIENT", "LIST"]);
    let list = list.text().expect("a list").to_owned();
    let own = list
        .lines()
        .find(|line| line.contains("user=amy") && line.contains(" db=3 "));
    let id = own.and_then(|own| own.split([' ', '=']).nth(1));
    direct.must(&["CLIENT", "KILL", "ID", id.expect("her connection")]);
    assert!(session.try_read().is_err(), "as the server would have done");
}

/// What led a session to its place goes when the lane is up, also if the client sends nothing more.
#[test]
fn a_connection_that_has_done_its_work_goes() {
    let server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |_| {});
    let mut session = near.session();
    session.must(&["SELECT", "1"]);
    let mut direct = server.client();
    eventually("lanes alone", || {
        let list = direct.call(&["CLIENT", "LIST"]);
        let connections = list.text().expect("a list").lines();
        let of_lane = |line: &&str| line.contains("name=nearside-lane");
        let (lanes, others): (Vec<&str>, Vec<&str>) = connections.partition(of_lane);
        (lanes.len() == 2 && others.len() == 1).then_some(())
    });
}

/// A session for whose place there was no room takes a seat when there is.
#[test]
fn a_session_without_a_lane_gets_one_when_there_is_room() {
    let server = RedisServer::start(&[]);
    let relay = Relay::start(server.addr());
    let near = Nearside::start(relay.addr(), |settings| {
        settings.l1.max_staleness = QUIET;
        settings.lane.lane_overdue = QUIET;
        settings.lane.max_lanes = 2;
        settings.lane.lane_idle = Duration::from_millis(50);
    });
    let (mut first, mut second) = (near.session(), near.session());
    first.must(&["SELECT", "1"]);
    first.must(&["SET", "k", "1"]);
    eventually("a second lane", || (relay.lanes() == 2).then_some(()));
    second.must(&["SELECT", "2"]);
    let mark = relay.mark();
    second.must(&["SET", "mine", "1"]);
    let by_lane = |relay: &Relay| {
        relay.sent(mark, |command| {
            command.get(1).is_some_and(|key| key == b"mine")
        })
    };
    assert!(!by_lane(&relay), "there is no room");
    // While state hangs on its own connection it stays there.
    second.must(&["WATCH", "watched"]);
    drop(first);
    // Room now, and somebody else's lane is not what it waits for.
    eventually("room", || {
        let mut third = near.session();
        third.must(&["SELECT", "3"]);
        third.must(&["GET", "k"]);
        (relay.lanes() == 3).then_some(())
    });
    second.must(&["SET", "mine", "2"]);
    assert!(!by_lane(&relay), "it is watching");
    second.must(&["UNWATCH"]);
    eventually("the lane", || {
        second.must(&["SET", "mine", "3"]);
        by_lane(&relay).then_some(())
    });
    let mut direct = server.client();
    direct.must(&["SELECT", "2"]);
    assert_eq!(direct.call(&["GET", "mine"]).text(), Some("3"));
}
