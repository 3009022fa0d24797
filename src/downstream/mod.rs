//! The client side: listeners, the workers that run sessions, and the drain.
//!
//! Each worker is a thread with a current-thread runtime. One acceptor hands a new socket to the worker
//! with the fewest sessions; a session never migrates. The first worker also drives the lane, so with one worker
//! sessions and lane share a thread.

pub mod drain;
pub mod pulse;
pub mod settings;
pub mod switch;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::proxy::control::Control;
use crate::proxy::registry::Sessions;
use crate::proxy::session::{Peer, Session};
use crate::proxy::settings::Settings as ProxySettings;
use crate::telemetry::clock::{millis, now_ms};
use crate::upstream::lanes::{Lanes, Seat};
use crate::upstream::pool;
use drain::Ending;
use settings::{ListenAddress, Settings};
use switch::Switch;

/// How often unused own connections are looked for.
const SWEEP: Duration = Duration::from_secs(2);

/// A thread with a runtime.
struct Worker {
    name: String,
    handle: Handle,
    sessions: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(name: String) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(31)
            .build()?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name(name.clone());
        let thread = thread.spawn(move || {
            runtime.spawn(async {
                let mut sweeps = tokio::time::interval(SWEEP);
                loop {
                    sweeps.tick().await;
                    pool::sweep();
                }
            });
            // Ends when the sender says so or is gone.
            let _ = runtime.block_on(stopped);
            pool::clear();
            // Sessions end here; a look-up of the upstream's name that hangs is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self {
            name,
            handle,
            sessions: Arc::default(),
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Connections that it was given and that have not ended.
    fn clients(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        self.workers.clear();
        self.shared.lanes.shut();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// What a listener accepts.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Drop for Listener {
    // Here and not behind the accept loop, which a drain may cancel at any await.
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Somebody else may have removed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

enum Socket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    fn peer(&self) -> Peer {
        match self {
            Self::Tcp(socket) => {
                let show = |address: io::Result<SocketAddr>| {
                    address.map_or_else(|_| String::new(), |address| address.to_string())
                };
                Peer {
                    remote: show(socket.peer_addr()),
                    local: show(socket.local_addr()),
                }
            }
            Self::Unix(socket) => {
                let address = socket.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                let shown = path.map_or_else(String::new, |path| format!("{}:0", path.display()));
                Peer {
                    remote: shown.clone(),
                    local: shown,
                }
            }
        }
    }
}

/// What acceptors and the drain share.
struct Shared {
    lanes: Arc<Lanes>,
    proxy: ProxySettings,
    draining: Arc<AtomicBool>,
    sessions: Arc<Sessions>,
    max_clients: usize,
}

/// The running client side.
pub struct Downstream {
    _base: Option<Seat>,
    workers: Vec<Worker>,
    acceptor: Option<Worker>,
    shared: Arc<Shared>,
    addresses: Vec<ListenAddress>,
    close: watch::Sender<bool>,
    ending: Arc<Ending>,
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        None,
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

fn bind_unix(path: &PathBuf) -> io::Result<UnixListener> {
    // A socket that nobody answers on was left behind; one that is answered is in use.
    if std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path).is_err()
    {
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

impl Downstream {
    /// Binds, and serves from now on.
    ///
    /// # Errors
    /// One line on which address could not be bound, and why.
    pub fn start(
        settings: &Settings,
        proxy: &ProxySettings,
        lanes: &Arc<Lanes>,
        control: Arc<Control>,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot start a worker thread: {error}");
        let workers = (0..settings.workers)
            .map(|n| Worker::start(format!("worker-{n}")))
            .collect::<Result<Vec<_>, _>>();
        let workers = workers.map_err(failed)?;
        let acceptor = Worker::start("acceptor".into()).map_err(failed)?;
        let shared = Arc::new(Shared {
            lanes: Arc::clone(lanes),
            proxy: proxy.clone(),
            draining: Arc::default(),
            sessions: Arc::new(Sessions::new(control)),
            max_clients: settings.max_clients,
        });
        let (close, closed) = watch::channel(false);
        let targets: Vec<_> = workers
            .iter()
            .map(|w| (w.handle.clone(), Arc::clone(&w.sessions)))
            .collect();
        let mut addresses = Vec::new();
        for address in &settings.listen {
            let _inside = acceptor.handle.enter();
            let failed = |error: io::Error| format!("cannot listen on {address}: {error}");
            let listener = match address {
                ListenAddress::Tcp { host, port } => {
                    let found = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), *port))
                        .map_err(failed)?
                        .next();
                    let found = found.ok_or_else(|| {
                        format!("cannot listen on {address}: the name has no address")
                    })?;
                    let listener = bind_tcp(found).map_err(failed)?;
                    let port = listener.local_addr().map_err(failed)?.port();
                    addresses.push(ListenAddress::Tcp {
                        host: host.clone(),
                        port,
                    });
                    Listener::Tcp(listener)
                }
                ListenAddress::Unix(path) => {
                    addresses.push(address.clone());
                    Listener::Unix(bind_unix(path).map_err(failed)?, path.clone())
                }
            };
            acceptor.handle.spawn(accept(
                listener,
                Arc::clone(&shared),
                targets.clone(),
                closed.clone(),
            ));
        }
        for address in &addresses {
            tracing::info!(%address, "listening on {address}");
        }
        if let Some(timeout) = proxy.idle_timeout {
            acceptor
                .handle
                .spawn(watch_idle(Arc::clone(&shared), timeout));
        }
        // Also where there are no lanes: their own connections may open the circuit, and nothing else closes it.
        lanes.watch(&workers[0].handle);
        // Held, so that the lane of clients without AUTH and SELECT is there from the start.
        let mode = lanes.l1().settings().mode;
        let base = if proxy.is_transparent(mode) {
            None
        } else {
            lanes.seat(&lanes.base(), &workers[0].handle)
        };
        Ok(Self {
            _base: base,
            workers,
            acceptor: Some(acceptor),
            shared,
            addresses,
            close,
            ending: Arc::default(),
        })
    }

    /// Where it listens, with real ports.
    #[must_use]
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// What changes L1's mode.
    #[must_use]
    pub fn switch(&self) -> Switch {
        let lanes = &self.shared.lanes;
        Switch {
            lanes: Arc::clone(lanes),
            sessions: Arc::clone(&self.shared.sessions),
            transparent: self.shared.proxy.is_transparent(lanes.l1().settings().mode),
        }
    }

    /// Counts the tasks of sessions and lanes.
    pub fn task_count(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let handles: Vec<Handle> = self.workers.iter().map(|w| w.handle.clone()).collect();
        move || {
            let alive = |handle: &Handle| handle.metrics().num_alive_tasks();
            handles.iter().map(alive).sum()
        }
    }

    /// Counts open sessions.
    pub fn session_count(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.sessions.len()
    }
}

/// Asks sessions whose clients have been silent for a while to look whether it is too long.
async fn watch_idle(shared: Arc<Shared>, timeout: Duration) {
    let limit = millis(timeout);
    let mut looks = tokio::time::interval(
        (timeout / 4).clamp(Duration::from_millis(5), Duration::from_secs(1)),
    );
    loop {
        looks.tick().await;
        let now = now_ms();
        for mailbox in shared.sessions.mailboxes() {
            if now.saturating_sub(mailbox.heard_at()) > limit {
                mailbox.ask_idle();
            }
        }
    }
}

async fn accept(
    listener: Listener,
    shared: Arc<Shared>,
    workers: Vec<(Handle, Arc<AtomicUsize>)>,
    mut closed: watch::Receiver<bool>,
) {
    loop {
        let accepting = async {
            match &listener {
                Listener::Tcp(listener) => {
                    let (socket, _) = listener.accept().await?;
                    socket.set_nodelay(true)?;
                    socket.into_std().map(Socket::Tcp)
                }
                Listener::Unix(listener, _) => {
                    listener.accept().await?.0.into_std().map(Socket::Unix)
                }
            }
        };
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            _ = closed.changed() => break,
        };
        match accepted {
            Ok(socket) => admit(socket, &shared, &workers),
            Err(error) => {
                // Out of descriptors, most likely: the next try would fail as fast.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Gives a socket to the worker with the fewest sessions.
fn admit(socket: Socket, shared: &Arc<Shared>, workers: &[(Handle, Arc<AtomicUsize>)]) {
    // Not the sessions that have begun: of a burst they are none yet.
    let admitted: usize = workers
        .iter()
        .map(|(_, sessions)| sessions.load(Ordering::Relaxed))
        .sum();
    if admitted >= shared.max_clients {
        let refusal = b"-ERR max number of clients reached\r\n";
        // The client that is refused may be gone already.
        let _ = match socket {
            Socket::Tcp(mut socket) => io::Write::write(&mut socket, refusal),
            Socket::Unix(mut socket) => io::Write::write(&mut socket, refusal),
        };
        return;
    }
    let (handle, sessions) = workers
        .iter()
        .min_by_key(|(_, sessions)| sessions.load(Ordering::Relaxed))
        .expect("there is a worker");
    sessions.fetch_add(1, Ordering::Relaxed);
    let (shared, sessions) = (Arc::clone(shared), Arc::clone(sessions));
    handle.spawn(async move {
        let id = shared.sessions.number();
        let lanes = Arc::clone(&shared.lanes);
        let draining = Arc::clone(&shared.draining);
        let peer = socket.peer();
        match socket {
            Socket::Tcp(socket) => {
                if let Ok(stream) = TcpStream::from_std(socket) {
                    let session = Session::new(
                        stream,
                        id,
                        lanes,
                        &shared.sessions,
                        &shared.proxy,
                        draining,
                        peer,
                    );
                    serve(session, id, &shared).await;
                }
            }
            Socket::Unix(socket) => {
                if let Ok(stream) = UnixStream::from_std(socket) {
                    let session = Session::new(
                        stream,
                        id,
                        lanes,
                        &shared.sessions,
                        &shared.proxy,
                        draining,
                        peer,
                    );
                    serve(session, id, &shared).await;
                }
            }
        }
        sessions.fetch_sub(1, Ordering::Relaxed);
    });
}

async fn serve<S>(session: Session<S>, id: u64, shared: &Shared)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    shared.sessions.add(id, session.mailbox());
    session.await;
    shared.sessions.remove(id);
}
