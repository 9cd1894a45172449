//! What a node has not is refused by name.

use tempfile::TempDir;
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::dead_letter_service_client::DeadLetterServiceClient;
use tickfold_proto::admin::v1::ingress_admin_service_client::IngressAdminServiceClient;
use tickfold_proto::admin::v1::replay_service_client::ReplayServiceClient;
use tickfold_proto::admin::v1::state_service_client::StateServiceClient;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use crate::support::{Node, up};

async fn connect(node: &Node) -> Channel {
    Channel::from_shared(format!("http://{}", node.grpc)).unwrap().connect().await.unwrap()
}

fn reason<T>(answered: Result<T, Status>) -> String {
    let Err(status) = answered else { panic!("it has what it should not have") };
    status.get_details_error_info().unwrap_or_else(|| panic!("{status:?}")).reason
}

#[test]
fn what_a_node_has_not_is_refused_by_name() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let accept = || pb::AcceptQuarantineRequest { app: "main".into(), secret_id: "none".into() };
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    runtime.block_on(async {
        let channel = connect(&node).await;
        let mut state = StateServiceClient::new(channel.clone());
        let made = state.create_checkpoints(pb::CreateCheckpointsRequest::default()).await;
        assert_eq!(reason(made), "CHECKPOINTS_OFF");
        let mut ingress = IngressAdminServiceClient::new(channel.clone());
        assert_eq!(reason(ingress.accept_quarantine(accept()).await), "QUARANTINE_OFF");
        let mut replays = ReplayServiceClient::new(channel.clone());
        let replay = replays.get_replay(pb::GetReplayRequest::default()).await;
        assert_eq!(reason(replay), "REPLAY_NOT_FOUND");
        let position = Some(pb::RawPosition { partition: 0, offset: 999_999 });
        let letter = pb::GetDeadLetterRequest { position, raw: false };
        let mut letters = DeadLetterServiceClient::new(channel);
        assert_eq!(reason(letters.get_dead_letter(letter).await), "DEAD_LETTER_NOT_FOUND");
    });
    node.stop();

    let mut command = up(dir.path());
    command.env("TICKFOLD_INGRESS_QUARANTINE_BYTES_MAX", "8MiB");
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"));
    runtime.block_on(async {
        let mut ingress = IngressAdminServiceClient::new(connect(&node).await);
        assert_eq!(reason(ingress.accept_quarantine(accept()).await), "SECRET_NOT_FOUND");
    });
    node.stop();
}
