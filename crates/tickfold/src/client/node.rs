//! `tickfold stop`.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use tickfold_proto::admin::v1::StopRequest;
use tickfold_proto::admin::v1::node_service_client::NodeServiceClient;
use tokio::net::TcpStream;

use super::{connect, failed, timed};
use crate::cli::Stop;

const PAUSE: Duration = Duration::from_millis(20);

/// Asks the node to stop, and waits until nobody listens at its address any more: that is the last
/// that it gives up.
pub(crate) async fn stop(stop: Stop) -> Result<ExitCode> {
    let Stop { leave, wait, client } = stop;
    let mut node = NodeServiceClient::new(connect(&client).await?);
    let reply = node.stop(timed(&client, StopRequest { leave })).await;
    reply.map_err(|status| failed(&status))?;
    // A connection that is held open is one that the node waits for.
    drop(node);
    if tokio::time::timeout(wait, closed(client.grpc_addr)).await.is_err() {
        bail!("the node on {} is still stopping after {wait:?}", client.grpc_addr);
    }
    Ok(ExitCode::SUCCESS)
}

async fn closed(address: SocketAddr) {
    loop {
        match TcpStream::connect(address).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
            // Also one that is reset: it was in the queue of a listener that closed.
            Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
