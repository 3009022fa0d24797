//! Connecting to the upstream and the handshakes, every reply of which is checked.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::breaker::Kind;
use super::identity::Identity;
use super::lanes::Lanes;
use super::node::Turn;
use super::settings::{Address, Credentials, Settings};
use super::stream::{Socket, Stream};
use crate::command::learned::Learned;
use crate::resp::downgrade::Downgrade;
use crate::resp::encode;
use crate::resp::frame::{FrameWalker, Sink, parse_integer};

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectError {
    /// The node could not be reached or did not answer in time, or is not ready: a failure for the breaker, of this kind.
    Unreachable(String, Kind),
    /// The node has no time or no room for now: no failure, and over by itself.
    Busy(String),
    /// The node answered and refused, with its own words: no failure, and nothing that waiting would mend.
    Refused(String),
    /// No attempt was made, for the circuit is open.
    Cut,
}

impl ConnectError {
    /// What happened, on one line.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Unreachable(reason, _) | Self::Busy(reason) | Self::Refused(reason) => reason,
            Self::Cut => "circuit open",
        }
    }
}

/// What a HELLO told of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hello {
    /// `redis` or `valkey`.
    pub server: String,
    /// Its version.
    pub version: String,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: String,
    /// `master` or `replica`.
    pub role: String,
    /// Its modules, the encoded RESP3 value.
    modules: Vec<u8>,
}

impl Hello {
    /// Whether the order of pushes and replies on one connection holds there: from Redis 6.2.7 and 7.0.5 on, and in Valkey.
    #[must_use]
    pub fn keeps_push_order(&self) -> bool {
        if self.server != "redis" {
            return self.server == "valkey";
        }
        let mut parts = self
            .version
            .split('.')
            .map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (
            parts.next().unwrap_or(0),
            parts.next().unwrap_or(0),
            parts.next().unwrap_or(0),
        );
        version >= (7, 0, 5) || ((6, 2, 7)..(7, 0, 0)).contains(&version)
    }

    /// The `modules` field's value, encoded for a client's protocol.
    #[must_use]
    pub fn modules(&self, resp2: bool) -> Vec<u8> {
        if self.modules.is_empty() {
            return b"*0\r\n".to_vec();
        }
        if !resp2 {
            return self.modules.clone();
        }
        let (mut downgrade, mut out) = (Downgrade::default(), Vec::new());
        match FrameWalker::default().walk(&self.modules, &mut downgrade.into_buffer(&mut out)) {
            Ok(walked) if walked.done => out,
            _ => b"*0\r\n".to_vec(),
        }
    }

    /// Reads it from a HELLO reply's bulk strings, in order.
    #[must_use]
    pub fn from_parts(parts: &[Vec<u8>]) -> Self {
        let text = |name: &str| {
            let at = parts.iter().position(|part| part == name.as_bytes());
            at.and_then(|at| parts.get(at + 1))
                .map(|value| String::from_utf8_lossy(value).into_owned())
        };
        Self {
            server: text("server").unwrap_or_default(),
            version: text("version").unwrap_or_default(),
            mode: text("mode").unwrap_or_default(),
            role: text("role").unwrap_or_default(),
            modules: Vec::new(),
        }
    }
}

/// Collects a frame's bulk strings and integers, and its line if it is one.
#[derive(Debug, Default)]
pub struct Parts {
    /// The bulk strings, in order.
    pub bulks: Vec<Vec<u8>>,
    /// The frame itself where it is a simple string, error or integer, kind and line break included.
    pub line: Vec<u8>,
    /// The integers in an aggregate, in order.
    pub integers: Vec<i64>,
    current: Vec<u8>,
    /// The element under way is one of an aggregate's.
    inside: bool,
}

impl Sink for Parts {
    fn element(&mut self, _: u8, depth: usize) {
        self.inside = depth > 0;
    }
    fn header(&mut self, _: u8, _: i64) {}
    fn scalar(&mut self, _: u8, _: &[u8]) {}
    fn line(&mut self, bytes: &[u8]) {
        if !self.inside {
            self.line.extend_from_slice(bytes);
            return;
        }
        self.current.extend_from_slice(bytes);
        if let Some(text) = self.current.strip_suffix(b"\r\n") {
            self.integers
                .extend(text.strip_prefix(b":").and_then(parse_integer));
            self.current.clear();
        }
    }
    fn body(&mut self, bytes: &[u8]) {
        self.current.extend_from_slice(bytes);
    }
    fn body_end(&mut self) {
        self.bulks.push(std::mem::take(&mut self.current));
    }
}

impl Parts {
    /// The error's text, if the frame is one.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let text = self.line.strip_prefix(b"-")?;
        Some(String::from_utf8_lossy(text).trim_end().to_owned())
    }
}

/// Opens a connection, bounded by `connect_timeout`; a name is resolved anew each time.
///
/// # Errors
/// [`ConnectError::Unreachable`].
pub async fn connect(address: &Address, settings: &Settings) -> Result<Stream, ConnectError> {
    let opening = async {
        match address {
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                // Where a reply may be long in coming, these tell a silent server from one that is gone.
                let keepalive = socket2::TcpKeepalive::new()
                    .with_time(Duration::from_secs(15))
                    .with_interval(Duration::from_secs(5))
                    .with_retries(3);
                let socket = socket2::SockRef::from(&stream);
                socket.set_tcp_keepalive(&keepalive)?;
                socket.set_tcp_user_timeout(Some(Duration::from_secs(30)))?;
                Ok(Socket::Tcp(stream))
            }
            Address::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        }
    };
    match timeout(settings.connect_timeout, opening).await {
        Ok(Ok(socket)) => Ok(Stream::new(socket)),
        Ok(Err(error)) => Err(ConnectError::Unreachable(
            format!("cannot connect: {error}"),
            Kind::Connect,
        )),
        Err(_) => Err(ConnectError::Unreachable(
            "connecting took too long".into(),
            Kind::Timeout,
        )),
    }
}

/// Speaks TLS from here on, if that was asked for.
async fn secure(stream: Stream, lanes: &Lanes, until: Instant) -> Result<Stream, ConnectError> {
    let (tcp, tls) = match (stream.into_socket(), lanes.tls()) {
        (Socket::Tcp(tcp), Some(tls)) => (tcp, tls),
        (socket, _) => return Ok(Stream::new(socket)),
    };
    match timeout_at(until, tls.connector.connect(tls.name.clone(), tcp)).await {
        Ok(Ok(stream)) => Ok(Stream::new(Socket::Tls(Box::new(stream)))),
        Ok(Err(error)) => Err(ConnectError::Unreachable(
            format!("TLS: {error}"),
            Kind::Connect,
        )),
        Err(_) => Err(ConnectError::Unreachable(
            "TLS: no answer in time; the upstream may not speak TLS on this port".into(),
            Kind::Timeout,
        )),
    }
}

/// One request and its reply, during a handshake.
async fn call(stream: &mut Stream, args: &[&[u8]]) -> Result<Parts, ConnectError> {
    Ok(call_raw(stream, args).await?.0)
}

/// As [`call`], with the reply's bytes too.
async fn call_raw(stream: &mut Stream, args: &[&[u8]]) -> Result<(Parts, Vec<u8>), ConnectError> {
    exchange(stream, args, 4096).await
}

/// As [`call`], reading nothing of what comes behind the reply.
async fn call_last(stream: &mut Stream, args: &[&[u8]]) -> Result<Parts, ConnectError> {
    Ok(exchange(stream, args, 1).await?.0)
}

/// One request, and its reply and bytes, which are read `at_once`, or fewer.
async fn exchange(
    stream: &mut Stream,
    args: &[&[u8]],
    at_once: usize,
) -> Result<(Parts, Vec<u8>), ConnectError> {
    let lost = |error: io::Error| {
        let reason = format!("connection lost in the handshake: {error}");
        ConnectError::Unreachable(reason, Kind::Lost)
    };
    let mut request = Vec::new();
    encode::request(&mut request, args);
    stream.write_all(&request).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let (mut walker, mut parts) = (FrameWalker::default(), Parts::default());
    let (mut buf, mut raw) = (Vec::new(), Vec::new());
    let mut chunk = vec![0; at_once];
    loop {
        let read = stream.read(&mut chunk).await.map_err(lost)?;
        buf.extend_from_slice(&chunk[..read]);
        if read == 0 {
            return Err(ConnectError::Unreachable(
                "the upstream closed the connection in the handshake".into(),
                Kind::Lost,
            ));
        }
        let step = walker
            .walk(&buf, &mut parts)
            .map_err(|e| ConnectError::Unreachable(e.to_string(), Kind::Lost))?;
        raw.extend(buf.drain(..step.consumed));
        if step.done {
            return Ok((parts, raw));
        }
    }
}

/// Whether an error reply says that the node is not ready to serve, and not what is wrong with the request.
#[must_use]
pub fn is_unready(error: &[u8]) -> bool {
    let words: [&[u8]; 3] = [b"LOADING", b"MASTERDOWN", b"CLUSTERDOWN"];
    words.iter().any(|word| error.starts_with(word))
}

/// Whether a refusal is over by itself: while a script runs, and while others have all connections that there may be.
fn is_of_the_moment(error: &str) -> bool {
    error.starts_with("BUSY ") || error.starts_with("ERR max number of clients")
}

/// As [`call_raw`], an error reply being a refusal; `-LOADING` and its like are a node that cannot be reached yet.
async fn must(stream: &mut Stream, args: &[&[u8]]) -> Result<(Parts, Vec<u8>), ConnectError> {
    let (parts, raw) = call_raw(stream, args).await?;
    match parts.error() {
        None => Ok((parts, raw)),
        Some(text) if is_unready(text.as_bytes()) => {
            Err(ConnectError::Unreachable(text, Kind::Loading))
        }
        Some(text) if is_of_the_moment(&text) => Err(ConnectError::Busy(text)),
        Some(text) => Err(ConnectError::Refused(text)),
    }
}

/// Asks the node, over a connection for that alone, whether it answers; what it answers does not matter as long as it
/// does not say that it is not ready.
///
/// # Errors
/// What speaks against it.
pub async fn ping(lanes: &Lanes) -> Result<(), Kind> {
    let settings = lanes.settings();
    let asking = async {
        let stream = connect(&lanes.endpoint().address, settings).await?;
        let until = Instant::now() + settings.handshake_timeout;
        let mut stream = secure(stream, lanes, until).await?;
        let asked = timeout_at(until, call(&mut stream, &[b"PING"])).await;
        asked.map_err(|_| ConnectError::Unreachable(String::new(), Kind::Timeout))?
    };
    match asking.await {
        Ok(parts) => match parts.error() {
            Some(text) if is_unready(text.as_bytes()) => Err(Kind::Loading),
            _ => Ok(()),
        },
        Err(ConnectError::Unreachable(_, kind)) => Err(kind),
        Err(_) => Ok(()),
    }
}

/// Says who we are and which database is meant. Every reply is checked: a busy server refuses SELECT too.
async fn introduce(
    stream: &mut Stream,
    credentials: Option<&Credentials>,
    db: u32,
    resp3: bool,
) -> Result<Hello, ConnectError> {
    let user = credentials.and_then(|credentials| credentials.user.as_deref());
    let mut hello = Hello::default();
    if resp3 {
        let mut args: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(credentials) = credentials {
            let user = user.unwrap_or("default");
            args.extend_from_slice(&[b"AUTH", user.as_bytes(), credentials.password.as_bytes()]);
        }
        let (parts, raw) = must(stream, &args).await?;
        hello = Hello::from_parts(&parts.bulks);
        // The last of its fields.
        let field = b"$7\r\nmodules\r\n";
        if let Some(at) = raw.windows(field.len()).position(|found| found == field) {
            hello.modules = raw[at + field.len()..].to_vec();
        }
    } else if let Some(credentials) = credentials {
        let mut args: Vec<&[u8]> = vec![b"AUTH"];
        args.extend(user.map(str::as_bytes));
        args.push(credentials.password.as_bytes());
        must(stream, &args).await?;
    }
    if db != 0 {
        must(stream, &[b"SELECT", db.to_string().as_bytes()]).await?;
    }
    Ok(hello)
}

/// A lane's connection after its handshake.
#[derive(Debug)]
pub struct LaneConnection {
    /// The connection.
    pub stream: Stream,
    /// What the server said of itself.
    pub hello: Hello,
    /// Why L1 must stay off there, if it must.
    pub untracked: Option<String>,
    /// The user has the right to SELECT.
    pub may_select: bool,
    /// [`Node::generation`](super::node::Node::generation) when it was opened.
    pub generation: u64,
}

/// Opens a connection for a lane: RESP3, authenticated, its database selected, tracking on where the server lets it.
///
/// # Errors
/// See [`ConnectError`].
pub async fn open_lane(
    lanes: &Lanes,
    credentials: Option<&Credentials>,
    db: u32,
) -> Result<LaneConnection, ConnectError> {
    let settings = lanes.settings();
    let _turn = lanes.node().turn(Turn::Lane).await?;
    let generation = lanes.node().generation();
    let stream = connect(&lanes.endpoint().address, settings).await?;
    let until = Instant::now() + settings.handshake_timeout;
    let mut stream = secure(stream, lanes, until).await?;
    let shaking = async {
        let hello = introduce(&mut stream, credentials, db, true).await?;
        // Database 0 needs none, and its clients may send one all the same.
        let may_select = db != 0 || {
            let select = call(&mut stream, &[b"SELECT", b"0"]);
            select.await?.error().is_none()
        };
        // These two are courtesies; a user without the right to them has a working lane all the same.
        call(&mut stream, &[b"CLIENT", b"SETNAME", b"nearside-lane"]).await?;
        call(&mut stream, &[b"CLIENT", b"NO-EVICT", b"ON"]).await?;
        let mut untracked = (!hello.keeps_push_order()).then(|| {
            format!(
                "{} {} does not keep pushes and replies in order",
                hello.server, hello.version
            )
        });
        // Before the first client: what is not in the table is looked up in this.
        if let Some(learned) = Learned::parse(&call_raw(&mut stream, &[b"COMMAND"]).await?.1) {
            lanes.learn(learned);
        }
        // The last, for from here on there are pushes, and they are the reader's.
        if untracked.is_none() {
            untracked = call_last(&mut stream, &[b"CLIENT", b"TRACKING", b"ON", b"OPTIN"])
                .await?
                .error();
        }
        Ok((stream, hello, untracked, may_select))
    };
    let (stream, hello, untracked, may_select) =
        timeout_at(until, shaking).await.map_err(|_| too_long())??;
    Ok(LaneConnection {
        stream,
        hello,
        untracked,
        may_select,
        generation,
    })
}

/// Opens a connection for one session, authenticated and in its database and protocol.
///
/// # Errors
/// See [`ConnectError`].
pub async fn open_own(
    lanes: &Lanes,
    credentials: Option<&Credentials>,
    db: u32,
    resp3: bool,
) -> Result<Stream, ConnectError> {
    let stream = open(lanes, credentials, db, resp3).await?;
    Ok(stream.counted(&lanes.node().own))
}

/// Opens a connection that is not a lane's.
async fn open(
    lanes: &Lanes,
    credentials: Option<&Credentials>,
    db: u32,
    resp3: bool,
) -> Result<Stream, ConnectError> {
    let settings = lanes.settings();
    let turn = timeout(settings.request_timeout, lanes.node().turn(Turn::Own)).await;
    let waited = "others were connecting for all of request_timeout";
    // No word of the node's: that others wait for it was counted with them.
    let _turn = turn.map_err(|_| ConnectError::Busy(waited.into()))??;
    let stream = connect(&lanes.endpoint().address, settings).await?;
    let until = Instant::now() + settings.handshake_timeout;
    let mut stream = secure(stream, lanes, until).await?;
    let shaking = async {
        introduce(&mut stream, credentials, db, resp3).await?;
        Ok(stream)
    };
    timeout_at(until, shaking).await.map_err(|_| too_long())?
}

/// Opens a connection for what nearside itself asks of the upstream off the data path.
///
/// # Errors
/// See [`ConnectError`].
pub(super) async fn open_for_questions(lanes: &Lanes, name: &[u8]) -> Result<Stream, ConnectError> {
    let credentials = lanes.credentials(&Identity::Ours);
    let mut stream = open(lanes, credentials.as_ref(), 0, false).await?;
    // A courtesy, as for a lane.
    ask(lanes, &mut stream, &[b"CLIENT", b"SETNAME", name]).await?;
    Ok(stream)
}

/// Asks something there, and waits no longer than for a handshake.
///
/// # Errors
/// See [`ConnectError`]; an error reply is none.
pub(super) async fn ask(
    lanes: &Lanes,
    stream: &mut Stream,
    args: &[&[u8]],
) -> Result<Parts, ConnectError> {
    let limit = lanes.settings().handshake_timeout;
    let asked = timeout(limit, call(stream, args)).await;
    asked.map_err(|_| too_long())?
}

fn too_long() -> ConnectError {
    ConnectError::Unreachable("the handshake took too long".into(), Kind::Timeout)
}
