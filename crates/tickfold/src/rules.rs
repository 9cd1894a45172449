//! The rules service of this process: which rules its partitions have folded, and the one way by
//! which new ones come into the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tickfold_core::raw::rules_headers;
use tickfold_core::rules::Rules;
use tickfold_log::{Append, Header, Log, TopicPartition};
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::rules_service_server::RulesService;
use tickfold_query::Reason;
use tickfold_store::Stores;
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Debug)]
pub(crate) struct RulesAdmin {
    pub log: Arc<dyn Log>,
    pub stores: Arc<dyn Stores>,
    pub raw_topic: String,
    pub partition_count: u32,
    /// One document at a time: the versions that a second one is compared with are those of the
    /// first, as far as they are folded.
    pub applying: Mutex<()>,
}

#[tonic::async_trait]
impl RulesService for RulesAdmin {
    async fn get_rules(
        &self,
        _: Request<pb::GetRulesRequest>,
    ) -> Result<Response<pb::GetRulesResponse>, Status> {
        let active = self.active().await?;
        let mut documents = BTreeMap::new();
        let mut partitions = Vec::new();
        for (partition, rules) in (0..).zip(active) {
            let (version, digest) = (rules.version(), rules.digest());
            partitions.push(pb::PartitionRules { partition, version, digest: digest.clone() });
            documents.entry((version, digest)).or_insert(rules);
        }
        let documents = documents.into_iter().map(|((version, digest), rules)| pb::RulesDocument {
            version,
            digest,
            json: text(&rules),
        });
        Ok(Response::new(pb::GetRulesResponse { partitions, documents: documents.collect() }))
    }

    async fn apply_rules(
        &self,
        request: Request<pb::ApplyRulesRequest>,
    ) -> Result<Response<pb::ApplyRulesResponse>, Status> {
        let json = request.into_inner().json;
        let rules = Rules::parse(json.as_bytes())
            .map_err(|invalid| Reason::InvalidArgument.status(format!("rules: {invalid}")))?;
        let _applying = self.applying.lock().await;
        let (mut appended, mut current) = (Vec::new(), Vec::new());
        for (partition, active) in (0..).zip(self.active().await?) {
            if *active == rules {
                current.push(partition);
            } else if active.version() < rules.version() {
                appended.push(partition);
            } else {
                let (new, old) = (rules.version(), active.version());
                let message = format!(
                    "version {new} is not above version {old}, which partition {partition} has"
                );
                return Err(Reason::RulesVersionNotAbove.status(message));
            }
        }
        let records = appended.iter().map(|&partition| self.record(partition, &rules)).collect();
        self.log.append(records).await.map_err(|failure| {
            let failure = anyhow::Error::from(failure);
            Reason::LogUnavailable.status(format!(
                "append rules: {failure:#}; some partitions may have them, the same call again reaches the others"
            ))
        })?;
        let (version, digest) = (rules.version(), rules.digest());
        Ok(Response::new(pb::ApplyRulesResponse { version, digest, appended, current }))
    }
}

impl RulesAdmin {
    /// The rules that each partition has folded, by partition.
    async fn active(&self) -> Result<Vec<Arc<Rules>>, Status> {
        let (stores, count) = (Arc::clone(&self.stores), self.partition_count);
        let read = tokio::task::spawn_blocking(move || {
            (0..count).map(|partition| active(stores.as_ref(), partition)).collect()
        });
        read.await.unwrap_or_else(|_| Err(Reason::Defect.status("reading the rules panicked")))
    }

    fn record(&self, partition: u32, rules: &Rules) -> Append {
        let header = |(name, value): (&str, String)| Header {
            name: name.to_owned(),
            value: Bytes::from(value),
        };
        Append {
            to: TopicPartition::new(&*self.raw_topic, partition),
            key: None,
            value: Some(Bytes::from(rules.canonical())),
            headers: rules_headers(self.partition_count).into_iter().map(header).collect(),
            timestamp_ms: None,
        }
    }
}

fn active(stores: &dyn Stores, partition: u32) -> Result<Arc<Rules>, Status> {
    let failed = |error: tickfold_store::Error| {
        Reason::StoreReadFailed.status(format!("{:#}", anyhow::Error::from(error)))
    };
    let snapshot = stores.view(partition).snapshot().map_err(failed)?;
    let snapshot = snapshot.ok_or_else(|| {
        Reason::StoreNotOpen.status(format!("partition {partition} has no state yet"))
    })?;
    Ok(snapshot.regime().map_err(failed)?.unwrap_or_default().rules)
}

fn text(rules: &Rules) -> String {
    String::from_utf8_lossy(&rules.canonical()).into_owned()
}
