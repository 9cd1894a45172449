//! A client of one server: HTTP/1.1 over at most so many connections, kept alive between requests.
//!
//! Sends each request once. One that the server closed a kept connection on before it was written
//! is sent on a new one; a request that may have been read is never repeated, since then nobody
//! could say what its answer was.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tickfold_core::signature::SIGNATURE_HEADER;
use tickfold_workload::Webhook;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::target::Target;

/// Bytes of an answer's body that are read; those of a webhook receiver are short.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server answered, and the answer was read to its end.
    Answered { status: u16, retry_after: bool },
    /// There was no connection for it before the deadline.
    NotSentInTime,
    /// No connection could be made; the request was never sent.
    ConnectionFailed,
    /// The connection ended before the answer did.
    ConnectionLost,
    /// No answer before the deadline.
    TimedOut,
}

/// The client.
pub(crate) struct Pool {
    target: Target,
    /// Connections without a request. The one used last is used next, so that no more are open
    /// than are needed.
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Pool {
    /// A client without connections; they are made when needed.
    pub(crate) fn new(target: Target, connections_max: usize) -> Self {
        let permits = Semaphore::new(connections_max);
        Self { target, idle: Mutex::new(Vec::new()), permits }
    }

    /// Sends a webhook and waits for its answer, in all until the deadline.
    pub(crate) async fn post(&self, webhook: &Webhook, deadline: Instant) -> Outcome {
        let Ok(Ok(_permit)) = timeout_at(deadline, self.permits.acquire()).await else {
            return Outcome::NotSentInTime;
        };
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => match timeout_at(deadline, self.connect()).await {
                    Ok(Ok(connection)) => connection,
                    Ok(Err(_)) => return Outcome::ConnectionFailed,
                    Err(_) => return Outcome::NotSentInTime,
                },
            };
            match timeout_at(deadline, self.exchange(&mut connection, webhook)).await {
                Ok(Ok(outcome)) => {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                    return outcome;
                }
                Ok(Err(Unsent(true))) if was_kept => {}
                Ok(Err(Unsent(_))) => return Outcome::ConnectionLost,
                Err(_) => return Outcome::TimedOut,
            }
        }
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        webhook: &Webhook,
    ) -> Result<Outcome, Unsent> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.target.path)
            .header(HOST, &self.target.authority)
            .header(CONTENT_TYPE, "application/json");
        if let Some(signature) = &webhook.signature {
            request = request.header(SIGNATURE_HEADER, signature);
        }
        let request = request.body(Full::new(webhook.body.clone())).map_err(|_| Unsent(false))?;
        // Ready once the last answer is wholly read; an error if the server has closed.
        connection.requests.ready().await.map_err(|_| Unsent(true))?;
        let answer = connection.requests.try_send_request(request).await;
        let answer = answer.map_err(|mut error| Unsent(error.take_message().is_some()))?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().contains_key(RETRY_AFTER);
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        body.collect().await.map_err(|_| Unsent(false))?;
        Ok(Outcome::Answered { status, retry_after })
    }

    async fn connect(&self) -> std::io::Result<Connection> {
        let stream = TcpStream::connect((self.target.host.as_str(), self.target.port)).await?;
        stream.set_nodelay(true)?;
        match &self.target.tls {
            None => handshake(stream).await,
            Some((tls, name)) => handshake(tls.connect(name.clone(), stream).await?).await,
        }
    }
}

/// A request that has no answer; true if it certainly was not written.
struct Unsent(bool);

async fn handshake<S>(stream: S) -> std::io::Result<Connection>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (requests, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    let driver = tokio::spawn(async move {
        // How it ended shows at the request that was on it.
        let _ = connection.await;
    });
    Ok(Connection { requests, driver })
}
