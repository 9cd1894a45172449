//! Configuration: defaults, file, environment, flags, in this order; unknown keys are errors.
//!
//! The layers are merged as TOML tables and read once into [`Config`], so that a setting exists in
//! exactly two places: `tickfold.default.toml` and its field here. Sources are passed in: nothing
//! here reads the environment or the disk by itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use tickfold_core::hash::id_of;
use toml::{Table, Value};

/// The defaults, commented; printed by `tickfold config --defaults`.
pub(crate) const DEFAULTS: &str = include_str!("../tickfold.default.toml");

/// Below this, pauses of the machine would do for a partition that is stuck.
const STUCK_AFTER_MIN: Duration = Duration::from_secs(1);

/// Effective settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub data_dir: PathBuf,
    #[serde(deserialize_with = "address")]
    pub http_addr: SocketAddr,
    #[serde(deserialize_with = "address")]
    pub grpc_addr: SocketAddr,
    #[serde(deserialize_with = "optional_text")]
    pub grpc_advertised_addr: Option<String>,
    #[serde(deserialize_with = "address")]
    pub admin_addr: SocketAddr,
    /// 0: as the raw topic has them, or a default of the log.
    pub partitions: u32,
    pub topic_prefix: String,
    pub group: String,
    pub telemetry: Telemetry,
    pub auth: Auth,
    pub ingress: Ingress,
    pub kafka: Kafka,
    pub log: Log,
    pub store: Store,
    pub processor: Processor,
    pub query: Query,
    pub admin: Admin,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Telemetry {
    pub log: String,
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    #[serde(deserialize_with = "optional_path")]
    pub tokens_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_path")]
    pub tls_cert_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_path")]
    pub tls_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_path")]
    pub tls_client_ca_file: Option<PathBuf>,
    pub behind_proxy: bool,
    #[serde(deserialize_with = "optional_path")]
    pub peer_ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_text")]
    pub peer_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ingress {
    #[serde(deserialize_with = "optional_path")]
    pub apps_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_path")]
    pub tls_cert_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_path")]
    pub tls_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_path")]
    pub tls_client_ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_text")]
    pub tls_client_name: Option<String>,
    pub behind_proxy: bool,
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    #[serde(deserialize_with = "networks")]
    pub allow: Vec<IpNet>,
    #[serde(deserialize_with = "size")]
    pub body_bytes_max: usize,
    #[serde(deserialize_with = "duration")]
    pub header_deadline: Duration,
    #[serde(deserialize_with = "duration")]
    pub body_deadline: Duration,
    #[serde(deserialize_with = "duration")]
    pub idle_deadline: Duration,
    #[serde(deserialize_with = "duration")]
    pub answer_deadline: Duration,
    #[serde(deserialize_with = "duration")]
    pub append_latency_max: Duration,
    pub connections_max: usize,
    #[serde(deserialize_with = "size")]
    pub inflight_bytes_max: usize,
    #[serde(deserialize_with = "size")]
    pub quarantine_bytes_max: usize,
    #[serde(deserialize_with = "duration")]
    pub drain_limit: Duration,
    #[serde(deserialize_with = "duration")]
    pub tick_interval: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kafka {
    #[serde(deserialize_with = "optional_text")]
    pub brokers: Option<String>,
    pub tls: bool,
    #[serde(deserialize_with = "optional_path")]
    pub ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional_text")]
    pub sasl_mechanism: Option<String>,
    #[serde(deserialize_with = "optional_text")]
    pub sasl_username: Option<String>,
    pub replication_factor: u16,
    pub min_insync_replicas: u16,
    #[serde(deserialize_with = "duration")]
    pub append_timeout: Duration,
    #[serde(deserialize_with = "size")]
    pub append_bytes_max: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    #[serde(deserialize_with = "size")]
    pub queue_bytes_max: usize,
    #[serde(deserialize_with = "size")]
    pub group_bytes_max: usize,
    #[serde(deserialize_with = "size")]
    pub write_buffer_bytes: usize,
    #[serde(deserialize_with = "size")]
    pub block_cache_bytes: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    #[serde(deserialize_with = "size")]
    pub block_cache_bytes: usize,
    #[serde(deserialize_with = "size")]
    pub write_buffer_bytes_total: usize,
    #[serde(deserialize_with = "optional_path")]
    pub checkpoint_dir: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Processor {
    pub batch_records_max: usize,
    #[serde(deserialize_with = "size")]
    pub batch_bytes_max: usize,
    #[serde(deserialize_with = "duration")]
    pub tick_commit_interval: Duration,
    #[serde(deserialize_with = "duration")]
    pub stuck_after: Duration,
    #[serde(deserialize_with = "duration")]
    pub checkpoint_interval: Duration,
    pub checkpoints_kept: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    #[serde(deserialize_with = "duration")]
    pub request_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub request_timeout_max: Duration,
    pub connections_max: usize,
    pub concurrent_requests_max: usize,
    pub tail_streams_max: usize,
    pub watch_streams_max: usize,
    pub web_origins: Vec<String>,
    #[serde(deserialize_with = "duration")]
    pub drain_limit: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admin {
    pub connections_max: usize,
}

/// Settings before they are checked, with where each came from.
#[derive(Debug)]
pub(crate) struct Layers {
    table: Table,
    origins: BTreeMap<String, String>,
}

impl Layers {
    /// The defaults alone.
    pub(crate) fn defaults() -> Result<Self> {
        let table = DEFAULTS.parse().context("read the built-in defaults")?;
        Ok(Self { table, origins: BTreeMap::new() })
    }

    /// Puts a file's text on top.
    pub(crate) fn file(&mut self, name: &str, text: &str) -> Result<()> {
        let file: Table =
            text.parse().with_context(|| format!("read configuration file {name}"))?;
        self.merge(&file, "", name)
    }

    /// Puts the environment on top: for each setting the variable of its name.
    pub(crate) fn environment(&mut self, get: impl Fn(&str) -> Option<String>) -> Result<()> {
        for key in self.keys() {
            let variable = format!("TICKFOLD_{}", key.to_ascii_uppercase().replace('.', "_"));
            if let Some(text) = get(&variable) {
                self.set(&key, &text, &format!("environment variable {variable}"))?;
            }
        }
        Ok(())
    }

    /// Puts one setting on top, given as text.
    pub(crate) fn set(&mut self, key: &str, text: &str, origin: &str) -> Result<()> {
        let slot = slot(&mut self.table, key).with_context(|| format!("no such setting: {key}"))?;
        *slot = match slot {
            Value::Integer(_) => {
                let number = text
                    .parse()
                    .with_context(|| format!("{origin}: {text:?} is not a whole number"))?;
                Value::Integer(number)
            }
            Value::Boolean(_) => {
                let flag = text
                    .parse()
                    .with_context(|| format!("{origin}: {text:?} is neither true nor false"))?;
                Value::Boolean(flag)
            }
            Value::Array(_) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            _ => Value::String(text.to_owned()),
        };
        self.origins.insert(key.to_owned(), origin.to_owned());
        Ok(())
    }

    /// Reads the settings; values are checked here, relations between them by their components.
    pub(crate) fn read(&self) -> Result<Config> {
        let config: Config = Value::Table(self.table.clone()).try_into().with_context(|| {
            let set: Vec<_> =
                self.origins.iter().map(|(key, origin)| format!("{key} from {origin}")).collect();
            match set.is_empty() {
                true => "read configuration".to_owned(),
                false => format!("read configuration ({})", set.join(", ")),
            }
        })?;
        if config.partitions > 1_024 {
            bail!("partitions = {} is not between 1 and 1024, nor 0", config.partitions);
        }
        if config.admin.connections_max == 0 {
            bail!("admin.connections_max = 0 lets nobody in");
        }
        let Processor { batch_records_max, batch_bytes_max, .. } = config.processor;
        if batch_records_max == 0 || batch_bytes_max == 0 {
            bail!(
                "processor.batch_records_max and processor.batch_bytes_max: a batch of 0 folds nothing"
            );
        }
        let Processor { tick_commit_interval, stuck_after, .. } = config.processor;
        if stuck_after < STUCK_AFTER_MIN || stuck_after < 2 * tick_commit_interval {
            bail!(
                "processor.stuck_after = {stuck_after:?} takes a partition for stuck that only waits: at least                  {STUCK_AFTER_MIN:?}, and twice processor.tick_commit_interval, which is                  {tick_commit_interval:?}"
            );
        }
        let is_topic_char =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
        if config.topic_prefix.is_empty() || !config.topic_prefix.chars().all(is_topic_char) {
            bail!(
                "topic_prefix = {:?} has other than lower-case letters, digits, dots, hyphens",
                config.topic_prefix
            );
        }
        Ok(config)
    }

    /// The effective settings as TOML, with the origin of each that is not a default.
    pub(crate) fn print(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        let keys = self.keys();
        // Settings of no section first, as TOML wants it.
        let (plain, sectioned): (Vec<_>, Vec<_>) = keys.iter().partition(|key| !key.contains('.'));
        for key in plain.into_iter().chain(sectioned) {
            let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
            if table != section {
                section = table;
                text.push_str(&format!("\n[{section}]\n"));
            }
            let Some(value) = lookup(&self.table, key) else { continue };
            let origin =
                self.origins.get(key).map(|origin| format!("  # {origin}")).unwrap_or_default();
            text.push_str(&format!("{name} = {value}{origin}\n"));
        }
        text
    }

    /// Names the settings that nodes of one system share: two that differ in it are configured
    /// differently. Where a node listens and keeps its data is its own.
    pub(crate) fn digest(&self) -> String {
        let of_the_node =
            ["data_dir", "http_addr", "grpc_addr", "grpc_advertised_addr", "admin_addr"];
        let mut parts = Vec::new();
        for key in self.keys().into_iter().filter(|key| !of_the_node.contains(&key.as_str())) {
            let value = lookup(&self.table, &key).map(Value::to_string).unwrap_or_default();
            parts.extend([key, value]);
        }
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        let mut digest = id_of(&parts);
        digest.truncate(16);
        digest
    }

    fn merge(&mut self, file: &Table, prefix: &str, origin: &str) -> Result<()> {
        for (name, value) in file {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            let Some(slot) = slot(&mut self.table, &key) else {
                let near = nearest(&key, &self.keys());
                bail!("{origin}: unknown setting {key:?}{near}");
            };
            match (slot, value) {
                (Value::Table(_), Value::Table(inner)) => self.merge(inner, &key, origin)?,
                (Value::Table(_), _) => bail!("{origin}: {key} is a section"),
                (slot, value) => {
                    *slot = value.clone();
                    self.origins.insert(key, origin.to_owned());
                }
            }
        }
        Ok(())
    }

    fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for (name, value) in &self.table {
            match value {
                Value::Table(inner) => keys.extend(inner.keys().map(|key| format!("{name}.{key}"))),
                _ => keys.push(name.clone()),
            }
        }
        keys
    }
}

fn slot<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut Value> {
    match key.split_once('.') {
        None => table.get_mut(key),
        Some((section, rest)) => slot(table.get_mut(section)?.as_table_mut()?, rest),
    }
}

fn lookup<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((section, rest)) => lookup(table.get(section)?.as_table()?, rest),
    }
}

/// A hint for a mistyped key: the known one that shares most letters in order.
fn nearest(key: &str, known: &[String]) -> String {
    let shared = |other: &str| {
        let mut rest = other.chars();
        key.chars().filter(|c| rest.by_ref().any(|other| other == *c)).count()
    };
    let best = known.iter().max_by_key(|other| (shared(other), std::cmp::Reverse(other.len())));
    match best {
        Some(best) if shared(best) * 2 > key.len() => format!("; did you mean {best:?}?"),
        _ => String::new(),
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let span: Result<jiff::SignedDuration, _> = text.parse();
    let duration = span.ok().and_then(|span| Duration::try_from(span).ok());
    duration.ok_or_else(|| {
        serde::de::Error::custom(format!("{text:?} is not a duration such as \"5s\""))
    })
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let error = || {
        serde::de::Error::custom(format!("{text:?} is not an address such as \"127.0.0.1:8080\""))
    };
    text.parse().map_err(|_| error())
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let text = match &value {
        Value::Integer(bytes) => bytes.to_string(),
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    parse_size(&text)
        .ok_or_else(|| serde::de::Error::custom(format!("{value} is not a size such as \"64MiB\"")))
}

fn parse_size(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(1 << shift)
}

/// Networks in CIDR form; a bare address is a network of one.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let network = |text: String| {
        let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        parsed.map_err(|_| {
            serde::de::Error::custom(format!("{text:?} is not a network such as \"10.0.0.0/8\""))
        })
    };
    Vec::<String>::deserialize(deserializer)?.into_iter().map(network).collect()
}

fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then_some(text))
}

fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_built_in_defaults_are_the_defaults_of_the_components() {
        let config = Layers::defaults().unwrap().read().unwrap();
        assert_eq!(
            crate::options::ingress_options(&config),
            tickfold_ingress::IngressOptions::default()
        );
        let (ours, theirs) =
            (crate::log::embedded_options(&config), tickfold_log::EmbeddedOptions::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        assert_eq!(crate::options::store_options(&config), tickfold_store::RocksOptions::default());
        let (ours, theirs) =
            (crate::options::query_options(&config), tickfold_query::QueryOptions::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        let theirs = tickfold_processor::Options {
            address: tickfold_processor::Address::parse("127.0.0.1:1").unwrap(),
            ..tickfold_processor::Options::default()
        };
        let ours = crate::options::processor_options(&config, "127.0.0.1:1").unwrap();
        let without_hooks = |options: &tickfold_processor::Options| {
            format!("{options:?}").split("fail_point").next().map(str::to_owned)
        };
        assert_eq!(without_hooks(&ours), without_hooks(&theirs));
    }

    #[test]
    fn a_later_layer_wins() {
        let mut layers = Layers::defaults().unwrap();
        layers.file("f", "group = \"file\"\ntopic_prefix = \"file\"\npartitions = 3").unwrap();
        let environment = |name: &str| {
            let value = match name {
                "TICKFOLD_GROUP" => "env",
                "TICKFOLD_QUERY_DRAIN_LIMIT" => "3s",
                "TICKFOLD_PARTITIONS" => "4",
                _ => return None,
            };
            Some(value.to_owned())
        };
        layers.environment(environment).unwrap();
        layers.set("partitions", "5", "--partitions").unwrap();
        let config = layers.read().unwrap();
        assert_eq!((config.topic_prefix.as_str(), config.group.as_str()), ("file", "env"));
        assert_eq!((config.partitions, config.query.drain_limit), (5, Duration::from_secs(3)));
        assert!(layers.print().contains("group = \"env\"  # environment variable TICKFOLD_GROUP"));
    }

    #[test]
    fn unknown_keys_and_bad_values_are_named() {
        let error = |text: &str| {
            let mut layers = Layers::defaults().unwrap();
            let result = layers.file("f.toml", text).and_then(|()| layers.read().map(drop));
            format!("{:#}", result.unwrap_err())
        };
        assert!(
            error("[ingress]\nbody_bytes = 1").contains("did you mean \"ingress.body_bytes_max\"")
        );
        assert!(error("[query]\ndrain_limit = \"soon\"").contains("\"soon\" is not a duration"));
        assert!(error("[log]\nqueue_bytes_max = \"1 parsec\"").contains("is not a size"));
        assert!(error("[admin]\nconnections_max = 0").contains("lets nobody in"));
        assert!(error("[processor]\nbatch_records_max = 0").contains("folds nothing"));
        assert!(error("[processor]\nbatch_bytes_max = 0").contains("folds nothing"));
        assert!(error("[processor]\nstuck_after = \"19s\"").contains("stuck"));
        let idle = "[processor]\ntick_commit_interval = \"0s\"\nstuck_after = \"0s\"";
        assert!(error(idle).contains("stuck"));
        assert!(error("partitions = 1025").contains("between 1 and 1024"));
        assert!(error("topic_prefix = \"Über\"").contains("topic_prefix"));
        assert!(error("ingress = 4").contains("is a section"));
        assert!(error("[ingress]\nallow = [\"Meta\"]").contains("\"Meta\" is not a network"));
    }

    #[test]
    fn what_is_printed_reads_back() {
        let layers = Layers::defaults().unwrap();
        let mut again = Layers::defaults().unwrap();
        again.file("printed", &layers.print()).unwrap();
        assert_eq!(again.table, layers.table);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// As it stands in a file, with anything in the place of one value; and as text from elsewhere.
        #[test]
        fn any_value_is_taken_or_refused(
            at in 0..200_usize, value in "\\PC{0,12}|-?[0-9]{1,22}(ms|s|KiB|GiB)?|\"[0-9a-z:/.,]{0,12}\""
        ) {
            let keys = Layers::defaults().unwrap().keys();
            let key = &keys[at % keys.len()];
            let mut from_text = Layers::defaults().unwrap();
            if from_text.set(key, &value, "test").is_ok() && from_text.read().is_ok() {
                let mut again = Layers::defaults().unwrap();
                again.file("printed", &from_text.print()).unwrap();
                prop_assert_eq!(again.digest(), from_text.digest());
            }
            let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
            let section = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            let mut from_file = Layers::defaults().unwrap();
            if from_file.file("test", &format!("{section}{name} = {value}\n")).is_ok() {
                let _ = from_file.read();
            }
        }
    }

    #[test]
    fn the_digest_is_of_what_nodes_share() {
        let digest = |key: &str, value: &str| {
            let mut layers = Layers::defaults().unwrap();
            layers.set(key, value, "test").unwrap();
            layers.digest()
        };
        let defaults = Layers::defaults().unwrap().digest();
        assert_eq!(defaults.len(), 16);
        assert_eq!(digest("admin_addr", "127.0.0.1:1"), defaults);
        assert_eq!(digest("data_dir", "elsewhere"), defaults);
        assert_ne!(digest("group", "another"), defaults);
        assert_ne!(digest("processor.stuck_after", "61s"), defaults);
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("4MiB"), Some(4 << 20));
        assert_eq!(parse_size("123"), Some(123));
        for bad in ["", "MiB", "4MB", "-1", "99999999999999999999GiB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
