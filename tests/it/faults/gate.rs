//! What nearside's connections to the server go through where the way between them fails: nothing, or bytes that make no
//! sense, or half an end.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// What becomes of connections, those that are there and those that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// All passes.
    Open,
    /// They are accepted, and nothing passes either way; what was sent meanwhile arrives when the way is open again.
    Hole,
    /// What nearside sends arrives, and the server's end says that nothing more will come.
    HalfClosed,
    /// What nearside sends arrives, and what comes back is not RESP.
    Garbage,
}

/// What no server says, by the number of the connection.
const GARBAGE: [&[u8]; 5] = [
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\xff\xfe\x00\r\n\x80",
    b"$99999999999999999999\r\n",
    b"*-7\r\n",
    b"?\r\n",
];

struct State {
    way: Way,
    stopping: bool,
    /// Towards nearside and towards the server.
    streams: Vec<(TcpStream, TcpStream)>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    server: SocketAddr,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while nothing passes; `None` when all ends.
    fn way(&self) -> Option<Way> {
        let hole = |state: &mut State| state.way == Way::Hole && !state.stopping;
        let state = self.changed.wait_while(self.lock(), hole);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        (!state.stopping).then_some(state.way)
    }
}

/// Ends with all its connections on drop.
pub struct Gate {
    shared: Arc<Shared>,
    addr: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

impl Gate {
    /// An open one.
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let state = State {
            way: Way::Open,
            stopping: false,
            streams: Vec::new(),
            threads: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            server,
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&accepting, &listener));
        Self {
            shared,
            addr,
            acceptor: Some(acceptor),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on.
    pub fn set(&self, way: Way) {
        let mut state = self.shared.lock();
        state.way = way;
        for (number, (client, _)) in state.streams.iter().enumerate() {
            begin(way, number, client);
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

/// What a connection is told unasked.
fn begin(way: Way, number: usize, mut client: &TcpStream) {
    // It may be gone.
    match way {
        Way::Open | Way::Hole => {}
        Way::HalfClosed => drop(client.shutdown(Shutdown::Write)),
        Way::Garbage => drop(client.write_all(GARBAGE[number % GARBAGE.len()])),
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for client in listener.incoming() {
        let Ok(client) = client else { continue };
        let mut state = shared.lock();
        if state.stopping {
            return;
        }
        let pass = {
            let shared = Arc::clone(shared);
            move || pass(&shared, &client)
        };
        state.threads.push(thread::spawn(pass));
    }
}

/// Serves one connection.
fn pass(shared: &Arc<Shared>, client: &TcpStream) {
    if shared.way().is_none() {
        return;
    }
    let Ok(server) = TcpStream::connect(shared.server) else {
        return;
    };
    let second = |stream: &TcpStream| {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.try_clone().expect("a second handle")
    };
    {
        let mut state = shared.lock();
        let number = state.streams.len();
        if state.stopping {
            return;
        }
        state.streams.push((second(client), second(&server)));
        begin(state.way, number, client);
        let back = {
            let (shared, client, server) = (Arc::clone(shared), second(client), second(&server));
            move || back(&shared, &client, &server)
        };
        state.threads.push(thread::spawn(back));
    }
    let mut chunk = vec![0; 64 << 10];
    while let Ok(count @ 1..) = { client }.read(&mut chunk) {
        if shared.way().is_none() || (&server).write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Write);
}

/// The server's side of one connection.
fn back(shared: &Shared, mut client: &TcpStream, mut server: &TcpStream) {
    let mut chunk = vec![0; 64 << 10];
    while let Ok(count @ 1..) = server.read(&mut chunk) {
        match shared.way() {
            Some(Way::Open) if client.write_all(&chunk[..count]).is_ok() => {}
            Some(Way::HalfClosed | Way::Garbage) => {}
            _ => break,
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

impl Drop for Gate {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.stopping = true;
            for (client, server) in &state.streams {
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
        // Wakes the acceptor, which then sees that it is to stop.
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let threads = std::mem::take(&mut self.shared.lock().threads);
        for thread in threads {
            let _ = thread.join();
        }
    }
}
