//! Webhook fields that nobody subscribed an account to. Only the running node knows what came, and
//! what never did: it alerts a week or a month after it first heard of an account. What Meta has
//! subscribed, only its Graph API knows, and that is not called.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use tickfold_core::action::AlertKind;
use tickfold_core::records::Topic;
use tickfold_processor::derived_topic;
use tickfold_proto::admin::v1::admin_service_client::AdminServiceClient;
use tickfold_proto::admin::v1::{self as admin, tail_request::Start};
use tokio::time::timeout;

use super::{Finding, Patient};
use crate::cli::Credentials;
use crate::client;

const NAME: &str = "subscriptions";

/// What is read of an alert.
#[derive(Deserialize)]
struct Alert {
    kind: String,
    subject: String,
    reason: Option<String>,
}

pub(super) async fn subscriptions(patient: &Patient<'_>) -> Finding {
    let missing = match timeout(patient.timeout, missing(patient)).await {
        Ok(Ok(missing)) => missing,
        Ok(Err(error)) => return Finding::skipped(NAME, format!("{error:#}")),
        Err(_) => return Finding::skipped(NAME, "the node did not tell its alerts in time"),
    };
    if missing.is_empty() {
        let found = "no account is known that never told of messages or of anything else; one is \
                     told a week or a month after it first came";
        return Finding::ok(NAME, found);
    }
    let accounts: Vec<_> =
        missing.iter().map(|(account, what)| format!("{account} ({what})")).collect();
    let found = format!("these accounts never told of: {}", accounts.join(", "));
    let fix = "subscribe the app to the account (POST /WABA_ID/subscribed_apps), and to the fields in \
               the App Dashboard";
    Finding::warn(NAME, found, fix)
}

/// Accounts with what they never told of, from the alerts of the node.
async fn missing(patient: &Patient<'_>) -> Result<BTreeMap<String, String>> {
    let address = patient.config.grpc_addr;
    let auth = &patient.config.auth;
    let (ca, server_name) = (auth.peer_ca_file.clone(), auth.peer_name.clone());
    let credentials = Credentials { ca, server_name, ..Credentials::default() };
    let channel = client::connect_to(address, &credentials, Duration::from_secs(1)).await;
    let channel = channel.context("only a node that runs knows what came")?;
    let request = admin::TailRequest {
        topic: derived_topic(&patient.config.topic_prefix, Topic::Alert),
        partitions: Vec::new(),
        until_end: true,
        limit: 0,
        start: Some(Start::FromBeginning(())),
    };
    let mut service = AdminServiceClient::new(channel)
        .max_decoding_message_size(tickfold_query::TAIL_MESSAGE_BYTES_MAX);
    let mut records = service.tail(request).await.context("read the alerts")?.into_inner();
    let mut missing = BTreeMap::new();
    while let Some(reply) = records.message().await.context("read the alerts")? {
        let value = reply.record.and_then(|record| record.value).unwrap_or_default();
        let Ok(alert) = serde_json::from_slice::<Alert>(&value) else { continue };
        if alert.kind == AlertKind::SubscriptionMissing.as_str() {
            missing.insert(alert.subject, alert.reason.unwrap_or_default());
        }
    }
    Ok(missing)
}
