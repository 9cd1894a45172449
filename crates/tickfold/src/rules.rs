//! The rules service of this process: which rules the partitions have folded, and the one way by
//! which new ones come into the log.
//!
//! What partitions here have folded is read from their stores; that of others is asked of their
//! owners. Where an owner is not reached, the version at least stands beside its position in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tickfold_core::raw::rules_headers;
use tickfold_core::rules::Rules;
use tickfold_log::{Append, Header, Log, TopicPartition};
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::rules_service_server::{RulesService, SERVICE_NAME};
use tickfold_query::{Access, Peers, Reason, Split, named_partitions};
use tickfold_store::Stores;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::owners::tokens;
use crate::raw_topic::RawTopic;

/// How long owners are asked.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// The service.
#[derive(Debug)]
pub(crate) struct RulesAdmin {
    pub log: Arc<dyn Log>,
    /// `None`: no partition is ever here.
    pub stores: Option<Arc<dyn Stores>>,
    pub peers: Peers,
    pub group: String,
    pub raw: RawTopic,
    /// One document at a time: the versions that a second one is compared with are those of the
    /// first, as far as they are folded.
    pub applying: Mutex<()>,
}

/// What is known of the rules of a partition.
#[derive(Debug, Clone)]
enum Active {
    Rules(Arc<Rules>),
    /// Its owner was not reached.
    Version(u32),
}

impl Active {
    fn version(&self) -> u32 {
        match self {
            Self::Rules(rules) => rules.version(),
            Self::Version(version) => *version,
        }
    }
}

#[tonic::async_trait]
impl RulesService for RulesAdmin {
    async fn get_rules(
        &self,
        request: Request<pb::GetRulesRequest>,
    ) -> Result<Response<pb::GetRulesResponse>, Status> {
        let access = Access::of(&request)?;
        let active = match named_partitions(request.metadata()) {
            // Another node asks, and asks the others itself.
            Some(mut named) => {
                named.retain(|partition| self.peers.is_here(*partition));
                self.here(named).await?
            }
            None => self.everywhere(&access).await?,
        };
        let mut documents = BTreeMap::new();
        let mut partitions = Vec::new();
        for (partition, active) in active {
            let (version, mut digest) = (active.version(), String::new());
            if let Active::Rules(rules) = active {
                digest = rules.digest();
                documents.entry((version, digest.clone())).or_insert(rules);
            }
            partitions.push(pb::PartitionRules { partition, version, digest });
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
        let access = Access::of(&request)?;
        let json = request.into_inner().json;
        let rules = Rules::parse(json.as_bytes())
            .map_err(|invalid| Reason::InvalidArgument.status(format!("rules: {invalid}")))?;
        let _applying = self.applying.lock().await;
        let (mut appended, mut current) = (Vec::new(), Vec::new());
        for (partition, active) in self.everywhere(&access).await? {
            let (new, old) = (rules.version(), active.version());
            match active {
                Active::Rules(active) if *active == rules => current.push(partition),
                _ if old < new => appended.push(partition),
                Active::Version(_) if old == new => {
                    let message = format!(
                        "partition {partition} has version {new} already, and its owner cannot be \
                         asked whether it is this one"
                    );
                    return Err(Reason::PartitionUnreachable.status(message));
                }
                Active::Rules(_) | Active::Version(_) => {
                    let message = format!(
                        "version {new} is not above version {old}, which partition {partition} has"
                    );
                    return Err(Reason::RulesVersionNotAbove.status(message));
                }
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
    /// What is known of all partitions.
    async fn everywhere(&self, access: &Access) -> Result<BTreeMap<u32, Active>, Status> {
        let Split { here, at, nowhere } = self.peers.split(0..self.raw.partitions);
        let mut active = self.here(here).await?;
        let mut left = nowhere;
        for (address, partitions) in at {
            let known = self.ask(&address, &partitions, access).await.unwrap_or_default();
            left.extend(partitions.into_iter().filter(|partition| !known.contains_key(partition)));
            active.extend(known);
        }
        if !left.is_empty() {
            active.extend(self.versions(left).await?);
        }
        Ok(active)
    }

    /// The rules that these partitions, which are here, have folded.
    async fn here(&self, partitions: BTreeSet<u32>) -> Result<BTreeMap<u32, Active>, Status> {
        let Some(stores) = self.stores.clone() else { return Ok(BTreeMap::new()) };
        let read = tokio::task::spawn_blocking(move || {
            let read = |partition| Ok((partition, Active::Rules(active(&*stores, partition)?)));
            partitions.into_iter().map(read).collect()
        });
        read.await.unwrap_or_else(|_| Err(Reason::Defect.status("reading the rules panicked")))
    }

    /// What a node knows of its partitions; `None` if it does not answer, or not understandably.
    async fn ask(
        &self,
        address: &str,
        partitions: &BTreeSet<u32>,
        access: &Access,
    ) -> Option<BTreeMap<u32, Active>> {
        let (path, request) = (format!("/{SERVICE_NAME}/GetRules"), pb::GetRulesRequest {});
        let deadline = Instant::now() + ASK_TIMEOUT;
        let answered = self.peers.ask(address, path, request, partitions, deadline, access).await;
        let pb::GetRulesResponse { partitions, documents } = answered.ok()?.into_inner();
        let mut rules = BTreeMap::new();
        for document in documents {
            let parsed = Rules::parse(document.json.as_bytes()).ok()?;
            rules.insert(document.digest, Arc::new(parsed));
        }
        let of = |of: pb::PartitionRules| {
            Some((of.partition, Active::Rules(Arc::clone(rules.get(&of.digest)?))))
        };
        partitions.into_iter().map(of).collect()
    }

    /// The versions as they stand beside the positions in the log. A partition without a position has
    /// folded nothing.
    async fn versions(&self, partitions: BTreeSet<u32>) -> Result<BTreeMap<u32, Active>, Status> {
        let tokens = tokens(self.log.as_ref(), &self.group, &self.raw.name).await;
        let failed = |failure| {
            let failure = anyhow::Error::from(failure);
            Reason::LogUnavailable.status(format!("read the versions of rules: {failure:#}"))
        };
        let tokens = tokens.map_err(failed)?;
        let active = |partition: u32| match tokens.get(partition as usize).and_then(Option::as_ref)
        {
            Some(token) => Active::Version(token.head.rules_version),
            None => Active::Rules(Rules::built_in()),
        };
        Ok(partitions.into_iter().map(|partition| (partition, active(partition))).collect())
    }

    fn record(&self, partition: u32, rules: &Rules) -> Append {
        let header = |(name, value): (&'static str, String)| Header {
            name: name.into(),
            value: Bytes::from(value),
        };
        Append {
            to: TopicPartition::new(&*self.raw.name, partition),
            key: None,
            value: Some(Bytes::from(rules.canonical())),
            headers: rules_headers(self.raw.partitions).into_iter().map(header).collect(),
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
