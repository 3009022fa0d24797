//! nearside in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nearside::app::{self, Running};
use nearside::config::Settings;
use nearside::downstream::settings::ListenAddress;
use nearside::l1::settings::Admit;
use nearside::upstream::settings::{Address, Choice, Endpoint};
use nearside::{admin, allocation, downstream, l1, proxy, telemetry, upstream};

use super::client::Client;

/// Stopped on drop.
pub struct Nearside {
    running: Option<Running>,
    addr: SocketAddr,
}

impl Nearside {
    /// In front of `upstream`, on a free port, filling on the first read; `adjust` changes what a test needs otherwise.
    pub fn start(upstream: SocketAddr, adjust: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            upstream: Choice::Endpoint(Endpoint {
                address: Address::Tcp {
                    host: upstream.ip().to_string(),
                    port: upstream.port(),
                },
                credentials: None,
                db: 0,
                tls: None,
                password_file: None,
            }),
            downstream: downstream::settings::Settings {
                listen: vec![ListenAddress::Tcp {
                    host: "127.0.0.1".into(),
                    port: 0,
                }],
                drain_timeout: Duration::from_millis(100),
                ..downstream::settings::Settings::default()
            },
            proxy: proxy::settings::Settings::default(),
            lane: upstream::settings::Settings::default(),
            l1: l1::settings::Settings {
                admit: Admit::Always,
                ..l1::settings::Settings::default()
            },
            admin: admin::settings::Settings {
                http: None,
                metrics_listen: None,
                ..admin::settings::Settings::default()
            },
            telemetry: telemetry::settings::Settings::default(),
            allocation: allocation::settings::Settings::default(),
        };
        adjust(&mut settings);
        let running = app::start(&settings).unwrap_or_else(|e| panic!("nearside: {e:?}"));
        let tcp = running
            .listen()
            .into_iter()
            .find_map(|listen| match listen {
                ListenAddress::Tcp { host, port } => Some((host, port)),
                ListenAddress::Unix(_) => None,
            });
        let (host, port) = tcp.expect("a TCP listener");
        let ip = host.parse().expect("an IP address");
        Self {
            running: Some(running),
            addr: SocketAddr::new(ip, port),
        }
    }

    /// Where it listens over TCP.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A RESP2 session.
    pub fn session(&self) -> Client {
        Client::connect(self.addr)
    }

    /// A RESP2 session over the Unix socket at `path`.
    pub fn unix_session(path: &Path) -> Client {
        Client::connect_unix(path)
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("stopped only on drop")
    }

    /// Fills that were put in or refused.
    pub fn fills_decided(&self) -> u64 {
        self.running().fills() + self.running().fills_refused()
    }

    pub fn hits(&self) -> u64 {
        self.running().hits()
    }
}

impl Drop for Nearside {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}
