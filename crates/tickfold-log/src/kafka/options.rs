//! Options of the kafka log, and what they mean for librdkafka.
//!
//! Whatever promise of the port rests on a setting of librdkafka is set here, also where it is the
//! default today: a default may change, and several differ from those of Java's client.

use std::{fmt, path::PathBuf, time::Duration};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use crate::RECORD_BYTES_MAX;

/// Bytes a record may have on its way, with what Kafka puts around it: the limit of topics
/// (`max.message.bytes`) and of the producers. A record of [`RECORD_BYTES_MAX`] fits with thousands
/// of headers.
pub(super) const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + (256 << 10);

/// How long a group waits for members to take part in a change.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);

/// Options of [`KafkaLog`](super::KafkaLog).
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// Where to find the cluster: `HOST:PORT`, several with commas.
    pub brokers: String,
    /// What the clients call themselves in the brokers' logs and quotas. Default `tickfold`.
    pub client_id: String,
    /// How to reach and convince the brokers. Default: in plain, without a name.
    pub security: Security,
    /// Topics whose records get the broker's time when they are appended
    /// (`message.timestamp.type=LogAppendTime`) and are never deleted by age or size: the raw topic.
    /// Default: none.
    pub append_time_topics: Vec<String>,
    /// Replicas of the topics that are created. Default 3.
    pub replication_factor: u16,
    /// Replicas that must have a record before it counts as appended, of the topics that are
    /// created; topics that exist must demand as many. Default 2.
    pub min_insync_replicas: u16,
    /// How batches are compressed by the producers. Default lz4.
    pub compression: Compression,
    /// Bytes of appends that may wait for the brokers; beyond it appends are refused as
    /// `Unavailable`. Default 64 MiB.
    pub append_bytes_max: usize,
    /// After this time an append that was not acknowledged is `Unavailable`. It may still become
    /// readable. Default 10 s.
    pub append_timeout: Duration,
    /// The time any other question to the brokers may take before it is `Unavailable`. Default 10 s.
    pub call_timeout: Duration,
    /// The time a claim may take: the brokers first finish what an earlier owner left. Default 30 s.
    pub claim_timeout: Duration,
    /// The time from the first output of a commit after which the brokers abort it. Until then a
    /// dead owner keeps readers from what follows its outputs, unless somebody claims its
    /// partition, which ends it at once. Default 60 s.
    pub transaction_timeout: Duration,
    /// After this time without a sign of life a group gives a member's partitions to others. A
    /// member that restarts within it finds them. Default 10 s.
    pub session_timeout: Duration,
    /// For how long a broker holds a fetch of those who wait. Records that arrive end it; what it
    /// bounds is how long a wait for another partition takes to begin. Default 100 ms.
    pub fetch_wait: Duration,
    /// Bytes of records read ahead per partition. Default 8 MiB.
    pub read_ahead_bytes: usize,
    /// Called at the places of a claim and a commit that [`fail_point`](super::fail_point) names,
    /// for crash tests. Default: does nothing.
    pub fail_point: fn(&'static str),
    /// Goes on with a producer whose requests were repeated. For the test that shows what it is
    /// given up for. Default: off.
    #[cfg(feature = "test-util")]
    pub trust_repeated: bool,
    /// Leaves clients alone that know no broker any more. For the test that shows what becomes of
    /// them. Default: off.
    #[cfg(feature = "test-util")]
    pub leave_lost: bool,
}

impl KafkaOptions {
    /// The defaults, for a cluster at `brokers`.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            client_id: "tickfold".to_owned(),
            security: Security::default(),
            append_time_topics: Vec::new(),
            replication_factor: 3,
            min_insync_replicas: 2,
            compression: Compression::Lz4,
            append_bytes_max: 64 << 20,
            append_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(10),
            claim_timeout: Duration::from_secs(30),
            transaction_timeout: Duration::from_secs(60),
            session_timeout: Duration::from_secs(10),
            fetch_wait: Duration::from_millis(100),
            read_ahead_bytes: 8 << 20,
            fail_point: |_| (),
            #[cfg(feature = "test-util")]
            trust_repeated: false,
            #[cfg(feature = "test-util")]
            leave_lost: false,
        }
    }
}

/// How to reach and convince the brokers.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// TLS; `None` speaks in plain.
    pub tls: Option<Tls>,
    /// Name and password; `None` has no name, or that of the network.
    pub sasl: Option<Sasl>,
}

/// TLS. The brokers' certificates are always checked, with the name they are reached by.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Authorities to trust, a PEM file; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
}

/// A name and a password.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// How they are told.
    pub mechanism: SaslMechanism,
    /// Name.
    pub username: String,
    /// Password.
    pub password: Password,
}

/// How name and password are told to the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// As they are: only over TLS.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

/// A password. It is not shown.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Keeps it.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Compression of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// None.
    None,
    /// lz4: cheap.
    Lz4,
    /// zstd: smaller, dearer.
    Zstd,
}

impl KafkaOptions {
    /// For the producer of appends. Idempotent: a batch that is sent again because its answer got
    /// lost is written once and in order.
    pub(super) fn appender(&self) -> ClientConfig {
        let mut config = self.producer();
        config.set("message.timeout.ms", millis(self.append_timeout));
        // Ours is the bound that callers meet; see `append_bytes_max`.
        config.set("queue.buffering.max.kbytes", "2097151");
        config.set("queue.buffering.max.messages", "0");
        config
    }

    /// For the producer of one claimed partition.
    pub(super) fn committer(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.producer();
        config.set("transactional.id", transactional_id);
        config.set("transaction.timeout.ms", millis(self.transaction_timeout));
        config.set("queue.buffering.max.kbytes", "1048576");
        // The committer has to know of every connection that fails. The other lines of this kind are
        // few and dropped.
        config.set("debug", "broker");
        config.set_log_level(RDKafkaLogLevel::Debug);
        config
    }

    fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        // Nothing waits for company: while a batch is under way, the next one fills by itself.
        config.set("linger.ms", "0");
        config.set("message.max.bytes", MESSAGE_BYTES_MAX.to_string());
        let compression = match self.compression {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        };
        config.set("compression.type", compression);
        config
    }

    /// For a consumer that is told what to read and commits nothing. librdkafka lets no consumer
    /// without a group name read; this one never joins its group.
    pub(super) fn reader(&self, fetch_wait: Duration) -> ClientConfig {
        let mut config = self.consumer(&format!("{}-reader", self.client_id));
        config.set("enable.partition.eof", "true");
        config.set("fetch.wait.max.ms", millis(fetch_wait));
        config.set("queued.max.messages.kbytes", (self.read_ahead_bytes >> 10).max(1).to_string());
        config.set("queued.min.messages", "100000");
        // The pause after the queue was full. The default, a second, would be the rhythm of a scan.
        config.set("fetch.queue.backoff.ms", "5");
        config
    }

    /// For a consumer that reads and names the positions of a group, without being a member.
    pub(super) fn group(&self, group: &str) -> ClientConfig {
        self.consumer(group)
    }

    /// For a consumer that looks at the positions of a group as they are, whatever is under way.
    pub(super) fn onlooker(&self, group: &str) -> ClientConfig {
        let mut config = self.consumer(group);
        config.set("isolation.level", "read_uncommitted");
        config
    }

    /// For a member of a group. It reads no records.
    pub(super) fn member(&self, group: &str, instance: &str) -> ClientConfig {
        let mut config = self.consumer(group);
        config.set("group.protocol", "classic");
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("group.instance.id", instance);
        config.set("session.timeout.ms", millis(self.session_timeout));
        // Often, so that the others learn early that somebody is gone.
        config.set("heartbeat.interval.ms", millis(self.session_timeout / 10));
        // The thread polls all the time; this bounds how long the group waits for a member that
        // has partitions to give back.
        let poll_max = self.session_timeout.max(REBALANCE_TIMEOUT);
        config.set("max.poll.interval.ms", millis(poll_max));
        config.set("queued.max.messages.kbytes", "64");
        config
    }

    fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.client();
        config.set("group.id", group);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        // Besides hiding what is open or aborted, this makes the brokers answer with the stable
        // position of a group and with the stable end of a partition.
        config.set("isolation.level", "read_committed");
        // A position outside of the partition is for us to judge, not to be moved silently.
        config.set("auto.offset.reset", "error");
        config.set("check.crcs", "true");
        config.set("allow.auto.create.topics", "false");
        config
    }

    /// For questions about topics, and for creating them.
    pub(super) fn admin(&self) -> ClientConfig {
        self.client()
    }

    fn client(&self) -> ClientConfig {
        // Before librdkafka does it: OpenSSL then does not take itself down at the end of the process, under
        // the threads of a client that is still closing its connections.
        openssl_sys::init();
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", &self.client_id);
        // Brokers close idle connections; that is no news.
        config.set("log.connection.close", "false");
        // A broker that comes back may name no leader for a moment, and librdkafka 2.12 may then not
        // ask again before this, by default five minutes.
        config.set("topic.metadata.refresh.interval.ms", "5000");
        config.set("reconnect.backoff.ms", "50");
        config.set("reconnect.backoff.max.ms", "1000");
        config.set("retry.backoff.ms", "20");
        config.set("topic.metadata.refresh.fast.interval.ms", "50");
        let Security { tls, sasl } = &self.security;
        let protocol = match (tls, sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(ca_file) = tls.as_ref().and_then(|tls| tls.ca_file.as_ref()) {
            config.set("ssl.ca.location", ca_file.to_string_lossy());
        }
        if let Some(Sasl { mechanism, username, password }) = sasl {
            let mechanism = match mechanism {
                SaslMechanism::Plain => "PLAIN",
                SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            config.set("sasl.mechanism", mechanism);
            config.set("sasl.username", username);
            config.set("sasl.password", &password.0);
        }
        config
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use super::{KafkaOptions, Password, Sasl, SaslMechanism};

    /// A broker that is alone cannot show it.
    #[test]
    fn producers_wait_for_every_replica_in_sync() {
        let options = KafkaOptions::new("localhost:9092");
        for config in [options.appender(), options.committer("id")] {
            let made = config.create_native_config().unwrap();
            // All of them, as librdkafka writes it.
            assert_eq!(made.get("acks").unwrap(), "-1");
            assert_eq!(made.get("enable.idempotence").unwrap(), "true");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let mut options = KafkaOptions::new("localhost:9092");
        let (mechanism, password) = (SaslMechanism::ScramSha512, Password::new("hunter2"));
        options.security.sasl = Some(Sasl { mechanism, username: "me".to_owned(), password });
        let shown = format!("{options:?}");
        assert!(shown.contains("me") && !shown.contains("hunter2"), "{shown}");
    }
}
