//! Users and databases, each with a lane: what is shared, and what never is.

use super::promise::version;
use super::rig::Rig;
use super::scenarios::other_user;
use crate::support::client::Protocol;
use crate::support::resp::Value;

/// Upstream connections beside the one that asks.
fn connections(rig: &Rig) -> Vec<String> {
    let list = rig.server.client().call(&["CLIENT", "LIST"]);
    let list = list.text().expect("a list").to_owned();
    let others = |line: &&str| !line.contains("cmd=client|list");
    list.lines().filter(others).map(str::to_owned).collect()
}

#[test]
fn a_wrong_password_is_judged_by_the_upstream_also_when_that_users_lane_is_up() {
    let rig = Rig::new(|_| {});
    let _amy = other_user(&rig);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        for wrong in [
            &["AUTH", "amy", "wrong"][..],
            &["AUTH", "nobody", "secret"],
            &["AUTH", "secret"],
            &["HELLO", "3", "AUTH", "amy", "wrong"],
            &["HELLO", "2", "AUTH", "amy", ""],
        ] {
            let through = rig.near.session().speaking(protocol).call(wrong);
            let direct = rig.server.client().speaking(protocol).call(wrong);
            assert_eq!(through, direct, "{wrong:?}");
            assert!(through.is_error(), "{wrong:?} got {through:?}");
        }
    }
    let mut session = rig.near.session();
    session.call(&["AUTH", "amy", "wrong"]);
    assert_eq!(session.call(&["ACL", "WHOAMI"]).text(), Some("default"));
}

#[test]
fn an_accepted_password_is_known_and_forgotten_when_users_change() {
    let rig = Rig::new(|_| {});
    let _amy = other_user(&rig);
    let before = connections(&rig).len();
    let mut known = rig.near.session();
    known.must(&["AUTH", "amy", "secret"]);
    known.must(&["HELLO", "3", "AUTH", "amy", "secret", "SETNAME", "me"]);
    assert_eq!(known.call(&["CLIENT", "GETNAME"]).text(), Some("me"));
    // The connection that first let her in may have ended since.
    assert!(connections(&rig).len() <= before, "answered here");
    assert_eq!(known.call(&["ACL", "WHOAMI"]).text(), Some("amy"));
    let acl = ["ACL", "SETUSER", "amy", "resetpass", ">other"];
    rig.near.session().must(&acl);
    assert!(
        rig.near
            .session()
            .call(&["AUTH", "amy", "secret"])
            .is_error()
    );
    rig.near.session().must(&["AUTH", "amy", "other"]);
}

#[test]
fn users_and_databases_share_no_cached_reply() {
    let rig = Rig::new(|_| {});
    rig.warm("k");
    let mut amy = other_user(&rig);
    rig.hit(&mut amy, "k");
    // Taken away elsewhere: what L1 holds for her is hers until the lane shows it, and never the others'.
    let acl = [
        "ACL", "SETUSER", "bob", "on", ">bob", "~ready", "&*", "+@all",
    ];
    rig.server.client().must(&acl);
    let mut bob = rig.near.session();
    bob.must(&["AUTH", "bob", "bob"]);
    for _ in 0..3 {
        let refused = bob.call(&["GET", "k"]);
        assert!(refused.is_error(), "got {refused:?}");
    }
    let mut session = rig.session();
    rig.hit(&mut session, "k");
    session.must(&["SELECT", "1"]);
    for _ in 0..3 {
        assert_eq!(session.call(&["GET", "k"]), Value::Nil);
    }
    session.must(&["SET", "k", "k:5"]);
    for _ in 0..3 {
        assert_eq!(version("k", &session.call(&["GET", "k"])), Ok(5));
    }
    assert_eq!(version("k", &rig.hit(&mut amy, "k")), Ok(1));
    let wrong = rig.server.client().call(&["SELECT", "99"]);
    assert_eq!(session.call(&["SELECT", "99"]), wrong);
    assert_eq!(
        version("k", &session.call(&["GET", "k"])),
        Ok(5),
        "still in 1"
    );
    session.must(&["RESET"]);
    assert_eq!(
        version("k", &session.call(&["GET", "k"])),
        Ok(1),
        "in 0 again"
    );
}

#[test]
fn lanes_that_nobody_uses_close_and_open_again() {
    let rig = Rig::new(|settings| {
        settings.lane.lane_idle = std::time::Duration::from_millis(50);
        settings.l1.max_staleness = std::time::Duration::from_millis(300);
    });
    let lanes = || {
        let of_lanes = |line: &&String| line.contains("name=nearside-lane");
        connections(&rig).iter().filter(of_lanes).count()
    };
    for round in 1..=3 {
        let mut session = rig.near.session();
        session.must(&["SELECT", "1"]);
        assert_eq!(session.call(&["INCR", "n"]), Value::Int(round));
        crate::support::eventually("the lane", || (lanes() == 2).then_some(()));
        drop(session);
        crate::support::eventually("the lane's end", || (lanes() == 1).then_some(()));
    }
    // While a session sits on it, it stays, however long nothing is sent.
    let mut session = rig.near.session();
    session.must(&["SELECT", "1"]);
    session.must(&["GET", "n"]);
    crate::support::eventually("the lane", || (lanes() == 2).then_some(()));
    let since = std::time::Instant::now();
    while since.elapsed() < std::time::Duration::from_millis(200) {
        assert_eq!(lanes(), 2);
    }
}

#[test]
fn above_max_lanes_a_database_is_served_by_connections_of_its_own() {
    let rig = Rig::new(|settings| settings.lane.max_lanes = 1);
    let mut session = rig.near.session();
    session.must(&["SELECT", "1"]);
    for n in 1..=3 {
        assert_eq!(session.call(&["INCR", "n"]), Value::Int(n));
        assert_eq!(
            session.call(&["GET", "n"]).text(),
            Some(n.to_string().as_str())
        );
    }
    assert_eq!(rig.relay.lanes(), 1);
    assert_eq!(rig.near.session().call(&["GET", "n"]), Value::Nil);
}

#[test]
fn with_process_causality_what_one_session_was_told_binds_all() {
    use nearside::proxy::settings::Causality;
    for workers in [1, 2] {
        let rig = Rig::new(|settings| {
            settings.proxy.causality = Some(Causality::Process);
            settings.downstream.workers = workers;
        });
        rig.warm("k");
        let (mut told, mut other) = (rig.session(), rig.session());
        rig.relay.hold();
        rig.put("k", 2);
        rig.server.client().must(&["LPUSH", "q", "2"]);
        told.must(&["BLPOP", "q", "10"]);
        let checked = rig.racing_check(&mut other, "k", super::promise::Promise::Causality, 2);
        assert_eq!(checked, Ok(()));
    }
}
