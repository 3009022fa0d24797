//! Nearsides of one name drop together.

use std::net::SocketAddr;
use std::time::Duration;

use nearside::upstream::settings::{Choice, Credentials};

use super::http::ask;
use super::number;
use crate::coherence::rig::QUIET;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;
use crate::support::resp::Value;

fn member(server: &RedisServer, name: &str) -> Nearside {
    Nearside::start(server.addr(), |settings| {
        settings.proxy.fleet = Some(name.to_owned());
        settings.l1.max_staleness = QUIET;
        settings.admin.http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    })
}

/// Waits until so many are told what one says.
fn together(one: &mut Client, count: i64) {
    eventually("the fleet", || {
        let told = one.call(&["NEARSIDE", "INVALIDATE", "KEY", "nosuch", "FLEET"]);
        (told == Value::Int(count)).then_some(())
    });
}

fn holds(near: &Nearside, key: &str) -> bool {
    let entries = near.running().l1_entries();
    let end = format!("\r\n{key}\r\n");
    entries
        .iter()
        .any(|(request, _)| request.ends_with(end.as_bytes()))
}

fn warm(near: &Nearside, key: &str) {
    let mut session = near.session();
    eventually("an entry", || {
        session.must(&["GET", key]);
        holds(near, key).then_some(())
    });
}

#[test]
fn all_of_a_name_drop_and_no_others() {
    let server = RedisServer::start(&[]);
    let (one, two, stranger) = (
        member(&server, "shop"),
        member(&server, "shop"),
        member(&server, "other"),
    );
    let mut session = one.session();
    together(&mut session, 2);
    together(&mut stranger.session(), 1);
    for form in [&["KEY", "user:1"][..], &["PATTERN", "user:*"], &["ALL"]] {
        for near in [&one, &two, &stranger] {
            warm(near, "user:1");
            warm(near, "kept");
        }
        let command = [&["NEARSIDE", "INVALIDATE"][..], form, &["FLEET"]].concat();
        assert_eq!(session.call(&command), Value::Int(2), "{form:?}");
        assert!(!holds(&one, "user:1"), "{form:?}");
        eventually("the other's drop", || {
            (!holds(&two, "user:1")).then_some(())
        });
        let all = form == ["ALL"];
        assert_eq!(
            (holds(&one, "kept"), holds(&two, "kept")),
            (!all, !all),
            "{form:?}"
        );
        assert!(holds(&stranger, "user:1"), "{form:?}");
    }
    warm(&two, "user:1");
    let http = one.running().http().expect("a side port");
    let body = r#"{"keys": ["user:1"], "scope": "fleet"}"#;
    let answer = ask(http, "POST", "/v1/cache/invalidate", body);
    assert_eq!(answer.body["nearsides"], 2, "{}", answer.body);
    eventually("the other's drop", || {
        (!holds(&two, "user:1")).then_some(())
    });
}

/// What was said while it was away it cannot know, so it drops everything.
#[test]
fn one_that_was_away_drops_everything_when_it_is_back() {
    let server = RedisServer::start(&[]);
    let (one, two) = (member(&server, "shop"), member(&server, "shop"));
    let mut session = one.session();
    together(&mut session, 2);
    warm(&two, "k");
    server.client().must(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    eventually("the drop", || (!holds(&two, "k")).then_some(()));
    together(&mut session, 2);
    // Heard only once.
    warm(&two, "k");
    together(&mut session, 2);
    assert!(holds(&two, "k"));
}

/// One says what no nearside of today says.
#[test]
fn what_is_not_understood_drops_everything() {
    let server = RedisServer::start(&[]);
    let near = member(&server, "shop");
    together(&mut near.session(), 1);
    warm(&near, "k");
    server
        .client()
        .must(&["PUBLISH", "nearside:fleet:shop", "from the future"]);
    eventually("the drop", || (!holds(&near, "k")).then_some(()));
}

#[test]
fn a_fleet_that_cannot_be_told_is_an_error() {
    let server = RedisServer::start(&[]);
    let near = member(&server, "shop");
    let mut session = near.session();
    together(&mut session, 1);
    server
        .client()
        .must(&["ACL", "SETUSER", "default", "-publish"]);
    let told = session.call(&["NEARSIDE", "INVALIDATE", "ALL", "FLEET"]);
    let Value::Error(text) = told else {
        panic!("{told:?}");
    };
    assert!(text.contains("PUBLISH to nearside:fleet:shop"), "{text}");
}

/// What is gone without a word is found out by the PING that is not answered.
#[test]
fn one_whose_upstream_says_nothing_drops_everything_when_it_is_back() {
    let server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |settings| {
        settings.proxy.fleet = Some("shop".to_owned());
        settings.l1.max_staleness = QUIET;
        settings.lane.lane_overdue = QUIET;
        settings.lane.request_timeout = QUIET;
        settings.lane.handshake_timeout = Duration::from_millis(200);
    });
    let mut session = near.session();
    together(&mut session, 1);
    warm(&near, "k");
    let dropped = |session: &mut Client| {
        let stats = session.must(&["NEARSIDE", "STATS"]);
        number(&stats, &["invalidations", "by_hand"])
    };
    let before = dropped(&mut session);
    let mut sleeper = server.client();
    sleeper.send(&["DEBUG", "SLEEP", "3"]);
    sleeper.flush();
    eventually("the drop", || {
        (dropped(&mut session) > before).then_some(())
    });
    sleeper.read();
    together(&mut session, 1);
}

/// Nobody else may.
#[test]
fn the_fleet_meets_as_the_user_that_nearside_is() {
    let server = RedisServer::start(&[]);
    let mut client = server.client();
    client.must(&[
        "ACL", "SETUSER", "near", "on", ">secret", "~*", "&*", "+@all",
    ]);
    client.must(&["ACL", "SETUSER", "default", "resetpass", "-@all", "+ping"]);
    let near = Nearside::start(server.addr(), |settings| {
        settings.proxy.fleet = Some("shop".to_owned());
        if let Choice::Endpoint(endpoint) = &mut settings.upstream {
            endpoint.credentials = Some(Credentials {
                user: Some("near".to_owned()),
                password: "secret".to_owned(),
            });
        }
    });
    together(&mut near.session(), 1);
}
