//! The accept loop: from sockets to connections, and the end of all of them.
//!
//! It never ends by itself. What `accept` reports is either about one connection that is gone
//! already, or a shortage (of descriptors, mostly) that passes; then it pauses, and closes the
//! connection that has waited longest, which gives a descriptor back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::connection::Front;
use crate::metrics;
use crate::places::Places;
use crate::throttle::Throttle;

/// Sent to connections above the cap. Best effort: a client that has sent more than it has read
/// may see a reset instead, and Meta treats both alike.
const CAP_ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";

/// Time a refused connection may take to receive [`CAP_ANSWER`].
const CAP_ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// Connections that may wait to be accepted, in number; the system may allow fewer. With the 128 of
/// the standard library a burst loses connections, which then come a second later.
const LISTEN_BACKLOG: i32 = 1_024;

/// Pauses after failures to accept: doubled from the first to the longest while they go on.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// A bound socket and its connections.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    front: Arc<Front>,
    places: Arc<Places>,
    connections: JoinSet<()>,
    failures: Throttle,
    refusals: Arc<Throttle>,
}

impl Listener {
    /// Must be called within a runtime with IO.
    pub(crate) fn new(
        socket: std::net::TcpListener,
        front: Front,
        connections_max: usize,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // On a socket that listens already this only changes the backlog.
        rustix::net::listen(&socket, LISTEN_BACKLOG)?;
        Ok(Self {
            socket: TcpListener::from_std(socket)?,
            front: Arc::new(front),
            places: Places::new(connections_max),
            connections: JoinSet::new(),
            failures: Throttle::default(),
            refusals: Arc::default(),
        })
    }

    /// Accepts and serves until `shutdown`.
    pub(crate) async fn accept_until(&mut self, shutdown: &CancellationToken) {
        let mut pause = PAUSE_FIRST;
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                Some(ended) = self.connections.join_next() => {
                    joined(ended);
                    continue;
                }
                accepted = self.socket.accept() => accepted,
            };
            let failure = match accepted {
                Ok((stream, client)) => {
                    pause = PAUSE_FIRST;
                    let (front, places) = (Arc::clone(&self.front), Arc::clone(&self.places));
                    let refusals = Arc::clone(&self.refusals);
                    self.connections.spawn(async move {
                        match places.take().await {
                            Some(place) => front.serve(stream, client, place).await,
                            None => refuse(stream, front.has_tls(), &refusals).await,
                        }
                    });
                    continue;
                }
                Err(failure) => failure,
            };
            metrics::accept_failure();
            if is_of_one_connection(&failure) {
                debug!(%failure, "connection not accepted");
                continue;
            }
            if let Some(count) = self.failures.pass() {
                warn!(%failure, count, "connections cannot be accepted");
            }
            self.places.make_room();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(pause) => pause = (pause * 2).min(PAUSE_LONGEST),
            }
        }
    }

    /// Takes no new connections, closes the idle ones, and lets the others answer what is under
    /// way; those that are not done at `until` are cut.
    pub(crate) async fn drain(mut self, until: Instant) {
        drop(self.socket);
        self.places.stop();
        info!(connections = self.connections.len(), "ingress drains");
        while let Ok(ended) = timeout_at(until, self.connections.join_next()).await {
            match ended {
                Some(ended) => joined(ended),
                None => return,
            }
        }
        let connections = self.connections.len();
        warn!(connections, "connections cut at the drain limit");
        for _ in 0..connections {
            metrics::connection_cut("drain_limit");
        }
        self.connections.shutdown().await;
    }
}

/// Whether accepting the next connection may work at once.
fn is_of_one_connection(failure: &io::Error) -> bool {
    matches!(
        failure.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

fn joined(ended: Result<(), JoinError>) {
    if ended.is_err_and(|failure| failure.is_panic()) {
        metrics::connection_cut("panicked");
        error!("the task of a connection panicked");
    }
}

async fn refuse(mut stream: TcpStream, has_tls: bool, refusals: &Throttle) {
    metrics::connection_refused();
    if let Some(count) = refusals.pass() {
        warn!(count, "connections refused: all places have a request under way");
    }
    // Before a handshake nothing can be said.
    if has_tls {
        return;
    }
    let answer = async {
        stream.write_all(CAP_ANSWER).await?;
        stream.shutdown().await
    };
    // Refused either way; whether the answer got through changes nothing.
    let _ = timeout(CAP_ANSWER_DEADLINE, answer).await;
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::IngressOptions;

    /// Nothing is accepted meanwhile, and a lost connection would try again after a second.
    #[tokio::test]
    async fn a_burst_of_connections_finds_room_in_the_backlog() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let front = Front::new(axum::Router::new(), IngressOptions::default(), None);
        let _listener = Listener::new(socket, front, 1).unwrap();
        let within = Duration::from_millis(900);
        let burst: Result<Vec<_>, _> =
            (0..400).map(|_| TcpStream::connect_timeout(&address, within)).collect();
        assert_eq!(burst.unwrap().len(), 400);
    }
}
