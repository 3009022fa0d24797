//! What the slow log holds, and which keys are big, as it is told.

use super::tree::Tree;
use crate::command;
use crate::telemetry::big_keys::BigKeys;
use crate::telemetry::operation::{Key, Operation, Upstream};
use crate::telemetry::slow_log::SlowLog;

/// Up to `count` operations that took long, the newest first; or the slowest.
#[must_use]
pub fn of(log: &SlowLog, count: usize, slowest: bool) -> Tree {
    let entries = log.entries(count, slowest).into_iter().map(|entry| {
        let operation = entry.operation;
        let name = command::by_label(operation.label).map_or("other", |row| row.name);
        let key = match &operation.key {
            Key::Plain(key) => Tree::Bytes(key.to_vec()),
            _ => Tree::Null,
        };
        let hash = match operation.key {
            Key::Hash(hash) => Tree::Text(format!("{hash:016x}")),
            _ => Tree::Null,
        };
        let trace = operation.context.map_or(Tree::Null, |context| {
            Tree::Text(format!("{:032x}", context.trace))
        });
        let (waiting, upstream) = parts(&operation);
        Tree::map([
            ("number", Tree::Number(entry.number)),
            ("time_ms", Tree::Number(entry.time)),
            ("command", Tree::text(name)),
            ("key", key),
            ("key_hash", hash),
            ("client_id", Tree::Number(operation.session)),
            ("route", Tree::text(operation.route.as_str())),
            ("took_us", Tree::Number(operation.took())),
            ("waiting_us", Tree::number(waiting)),
            ("upstream_us", Tree::number(upstream)),
            ("reply_bytes", Tree::Number(operation.reply_bytes)),
            ("trace_id", trace),
            (
                "error",
                operation.error.as_deref().map_or(Tree::Null, Tree::text),
            ),
        ])
    });
    Tree::List(entries.collect())
}

/// How long it waited here before it was sent, and for the upstream, in microseconds, where that is known. What is left of the
/// whole is the way of the reply to its client.
fn parts(operation: &Operation) -> (Option<u64>, Option<u64>) {
    let Some(Upstream { sent, answered }) = operation.upstream else {
        return (None, None);
    };
    let waiting = sent.saturating_sub(operation.began);
    (Some(waiting), Some(answered.saturating_sub(sent)))
}

/// Up to `count` keys with the largest replies, the biggest first.
#[must_use]
pub fn big_keys(keys: &BigKeys, count: usize) -> Tree {
    let biggest = keys.biggest(count).into_iter().map(|big| {
        let name = command::by_label(big.label).map_or("other", |row| row.name);
        let key = big.key.map_or(Tree::Null, |key| Tree::Bytes(key.into()));
        Tree::map([
            ("bytes", Tree::Number(big.bytes)),
            ("command", Tree::text(name)),
            ("key", key),
            ("key_hash", Tree::Text(format!("{:016x}", big.hash))),
        ])
    });
    Tree::List(biggest.collect())
}
