//! Connections of the admin listener: bounded in number, and none keeps its place by saying nothing.
//!
//! Where all places are taken the next connection waits in the backlog until one is free. A place is given
//! back when the connection ends: by its client, or by ours where the head of a request does not come in time,
//! of the first and of each later one, or where its client does not read. An answer may take as long as it likes,
//! as events do.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum_server::{AddrListener, Address, Server};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use crate::metrics::OpenAdminConnection;

/// Bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Open at once.
    pub connections: usize,
    /// Until the head of the first request is there.
    pub first_head: Duration,
    /// From then on from the end of an answer to the head of the next request.
    pub next_head: Duration,
    /// Until something is read of what is answered.
    pub unread: Duration,
}

/// Serves until the listener fails.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    router: Router,
    limits: Limits,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let free = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let places = Places { listener: TcpListener::from_std(listener)?, free, unread: limits.unread };
    let server = Server::<Caller>::from_listener(places).first_request_timeout(limits.first_head);
    // Of HTTP/2 an idle connection would keep its place for ever; proxies and scrapers speak either.
    let mut server = server.http1_only();
    server
        .http_builder()
        .http1()
        .header_read_timeout(limits.next_head)
        .max_buf_size(HEAD_BYTES_MAX);
    server.serve(router.into_make_service_with_connect_info::<SocketAddr>()).await
}

/// The listener with its places.
#[derive(Debug)]
struct Places {
    listener: TcpListener,
    free: Arc<Semaphore>,
    unread: Duration,
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy)]
struct Caller(SocketAddr);

impl Connected<Caller> for SocketAddr {
    fn connect_info(caller: Caller) -> Self {
        caller.0
    }
}

impl Address for Caller {
    type Stream = Placed;
    type Listener = Places;
}

impl AddrListener<Placed, Caller> for Places {
    async fn bind_to(_: Caller) -> io::Result<Self> {
        // It is bound with all others, before anything is opened.
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn accept_stream(&self) -> io::Result<(Placed, Caller)> {
        let place = Arc::clone(&self.free).acquire_owned().await.map_err(io::Error::other)?;
        let (io, address) = self.listener.accept().await?;
        let (unread, _open) = (self.unread, OpenAdminConnection::new());
        Ok((Placed { io, unread, full: None, _open, _place: place }, Caller(address)))
    }

    fn get_local_addr(&self) -> io::Result<Caller> {
        self.listener.local_addr().map(Caller)
    }
}

/// A connection that holds its place as long as it is open.
#[derive(Debug)]
struct Placed {
    io: TcpStream,
    unread: Duration,
    /// Since the client read nothing more: how long it still may.
    full: Option<Pin<Box<Sleep>>>,
    _open: OpenAdminConnection,
    _place: OwnedSemaphorePermit,
}

impl Placed {
    /// What became of a write, or that it waited for too long.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.full = None;
            return written;
        }
        let unread = self.unread;
        let patience = self.full.get_or_insert_with(|| Box::pin(sleep(unread)));
        patience.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.in_time(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A listener with one route that answers at once and one that takes its time.
    fn listen(limits: Limits) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let slow = async move || {
            sleep(2 * limits.next_head).await;
            "late"
        };
        let router = Router::new()
            .route("/", get(async || "soon"))
            .route("/slow", get(slow))
            .route("/large", get(async || "x".repeat(1 << 20)));
        tokio::spawn(serve(listener, router, limits));
        address
    }

    async fn connect(to: SocketAddr, said: &str) -> TcpStream {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        stream
    }

    fn request(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
    }

    /// What comes until `last` has come, or the connection ends.
    async fn until(stream: &mut TcpStream, last: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while !String::from_utf8_lossy(&read).ends_with(last) || last.is_empty() {
                let mut some = [0; 1_024];
                let count = stream.read(&mut some).await.unwrap_or(0);
                if count == 0 {
                    break;
                }
                read.extend(&some[..count]);
            }
        };
        timeout(LONG, reading).await.expect("it comes, or the connection ends");
        String::from_utf8(read).unwrap()
    }

    #[tokio::test]
    async fn above_the_cap_a_connection_waits_for_a_place() {
        let limits = Limits { connections: 2, first_head: LONG, next_head: LONG, unread: LONG };
        let to = listen(limits);
        let mut first = connect(to, &request("/")).await;
        assert!(until(&mut first, "soon").await.starts_with("HTTP/1.1 200"));
        // Has a place though it has asked for nothing yet: the next one is not let in before it.
        let second = connect(to, "GET /").await;
        let mut third = connect(to, &request("/")).await;
        let early = timeout(Duration::from_millis(300), third.read_u8()).await;
        assert!(early.is_err(), "served above the cap: {early:?}");
        drop(second);
        assert!(until(&mut third, "soon").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn whoever_sends_no_head_in_time_loses_the_place_and_whoever_waits_for_an_answer_does_not()
     {
        let short = Duration::from_millis(400);
        let limits = Limits { connections: 16, first_head: short, next_head: LONG, unread: LONG };
        let to = listen(limits);
        for said in ["", "G", "GET / HTTP/1.1\r\nhost: a\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let answer = until(&mut connect(to, said).await, "").await;
            assert!(!answer.contains("soon"), "{said:?}: {answer}");
        }
        let to = listen(Limits { first_head: LONG, next_head: short, ..limits });
        let mut stream = connect(to, &request("/slow")).await;
        assert!(until(&mut stream, "late").await.starts_with("HTTP/1.1 200"));
        stream.write_all(request("/").as_bytes()).await.unwrap();
        assert!(until(&mut stream, "soon").await.starts_with("HTTP/1.1 200"));
        // Now it says nothing more, and the connection ends.
        assert_eq!(until(&mut stream, "").await, "");
    }

    #[tokio::test]
    async fn whoever_does_not_read_loses_the_place() {
        let unread = Duration::from_millis(400);
        let limits = Limits { connections: 1, first_head: LONG, next_head: LONG, unread };
        let to = listen(limits);
        // More answers than fit into the buffers of both ends.
        let deaf = connect(to, "").await;
        let (mut asks, mut asked) = (request("/large").into_bytes(), 0);
        asks = asks.repeat(100);
        while timeout(unread / 4, deaf.writable()).await.is_ok() && asked < 100 {
            asked += 1;
            let _ = deaf.try_write(&asks);
        }
        let mut next = connect(to, &request("/")).await;
        assert!(until(&mut next, "soon").await.starts_with("HTTP/1.1 200"));
        drop(deaf);
    }

    #[tokio::test]
    async fn a_head_above_its_bytes_is_refused() {
        let to = listen(Limits { connections: 1, first_head: LONG, next_head: LONG, unread: LONG });
        let head = |bytes| format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(bytes));
        let mut stream = connect(to, &head(HEAD_BYTES_MAX / 2)).await;
        assert!(until(&mut stream, "soon").await.starts_with("HTTP/1.1 200"));
        let mut stream = stream;
        // The rest may meet a connection that is closed already.
        let _ = stream.write_all(head(2 * HEAD_BYTES_MAX).as_bytes()).await;
        let answer = until(&mut stream, "").await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}
