//! What stops a node: signals, and the call of an operator.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use tickfold_log::Departure;
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::node_service_server::NodeService;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::reload::Reload;

/// The signals of a process.
#[derive(Debug)]
pub(super) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on none of them ends the process by itself.
    pub(super) fn listen() -> Result<Self> {
        let listen = |kind, name| signal(kind).with_context(|| format!("listen for {name}"));
        Ok(Self {
            hangup: listen(SignalKind::hangup(), "SIGHUP")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
        })
    }

    /// Reloads at each SIGHUP, until one that stops.
    pub(super) async fn stop(mut self, reload: Arc<Reload>) -> Result<()> {
        let reloads = reload.on_hangup(self.hangup);
        tokio::select! {
            _ = self.interrupt.recv() => Ok(()),
            _ = self.terminate.recv() => Ok(()),
            () = reloads => Err(anyhow!("signals can no longer be received")),
        }
    }
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
