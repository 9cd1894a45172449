//! The admin service of the ingress of this process: reload and quarantine.

use std::sync::Arc;

use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::ingress_admin_service_server::IngressAdminService;
use tickfold_query::Reason;
use tonic::{Request, Response, Status};

use crate::reload::{Reload, Reloaded};

/// The service.
#[derive(Debug)]
pub(crate) struct IngressAdmin {
    pub reload: Arc<Reload>,
}

#[tonic::async_trait]
impl IngressAdminService for IngressAdmin {
    async fn reload(
        &self,
        _: Request<pb::ReloadRequest>,
    ) -> Result<Response<pb::ReloadResponse>, Status> {
        let reloaded = self.reload.run().await;
        let Reloaded { apps, certificates } =
            reloaded.map_err(|failure| Reason::ReloadRefused.status(format!("{failure:#}")))?;
        Ok(Response::new(pb::ReloadResponse {
            secrets_added: apps.added,
            secrets_removed: apps.removed,
            secrets_kept: apps.kept,
            certificates_reloaded: certificates,
        }))
    }

    async fn accept_quarantine(
        &self,
        _: Request<pb::AcceptQuarantineRequest>,
    ) -> Result<Response<pb::AcceptQuarantineResponse>, Status> {
        Err(Reason::QuarantineOff.status("the node keeps no quarantine"))
    }

    async fn discard_quarantine(
        &self,
        _: Request<pb::DiscardQuarantineRequest>,
    ) -> Result<Response<pb::DiscardQuarantineResponse>, Status> {
        Err(Reason::QuarantineOff.status("the node keeps no quarantine"))
    }
}
