//! The admin service of this process for what comes from outside it: reload, and the quarantine of
//! webhooks.

use std::sync::Arc;

use tickfold_ingress::{Accepted, Error, Quarantine};
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::ingress_admin_service_server::IngressAdminService;
use tickfold_query::Reason;
use tonic::{Request, Response, Status};

use crate::reload::{Reload, Reloaded};

/// The service.
#[derive(Debug)]
pub(crate) struct IngressAdmin {
    pub reload: Arc<Reload>,
    /// `None`: it is off.
    pub quarantine: Option<Quarantine>,
}

#[tonic::async_trait]
impl IngressAdminService for IngressAdmin {
    async fn reload(
        &self,
        _: Request<pb::ReloadRequest>,
    ) -> Result<Response<pb::ReloadResponse>, Status> {
        let reloaded = self.reload.run().await;
        let Reloaded { apps, certificates, tokens } =
            reloaded.map_err(|failure| Reason::ReloadRefused.status(format!("{failure:#}")))?;
        Ok(Response::new(pb::ReloadResponse {
            secrets_added: apps.added,
            secrets_removed: apps.removed,
            secrets_kept: apps.kept,
            certificates_reloaded: certificates,
            tokens_added: tokens.added,
            tokens_changed: tokens.changed,
            tokens_removed: tokens.removed,
            tokens_kept: tokens.kept,
        }))
    }

    async fn accept_quarantine(
        &self,
        request: Request<pb::AcceptQuarantineRequest>,
    ) -> Result<Response<pb::AcceptQuarantineResponse>, Status> {
        let pb::AcceptQuarantineRequest { app, secret_id } = request.into_inner();
        let apps = self.reload.apps.as_ref().ok_or_else(|| {
            Reason::NoSecrets.status("this node takes no webhooks: ask one that does")
        })?;
        let quarantine = self.quarantine()?;
        let secret = apps.secret(&app, &secret_id).ok_or_else(|| {
            let message = format!("app {app:?} has no secret {secret_id:?} that is served");
            Reason::SecretNotFound.status(message)
        })?;
        let accepted = quarantine.accept(&app, &secret).await.map_err(failed)?;
        let Accepted { scanned, accepted, kept } = accepted;
        Ok(Response::new(pb::AcceptQuarantineResponse { scanned, accepted, kept }))
    }

    async fn discard_quarantine(
        &self,
        _: Request<pb::DiscardQuarantineRequest>,
    ) -> Result<Response<pb::DiscardQuarantineResponse>, Status> {
        let discarded = self.quarantine()?.discard().await.map_err(failed)?.records;
        Ok(Response::new(pb::DiscardQuarantineResponse { discarded }))
    }
}

impl IngressAdmin {
    fn quarantine(&self) -> Result<&Quarantine, Status> {
        let off = || {
            Reason::QuarantineOff
                .status("the node keeps no quarantine: ingress.quarantine_bytes_max is 0")
        };
        self.quarantine.as_ref().ok_or_else(off)
    }
}

/// What is left to say of a log that failed: the call may be made again.
fn failed(error: Error) -> Status {
    Reason::LogUnavailable.status(format!("{:#}", anyhow::Error::from(error)))
}
