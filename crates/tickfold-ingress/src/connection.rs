//! One connection: TLS, requests, deadlines, and an end that lets the last answer arrive.
//!
//! Bodies, appends and answers have deadlines of their own in `body` and `handler`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower::Service;
use tracing::debug;

use crate::course::{Course, Overdue, Phase};
use crate::gate::Gate;
use crate::handler::Connected;
use crate::places::Place;
use crate::rest::Rest;
use crate::tls::Tls;
use crate::{IngressOptions, answer, metrics};

/// Time and bytes a client gets to end its side after ours ended. It keeps its place under the cap.
const LINGER_DEADLINE: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What hyper reads of a body at once, at most.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// What all connections of a listener share.
#[derive(Debug)]
pub(crate) struct Front {
    router: Router,
    options: IngressOptions,
    tls: Option<Tls>,
    http: http1::Builder,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// After an answer, by the client between requests, or idle when the listener stopped.
    InOrder,
    /// After the answer to something that is not HTTP, or that can be read in two ways.
    BrokenHttp,
    /// By the client, in the middle of a head or a body.
    Abandoned,
    /// The socket failed.
    Io,
    /// The TLS handshake failed.
    Handshake,
    /// A head or a handshake took too long.
    HeaderDeadline,
    /// No further request came.
    IdleDeadline,
    /// To make room for another connection.
    MadeRoom,
}

impl End {
    /// Label of the counter of connections that were cut.
    fn cut(self) -> Option<&'static str> {
        match self {
            // Both are counted where their cause is.
            Self::InOrder | Self::BrokenHttp | Self::Handshake => None,
            Self::Abandoned => Some("abandoned"),
            Self::Io => Some("io"),
            Self::HeaderDeadline => Some("header_deadline"),
            Self::IdleDeadline => Some("idle_deadline"),
            Self::MadeRoom => Some("made_room"),
        }
    }

    fn of_served(served: hyper::Result<()>) -> Self {
        match served {
            Ok(()) => Self::InOrder,
            Err(error) if error.is_parse() => Self::BrokenHttp,
            Err(error) if error.is_incomplete_message() => Self::Abandoned,
            Err(_) => Self::Io,
        }
    }

    /// Of a connection that is told to close while it has no request under way.
    fn of_waiting(place: &Place) -> Self {
        if place.is_stopping() { Self::InOrder } else { Self::MadeRoom }
    }
}

impl Front {
    pub(crate) fn new(router: Router, options: IngressOptions, tls: Option<Tls>) -> Self {
        let mut http = http1::Builder::new();
        // Deadlines of heads are kept here, from their first byte, which hyper's are not.
        http.header_read_timeout(None).max_buf_size(BUFFER_BYTES_MAX);
        Self { router, options, tls, http }
    }

    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves a connection to its end.
    pub(crate) async fn serve(&self, stream: TcpStream, client: SocketAddr, place: Place) {
        let course = Arc::new(Course::new(place));
        let end = match &self.tls {
            None => self.http(stream, client, &course).await,
            Some(tls) => self.https(tls, stream, client, &course).await,
        };
        debug!(%client, ?end, "connection ended");
        match end.cut() {
            Some(reason) => metrics::connection_cut(reason),
            None if end == End::BrokenHttp => metrics::request(answer::BROKEN_HTTP),
            None => {}
        }
    }

    async fn https(
        &self,
        tls: &Tls,
        stream: TcpStream,
        client: SocketAddr,
        course: &Arc<Course>,
    ) -> End {
        let handshake = timeout(self.options.header_deadline, tls.accept(stream));
        let accepted = tokio::select! {
            accepted = handshake => accepted,
            () = course.place().close().cancelled() => return End::of_waiting(course.place()),
        };
        match accepted {
            Ok(Ok(stream)) => {
                course.restart();
                Box::pin(self.http(stream, client, course)).await
            }
            Ok(Err(failure)) => {
                debug!(%client, reason = failure.as_str(), "TLS handshake failed");
                metrics::handshake_failure(failure.as_str());
                End::Handshake
            }
            Err(_) => {
                metrics::handshake_failure("deadline");
                End::HeaderDeadline
            }
        }
    }

    async fn http<I>(&self, stream: I, client: SocketAddr, course: &Arc<Course>) -> End
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request: Request<Incoming>| {
            course.request_begins();
            answer(self.router.clone(), request, client, Arc::clone(course))
        });
        let gate = TokioIo::new(Gate::new(stream, Arc::clone(course)));
        let mut connection = self.http.serve_connection(gate, service);
        let (end, answered) = self.drive(&mut connection, course).await;
        let mut stream = connection.into_parts().io.into_inner().into_stream();
        // Whatever comes of it, the connection is over.
        let _ = timeout(LINGER_DEADLINE, close(&mut stream, answered)).await;
        end
    }

    /// Polls a connection until it ends by itself or has to be ended; true if by itself.
    async fn drive<I, S>(
        &self,
        connection: &mut http1::Connection<TokioIo<Gate<I>>, S>,
        course: &Course,
    ) -> (End, bool)
    where
        I: AsyncRead + AsyncWrite + Unpin,
        S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
    {
        let mut closing = pin!(course.place().close().cancelled());
        let mut timer = pin!(sleep(self.options.header_deadline));
        let mut told = false;
        std::future::poll_fn(|cx| {
            loop {
                if let Poll::Ready(served) = Pin::new(&mut *connection).poll(cx) {
                    // To hyper, which has seen nothing of a half-sent head, that is an orderly end.
                    let end = match (End::of_served(served), course.phase()) {
                        (End::InOrder, Phase::Head { .. }) => End::Abandoned,
                        (end, _) => end,
                    };
                    return Poll::Ready((end, true));
                }
                // After the poll above: a request that has arrived is served before it is told.
                if !told && closing.as_mut().poll(cx).is_ready() {
                    told = true;
                    match course.phase() {
                        Phase::Request => {
                            Pin::new(&mut *connection).graceful_shutdown();
                            continue;
                        }
                        // The request gets its answer, which then closes the connection.
                        Phase::Head { .. } if course.place().is_stopping() => {}
                        Phase::Head { .. } | Phase::Fresh { .. } | Phase::Idle { .. } => {
                            return Poll::Ready((End::of_waiting(course.place()), false));
                        }
                    }
                }
                let Some((due, overdue)) = course.due(&self.options) else { return Poll::Pending };
                if timer.deadline() != due {
                    timer.as_mut().reset(due);
                }
                let end = match overdue {
                    Overdue::Head => End::HeaderDeadline,
                    Overdue::Idle => End::IdleDeadline,
                };
                return timer.as_mut().poll(cx).map(|()| (end, false));
            }
        })
        .await
    }
}

async fn answer(
    mut router: Router,
    request: Request<Incoming>,
    client: SocketAddr,
    course: Arc<Course>,
) -> Result<Response<Body>, Infallible> {
    let (mut request, rest) = Rest::of(request);
    request.extensions_mut().insert(Connected(client.ip()));
    // A router is always ready.
    let mut response = router.call(request).await?;
    let is_last = response.headers().contains_key(header::CONNECTION) || !rest.discard().await;
    if course.request_ends() || is_last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Ends our side. After an answer, what the client still sends is discarded for a while: closing
/// on unread bytes makes a reset, and a reset destroys the answer on its way, so that a client in
/// the middle of a refused body would never see its 413, 401 or 503.
async fn close<I: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut I,
    answered: bool,
) -> io::Result<()> {
    stream.shutdown().await?;
    if answered {
        tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await?;
    }
    Ok(())
}
