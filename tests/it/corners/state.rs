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
