//! What stops a node: signals, and the call of an operator.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::{getpid, kill_process};
use tickfold_log::Departure;
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::node_service_server::NodeService;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tracing::error;

use crate::reload::Reload;

/// The signals of a process.
#[derive(Debug)]
pub(super) struct Signals {
    hangup: Signal,
    phase: watch::Sender<Phase>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    /// By a signal.
    Stopping,
}

impl Signals {
    /// From here on SIGINT and SIGTERM stop the node in order; at once while it starts, and when it was told
    /// before.
    pub(super) fn listen() -> Result<Self> {
        let listen = |kind, name| signal(kind).with_context(|| format!("listen for {name}"));
        let hangup = listen(SignalKind::hangup(), "SIGHUP")?;
        let mut interrupt = listen(SignalKind::interrupt(), "SIGINT")?;
        let mut terminate = listen(SignalKind::terminate(), "SIGTERM")?;
        let phase = watch::Sender::new(Phase::Starting);
        let of_node = phase.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = interrupt.recv() => {}
                    Some(()) = terminate.recv() => {}
                    else => return,
                }
                match of_node.send_replace(Phase::Stopping) {
                    Phase::Starting => end("told to stop before it ran"),
                    Phase::Running => {}
                    Phase::Stopping => end("told once more to stop"),
                }
            }
        });
        Ok(Self { hangup, phase })
    }

    /// The node has parts that have to be stopped in order.
    pub(super) fn running(&self) {
        self.phase.send_replace(Phase::Running);
    }

    /// Reloads at each SIGHUP, until a signal that stops.
    pub(super) async fn stop(self, reload: Arc<Reload>) -> Result<()> {
        let mut phase = self.phase.subscribe();
        tokio::select! {
            _ = phase.wait_for(|phase| *phase == Phase::Stopping) => Ok(()),
            () = reload.on_hangup(self.hangup) => {
                Err(anyhow!("signals can no longer be received"))
            }
        }
    }
}

/// Ends the process if it is still there after so long, whatever hangs: a disk may keep threads, and even what
/// runs at the end of every process, for ever.
pub(super) fn limit(limit: Duration) -> Result<()> {
    let watch = move || {
        std::thread::sleep(limit);
        end(&format!("the stop takes longer than {limit:?}"));
    };
    let thread = std::thread::Builder::new().name("stop-limit".to_owned()).spawn(watch);
    thread.map(drop).context("watch the stop")
}

/// Ends the process as a crash would, from which every start recovers.
fn end(why: &str) -> ! {
    error!(why, "the process ends at once");
    let _ = kill_process(getpid(), rustix::process::Signal::KILL);
    // The first process of a container is the one that cannot kill itself so. Nothing of ours runs at this end
    // either.
    std::process::abort()
}

/// Says once that the node is to stop, and how. Clones are the same switch.
#[derive(Debug, Clone, Default)]
pub(super) struct StopSwitch(watch::Sender<Option<Departure>>);

impl StopSwitch {
    /// Waits until it is to stop.
    pub(super) async fn requested(&self) -> Departure {
        let mut requests = self.0.subscribe();
        let requested = requests.wait_for(Option::is_some).await.ok().and_then(|how| *how);
        match requested {
            Some(departure) => departure,
            // The sender is ours, so waiting only ends by a request.
            None => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl NodeService for StopSwitch {
    async fn stop(
        &self,
        request: Request<pb::StopRequest>,
    ) -> Result<Response<pb::StopResponse>, Status> {
        let leave = request.into_inner().leave;
        let departure = if leave { Departure::Leave } else { Departure::Restart };
        self.0.send_if_modified(|requested| {
            requested.replace(requested.unwrap_or(departure)).is_none()
        });
        Ok(Response::new(pb::StopResponse {}))
    }
}
