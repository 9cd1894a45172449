//! A part that runs by itself until it is told to stop; one that ends before is a failure of the node.

use anyhow::anyhow;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

/// A running part.
#[derive(Debug)]
pub(super) struct Part {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    /// Whether its end was looked at: polling its handle again would panic.
    ended: bool,
}

impl Part {
    /// Runs a part. It is given what tells it to stop.
    pub(super) fn spawn<E, F>(name: &'static str, run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        E: Into<anyhow::Error>,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let running = run(stop.clone());
        let task = tokio::spawn(async move { running.await.map_err(Into::into) });
        Self { name, stop, task, ended: false }
    }

    /// Waits for an end that nobody asked for.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        let ended = (&mut self.task).await;
        self.ended = true;
        match ended {
            Ok(Ok(())) => anyhow!("{} ended by itself", self.name),
            failed => self.failure(failed).unwrap_or_else(|| anyhow!("{} ended", self.name)),
        }
    }

    /// Stops it and waits for its end.
    pub(super) async fn stop(mut self, failures: &mut Vec<anyhow::Error>) {
        self.stop.cancel();
        if !self.ended {
            let ended = (&mut self.task).await;
            failures.extend(self.failure(ended));
        }
    }

    fn failure(&self, ended: Result<anyhow::Result<()>, JoinError>) -> Option<anyhow::Error> {
        let failure = match ended {
            Ok(Ok(())) => return None,
            Ok(Err(failure)) => failure,
            Err(panicked) => panicked.into(),
        };
        Some(failure.context(format!("run {}", self.name)))
    }
}

/// Waits for an end of a part that nobody asked for; for ever where there is no such part.
pub(super) async fn ended(part: Option<&mut Part>) -> anyhow::Error {
    match part {
        Some(part) => part.ended().await,
        None => std::future::pending().await,
    }
}
