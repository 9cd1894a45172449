//! The part that takes webhooks: apps and certificates, the quarantine, the listener.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, Result};
use tickfold_ingress::{
    AppStatus, Apps, IngressOptions, IngressStatus, Quarantine, QuarantineParts, Tls,
};

use super::files::OpenFiles;
use super::parts::Part;
use super::{SharedLog, now};
use crate::config::Config;
use crate::raw_topic::RawTopic;
use crate::{fail_points, options};

/// What takes webhooks. [`Front::open`] makes it ready.
#[derive(Debug)]
pub(super) struct Front {
    apps: Apps,
    tls: Option<Tls>,
    options: IngressOptions,
    status: IngressStatus,
    pub(super) quarantine: Option<Quarantine>,
}

impl Front {
    /// Checks everything that it needs beside the log.
    pub(super) fn new(config: &Config, apps: Apps, tls: Option<Tls>) -> Result<Self> {
        let options = options::ingress_options(config);
        options.check().context("check ingress options")?;
        let has_tls = tls.is_some();
        options.check_listener(config.http_addr, has_tls).context("check http_addr")?;
        let status = IngressStatus::new();
        Ok(Self { apps, tls, options, status, quarantine: None })
    }

    /// Takes no more connections than leave files to everything else, and opens the quarantine, if
    /// there is to be one; its topic is created with it.
    pub(super) async fn open(
        mut self,
        config: &Config,
        log: &SharedLog,
        raw: &RawTopic,
        files: &OpenFiles,
    ) -> Result<Self> {
        self.options.connections_max = files.connections_max(self.options.connections_max)?;
        let bytes_max = config.ingress.quarantine_bytes_max;
        if bytes_max == 0 {
            return Ok(self);
        }
        let topic = Quarantine::topic(&config.topic_prefix);
        let parts = QuarantineParts {
            log: Arc::clone(log),
            topic: topic.name.clone(),
            raw_topic: raw.name.clone(),
            partition_count: raw.partitions,
            bytes_max,
        };
        log.ensure_topics(&[topic]).await.context("check the topic of the quarantine")?;
        let quarantine = Quarantine::open(parts).await.context("open the quarantine")?;
        Ok(Self { quarantine: Some(quarantine), ..self })
    }

    /// Serves.
    pub(super) fn serve(&self, listener: TcpListener, log: &SharedLog, raw: &RawTopic) -> Part {
        let parts = tickfold_ingress::Parts {
            listener,
            log: fail_points::wrap(Arc::clone(log)),
            options: self.options.clone(),
            apps: self.apps.clone(),
            raw_topic: raw.name.clone(),
            partition_count: raw.partitions,
            clock: now,
            status: self.status.clone(),
            tls: self.tls.clone(),
            quarantine: self.quarantine.clone(),
        };
        Part::spawn("ingress", |stop| tickfold_ingress::run(parts, stop))
    }

    /// Where the apps' webhooks go.
    pub(super) fn urls(&self, address: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = |app: AppStatus| format!("{scheme}://{address}/webhook/{}", app.name);
        let urls: Vec<_> = self.apps.snapshot(now()).into_iter().map(url).collect();
        urls.join(" ")
    }

    /// Who verifies what is redriven.
    pub(super) fn apps(&self) -> Apps {
        self.apps.clone()
    }

    /// What the admin listener shows of it.
    pub(super) fn shown(&self) -> (Apps, IngressStatus) {
        (self.apps.clone(), self.status.clone())
    }
}
