//! The part that takes webhooks: apps and certificates, the quarantine, the listener.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tickfold_ingress::{
    AppStatus, Apps, IngressOptions, IngressStatus, Quarantine, QuarantineParts, Tls,
};
use tracing::warn;

use super::parts::Part;
use super::{SharedLog, now};
use crate::config::Config;
use crate::raw_topic::RawTopic;
use crate::{fail_points, options};

/// Files that RocksDB keeps open at most: of the embedded log, and of the state of a partition.
const LOG_FILES: u64 = 512;
const STORE_FILES: u64 = 256;
/// Whatever else is open: write-ahead logs, listeners, sockets to brokers and to other nodes.
const OTHER_FILES: u64 = 256;

/// With fewer connections than that, Meta's own would push each other out.
const CONNECTIONS_MIN: u64 = 64;

/// Tried where the system does not take its own hard limit, as macOS does not.
const OPEN_FILES_ELSEWHERE: u64 = 10_240;

/// What takes webhooks. [`Front::open`] makes it ready.
#[derive(Debug)]
pub(super) struct Front {
    apps: Apps,
    tls: Option<Tls>,
    options: IngressOptions,
    status: IngressStatus,
    /// What the system allows of open files.
    open_files: Option<u64>,
    pub(super) quarantine: Option<Quarantine>,
}

impl Front {
    /// Checks everything that it needs beside the log.
    pub(super) fn new(config: &Config, apps: Apps, tls: Option<Tls>) -> Result<Self> {
        let open_files = raise_open_files_limit();
        let options = options::ingress_options(config);
        options.check().context("check ingress options")?;
        let has_tls = tls.is_some();
        options.check_listener(config.http_addr, has_tls).context("check http_addr")?;
        let status = IngressStatus::new();
        Ok(Self { apps, tls, options, status, open_files, quarantine: None })
    }

    /// Takes no more connections than leave files to everything else, and opens the quarantine, if
    /// there is to be one; its topic is created with it.
    pub(super) async fn open(
        mut self,
        config: &Config,
        log: &SharedLog,
        raw: &RawTopic,
        folds: bool,
    ) -> Result<Self> {
        let beside = files_beside(config, if folds { raw.partitions } else { 0 });
        let wanted = self.options.connections_max;
        self.options.connections_max = connections_max(wanted, self.open_files, beside)?;
        if self.options.connections_max < wanted {
            warn!(
                connections_max = self.options.connections_max,
                open_files = self.open_files,
                beside,
                "fewer connections of webhooks than ingress.connections_max: the limit of open files is too low"
            );
        }
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

/// Connections need file descriptors, and a usual soft limit is 1,024. The limit from now on; `None`
/// if there is none.
fn raise_open_files_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    for raised in [limit.maximum, Some(OPEN_FILES_ELSEWHERE)] {
        let is_more = limit.current.is_some_and(|now| raised.is_none_or(|raised| raised > now));
        let raised = Rlimit { current: raised, maximum: limit.maximum };
        if is_more && setrlimit(Resource::Nofile, raised).is_ok() {
            break;
        }
    }
    getrlimit(Resource::Nofile).current
}

/// Files that may be open beside the connections of webhooks, with the states of so many partitions.
fn files_beside(config: &Config, partitions: u32) -> u64 {
    let connections = config.query.connections_max.saturating_add(config.admin.connections_max);
    let log = if config.kafka.brokers.is_none() { LOG_FILES } else { 0 };
    let rocksdb = log + STORE_FILES * u64::from(partitions);
    u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(rocksdb + OTHER_FILES)
}

/// The connections of webhooks that leave so many files to everything else. Strangers make them, and an
/// embedded log that cannot open its next file takes no record until a restart.
fn connections_max(wanted: usize, open_files: Option<u64>, beside: u64) -> Result<usize> {
    let Some(open_files) = open_files else { return Ok(wanted) };
    let left = open_files.saturating_sub(beside);
    if left < CONNECTIONS_MIN.min(u64::try_from(wanted).unwrap_or(u64::MAX)) {
        bail!(
            "the limit of open files is {open_files}, and {beside} may be needed beside connections of webhooks, \
             by query.connections_max, admin.connections_max, the log and the state of each partition: raise \
             it to {} (ulimit -n, LimitNOFILE=, nofile of the container), or lower these",
            beside.saturating_add(CONNECTIONS_MIN)
        );
    }
    Ok(wanted.min(usize::try_from(left).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn connections_of_webhooks_leave_files_to_everything_else() {
        let of = |wanted, open_files| connections_max(wanted, open_files, 5_000).ok();
        assert_eq!(of(4_096, None), Some(4_096), "no limit");
        assert_eq!(of(4_096, Some(20_000)), Some(4_096));
        assert_eq!(of(4_096, Some(9_096)), Some(4_096));
        assert_eq!(of(4_096, Some(9_095)), Some(4_095));
        assert_eq!(of(4_096, Some(5_064)), Some(64));
        assert_eq!(of(4_096, Some(5_063)), None);
        assert_eq!(of(4_096, Some(1_024)), None);
        assert_eq!(of(3, Some(5_003)), Some(3), "as few as are wanted");
        assert_eq!(of(3, Some(5_002)), None);
        let refused = connections_max(4_096, Some(1_024), 5_000).unwrap_err().to_string();
        assert!(refused.contains("is 1024, and 5000") && refused.contains("5064"), "{refused}");
    }

    #[test]
    fn whatever_else_opens_files_is_counted() {
        let config = |file| {
            let mut layers = Layers::defaults().unwrap();
            layers.file("f", file).unwrap();
            layers.read().unwrap()
        };
        let file = "[query]\nconnections_max = 100\n[admin]\nconnections_max = 20\n";
        let embedded = config(file);
        assert_eq!(files_beside(&embedded, 8), 120 + 512 + 8 * 256 + 256);
        let kafka = config(&format!("{file}[kafka]\nbrokers = \"127.0.0.1:9092\"\n"));
        assert_eq!(files_beside(&kafka, 0), 120 + 256);
    }

    #[test]
    fn the_process_takes_what_the_system_allows() {
        let allowed = getrlimit(Resource::Nofile).maximum;
        assert_eq!(raise_open_files_limit(), allowed);
        assert_eq!(raise_open_files_limit(), allowed, "again");
    }
}
