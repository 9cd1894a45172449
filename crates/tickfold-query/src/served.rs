//! Services as the listener serves them: all with the same limit of a request and the same compression.
//!
//! A request is compressed only as far as its decompressed bytes keep the limit: what is above it is refused
//! before it is in memory. Replies are compressed for whoever accepts it.

use tickfold_proto::admin::v1::admin_service_server::AdminServiceServer;
use tickfold_proto::admin::v1::dead_letter_service_server::DeadLetterServiceServer;
use tickfold_proto::admin::v1::ingress_admin_service_server::IngressAdminServiceServer;
use tickfold_proto::admin::v1::node_service_server::NodeServiceServer;
use tickfold_proto::admin::v1::replay_service_server::ReplayServiceServer;
use tickfold_proto::admin::v1::rules_service_server::RulesServiceServer;
use tickfold_proto::admin::v1::state_service_server::StateServiceServer;
use tickfold_proto::query::v1::query_service_server::QueryServiceServer;
use tickfold_proto::query::v1::watch_service_server::WatchServiceServer;
use tonic::codec::CompressionEncoding;
use tonic_health::pb::health_server::HealthServer;

use crate::QueryOptions;

/// A service of the listener.
pub trait Served: Sized {
    /// With the limits of the options.
    #[must_use]
    fn served(self, options: &QueryOptions) -> Self;
}

macro_rules! served {
    ($($server:ident,)*) => {
        $(impl<T> Served for $server<T> {
            fn served(self, options: &QueryOptions) -> Self {
                self.max_decoding_message_size(options.decode_bytes_max)
                    .accept_compressed(CompressionEncoding::Gzip)
                    .send_compressed(CompressionEncoding::Gzip)
            }
        })*
    };
}

served! {
    AdminServiceServer,
    DeadLetterServiceServer,
    HealthServer,
    IngressAdminServiceServer,
    NodeServiceServer,
    QueryServiceServer,
    ReplayServiceServer,
    RulesServiceServer,
    StateServiceServer,
    WatchServiceServer,
}
