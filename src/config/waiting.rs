//! `nearside wait`: where to ask, and for how long.

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
    let address = port(draft)?;
    Ok(Action::Wait { address, timeout })
}

/// The port with everything, or else the one that has the probes as well.
fn port(draft: &Draft) -> Result<SocketAddr, Failure> {
    let ports = [
        ("http", draft.admin.http),
        ("metrics_listen", draft.admin.metrics_listen),
    ];
    let given = ports
        .into_iter()
        .find_map(|(key, port)| port.map(|port| (key, port)));
    let Some((key, mut port)) = given else {
        let what = "is off, and metrics_listen too: there is no /readiness to wait for";
        return Err(draft.origin("http").says("http", what));
    };
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
