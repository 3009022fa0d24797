//! A TCP relay between nearside and its upstream that can hold back what the upstream sends on the lane. The lane
//! is the connection on which `TRACKING` was sent; all others pass undelayed.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::eventually;

#[derive(Default)]
struct Gate {
    holding: bool,
    held: usize,
    /// Bytes that may pass though the gate holds.
    pass: usize,
    refusing: bool,
    lanes: Vec<TcpStream>,
}

#[derive(Default)]
struct Shared {
    gate: Mutex<Gate>,
    changed: Condvar,
    over: AtomicBool,
}

pub struct Relay {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Relay {
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.over.load(Ordering::Acquire) {
                    return;
                }
                if accepting.gate.lock().expect("gate").refusing {
                    continue;
                }
                let Ok(server) = TcpStream::connect(upstream) else {
                    continue;
                };
                join(&accepting, client, server);
            }
        });
        Self { addr, shared }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on nothing that the upstream sends on the lane arrives.
    pub fn hold(&self) {
        self.shared.gate.lock().expect("gate").holding = true;
    }

    /// Waits until something is held, and has stopped growing; how many bytes.
    pub fn held(&self) -> usize {
        let mut last = 0;
        eventually("the upstream's answer on the held lane", || {
            thread::sleep(Duration::from_millis(20));
            let held = self.shared.gate.lock().expect("gate").held;
            let settled = held > 0 && held == last;
            last = held;
            settled.then_some(held)
        })
    }

    /// Lets the first `bytes` of what is held arrive, and goes on holding the rest.
    pub fn pass(&self, bytes: usize) {
        self.shared.gate.lock().expect("gate").pass += bytes;
        self.shared.changed.notify_all();
    }

    pub fn release(&self) {
        self.shared.gate.lock().expect("gate").holding = false;
        self.shared.changed.notify_all();
    }

    /// Cuts the lane, and takes no new connection.
    pub fn cut(&self) {
        let mut gate = self.shared.gate.lock().expect("gate");
        gate.refusing = true;
        for lane in gate.lanes.drain(..) {
            let _ = lane.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.release();
        self.cut();
        let _ = TcpStream::connect(self.addr);
    }
}

fn join(shared: &Arc<Shared>, client: TcpStream, server: TcpStream) {
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let is_lane = Arc::new(AtomicBool::new(false));
    let (mut from, mut to) = (
        client.try_clone().expect("a clone"),
        server.try_clone().expect("a clone"),
    );
    let (lane, gate) = (Arc::clone(&is_lane), Arc::clone(shared));
    thread::spawn(move || {
        let mut buf = vec![0; 1 << 16];
        while let Ok(n @ 1..) = from.read(&mut buf) {
            if buf[..n].windows(8).any(|part| part == b"TRACKING") {
                lane.store(true, Ordering::Release);
                gate.gate
                    .lock()
                    .expect("gate")
                    .lanes
                    .push(from.try_clone().expect("a clone"));
            }
            if to.write_all(&buf[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to, shared) = (server, client, Arc::clone(shared));
    thread::spawn(move || {
        let mut waiting: Vec<u8> = Vec::new();
        let _ = from.set_read_timeout(Some(Duration::from_millis(1)));
        let mut buf = vec![0; 1 << 16];
        loop {
            match from.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => waiting.extend_from_slice(&buf[..n]),
                Err(e)
                    if matches!(
                        e.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(_) => break,
            }
            let n = if is_lane.load(Ordering::Acquire) {
                let mut gate = shared.gate.lock().expect("gate");
                let n = if gate.holding {
                    gate.pass.min(waiting.len())
                } else {
                    waiting.len()
                };
                gate.pass -= gate.pass.min(n);
                gate.held = waiting.len() - n;
                n
            } else {
                waiting.len()
            };
            if n > 0 && to.write_all(&waiting[..n]).is_err() {
                break;
            }
            waiting.drain(..n);
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
