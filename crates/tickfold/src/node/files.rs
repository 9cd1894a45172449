//! The limit of open files: raised for every role, and whether it is enough.

use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::config::Config;

/// Files that RocksDB keeps open at most: of the embedded log, and of the state of a partition.
const LOG_FILES: u64 = 512;
const STORE_FILES: u64 = 256;
/// Whatever else is open: write-ahead logs, listeners, sockets to brokers and to other nodes.
const OTHER_FILES: u64 = 256;

/// With fewer connections than that, Meta's own would push each other out.
const CONNECTIONS_MIN: u64 = 64;

/// Tried where the system does not take its own hard limit, as macOS does not.
const OPEN_FILES_ELSEWHERE: u64 = 10_240;

/// What the system allows, and what a node may need of it.
#[derive(Debug)]
pub(super) struct OpenFiles {
    /// `None` if there is no limit.
    limit: Option<u64>,
    /// All but connections of webhooks.
    beside: u64,
}

impl OpenFiles {
    /// Of a node that may come to have so many partitions.
    pub(super) fn new(limit: Option<u64>, config: &Config, partitions: u32) -> Self {
        Self { limit, beside: beside(config, partitions) }
    }

    /// The connections of webhooks that leave files to everything else.
    pub(super) fn connections_max(&self, wanted: usize) -> Result<usize> {
        let Self { limit, beside } = *self;
        let connections_max = connections_max(wanted, limit, beside)?;
        if connections_max < wanted {
            warn!(
                connections_max,
                open_files = limit,
                beside,
                "fewer connections of webhooks than ingress.connections_max: the limit of open files is too low"
            );
        }
        Ok(connections_max)
    }

    /// A node without webhooks starts all the same: others have partitions too.
    pub(super) fn check_without_webhooks(&self) {
        let Self { limit, beside } = *self;
        if limit.is_some_and(|limit| limit < beside) {
            warn!(
                open_files = limit,
                needed = beside,
                "the limit of open files is too low for all partitions: a state that cannot open its next file \
                 stands still"
            );
        }
    }
}

/// Connections and states need file descriptors, and a usual soft limit is 1,024. The limit from now
/// on; `None` if there is none.
pub(super) fn raise_limit() -> Option<u64> {
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
fn beside(config: &Config, partitions: u32) -> u64 {
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
        assert_eq!(beside(&embedded, 8), 120 + 512 + 8 * 256 + 256);
        let kafka = config(&format!("{file}[kafka]\nbrokers = \"127.0.0.1:9092\"\n"));
        assert_eq!(beside(&kafka, 0), 120 + 256);
    }

    #[test]
    fn the_process_takes_what_the_system_allows() {
        let allowed = getrlimit(Resource::Nofile).maximum;
        assert_eq!(raise_limit(), allowed);
        assert_eq!(raise_limit(), allowed, "again");
    }
}
