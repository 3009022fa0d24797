//! Cache control: invalidation by hand over RESP and over the side port, statistics, hot keys, EXPLAIN; and the upstream, with
//! orders to its circuit breaker.

mod fleet;
pub mod http;
mod invalidate;
mod nearside;
mod upstreams;

use crate::coherence::rig::Rig;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::resp::Value;

/// Sends a read until it was answered from memory.
fn warm(rig: &Rig, session: &mut Client, read: &[&str]) {
    rig.near.session().call(&["PING"]);
    eventually(&format!("a hit of {read:?}"), || {
        let before = rig.near.hits();
        session.must(read);
        (rig.near.hits() > before).then_some(())
    });
}

/// Sends a read; whether it was answered from memory.
fn hits(rig: &Rig, session: &mut Client, read: &[&str]) -> bool {
    let before = rig.near.hits();
    session.must(read);
    rig.near.hits() > before
}

/// The field of a map, or of a flat array, found by its path.
pub fn field<'a>(reply: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(reply, |value, name| {
        let named = |key: &Value| key.text() == Some(name);
        let found = match value {
            Value::Map(pairs) => pairs.iter().find(|(key, _)| named(key)).map(|pair| &pair.1),
            Value::Array(flat) => flat
                .chunks(2)
                .find(|pair| named(&pair[0]))
                .map(|pair| &pair[1]),
            _ => None,
        };
        found.unwrap_or_else(|| panic!("no {name} in {value:?}"))
    })
}

fn number(reply: &Value, path: &[&str]) -> i64 {
    match field(reply, path) {
        Value::Int(n) => *n,
        other => panic!("{path:?} is {other:?}"),
    }
}
