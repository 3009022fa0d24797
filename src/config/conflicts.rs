//! Values that are right one by one and wrong together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::downstream::settings::ListenAddress;
use crate::telemetry::traces::settings::Endpoint as Receiver;
use crate::upstream::settings::{Address, Choice};

use super::draft::Draft;
use super::failure::{Failure, Origin};
use super::{keyspaces, value};

/// Compares the values of a draft with each other.
///
/// # Errors
/// The first two that cannot stand together, at the place where the one to change was set.
pub(super) fn check(draft: &Draft) -> Result<(), Failure> {
    listeners(draft)?;
    upstream_is_another(draft)?;
    password_is_given_once(draft)?;
    tls_is_asked_for(draft)?;
    receiver_speaks_tls(draft)?;
    idleness_can_be_told(draft)?;
    upstream_can_be_told(draft)?;
    entry_fits(draft)?;
    keyspaces::resolve(&draft.keyspaces, &draft.l1).map(drop)
}

fn says(draft: &Draft, key: &'static str, what: &str) -> Failure {
    draft.origin(key).says(key, what)
}

/// nearside's own password stands in the URL or in a file.
fn password_is_given_once(draft: &Draft) -> Result<(), Failure> {
    let file = draft.password_file.is_some();
    match &draft.upstream {
        _ if draft.username.is_some() && !file => {
            let what = "names a user without a password; give password_file too";
            Err(says(draft, "username", what))
        }
        Some(Choice::Private) if file => {
            let what = "is given, but a private redis-server has no password";
            Err(says(draft, "password_file", what))
        }
        Some(Choice::Endpoint(endpoint)) if file && endpoint.credentials.is_some() => {
            let what = "is given, and upstream has a password too; leave one of them out";
            Err(says(draft, "password_file", what))
        }
        _ => Ok(()),
    }
}

/// TLS has an upstream that speaks it, and a certificate its key.
fn tls_is_asked_for(draft: &Draft) -> Result<(), Failure> {
    let tls = &draft.tls;
    let given = [
        ("tls.ca_file", tls.ca_file.is_some()),
        ("tls.cert_file", tls.cert_file.is_some()),
        ("tls.key_file", tls.key_file.is_some()),
        ("tls.server_name", tls.server_name.is_some()),
    ];
    let first = given.iter().find(|(_, given)| *given);
    let Some((key, _)) = first else {
        return Ok(());
    };
    let speaks = match &draft.upstream {
        Some(Choice::Endpoint(endpoint)) => endpoint.tls.is_some(),
        Some(Choice::Private) => false,
        None => true,
    };
    let ledger = draft.allocation.ledger.endpoint.as_ref();
    let speaks = speaks || ledger.is_some_and(|ledger| ledger.tls.is_some());
    if !speaks {
        let what = "is given, but the upstream is not asked for TLS; use rediss://";
        return Err(says(draft, key, what));
    }
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => Err(says(draft, "tls.cert_file", "needs tls.key_file too")),
        (None, Some(_)) => Err(says(draft, "tls.key_file", "needs tls.cert_file too")),
        _ => Ok(()),
    }
}

/// Authorities have a receiver of traces that shows a certificate.
fn receiver_speaks_tls(draft: &Draft) -> Result<(), Failure> {
    let traces = &draft.telemetry.traces;
    let speaks = traces.endpoint.as_ref().is_none_or(Receiver::is_tls);
    if traces.ca_file.is_some() && !speaks {
        let what = "is given, but tracing.endpoint does not ask for TLS; use https://";
        return Err(says(draft, "tracing.ca_file", what));
    }
    Ok(())
}

/// Where nobody looks at the bytes, nobody knows what a silent client waits for.
fn idleness_can_be_told(draft: &Draft) -> Result<(), Failure> {
    if draft.proxy.idle_timeout.is_some() && draft.proxy.is_transparent(draft.l1.mode) {
        let what = "cannot be kept where sharing is dedicated and l1.mode off; use the upstream's own timeout";
        return Err(says(draft, "idle_timeout", what));
    }
    Ok(())
}

/// Where clients share no connection there is none of which readiness could depend.
fn upstream_can_be_told(draft: &Draft) -> Result<(), Failure> {
    if draft.admin.ready_requires_upstream && draft.proxy.is_transparent(draft.l1.mode) {
        let what = "needs a shared connection, and with sharing dedicated and l1.mode off there is none; leave it out";
        return Err(says(draft, "ready_requires_upstream", what));
    }
    Ok(())
}

/// Two listeners at one place would fail to bind; this says which two.
fn listeners(draft: &Draft) -> Result<(), Failure> {
    let clients = draft
        .downstream
        .listen
        .iter()
        .map(|address| ("listen", place(address)));
    let admin = &draft.admin;
    let ports = [
        ("http", admin.http),
        ("metrics_listen", admin.metrics_listen),
    ];
    let ports = ports
        .iter()
        .filter_map(|(key, address)| address.map(|address| (*key, Place::from(address))));
    let mut seen: Vec<(&str, Place)> = Vec::new();
    for (key, place) in clients.chain(ports) {
        if let Some((other, _)) = seen.iter().find(|(_, other)| other.overlaps(&place)) {
            let shown = place.show();
            return Err(if *other == key {
                draft
                    .origin(key)
                    .says(key, &format!("{shown} is given twice"))
            } else {
                // The default is not the one to change.
                let (key, other) = match draft.origin(key) {
                    Origin::Default => (*other, key),
                    _ => (key, *other),
                };
                draft.origin(key).says(
                    key,
                    &format!("{shown} is taken by {other}; give each its own port"),
                )
            });
        }
        seen.push((key, place));
    }
    Ok(())
}

/// An upstream that is nearside itself would send every command round in a circle.
fn upstream_is_another(draft: &Draft) -> Result<(), Failure> {
    let Some(Choice::Endpoint(endpoint)) = &draft.upstream else {
        return Ok(());
    };
    let upstream = match &endpoint.address {
        Address::Tcp { host, port } => Place::tcp(host, *port),
        Address::Unix(path) => Place::Unix(path.display().to_string()),
    };
    if draft
        .downstream
        .listen
        .iter()
        .any(|address| place(address).serves(&upstream))
    {
        let what = format!("{} is where nearside itself listens", upstream.show());
        return Err(draft.origin("upstream").says("upstream", &what));
    }
    Ok(())
}

fn entry_fits(draft: &Draft) -> Result<(), Failure> {
    let (entry, all) = (draft.l1.max_entry_bytes, draft.l1.max_bytes);
    if entry <= all {
        return Ok(());
    }
    let (entry, all) = (value::show_size(entry), value::show_size(all));
    Err(match draft.origin("l1.max_entry_bytes") {
        Origin::Default => draft.origin("l1.max_bytes").says(
            "l1.max_bytes",
            &format!("{all} is less than l1.max_entry_bytes, which is {entry}; set that lower too"),
        ),
        origin => origin.says(
            "l1.max_entry_bytes",
            &format!("{entry} is more than l1.max_bytes, which is {all}"),
        ),
    })
}

/// Where something listens, with the names that are known without asking anyone resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Ip(IpAddr, u16),
    Name(String, u16),
    Unix(String),
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address.ip(), address.port())
    }
}

fn place(address: &ListenAddress) -> Place {
    match address {
        ListenAddress::Tcp { host, port } => Place::tcp(host, *port),
        ListenAddress::Unix(path) => Place::Unix(path.display().to_string()),
    }
}

impl Place {
    fn tcp(host: &str, port: u16) -> Self {
        let name = host.to_ascii_lowercase();
        if name == "localhost" {
            return Self::Ip(Ipv4Addr::LOCALHOST.into(), port);
        }
        match name.parse() {
            Ok(ip) => Self::Ip(ip, port),
            Err(_) => Self::Name(name, port),
        }
    }

    /// Whether both cannot listen. Port 0 is a new one each time, and IPv4's and IPv6's wildcards can be
    /// had side by side.
    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip(_, 0) | Self::Name(_, 0), _) => false,
            (Self::Ip(a, port), Self::Ip(b, other_port)) => {
                port == other_port
                    && a.is_ipv4() == b.is_ipv4()
                    && (a == b || a.is_unspecified() || b.is_unspecified())
            }
            _ => self == other,
        }
    }

    /// Whether a connection from this machine to `target` arrives at this listener.
    fn serves(&self, target: &Self) -> bool {
        match (self, target) {
            (Self::Ip(own, port), Self::Ip(ip, target_port)) => {
                let here = own == ip
                    || (own.is_unspecified() && (ip.is_loopback() || ip.is_unspecified()));
                port == target_port && here
            }
            _ => self == target,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Ip(ip, port) => SocketAddr::from((*ip, *port)).to_string(),
            Self::Name(name, port) => format!("{name}:{port}"),
            Self::Unix(path) => format!("unix:{path}"),
        }
    }
}
