//! A side port whose nearside can be taken away and put back, and which loses answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

/// Stands on one address for as long as the test lasts; each connection is one exchange, as the program makes it.
pub struct Front {
    pub http: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    behind: Mutex<Option<SocketAddr>>,
    /// How many answers are to be lost yet.
    losing: AtomicUsize,
    /// How many connections found nobody.
    alone: AtomicUsize,
    /// The first lines of requests, as they came.
    requests: Mutex<Vec<String>>,
}

impl Front {
    pub fn before(http: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        *shared.behind.lock() = Some(http);
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (served, stream) = (Arc::clone(&served), stream.expect("a connection"));
                thread::spawn(move || served.exchange(&stream));
            }
        });
        Self {
            http: address,
            shared,
        }
    }

    pub fn take_away(&self) {
        *self.shared.behind.lock() = None;
    }

    pub fn put(&self, http: SocketAddr) {
        *self.shared.behind.lock() = Some(http);
    }

    /// The next answer is lost.
    pub fn lose_an_answer(&self) {
        self.shared.losing.fetch_add(1, Ordering::SeqCst);
    }

    pub fn alone(&self) -> usize {
        self.shared.alone.load(Ordering::SeqCst)
    }

    /// How many requests there were that begin so.
    pub fn requests(&self, beginning: &str) -> usize {
        let requests = self.shared.requests.lock();
        let such = requests.iter().filter(|line| line.starts_with(beginning));
        such.count()
    }
}

impl Shared {
    fn exchange(&self, client: &TcpStream) -> Option<()> {
        let behind = *self.behind.lock();
        let Some(server) = behind.and_then(|http| TcpStream::connect(http).ok()) else {
            self.alone.fetch_add(1, Ordering::SeqCst);
            return None;
        };
        let request = read_message(client)?;
        let text = String::from_utf8_lossy(&request);
        let line = text.lines().next().unwrap_or_default().to_owned();
        self.requests.lock().push(line);
        (&server).write_all(&request).ok()?;
        let answer = read_message(&server)?;
        let lose = self
            .losing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if lose.is_err() {
            let mut client = client;
            client.write_all(&answer).ok()?;
        }
        Some(())
    }
}

/// A request or an answer with its body.
pub fn read_message(mut stream: &TcpStream) -> Option<Vec<u8>> {
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .ok()?;
    let (mut message, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        if whole(&message) {
            return Some(message);
        }
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            n => message.extend_from_slice(&chunk[..n]),
        }
    }
}

fn whole(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        line.strip_prefix("content-length:")?
            .trim()
            .parse::<usize>()
            .ok()
    });
    body.len() >= length.unwrap_or(0)
}
