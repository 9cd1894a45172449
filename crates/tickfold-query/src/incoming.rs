//! Connections as the server takes them: bounded in number, in TLS if there is a certificate, and cut
//! when we say so, or when the client has nothing to say: a place is for who speaks.
//!
//! tonic's graceful stop waits for every connection, and a client that neither closes nor reads
//! keeps it waiting for ever. A cut connection fails its next poll, which ends hyper's task; without
//! it those tasks would live on, detached, after the server has returned.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::access::Peer;
use crate::metrics;
use crate::tls::{ServerTls, Versions, client_names};

/// Pause after a failed accept: out of file descriptors fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time for a handshake in TLS, and how many may be under way.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
const HANDSHAKES_MAX: usize = 256;

/// Time for the first bytes of a connection, after its handshake if it has one: as many as the preface of
/// HTTP/2 has, and less than any call needs in HTTP/1.1. Who has sent them in HTTP/2 is pinged from then on.
const FIRST_BYTES_LIMIT: Duration = Duration::from_secs(5);
const FIRST_BYTES: usize = 24;

/// Accepts connections, at most `connections_max` open at once; further ones wait in the backlog. One
/// whose handshake fails or takes too long is dropped, and holds up no other.
pub(crate) fn incoming(
    listener: TcpListener,
    tls: Option<(ServerTls, Versions)>,
    connections_max: usize,
    cut: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> {
    let slots = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let accepted = stream::unfold((listener, slots), |(listener, slots)| async move {
        // The semaphore is never closed.
        let slot = Arc::clone(&slots).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    // Small frames must not wait for each other; without it calls are only slower.
                    let _ = stream.set_nodelay(true);
                    let local_address = stream.local_addr().ok();
                    let peer = Peer { address: Some(address), local_address, names: [].into() };
                    return Some(((stream, peer, slot), (listener, slots)));
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    let connected = accepted.map(move |(stream, peer, slot)| {
        let (tls, cut) = (tls.clone(), Box::pin(cut.clone().cancelled_owned()));
        async move {
            let (io, peer) = shaken(tls, stream, peer).await?;
            let _open = metrics::connection();
            let first = Some(First::begin());
            Some(Ok(Connection { io, peer, cut, first, _slot: slot, _open }))
        }
    });
    connected.buffer_unordered(HANDSHAKES_MAX).filter_map(std::future::ready)
}

/// The connection after its handshake, if it is to have one; `None` if that failed.
async fn shaken(
    tls: Option<(ServerTls, Versions)>,
    stream: TcpStream,
    peer: Peer,
) -> Option<(Io, Peer)> {
    let Some((tls, versions)) = tls else { return Some((Io::Plain(stream), peer)) };
    match tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream, versions)).await {
        Ok(Ok(stream)) => {
            let names = client_names(&stream);
            Some((Io::Tls(Box::new(stream)), Peer { names, ..peer }))
        }
        Ok(Err(error)) => {
            metrics::handshake_failed();
            let address = peer.address.map(|address| address.to_string());
            tracing::debug!(address, error = &error as &dyn std::error::Error, "handshake failed");
            None
        }
        Err(_) => {
            metrics::handshake_failed();
            None
        }
    }
}

/// A connection that holds its slot and can be cut.
#[derive(Debug)]
pub(crate) struct Connection {
    io: Io,
    peer: Peer,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Until the client has spoken.
    first: Option<First>,
    _slot: OwnedSemaphorePermit,
    _open: metrics::Counted,
}

/// What is missing of the first bytes, and until when.
#[derive(Debug)]
struct First {
    missing: usize,
    until: Pin<Box<Sleep>>,
}

impl First {
    fn begin() -> Self {
        Self { missing: FIRST_BYTES, until: Box::pin(tokio::time::sleep(FIRST_BYTES_LIMIT)) }
    }
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Does the same with whichever it is.
macro_rules! with_io {
    ($self:ident, $io:ident => $do:expr) => {
        match &mut $self.get_mut().io {
            Io::Plain($io) => $do,
            Io::Tls($io) => $do,
        }
    };
}

impl Connection {
    /// An error once the connection is cut; else the task is woken when it is.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
            Poll::Pending => Ok(()),
        }
    }

    /// Takes note of what a read brought. An error once the first bytes are late; else the task is woken
    /// when they are.
    fn heard(&mut self, cx: &mut Context<'_>, bytes: usize) -> io::Result<()> {
        let Some(first) = &mut self.first else { return Ok(()) };
        first.missing = first.missing.saturating_sub(bytes);
        if first.missing == 0 {
            self.first = None;
        } else if first.until.as_mut().poll(cx).is_ready() {
            metrics::connection_cut();
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buf.filled().len();
        let read = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        };
        let bytes = buf.filled().len().saturating_sub(before);
        self.heard(cx, bytes)?;
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        with_io!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_io!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_io!(self, io => Pin::new(io).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        with_io!(self, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }
}
