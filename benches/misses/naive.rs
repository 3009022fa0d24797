//! A near cache as one writes it at first: a connection to the upstream for each client, tracked, and a map for all, which
//! keeps every value that was read and drops what was read longest ago. No reads are shared.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use nearside::l1::L1;
use nearside::resp::frame::{FrameWalker, Ignore};
use nearside::resp::request::{RequestScanner, Scanned};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::support::resp;

const NONE: usize = usize::MAX;

struct Node {
    key: Rc<[u8]>,
    reply: Rc<[u8]>,
    newer: usize,
    older: usize,
}

/// Replies by key, in the order of their use; entries weigh what they do in L1.
struct Cache {
    max_bytes: usize,
    bytes: usize,
    by_key: HashMap<Rc<[u8]>, usize, foldhash::fast::RandomState>,
    nodes: Vec<Node>,
    free: Vec<usize>,
    newest: usize,
    oldest: usize,
}

fn weight(key: &[u8], reply: &[u8]) -> usize {
    key.len() + reply.len() + L1::entry_overhead()
}

impl Cache {
    fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            by_key: HashMap::default(),
            nodes: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    fn get(&mut self, key: &[u8]) -> Option<Rc<[u8]>> {
        let at = *self.by_key.get(key)?;
        self.unlink(at);
        self.link(at);
        Some(Rc::clone(&self.nodes[at].reply))
    }

    fn put(&mut self, key: &[u8], reply: &[u8]) {
        self.remove(key);
        self.bytes += weight(key, reply);
        let node = Node {
            key: key.into(),
            reply: reply.into(),
            newer: NONE,
            older: NONE,
        };
        let key = Rc::clone(&node.key);
        let at = if let Some(at) = self.free.pop() {
            self.nodes[at] = node;
            at
        } else {
            self.nodes.push(node);
            self.nodes.len() - 1
        };
        self.by_key.insert(key, at);
        self.link(at);
        while self.bytes > self.max_bytes {
            let key = Rc::clone(&self.nodes[self.oldest].key);
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(at) = self.by_key.remove(key) {
            self.unlink(at);
            self.bytes -= weight(key, &self.nodes[at].reply);
            self.free.push(at);
        }
    }

    fn link(&mut self, at: usize) {
        self.nodes[at].newer = NONE;
        self.nodes[at].older = self.newest;
        match self.newest {
            NONE => self.oldest = at,
            newest => self.nodes[newest].newer = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: usize) {
        let Node { newer, older, .. } = self.nodes[at];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older].newer = newer,
        }
    }
}

/// One client, which sends one command at a time.
struct Connection {
    client: UnixStream,
    server: TcpStream,
    cache: Rc<RefCell<Cache>>,
    /// The key of the read that is upstream.
    reading: Option<Vec<u8>>,
}

impl Connection {
    async fn request(&mut self, request: &[u8], words: &[&[u8]]) -> io::Result<()> {
        self.reading = None;
        match words {
            [name, key] if name.eq_ignore_ascii_case(b"GET") => {
                let held = self.cache.borrow_mut().get(key);
                if let Some(reply) = held {
                    return self.client.write_all(&reply).await;
                }
                self.reading = Some(key.to_vec());
            }
            [_, key, ..] => self.cache.borrow_mut().remove(key),
            _ => {}
        }
        self.server.write_all(request).await
    }

    async fn reply(&mut self, reply: &[u8]) -> io::Result<()> {
        if reply[0] == b'>' {
            let (push, _) = resp::parse(reply).expect("it is whole");
            if let [_, keys] = push.elements() {
                let mut cache = self.cache.borrow_mut();
                for key in keys.elements() {
                    cache.remove(key.text().expect("a key").as_bytes());
                }
            }
            return Ok(());
        }
        let reply = if reply == b"_\r\n" { b"$-1\r\n" } else { reply };
        if let Some(key) = self.reading.take() {
            self.cache.borrow_mut().put(&key, reply);
        }
        self.client.write_all(reply).await
    }

    async fn serve(mut self) -> io::Result<()> {
        let hello = b"HELLO 3\r\nCLIENT TRACKING ON\r\n";
        self.server.write_all(hello).await?;
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        while !replies.ends_with(b"+OK\r\n") {
            if self.server.read_buf(&mut replies).await? == 0 {
                return Ok(());
            }
        }
        replies.clear();
        loop {
            tokio::select! {
                read = self.client.read_buf(&mut requests) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    let mut scanner = RequestScanner::default();
                    if let Ok(Scanned::Request { end }) = scanner.scan(&requests) {
                        let words: Vec<&[u8]> =
                            scanner.args().iter().map(|word| &requests[word.clone()]).collect();
                        self.request(&requests[..end], &words).await?;
                        requests.drain(..end);
                    }
                }
                read = self.server.read_buf(&mut replies) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    let mut at = 0;
                    while let Ok(walked) = FrameWalker::default().walk(&replies[at..], &mut Ignore)
                        && walked.done
                    {
                        self.reply(&replies[at..at + walked.consumed]).await?;
                        at += walked.consumed;
                    }
                    replies.drain(..at);
                }
            }
        }
    }
}

async fn accept(listener: UnixListener, upstream: SocketAddr, max_bytes: usize) {
    let cache = Rc::new(RefCell::new(Cache::new(max_bytes)));
    while let Ok((client, _)) = listener.accept().await {
        let cache = Rc::clone(&cache);
        tokio::task::spawn_local(async move {
            let server = TcpStream::connect(upstream).await?;
            server.set_nodelay(true)?;
            let connection = Connection {
                client,
                server,
                cache,
                reading: None,
            };
            connection.serve().await
        });
    }
}

/// Listens on `path` until its process ends, on one thread.
pub fn start(path: &Path, upstream: SocketAddr, max_bytes: usize) {
    let path: PathBuf = path.into();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .event_interval(31)
        .build();
    let runtime = runtime.expect("a runtime");
    let inside = runtime.enter();
    let listener = UnixListener::bind(path).expect("a path of its own");
    drop(inside);
    thread::spawn(move || {
        LocalSet::new().block_on(&runtime, accept(listener, upstream, max_bytes));
    });
}
