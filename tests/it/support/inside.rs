//! Sessions alone, on runtimes of the caller's, over streams that it makes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nearside::l1::L1;
use nearside::l1::settings::Settings as L1Settings;
use nearside::proxy::control::Control;
use nearside::proxy::registry::Sessions;
use nearside::proxy::session::{Peer, Session};
use nearside::proxy::settings::Settings;
use nearside::telemetry::Telemetry;
use nearside::telemetry::settings::Settings as TelemetrySettings;
use nearside::upstream::lanes::{Lanes, Seat};
use nearside::upstream::settings::{Address, Endpoint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;

/// What the sessions of one nearside share.
pub struct Inside {
    pub l1: Arc<L1>,
    lanes: Arc<Lanes>,
    sessions: Arc<Sessions>,
    _base: Option<Seat>,
}

impl Inside {
    /// For so many threads; the lane to `upstream` lives on `runtime`.
    pub fn new(upstream: SocketAddr, l1: L1Settings, workers: usize, runtime: &Handle) -> Self {
        let l1 = Arc::new(L1::new(l1, workers));
        let endpoint = Endpoint {
            address: Address::Tcp {
                host: upstream.ip().to_string(),
                port: upstream.port(),
            },
            credentials: None,
            db: 0,
            tls: None,
            password_file: None,
        };
        let settings = nearside::upstream::settings::Settings::default();
        let lanes = Lanes::new(
            endpoint,
            settings,
            Arc::clone(&l1),
            Telemetry::new(&TelemetrySettings::default()),
        )
        .expect("no files");
        let (control, _) = Control::new(&lanes, None);
        Self {
            l1,
            _base: lanes.seat(&lanes.base(), runtime),
            sessions: Arc::new(Sessions::new(control)),
            lanes,
        }
    }

    /// A session of the current runtime on this stream.
    pub fn session<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Session<S> {
        Session::new(
            stream,
            self.sessions.number(),
            Arc::clone(&self.lanes),
            &self.sessions,
            &Settings::default(),
            Arc::new(AtomicBool::new(false)),
            Peer::default(),
        )
    }

    /// Reads answered from memory so far.
    pub fn hits(&self) -> u64 {
        let keyspaces = self.l1.keyspaces();
        keyspaces.total(|one| one.hits.get())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.lanes.shut();
    }
}
