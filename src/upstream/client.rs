//! What `fred`'s clients connect with. They are for what is not on the data path: the [`bus`](super::bus) and the ledger of
//! leases. Each of them connects once, and whoever holds it decides when it is given up.

use std::time::Duration;

use fred::types::RespVersion;
use fred::types::config::{
    Config, ConnectionConfig, Server, ServerConfig, TcpConfig, TlsConfig, TlsConnector,
    TlsHostMapping,
};
use rustls::pki_types::ServerName;

use super::lanes::{read_ours, read_tls};
use super::settings::{Address, Credentials, Endpoint};
use super::tls::Connector;

/// To `endpoint`, with what its files say now.
///
/// # Errors
/// One line on which file cannot be read, or what else is wrong.
pub fn from_files(endpoint: &Endpoint) -> Result<Config, String> {
    let tls = read_tls(endpoint)?;
    let credentials = read_ours(endpoint)?;
    let db = u8::try_from(endpoint.db).map_err(|_| "no database above 255 will do".to_owned())?;
    Ok(Config {
        database: (db > 0).then_some(db),
        ..config(endpoint, tls.as_ref(), credentials)
    })
}

/// To `endpoint`'s default database.
pub(super) fn config(
    endpoint: &Endpoint,
    tls: Option<&Connector>,
    credentials: Option<Credentials>,
) -> Config {
    let server = match &endpoint.address {
        Address::Tcp { host, port } => {
            let mut server = Server::new(host.as_str(), *port);
            if let Some(tls) = tls {
                server.tls_server_name = Some(match &tls.name {
                    ServerName::DnsName(name) => name.as_ref().into(),
                    _ => host.as_str().into(),
                });
            }
            ServerConfig::Centralized { server }
        }
        Address::Unix(path) => ServerConfig::new_unix_socket(path),
    };
    let connector = tls.map(|tls| TlsConnector::Rustls(tls.connector.clone()));
    Config {
        fail_fast: true,
        username: credentials
            .as_ref()
            .map(|credentials| credentials.user().to_owned()),
        password: credentials.map(|credentials| credentials.password),
        server,
        version: RespVersion::RESP3,
        tls: connector.map(|connector| TlsConfig {
            connector,
            hostnames: TlsHostMapping::None,
        }),
        ..Config::default()
    }
}

/// One connection, and one attempt for each command.
#[must_use]
pub fn connection(connect: Duration, handshake: Duration, waiting: usize) -> ConnectionConfig {
    ConnectionConfig {
        connection_timeout: connect,
        internal_command_timeout: handshake,
        max_command_attempts: 1,
        max_command_buffer_len: waiting,
        // Whatever waits for the answer before it, waits a round trip.
        tcp: TcpConfig {
            nodelay: Some(true),
            ..TcpConfig::default()
        },
        ..ConnectionConfig::default()
    }
}
