//! What clients are told while there is no upstream.

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use crate::support::eventually;
use crate::support::nearside::Nearside;

/// The first attempt fails; during the second, which hangs in its handshake, commands are answered all the same.
#[test]
fn commands_do_not_wait_for_an_attempt_once_the_upstream_is_known_to_be_down() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nearside = Nearside::start(upstream.local_addr().expect("its address"), |settings| {
        settings.lane.handshake_timeout = Duration::from_secs(600);
    });
    drop(upstream.accept().expect("the first attempt"));
    let (mut second, _) = upstream.accept().expect("the second attempt");
    let mut byte = [0];
    second.read_exact(&mut byte).expect("its handshake");
    let mut session = nearside.session();
    let reply = session.call(&["GET", "k"]);
    assert!(format!("{reply:?}").contains("UNAVAILABLE"), "{reply:?}");
    drop((second, upstream));
    eventually("the error at any later time", || {
        format!("{:?}", session.call(&["SET", "k", "1"]))
            .contains("UNAVAILABLE")
            .then_some(())
    });
}
