//! How the upstream is and where its circuit breaker stands, for the side port and for NEARSIDE alike.

use super::tree::Tree;
use crate::telemetry::clock::now_ms;
use crate::upstream::breaker::{Position, Snapshot, Transition};
use crate::upstream::lanes::Lanes;
use crate::upstream::node::Node;

/// The nodes, by the names that [`find`] knows them by.
#[must_use]
pub fn of(lanes: &Lanes) -> Tree {
    let nodes = [lanes.node()].map(|node| of_one(lanes, node));
    Tree::map([("upstreams", Tree::List(nodes.into()))])
}

/// The node of this name, which is its address.
///
/// # Errors
/// The names that there are.
pub fn find<'a>(lanes: &'a Lanes, name: &str) -> Result<&'a Node, Vec<String>> {
    let node = lanes.node();
    let known = node.address().to_string();
    if known == name {
        Ok(node)
    } else {
        Err(vec![known])
    }
}

fn of_one(lanes: &Lanes, node: &Node) -> Tree {
    let hello = lanes.hello();
    // Empty before the first lane.
    let said = |text: &str| match text {
        "" => Tree::Null,
        text => Tree::text(text),
    };
    let (tracked, untracked) = lanes.tracked();
    let (granted, refused) = node.retries.counts();
    let count = |count: usize| Tree::Number(count as u64);
    Tree::map([
        ("node", Tree::text(&node.address().to_string())),
        ("breaker", breaker(node)),
        ("server", said(&hello.server)),
        ("version", said(&hello.version)),
        ("role", said(&hello.role)),
        (
            "lanes",
            Tree::map([
                ("up", count(tracked + untracked)),
                ("tracked", count(tracked)),
                ("untracked", count(untracked)),
            ]),
        ),
        ("in_flight", count(node.in_flight())),
        ("overloaded", Tree::Number(node.overloads())),
        (
            "retries",
            Tree::map([
                ("granted", Tree::Number(granted)),
                ("refused", Tree::Number(refused)),
            ]),
        ),
        ("generation", Tree::Number(node.generation())),
    ])
}

/// Where a node's breaker stands, why, and what it has counted. Times are milliseconds.
#[must_use]
pub fn breaker(node: &Node) -> Tree {
    let Snapshot {
        position,
        consecutive_failures,
        window,
        probes,
        wait,
        next_attempt,
        last_failure,
        last,
    } = node.snapshot();
    let last_failure = last_failure.map_or(Tree::Null, |kind| Tree::text(kind.as_str()));
    Tree::map([
        ("state", Tree::text(position.as_str())),
        (
            "consecutive_failures",
            Tree::Number(consecutive_failures.into()),
        ),
        (
            "window",
            Tree::map([
                ("calls", Tree::Number(window.calls)),
                ("failures", Tree::Number(window.failures)),
                ("slow", Tree::Number(window.slow)),
            ]),
        ),
        ("probes", Tree::Number(probes.into())),
        ("wait_ms", Tree::number(wait)),
        ("next_attempt_ms", Tree::number(next_attempt)),
        ("last_failure", last_failure),
        ("last_transition", last.map_or(Tree::Null, step)),
        ("transitions", transitions(node)),
    ])
}

fn step(step: Transition) -> Tree {
    Tree::map([
        ("from", Tree::text(step.from.as_str())),
        ("to", Tree::text(step.to.as_str())),
        ("cause", Tree::text(step.cause.as_str())),
        ("ms_ago", Tree::Number(now_ms().saturating_sub(step.at))),
    ])
}

/// The counts by cause in those by position.
fn transitions(node: &Node) -> Tree {
    let all = node.transitions();
    let to = |position: Position| {
        let causes = all.iter().filter(|(to, ..)| *to == position);
        let causes = causes.map(|(_, cause, n)| (cause.as_str().to_owned(), Tree::Number(*n)));
        (
            position.as_str().to_owned(),
            Tree::Map(causes.collect::<Vec<_>>()),
        )
    };
    Tree::Map(Position::ALL.map(to).into())
}
