//! The whole conformance suite, on each way to reach a broker.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tickfold_log::{
    KafkaLog, KafkaOptions, Log, LogFuture, SaslMechanism,
    conformance::{self, Fixture},
};

use crate::{
    bench::{options, unique},
    broker,
    security::secure,
};

struct Kafka {
    options: KafkaOptions,
    run: String,
}

impl Kafka {
    fn new(options: KafkaOptions) -> Self {
        Self { options, run: unique("conformance") }
    }
}

impl Fixture for Kafka {
    fn open(&self) -> LogFuture<'_, Arc<dyn Log>> {
        Box::pin(async {
            KafkaLog::connect(self.options.clone()).expect("connect") as Arc<dyn Log>
        })
    }

    fn reopen(&self, log: Arc<dyn Log>) -> LogFuture<'_, Option<Arc<dyn Log>>> {
        Box::pin(async move {
            log.close().await.expect("close");
            Some(self.open().await)
        })
    }

    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(since.as_millis()).unwrap()
    }

    fn least_timestamp_ms(&self) -> i64 {
        1
    }

    fn name(&self, case: &str) -> String {
        format!("{}.{case}", self.run)
    }
}

async fn run(way: &str, options: KafkaOptions) {
    let begun = Instant::now();
    let ran = conformance::run_all(&Kafka::new(options)).await;
    println!("{way}: {} cases in {:?}: {}", ran.len(), begun.elapsed(), ran.join(" "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_plain() {
    run("kafka in plain", options(broker::shared())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_with_scram() {
    run("kafka over TLS", secure(SaslMechanism::ScramSha512, broker::PASSWORD)).await;
}
