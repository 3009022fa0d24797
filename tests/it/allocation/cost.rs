//! What a grant costs the ledger's server.

use super::api::{Port, part};
use super::wire::{Wire, count};
use crate::support::redis::RedisServer;

#[test]
fn a_grant_is_one_call_and_so_is_a_release() {
    let server = RedisServer::start(&[]);
    let wire = Wire::start(server.addr());
    let port = Port::start(wire.addr(), "a", |_| {});
    port.put("p", 1000);
    // The pause of a new ledger is over with it.
    let first = port.acquire(&part(1));
    assert_eq!(first.status, 201, "{first:?}");
    let counts = || {
        let sent = wire.sent();
        let of = |name: &str| count(&sent, &format!("nearside_alloc_v1_{name}\r\n"));
        let all = count(&sent, "FCALL\r\n");
        (of("acquire"), of("release"), of("hello") + of("pools"), all)
    };
    let before = counts();
    for _ in 0..100 {
        let lease = port.acquire(&part(1));
        assert_eq!(lease.status, 201, "{lease:?}");
        assert_eq!(port.release(&lease).status, 204);
    }
    let after = counts();
    assert_eq!((after.0 - before.0, after.1 - before.1), (100, 100));
    // Nothing but these and heartbeats.
    assert_eq!(after.3 - before.3, 200 + after.2 - before.2);
}
