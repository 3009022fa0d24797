//! A connection to the upstream, over whatever it goes, and the count of those that sessions have for themselves.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// Connections of sessions' own.
#[derive(Debug, Default)]
pub struct OwnCount {
    open: AtomicUsize,
    pooled: AtomicUsize,
}

impl OwnCount {
    /// How many are in use, and how many wait for the next session that needs one.
    #[must_use]
    pub fn get(&self) -> (usize, usize) {
        let pooled = self.pooled.load(Ordering::Relaxed);
        let open = self.open.load(Ordering::Relaxed);
        (open.saturating_sub(pooled), pooled)
    }
}

/// One of them, for as long as it is open.
#[derive(Debug)]
struct Counted {
    of: Arc<OwnCount>,
    pooled: bool,
}

impl Counted {
    fn set_pooled(&mut self, pooled: bool) {
        match (self.pooled, pooled) {
            (false, true) => self.of.pooled.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.of.pooled.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
        self.pooled = pooled;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.set_pooled(false);
        self.of.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection to the upstream.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    counted: Option<Counted>,
}

impl Stream {
    /// Over a socket.
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self {
            socket,
            counted: None,
        }
    }

    /// What it goes over.
    #[must_use]
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// It is a session's own from here on.
    #[must_use]
    pub fn counted(self, of: &Arc<OwnCount>) -> Self {
        of.open.fetch_add(1, Ordering::Relaxed);
        let counted = Counted {
            of: Arc::clone(of),
            pooled: false,
        };
        Self {
            counted: Some(counted),
            ..self
        }
    }

    /// It waits for the next session that needs one, or is in use again.
    pub fn set_pooled(&mut self, pooled: bool) {
        if let Some(counted) = &mut self.counted {
            counted.set_pooled(pooled);
        }
    }
}

/// What a connection goes over.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn own_connections_are_counted_while_they_are_open() {
        let count = Arc::default();
        let open = || {
            let (socket, _) = UnixStream::pair().expect("a pair");
            Stream::new(Socket::Unix(socket)).counted(&count)
        };
        let (mut first, second) = (open(), open());
        assert_eq!(count.get(), (2, 0));
        first.set_pooled(true);
        first.set_pooled(true);
        assert_eq!(count.get(), (1, 1));
        drop(second);
        assert_eq!(count.get(), (0, 1));
        first.set_pooled(false);
        assert_eq!(count.get(), (1, 0));
        first.set_pooled(true);
        drop(first);
        assert_eq!(count.get(), (0, 0));
    }
}
