//! `tickfold reload` and `tickfold quarantine`.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tickfold_proto::admin::v1 as admin;
use tickfold_proto::admin::v1::ingress_admin_service_client::IngressAdminServiceClient;

use crate::cli::{Client, Quarantine};

#[derive(Serialize)]
struct Reloaded {
    secrets_added: Vec<String>,
    secrets_removed: Vec<String>,
    secrets_kept: Vec<String>,
    certificates_reloaded: bool,
    tokens_added: Vec<String>,
    tokens_changed: Vec<String>,
    tokens_removed: Vec<String>,
    tokens_kept: Vec<String>,
}

#[derive(Serialize)]
struct Accepted {
    scanned: u64,
    accepted: u64,
    kept: u64,
}

#[derive(Serialize)]
struct Discarded {
    discarded: u64,
}

/// `tickfold reload`.
pub(crate) async fn reload(client: Client) -> Result<ExitCode> {
    let request = super::timed(&client, admin::ReloadRequest {});
    let reply = service(&client).await?.reload(request).await;
    super::answer(&client, reply, |reply| {
        Some(Reloaded {
            secrets_added: reply.secrets_added,
            secrets_removed: reply.secrets_removed,
            secrets_kept: reply.secrets_kept,
            certificates_reloaded: reply.certificates_reloaded,
            tokens_added: reply.tokens_added,
            tokens_changed: reply.tokens_changed,
            tokens_removed: reply.tokens_removed,
            tokens_kept: reply.tokens_kept,
        })
    })
}

/// `tickfold quarantine`.
pub(crate) async fn quarantine(what: Quarantine) -> Result<ExitCode> {
    match what {
        Quarantine::Accept { app, secret_id, client } => {
            let request = admin::AcceptQuarantineRequest { app, secret_id };
            let request = super::timed(&client, request);
            let reply = service(&client).await?.accept_quarantine(request).await;
            super::answer(&client, reply, |reply| {
                let admin::AcceptQuarantineResponse { scanned, accepted, kept } = reply;
                Some(Accepted { scanned, accepted, kept })
            })
        }
        Quarantine::Discard { client } => {
            let request = super::timed(&client, admin::DiscardQuarantineRequest {});
            let reply = service(&client).await?.discard_quarantine(request).await;
            super::answer(&client, reply, |reply| Some(Discarded { discarded: reply.discarded }))
        }
    }
}

async fn service(client: &Client) -> Result<IngressAdminServiceClient<super::Connection>> {
    Ok(IngressAdminServiceClient::new(super::connect(client).await?))
}
