//! What every connection passes before HTTP: the cap on connections, the deadline for the headers
//! of each request after the first, and an end that lets the last answer arrive.
//!
//! Why this exists beside axum-server 0.9: its `first_request_timeout` covers the first request
//! of a connection. For later ones hyper has one timer, `header_read_timeout`, which starts when
//! the previous answer is out; so it is the idle deadline (60 s) and cannot also be the header
//! deadline (5 s). The stream below starts its own timer at the first byte of a request and
//! fails the read when it runs out. axum-server has no cap on connections either, but its acceptor
//! is the right place for one, so its accept loop and drain stay in use. A TLS acceptor (a later
//! step) wraps this one: the cap then comes before the TLS handshake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::Service;

use crate::metrics;

/// Sent to connections above the cap. Best effort: a client that has sent more than it has read
/// may see a reset instead, and Meta treats both alike.
const CAP_ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";

/// Time a refused connection may take to receive [`CAP_ANSWER`].
const CAP_ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// Time and bytes a client gets to end its side after ours ended. It keeps its place under the cap.
const LINGER_DEADLINE: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Admits connections up to the cap.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    header_deadline: Duration,
}

impl Admission {
    pub(crate) fn new(connections_max: usize, header_deadline: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        Self { permits, header_deadline }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Admission {
    type Stream = Guarded<TcpStream>;
    type Service = Watched<S>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, mut stream: TcpStream, service: S) -> Self::Future {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let header_deadline = self.header_deadline;
        Box::pin(async move {
            let Ok(permit) = permit else {
                metrics::connection_refused();
                let answer = async {
                    stream.write_all(CAP_ANSWER).await?;
                    stream.shutdown().await
                };
                // Refused either way; whether the answer got through changes nothing.
                let _ = timeout(CAP_ANSWER_DEADLINE, answer).await;
                return Err(io::Error::other("connection cap reached"));
            };
            // Answers are one small write; waiting to fill a packet would only delay them.
            stream.set_nodelay(true)?;
            let turn = Turn::default();
            let service = Watched { service, turn: turn.clone() };
            let stream = Guarded {
                stream,
                turn,
                header_deadline,
                head: None,
                linger: None,
                _permit: permit,
            };
            Ok((stream, service))
        })
    }
}

/// Counts the turns of a connection: even while it waits for a request, odd while one is handled.
#[derive(Debug, Clone, Default)]
struct Turn(Arc<AtomicU64>);

impl Turn {
    fn next(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of the turn if the connection waits for a request.
    fn waiting(&self) -> Option<u64> {
        let turn = self.0.load(Ordering::Relaxed);
        turn.is_multiple_of(2).then_some(turn)
    }
}

/// The service of a connection; tells the stream when a request begins and ends.
#[derive(Debug, Clone)]
pub(crate) struct Watched<S> {
    service: S,
    turn: Turn,
}

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.turn.next();
        let turn = self.turn.clone();
        let answer = self.service.call(request);
        Box::pin(async move {
            let answer = answer.await;
            // Answers are small and whole, so the request counts as over before they are sent.
            turn.next();
            answer
        })
    }
}

/// The stream of a connection; holds its place under the cap.
#[derive(Debug)]
pub(crate) struct Guarded<I> {
    stream: I,
    turn: Turn,
    header_deadline: Duration,
    /// The deadline of the headers that are arriving, with the turn they belong to.
    head: Option<(u64, Pin<Box<Sleep>>)>,
    /// Present once our side is closed.
    linger: Option<Linger>,
    _permit: OwnedSemaphorePermit,
}

/// The time between our end of a connection and the client's.
#[derive(Debug)]
struct Linger {
    deadline: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl Linger {
    fn new() -> Self {
        Self { deadline: Box::pin(sleep(LINGER_DEADLINE)), bytes_left: LINGER_BYTES_MAX }
    }

    /// Ready when the client ended too, or had enough time or bytes for it.
    fn poll<I: AsyncRead + Unpin>(&mut self, stream: &mut I, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut discarded = [0; 8 * 1024];
        while self.bytes_left > 0 {
            let mut buf = ReadBuf::new(&mut discarded);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {
                    self.bytes_left = self.bytes_left.saturating_sub(buf.filled().len());
                }
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<I> Guarded<I> {
    /// Fails if the headers that are arriving in this turn are overdue.
    fn check_head(&mut self, cx: &mut Context<'_>, turn: u64) -> io::Result<()> {
        let Some((_, deadline)) = self.head.as_mut().filter(|(of, _)| *of == turn) else {
            return Ok(());
        };
        // The clock too: a sender that is always ready never lets the timer be polled as pending.
        if deadline.as_mut().poll(cx).is_ready() || deadline.deadline() <= Instant::now() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "headers did not arrive in time"));
        }
        Ok(())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Guarded<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(turn) = this.turn.waiting() else {
            this.head = None;
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        };
        this.check_head(cx, turn)?;
        let filled = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let arriving = this.head.as_ref().is_some_and(|(of, _)| *of == turn);
        if !arriving && buf.filled().len() > filled {
            this.head = Some((turn, Box::pin(sleep(this.header_deadline))));
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends the connection after an answer. What the client still sends is discarded for a while:
    /// closing on unread bytes makes a reset, and a reset destroys the answer on its way, so that
    /// a client in the middle of a refused body would never see its 413, 401 or 503.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let linger = this.linger.get_or_insert_with(Linger::new);
        ready!(linger.poll(&mut this.stream, cx));
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
