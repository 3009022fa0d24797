//! Writes of our own while the answers of a fill are on their way, in each order: once a write is acknowledged nobody is
//! shown what was read before it.

use std::time::Duration;

use nearside::l1::{Rule, RuleSet};

use super::{GET, Stage, push, shown};
use crate::support::client::Client;
use crate::support::eventually;

/// Which way a write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Down the lane, behind the fill.
    Lane,
    /// As a transaction over an own connection: its keys are known.
    Transaction,
    /// As a script over an own connection: its keys are not.
    Script,
}

/// The last place of CACHING, read, PTTL, and what comes behind: a push there comes as late as it may.
const LAST: usize = 4;

/// Reads while the lane is held: the version that a hit shows at once, or the session that waits for the lane. An MGET,
/// which is never shared.
fn probe(stage: &Stage) -> Result<Client, Option<u64>> {
    let mut session = stage.near.session();
    let read = &["MGET", "k"];
    let before = stage.upstream.count(read);
    session.send(read);
    session.flush();
    let hit = eventually("a read", || {
        let hit = session.has_reply(Duration::from_millis(1));
        (hit || stage.upstream.count(read) > before).then_some(hit)
    });
    if hit {
        return Err(shown(&session.read()));
    }
    Ok(session)
}

/// A write behind the read of a fill, whose push comes at place `pushed` and which is acknowledged at `acknowledged`. The
/// version shown to somebody who has seen that, if it was an older one. It waits for a marker if so said.
fn older(stage: &Stage, way: Way, waits: bool, pushed: usize, acknowledged: usize) -> Option<u64> {
    let (mut reader, mut writer) = (stage.session(), stage.near.session());
    let command = match way {
        Way::Lane => &["SET", "k", "x"][..],
        Way::Transaction => {
            writer.must(&["MULTI"]);
            writer.must(&["SET", "k", "x"]);
            &["EXEC"]
        }
        Way::Script => &["EVAL", "return redis.call('SET', 'k', 'x')", "0"],
    };
    let read = stage.version();
    // What the transaction's beginning has sent down the lane comes before.
    reader.must(&["PING"]);
    let mut parts = stage.begin(&mut reader, GET);
    let before = stage.upstream.count(command);
    writer.send(command);
    writer.flush();
    let connection = stage.upstream.await_command(command, before);
    if way == Way::Lane {
        parts.push(stage.upstream.take(stage.lane));
    }
    let fresh = stage.version();
    assert!(fresh > read);
    let mut probes = Vec::new();
    let mut marker = Vec::new();
    for place in 0..=LAST {
        if place == pushed && pushed < LAST {
            stage.upstream.send(stage.lane, &push(&["k"]));
        }
        if let Some(part) = parts.get(place) {
            stage.upstream.send(stage.lane, part);
        }
        if place == acknowledged {
            match way {
                Way::Lane => {}
                Way::Transaction => stage.upstream.send(connection, b"*1\r\n+OK\r\n"),
                Way::Script => stage.upstream.send(connection, b":1\r\n"),
            }
            assert!(!writer.read().is_error());
            if waits {
                marker = stage.upstream.take(stage.lane);
                assert_eq!(marker, b"+PONG\r\n");
            }
        }
        if place == 1 {
            assert_eq!(shown(&reader.read()), Some(read));
        }
        if place >= acknowledged {
            match probe(stage) {
                Ok(session) => probes.push(session),
                Err(shown) => return shown.filter(|&shown| shown != fresh),
            }
        }
    }
    if pushed == LAST {
        stage.upstream.send(stage.lane, &push(&["k"]));
    }
    stage.upstream.send(stage.lane, &marker);
    stage.end(&mut reader);
    let mut shown = probes.iter_mut().filter_map(|probe| shown(&probe.read()));
    if let Some(older) = shown.find(|&shown| shown != fresh) {
        return Some(older);
    }
    let (_, reply) = stage.again(&mut reader, GET);
    super::shown(&reply).filter(|&shown| shown != fresh)
}

/// All orders of a way; the first in which something old was shown.
fn broken_order(way: Way, knocked_out: RuleSet, workers: usize) -> Option<(usize, usize, u64)> {
    let start = || {
        Stage::new(|settings| {
            settings.downstream.workers = workers;
            settings.l1.knocked_out = knocked_out;
        })
    };
    let stage = start();
    let unmarked = [Rule::Marker, Rule::Closure].map(|rule| knocked_out.has(rule));
    let waits = way != Way::Lane && unmarked == [false; 2];
    // The push for a write comes behind the read that has not seen it.
    let orders = (2..=LAST).flat_map(|pushed| (0..=LAST).map(move |at| (pushed, at)));
    let possible = |&(pushed, at): &(usize, usize)| way != Way::Lane || at == 3 && pushed >= 3;
    orders.filter(possible).find_map(|(pushed, at)| {
        older(&stage, way, waits, pushed, at).map(|shown| (pushed, at, shown))
    })
}

#[test]
fn nobody_is_shown_what_is_older_than_an_acknowledged_write() {
    for workers in [1, 2] {
        for way in [Way::Lane, Way::Transaction, Way::Script] {
            assert_eq!(broken_order(way, RuleSet::none(), workers), None, "{way:?}");
        }
    }
}

/// Each rule is needed, and would be missed.
#[test]
fn without_its_rules_an_older_value_is_shown() {
    for (way, rule) in [
        (Way::Lane, Rule::InFlight),
        (Way::Transaction, Rule::InFlight),
        (Way::Transaction, Rule::Marker),
        (Way::Script, Rule::Closure),
    ] {
        let broken = broken_order(way, RuleSet::only(rule), 1);
        assert!(broken.is_some(), "{way:?} without {rule:?}");
    }
}
