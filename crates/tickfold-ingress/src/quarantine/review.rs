//! What an operator does with the quarantine: accept what a secret verifies, or discard everything.
//!
//! The order of the writes is the safety here. What is accepted is durable in the raw topic, and
//! what is kept is durable at the end of the quarantine, before the records of both are trimmed. A
//! crash in between, or an error, leaves records twice and loses none; repeats fold to nothing.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tickfold_core::raw::{WebhookHeaders, header};
use tickfold_core::route::route;
use tickfold_core::signature::{Signature, verify};
use tickfold_core::time::Timestamp;
use tickfold_log::{Append, Offset, Record};
use tracing::info;

use super::{KIND, Quarantine, Shared, failed, size_bytes};
use crate::append::records;
use crate::{Error, Secret, metrics};

/// What [`Quarantine::accept`] did, in webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepted {
    /// In the quarantine when it began, of all apps.
    pub scanned: u64,
    /// Verified, in the raw topic now, and no longer in the quarantine.
    pub accepted: u64,
    /// Not verified by this secret, or of another app: still in the quarantine.
    pub kept: u64,
}

/// What [`Quarantine::discard`] deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Discarded {
    /// Webhooks.
    pub records: u64,
    /// Their bytes, headers included.
    pub bytes: usize,
}

impl Quarantine {
    /// Moves the webhooks of an app that this secret verifies into the raw topic, where they look as
    /// if they had been accepted when they came, but for the log's own append time. The secret need
    /// not be active, nor be one that is served: who calls this vouches for it.
    ///
    /// When it returns they are durable. After an error some may have been moved; calling it again
    /// goes on, at worst with repeats. If the secret verifies none, nothing is written. While
    /// records are moved there may be one chunk (1 MiB, or one record) more in the topic than the
    /// bound allows. One call at a time, further ones wait; a call goes on also if its caller stops
    /// waiting for it.
    pub async fn accept(&self, app: &str, secret: &Secret) -> Result<Accepted, Error> {
        let (shared, app, secret) = (Arc::clone(&self.shared), app.to_owned(), secret.clone());
        self.finish(async move { shared.accept(&app, &secret).await }).await
    }

    /// Deletes everything that is in the quarantine now. It is gone for readers when this returns;
    /// when the bytes leave the disk is up to the log ([`Log::trim`](tickfold_log::Log::trim)).
    pub async fn discard(&self) -> Result<Discarded, Error> {
        let shared = Arc::clone(&self.shared);
        self.finish(async move { shared.discard().await }).await
    }

    /// Runs in a task, so that a caller that goes away does not stop it between two writes.
    async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.shared.tasks.spawn(work).await.map_err(Error::QuarantineStopped)?
    }
}

impl Shared {
    async fn accept(&self, app: &str, secret: &Secret) -> Result<Accepted, Error> {
        let _turn = self.turn.lock().await;
        let bounds = self.bounds().await?;
        let mut done = Accepted::default();
        // First only a look: where nothing matches, and behind the last that does, nothing moves.
        let mut last_match = None;
        let mut next = bounds.start;
        loop {
            let chunk = self.read(next, bounds.end).await?;
            let Some(last) = chunk.last() else { break };
            next = last.offset.saturating_add(1);
            done.scanned += chunk.len() as u64;
            let matching = chunk.iter().rfind(|record| self.webhook(record, app, secret).is_some());
            last_match = matching.map(|record| record.offset).or(last_match);
        }
        let end = last_match.map_or(bounds.start, |last| last.saturating_add(1));
        let mut next = bounds.start;
        loop {
            let chunk = self.read(next, end).await?;
            let Some(last) = chunk.last() else { break };
            next = last.offset.saturating_add(1);
            done.accepted += self.move_chunk(chunk, next, app, secret).await?;
        }
        done.kept = done.scanned.saturating_sub(done.accepted);
        let Accepted { scanned, accepted, kept } = done;
        info!(app, secret_id = secret.id, scanned, accepted, kept, "quarantine reviewed");
        Ok(done)
    }

    /// Moves records, the last ones below `end`, to where they belong; the number accepted.
    async fn move_chunk(
        &self,
        chunk: Vec<Record>,
        end: Offset,
        app: &str,
        secret: &Secret,
    ) -> Result<u64, Error> {
        let bytes = size_bytes(&chunk);
        let (mut accepted, mut webhooks, mut kept) = (Vec::new(), 0, Vec::new());
        for record in chunk {
            if let Some((headers, body)) = self.webhook(&record, app, secret) {
                let destinations = route(&body, headers.partition_count);
                accepted.extend(records(&self.raw_topic, &headers, destinations, &body));
                webhooks += 1;
            } else {
                kept.push(self.again(record));
            }
        }
        if !accepted.is_empty() {
            let appended = self.log.append(accepted).await;
            appended.map_err(failed("append accepted webhooks to the raw topic"))?;
            metrics::quarantine_accepted(webhooks);
        }
        if !kept.is_empty() {
            let again = kept.iter().map(Append::size_bytes).sum();
            self.add(again);
            let appended = self.log.append(kept).await.inspect_err(|_| self.give_back(again));
            appended.map_err(failed("append to the quarantine what stays in it"))?;
        }
        self.trim(end, bytes).await?;
        Ok(webhooks)
    }

    async fn discard(&self) -> Result<Discarded, Error> {
        let _turn = self.turn.lock().await;
        let bounds = self.bounds().await?;
        let (records, bytes) = self.count(bounds).await?;
        self.trim(bounds.end, bytes).await?;
        metrics::quarantine_discarded(records);
        info!(records, bytes, "quarantine discarded");
        Ok(Discarded { records, bytes })
    }

    /// Deletes the records below `end`, which have so many bytes.
    async fn trim(&self, end: Offset, bytes: usize) -> Result<(), Error> {
        let trimmed = self.log.trim(&self.at, end).await;
        trimmed.map_err(failed("trim the quarantine"))?;
        self.give_back(bytes);
        Ok(())
    }

    /// The raw record's headers and body, if the record is a webhook of the app and the secret gives
    /// its signature. The only way out of the quarantine.
    fn webhook(
        &self,
        record: &Record,
        app: &str,
        secret: &Secret,
    ) -> Option<(WebhookHeaders, Bytes)> {
        let text = |name: &str| std::str::from_utf8(record.header(name)?).ok();
        if text(header::KIND)? != KIND || text(header::APP)? != app {
            return None;
        }
        let signature = Signature::parse(record.header(header::SIGNATURE)?)?;
        let received_time = Timestamp::parse_rfc3339(text(header::RECEIVED_TIME)?)?;
        let request_id = text(header::REQUEST_ID)?.to_owned();
        let body = record.value.clone()?;
        if !verify(&secret.key, &body, &signature) {
            return None;
        }
        let headers = WebhookHeaders {
            signature: signature.as_str().to_owned(),
            received_time,
            app: app.to_owned(),
            secret_id: secret.id.clone(),
            request_id,
            partition_count: self.partition_count,
        };
        Some((headers, body))
    }

    /// The same record once more, for the end of the quarantine.
    fn again(&self, record: Record) -> Append {
        let Record { offset: _, timestamp_ms, key, value, headers } = record;
        Append { to: self.at.clone(), key, value, headers, timestamp_ms: Some(timestamp_ms) }
    }
}
