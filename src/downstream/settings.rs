//! What an operator can set about the client side.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where clients connect: `host:port` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP host and port; port 0 takes any free one.
    Tcp {
        /// Host name or IP address, IPv6 without brackets.
        host: String,
        /// Port, 0 for any free one.
        port: u16,
    },
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How long clients are served once nearside is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drain {
    /// No new connection is taken, and every session ends when it has its answers.
    #[default]
    AtOnce,
    /// Open sessions and new ones are served until the last client has left.
    WaitClients,
}

impl Drain {
    /// What they are called.
    pub const NAMES: [(&str, Self); 2] = [
        ("at-once", Self::AtOnce),
        ("wait-clients", Self::WaitClients),
    ];
}

/// The client side's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Addresses to listen on, at least one.
    pub listen: Vec<ListenAddress>,
    /// Worker threads; sessions are spread over them and never migrate.
    pub workers: usize,
    /// How long clients are served after SIGTERM, SIGINT or `POST /v1/quit`.
    pub drain: Drain,
    /// Bound on all of that.
    pub drain_timeout: Duration,
    /// Most client connections at a time.
    pub max_clients: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::Tcp {
                host: "127.0.0.1".into(),
                port: 6380,
            }],
            workers: 1,
            drain: Drain::default(),
            drain_timeout: Duration::from_secs(10),
            max_clients: 10_000,
        }
    }
}
