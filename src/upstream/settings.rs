//! What an operator can set about the way to the upstream.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{audit, breaker};

/// Where the upstream listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Host (a name, or an IP address without brackets) and port; a name is resolved anew at each connect.
    Tcp {
        /// Host name or IP address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How to speak TLS to the upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the authorities to trust, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client's certificate chain.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the client's key.
    pub key_file: Option<PathBuf>,
    /// The name that the upstream's certificate must have, in place of its host.
    pub server_name: Option<String>,
}

/// A user name and password for the upstream. `Debug` never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// ACL user; `None` is the default user.
    pub user: Option<String>,
    /// Password.
    pub password: String,
}

impl Credentials {
    /// The ACL user meant.
    #[must_use]
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("default")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("password", &"<redacted>")
            .finish()
    }
}

/// Which upstream, as whom, and in which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// nearside's own credentials, if it has any and they are not in a file.
    pub credentials: Option<Credentials>,
    /// Database index.
    pub db: u32,
    /// Whether and how TLS is spoken.
    pub tls: Option<Tls>,
    /// A file with nearside's own password, read again at each connect, and whose it is.
    pub password_file: Option<PasswordFile>,
}

/// Where nearside's own password stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordFile {
    /// ACL user; `None` is the default user.
    pub user: Option<String>,
    /// The file; a line break at its end is no part of the password.
    pub path: PathBuf,
}

/// Which upstream was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one, and it is read at the start"
)]
pub enum Choice {
    /// A redis-server of nearside's own for as long as it runs.
    Private,
    /// A server that is already there.
    Endpoint(Endpoint),
}

/// What is sent again after its lane was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Reads whose sessions have sent nothing after them, once.
    Reads,
    /// Nothing.
    Never,
}

/// The upstream side's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bound on name resolution and connecting.
    pub connect_timeout: Duration,
    /// Bound on the handshake after that.
    pub handshake_timeout: Duration,
    /// Bound on waiting for a reply, since it was asked for or since the client's reply before it.
    pub request_timeout: Duration,
    /// The same of what may run long by its nature: scripts, EXEC, KEYS, SORT, what administers, and commands that are not
    /// known.
    pub long_request_timeout: Duration,
    /// What is sent again after its lane was lost.
    pub retry: Retry,
    /// Most requests in flight on one lane.
    pub max_lane_in_flight: usize,
    /// Most requests in flight on all lanes.
    pub max_in_flight: usize,
    /// Most bytes of replies kept for one client that reads slower than they come; past it the client is cut off.
    pub output_limit: usize,
    /// Most bytes held for all clients together.
    pub max_buffer_bytes: usize,
    /// A reply whose header announces more than this is read over an own connection, where back-pressure applies.
    pub large_reply: usize,
    /// How long, in all, the lane's reader waits for one client that takes a reply slower than it arrives.
    pub lane_stall_limit: Duration,
    /// A lane whose oldest reply is older than this takes no new commands.
    pub lane_overdue: Duration,
    /// A lane that no session uses closes after this.
    pub lane_idle: Duration,
    /// Most lanes at a time; clients of further identities and databases use connections of their own.
    pub max_lanes: usize,
    /// The circuit breaker.
    pub breaker: breaker::Settings,
    /// Hits that are read from the upstream as well.
    pub audit: audit::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            long_request_timeout: Duration::from_secs(60),
            retry: Retry::Reads,
            max_lane_in_flight: 200_000,
            max_in_flight: 500_000,
            output_limit: 64 << 20,
            max_buffer_bytes: 256 << 20,
            large_reply: 1 << 20,
            lane_stall_limit: Duration::from_millis(100),
            lane_overdue: Duration::from_millis(500),
            lane_idle: Duration::from_secs(60),
            max_lanes: 64,
            breaker: breaker::Settings::default(),
            audit: audit::Settings::default(),
        }
    }
}
