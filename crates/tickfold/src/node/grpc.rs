//! The gRPC listener of a node: the services that go with its parts.

use std::net::TcpListener;
use std::sync::Arc;

use anyhow::{Context, Result};
use tickfold_proto::admin::v1::dead_letter_service_server::DeadLetterServiceServer;
use tickfold_proto::admin::v1::ingress_admin_service_server::IngressAdminServiceServer;
use tickfold_proto::admin::v1::node_service_server::NodeServiceServer;
use tickfold_proto::admin::v1::replay_service_server::ReplayServiceServer;
use tickfold_proto::admin::v1::rules_service_server::RulesServiceServer;
use tickfold_proto::admin::v1::state_service_server::StateServiceServer;
use tickfold_query::{
    Clock, Door, History, Parts, Peers, QueryOptions, QueryStatus, Reads, Served as _,
};
use tonic::service::Routes;

use super::SharedLog;
use super::front::Front;
use super::parts::Part;
use super::stop::StopSwitch;
use super::workers::Workers;
use crate::config::Config;
use crate::dead_letters::{self, DeadLetters};
use crate::ingress_admin::IngressAdmin;
use crate::raw_topic::RawTopic;
use crate::reload::Reload;
use crate::rules::RulesAdmin;
use crate::state_admin::StateAdmin;
use crate::{fail_points, options};

/// What every service is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grpc<'a> {
    pub(super) config: &'a Config,
    pub(super) log: &'a SharedLog,
    pub(super) raw: &'a RawTopic,
    pub(super) peers: &'a Peers,
    pub(super) stop: &'a StopSwitch,
    pub(super) reload: &'a Arc<Reload>,
    pub(super) door: &'a Door,
}

impl Grpc<'_> {
    /// Serves what the parts of the node can answer. The status is that of queries, where there are
    /// partitions to read.
    pub(super) fn serve(
        self,
        listener: TcpListener,
        front: Option<&Front>,
        workers: Option<&Workers>,
    ) -> Result<(Part, Option<QueryStatus>)> {
        let status = workers.map(|_| QueryStatus::new(self.raw.partitions));
        let reads = workers.zip(status.clone()).map(|(workers, status)| Reads {
            stores: Arc::clone(&workers.stores),
            partition_count: self.raw.partitions,
            role: workers.role(),
            history: Arc::clone(&workers.then) as Arc<dyn History>,
            clock: Clock::system(),
            status,
        });
        let options = options::query_options(self.config);
        let parts = Parts {
            listener: tokio::net::TcpListener::from_std(listener).context("listen for gRPC")?,
            auth: self.reload.auth.clone(),
            log: Arc::clone(self.log),
            topic_prefix: self.config.topic_prefix.clone(),
            services: self.services(front, workers, &options),
            options,
            peers: self.peers.clone(),
            reads,
            door: self.door.clone(),
        };
        Ok((Part::spawn("query", |stop| tickfold_query::run(parts, stop)), status))
    }

    fn services(
        self,
        front: Option<&Front>,
        workers: Option<&Workers>,
        options: &QueryOptions,
    ) -> Routes {
        let rules = RulesAdmin {
            log: Arc::clone(self.log),
            stores: workers.map(|workers| Arc::clone(&workers.stores)),
            peers: self.peers.clone(),
            group: self.config.group.clone(),
            raw: self.raw.clone(),
            applying: tokio::sync::Mutex::default(),
        };
        let dead_letters = DeadLetters::new(dead_letters::Parts {
            log: fail_points::wrap(Arc::clone(self.log)),
            raw: self.raw.clone(),
            topic_prefix: self.config.topic_prefix.clone(),
            apps: front.map(Front::apps),
            redriving: tokio::sync::Mutex::default(),
        });
        let routes = Routes::new(NodeServiceServer::new(self.stop.clone()).served(options))
            .add_service(RulesServiceServer::new(rules).served(options))
            .add_service(DeadLetterServiceServer::new(dead_letters).served(options));
        let routes = match workers {
            None => routes,
            Some(workers) => routes
                .add_service(ReplayServiceServer::new(workers.replays.clone()).served(options))
                .add_service(
                    StateServiceServer::new(StateAdmin {
                        log: Arc::clone(self.log),
                        stores: Arc::clone(&workers.stores),
                        raw: self.raw.clone(),
                        group: self.config.group.clone(),
                        checkpoints: workers.checkpoints(self.config),
                    })
                    .served(options),
                ),
        };
        let quarantine = front.and_then(|front| front.quarantine.clone());
        let ingress = IngressAdmin { reload: Arc::clone(self.reload), quarantine };
        routes.add_service(IngressAdminServiceServer::new(ingress).served(options))
    }
}
