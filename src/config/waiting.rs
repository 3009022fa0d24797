//! Where a running nearside is asked: by `nearside wait`, and for how long, and by `nearside alloc`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::draft::Draft;
use super::failure::Failure;
use super::{Action, schema, value};

/// What `wait` with this `timeout` does.
///
/// # Errors
/// The timeout is none, or there is no port to ask.
pub(super) fn action(draft: &Draft, timeout: &str) -> Result<Action, Failure> {
    let timeout = value::duration(timeout).ok_or_else(|| {
        let right = schema::DURATION;
        Failure::new(&format!("--timeout: {timeout:?} is not {right}"))
    })?;
    // The port with everything, or else the one that has the probes as well.
    let ports = [
        ("http", draft.admin.http),
        ("metrics_listen", draft.admin.metrics_listen),
    ];
    let given = ports
        .into_iter()
        .find_map(|(key, port)| port.map(|port| (key, port)));
    let Some((key, port)) = given else {
        let what = "is off, and metrics_listen too: there is no /readiness to wait for";
        return Err(draft.origin("http").says("http", what));
    };
    let address = reachable(draft, key, port)?;
    Ok(Action::Wait { address, timeout })
}

/// The port with everything.
///
/// # Errors
/// There is none to ask.
pub(super) fn whole_port(draft: &Draft) -> Result<SocketAddr, Failure> {
    let Some(port) = draft.admin.http else {
        let what = "is off: there is no /v1/allocations to ask";
        return Err(draft.origin("http").says("http", what));
    };
    reachable(draft, "http", port)
}

/// Where what listens on `port` is reached.
fn reachable(draft: &Draft, key: &str, mut port: SocketAddr) -> Result<SocketAddr, Failure> {
    if port.port() == 0 {
        let what = "has port 0, which is another one at each start; give it a port of its own, or name the real one with --http";
        return Err(draft.origin(key).says(key, what));
    }
    // What listens everywhere is asked here.
    port.set_ip(match port.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    });
    Ok(port)
}
