//! What a command leaves on an upstream connection stays with its session, and with nobody else.

use crate::coherence::rig::Rig;
use crate::support::client::Client;
use crate::support::resp::Value;

/// What the server refuses ends neither WATCH nor a session's stay on the connection that has it.
#[test]
fn a_watch_outlives_what_the_server_refuses() {
    let refused: [&[&str]; 4] = [&["EXEC"], &["DISCARD"], &["UNWATCH", "k"], &["EXEC", "k"]];
    let rig = Rig::new(|_| {});
    for command in refused {
        let attempt = |mut client: Client| {
            client.must(&["WATCH", "k"]);
            let refusal = client.call(command);
            assert!(refusal.is_error(), "{command:?}");
            rig.server.client().must(&["INCR", "k"]);
            let mut replies = vec![refusal];
            for command in [&["MULTI"][..], &["PING"], &["EXEC"]] {
                replies.push(client.call(command));
            }
            replies
        };
        assert_eq!(
            attempt(rig.session()),
            attempt(rig.server.client()),
            "{command:?}"
        );
    }
}

/// A WATCH that one session has left behind does not abort another's transaction.
#[test]
fn a_watch_is_not_handed_on() {
    let rig = Rig::new(|_| {});
    for refused in [&["EXEC"][..], &["DISCARD"], &["UNWATCH", "k"]] {
        let mut first = rig.session();
        first.must(&["WATCH", "k"]);
        assert!(first.call(refused).is_error());
        rig.server.client().must(&["INCR", "k"]);
        let mut second = rig.session();
        for command in [&["MULTI"][..], &["PING"]] {
            second.must(command);
        }
        let reply = second.call(&["EXEC"]);
        assert_eq!(reply.elements().len(), 1, "{refused:?}: {reply:?}");
    }
}

/// A HELLO that the server refuses after it has let the user in: who the session then is, is as at the server, and
/// nobody else becomes that user.
#[test]
fn a_hello_that_is_refused_half_way_makes_nobody_else_its_user() {
    let rig = Rig::new(|_| {});
    let mut direct = rig.server.client();
    for user in ["amy", "bob"] {
        direct.must(&["ACL", "SETUSER", user, "on", ">secret", "~*", "&*", "+@all"]);
    }
    let half_way: [&[&str]; 3] = [
        &["HELLO", "3", "AUTH", "amy", "secret", "SETNAME", "a name"],
        &[
            "HELLO", "3", "AUTH", "amy", "secret", "AUTH", "bob", "wrong",
        ],
        &["HELLO", "3", "AUTH", "amy", "secret", "NONE"],
    ];
    for hello in half_way {
        let attempt = |mut client: Client| {
            let refusal = client.call(hello);
            assert!(refusal.is_error(), "{hello:?}");
            (refusal, client.call(&["ACL", "WHOAMI"]))
        };
        assert_eq!(
            attempt(rig.session()),
            attempt(rig.server.client()),
            "{hello:?}"
        );
        let others = rig.session().call(&["ACL", "WHOAMI"]);
        assert_eq!(others.text(), Some("default"), "{hello:?}");
    }
}

/// Scripts of other sessions do not run in a debugger.
#[test]
fn a_debugger_is_not_handed_on() {
    let rig = Rig::new(|_| {});
    let mut first = rig.session();
    first.must(&["SCRIPT", "DEBUG", "YES"]);
    assert_eq!(
        rig.session().call(&["EVAL", "return 1", "0"]),
        Value::Int(1)
    );
}

/// A subscription whose command was too large to be looked at whole.
#[test]
fn a_large_subscription_stays_with_its_session() {
    let rig = Rig::new(|_| {});
    let channels: Vec<String> = (0..2500).map(|n| format!("{n:01000}")).collect();
    let mut command = vec!["SUBSCRIBE"];
    command.extend(channels.iter().map(String::as_str));
    let mut subscriber = rig.session();
    subscriber.send(&command);
    subscriber.flush();
    for _ in &channels {
        assert_eq!(subscriber.read().elements()[0].text(), Some("subscribe"));
    }
    let mut other = rig.session();
    other.must(&["EVAL", "return 1", "0"]);
    let mut direct = rig.server.client();
    assert_eq!(
        direct.call(&["PUBLISH", &channels[2000], "1"]),
        Value::Int(1)
    );
    assert_eq!(subscriber.read().elements()[0].text(), Some("message"));
    subscriber.must(&["PING"]);
}

/// The same of WATCH.
#[test]
fn a_large_watch_stays_with_its_session() {
    let rig = Rig::new(|_| {});
    let keys: Vec<String> = (0..2500).map(|n| format!("{n:01000}")).collect();
    let mut command = vec!["WATCH"];
    command.extend(keys.iter().map(String::as_str));
    let mut watcher = rig.session();
    watcher.must(&command);
    rig.server.client().must(&["SET", &keys[2000], "1"]);
    for command in [&["MULTI"][..], &["PING"]] {
        watcher.must(command);
    }
    assert_eq!(watcher.call(&["EXEC"]), Value::Nil);
    // Everything else about the session is as it was.
    watcher.must(&["SET", "k", "1"]);
    assert_eq!(watcher.call(&["GET", "k"]).text(), Some("1"));
}

/// A transaction that its user may not discard is not handed on.
#[test]
fn a_transaction_is_not_handed_on() {
    let rig = Rig::new(|_| {});
    let rights = ["on", ">secret", "~*", "&*", "+@all", "-discard"];
    let mut command = vec!["ACL", "SETUSER", "amy"];
    command.extend(rights);
    rig.server.client().must(&command);
    let amy = || {
        let mut session = rig.near.session();
        session.must(&["AUTH", "amy", "secret"]);
        session
    };
    let (mut first, mut second) = (amy(), amy());
    first.must(&["MULTI"]);
    assert!(first.call(&["DISCARD"]).is_error());
    assert_eq!(second.call(&["EVAL", "return 1", "0"]), Value::Int(1));
}
