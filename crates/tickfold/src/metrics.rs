//! Metrics of the process itself: build, start, disks; and the gauges that are read when somebody asks.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::SystemTime;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use tickfold_core::FOLD_VERSION;
use tickfold_store::RocksStores;

use crate::config::Config;
use crate::node::Role;

const BUILD_INFO: &str = "tickfold_build_info";
const START_TIME: &str = "tickfold_start_time_seconds";
const DISK_FREE: &str = "tickfold_disk_free_bytes";
const DISK_SIZE: &str = "tickfold_disk_size_bytes";
const ADMIN_CONNECTIONS: &str = "tickfold_admin_connections";
const REDRIVES_APPENDED: &str = "tickfold_redrives_appended_total";

/// Describes the metrics of all crates to the installed recorder.
pub(crate) fn describe() {
    tickfold_log::metrics::describe();
    tickfold_ingress::metrics::describe();
    tickfold_processor::metrics::describe();
    tickfold_query::metrics::describe();
    tickfold_store::metrics::describe();
    describe_gauge!(BUILD_INFO, "Always 1; the labels are version, fold version and role.");
    describe_gauge!(START_TIME, Unit::Seconds, "When the process started, as Unix time.");
    describe_gauge!(
        DISK_FREE,
        Unit::Bytes,
        "What a process may still write to the file system of a directory, by dir: data, checkpoints."
    );
    describe_gauge!(DISK_SIZE, Unit::Bytes, "Size of that file system, by dir.");
    describe_gauge!(ADMIN_CONNECTIONS, Unit::Count, "Open connections of the admin listener.");
    describe_counter!(
        REDRIVES_APPENDED,
        Unit::Count,
        "Redrives of dead letters that this node appended to raw."
    );
}

/// A redrive was appended.
pub(crate) fn redrive_appended() {
    counter!(REDRIVES_APPENDED).increment(1);
}

/// Counts a connection of the admin listener as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenAdminConnection(());

impl OpenAdminConnection {
    pub(crate) fn new() -> Self {
        gauge!(ADMIN_CONNECTIONS).increment(1.0);
        Self(())
    }
}

impl Drop for OpenAdminConnection {
    fn drop(&mut self) {
        gauge!(ADMIN_CONNECTIONS).decrement(1.0);
    }
}

/// Says what runs, once.
pub(crate) fn started(role: Role) {
    let labels = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("fold_version", FOLD_VERSION.to_string()),
        ("role", role.word().to_owned()),
    ];
    gauge!(BUILD_INFO, &labels).set(1.0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    gauge!(START_TIME).set(since.as_secs_f64());
}

/// What is looked at when `/metrics` is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    dirs: Vec<(&'static str, PathBuf)>,
    stores: Option<Arc<RocksStores>>,
    looking: Arc<Mutex<()>>,
}

impl Observed {
    /// A node without stores keeps nothing on its disk.
    pub(crate) fn new(config: &Config, stores: Option<Arc<RocksStores>>) -> Self {
        let mut dirs = Vec::new();
        if stores.is_some() {
            dirs.push(("data", config.data_dir.clone()));
            let checkpoints = config.store.checkpoint_dir.clone();
            dirs.extend(checkpoints.map(|dir| ("checkpoints", dir)));
        }
        Self { dirs, stores, looking: Arc::default() }
    }

    /// Sets the gauges. Asks the file system and RocksDB, so not for a thread that must not wait. While one
    /// waits for a disk that hangs, others go by what it found last: threads are few.
    pub(crate) fn set(&self) {
        let _looking = match self.looking.try_lock() {
            Ok(looking) => looking,
            Err(TryLockError::Poisoned(looking)) => looking.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        for (dir, path) in &self.dirs {
            disk(dir, path);
        }
        if let Some(stores) = &self.stores {
            stores.observe();
        }
    }
}

/// A directory that cannot be asked about, such as one not made yet, keeps what was last known.
fn disk(dir: &'static str, path: &Path) {
    let Ok(found) = rustix::fs::statvfs(path) else { return };
    let bytes = |blocks: u64| as_f64(blocks) * as_f64(found.f_frsize);
    gauge!(DISK_FREE, "dir" => dir).set(bytes(found.f_bavail));
    gauge!(DISK_SIZE, "dir" => dir).set(bytes(found.f_blocks));
}

/// Gauges are floating point; a disk of 2^53 bytes may lose its last digit.
#[expect(clippy::cast_precision_loss, reason = "display only")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Mutex;

    use ::metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
        with_local_recorder,
    };

    /// Where the table begins; what stands above it is written by hand.
    const TABLE: &str =
        "<!-- From here on: UPDATE_EXPECT=1 cargo test -p tickfold --bins metrics -->\n";

    /// What was described, by name.
    #[derive(Default)]
    struct Described(Mutex<BTreeMap<String, (&'static str, String, String)>>);

    impl Described {
        fn keep(&self, kind: &'static str, name: &KeyName, unit: Option<Unit>, text: &str) {
            let unit = match unit {
                Some(Unit::Count) | None => "",
                Some(unit) => unit.as_str(),
            };
            let entry = (kind, unit.to_owned(), text.to_owned());
            let before = self.0.lock().unwrap().insert(name.as_str().to_owned(), entry);
            assert_eq!(before, None, "{} is described twice", name.as_str());
        }
    }

    impl Recorder for Described {
        fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.keep("counter", &name, unit, &text);
        }

        fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.keep("gauge", &name, unit, &text);
        }

        fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.keep("histogram", &name, unit, &text);
        }

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn the_page_of_metrics_is_what_is_described() {
        let recorder = Described::default();
        with_local_recorder(&recorder, super::describe);
        let described = recorder.0.into_inner().unwrap();
        let mut table = "\n| metric | kind | unit | what it is |\n|---|---|---|---|\n".to_owned();
        for (name, (kind, unit, text)) in &described {
            assert!(text.len() > 8, "{name} says nothing of itself");
            let text = text.trim_end_matches('.');
            table.push_str(&format!("| `{name}` | {kind} | {unit} | {text}. |\n"));
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let (above, _) = page.split_once(TABLE).unwrap();
        let wanted = format!("{above}{TABLE}{table}");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &wanted).unwrap();
        } else {
            assert!(page == wanted, "docs/metrics.md is old: UPDATE_EXPECT=1 writes it anew");
        }
        assert!(described.len() > 60, "{} metrics", described.len());
    }
}
