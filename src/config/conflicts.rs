//! Values that are right one by one and wrong together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::downstream::settings::ListenAddress;
use crate::upstream::settings::{Address, Choice};

use super::draft::Draft;
use super::failure::{Failure, Origin};
use super::value;

/// Compares the values of a draft with each other.
///
/// # Errors
/// The first two that cannot stand together, at the place where the one to change was set.
pub(super) fn check(draft: &Draft) -> Result<(), Failure> {
    listeners(draft)?;
    upstream_is_another(draft)?;
    entry_fits(draft)
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
