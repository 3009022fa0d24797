//! A wire between a nearside and its ledger: it can be cut, loses answers, and counts what was asked.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Ends with all its connections on drop.
pub struct Wire {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: SocketAddr,
    streams: Mutex<Vec<TcpStream>>,
    /// Answers with this in them are to be lost: how many yet, and how many were.
    lose: Mutex<(Vec<u8>, usize)>,
    lost: AtomicUsize,
    /// What went up, as it was.
    sent: Mutex<Vec<u8>>,
    stopping: AtomicBool,
}

impl Wire {
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            upstream,
            streams: Mutex::default(),
            lose: Mutex::default(),
            lost: AtomicUsize::new(0),
            sent: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let acceptor = Some(thread::spawn(move || own.accept(&listener)));
        Self {
            addr,
            shared,
            acceptor,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// All connections end.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// The next `n` answers with `part` in them are lost, and their connections with them.
    pub fn lose(&self, part: &str, n: usize) {
        *self.shared.lose.lock().expect("no panic") = (part.as_bytes().to_vec(), n);
    }

    /// How many answers were lost.
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// What went up so far.
    pub fn sent(&self) -> Vec<u8> {
        self.shared.sent.lock().expect("no panic").clone()
    }
}

/// How often there is `part` in `bytes`.
pub fn count(bytes: &[u8], part: &str) -> usize {
    let all = bytes.windows(part.len());
    all.filter(|at| *at == part.as_bytes()).count()
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.shared.cut();
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            // Where the server is away, so is the wire's other end.
            let Ok(server) = TcpStream::connect(self.upstream) else {
                continue;
            };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let ends = || -> std::io::Result<_> {
                Ok([
                    client.try_clone()?,
                    client.try_clone()?,
                    server.try_clone()?,
                    server.try_clone()?,
                ])
            };
            let Ok([from_client, to_client, from_server, to_server]) = ends() else {
                continue;
            };
            self.streams
                .lock()
                .expect("no panic")
                .extend([client, server]);
            let (up, down) = (Arc::clone(&self), Arc::clone(&self));
            thread::spawn(move || pass(from_client, to_server, |bytes| up.sent(bytes)));
            thread::spawn(move || pass(from_server, to_client, |bytes| down.passes(bytes)));
        }
    }

    fn cut(&self) {
        for stream in self.streams.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn sent(&self, bytes: &[u8]) -> bool {
        self.sent.lock().expect("no panic").extend_from_slice(bytes);
        true
    }

    fn passes(&self, bytes: &[u8]) -> bool {
        let mut lose = self.lose.lock().expect("no panic");
        let (part, left) = &mut *lose;
        let drops = *left > 0 && bytes.windows(part.len()).any(|at| at == part);
        if drops {
            *left -= 1;
            self.lost.fetch_add(1, Ordering::SeqCst);
        }
        !drops
    }
}

/// Until either end is gone, or something does not pass.
fn pass(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if !passes(&buffer[..got]) || to.write_all(&buffer[..got]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
