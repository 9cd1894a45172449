//! `tickfold checkpoint create` and `tickfold trim --plan`: what is asked of a running node about its
//! state.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tickfold_proto::admin::v1 as admin;
use tickfold_proto::admin::v1::state_service_client::StateServiceClient;

use super::{connect, failed, listing, show, timed};
use crate::cli::{Client, Trim};

/// A checkpoint that was asked for. Members stand in this order.
#[derive(Serialize)]
struct Created {
    partition: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// A partition of raw, and what holds its beginning.
#[derive(Serialize)]
struct Held {
    partition: u32,
    start: u64,
    end: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    /// Records above the position.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
    checkpoints: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_limit: Option<u64>,
    trim_to: u64,
    held_by: String,
}

/// `tickfold checkpoint create`. Exit code 1 if one could not be made.
pub(crate) async fn create_checkpoints(partitions: Vec<u32>, client: &Client) -> Result<ExitCode> {
    let request = timed(client, admin::CreateCheckpointsRequest { partitions });
    let mut state = StateServiceClient::new(connect(client).await?);
    let reply = state.create_checkpoints(request).await.map_err(|status| failed(&status))?;
    let created = |made: admin::CreatedCheckpoint| {
        let admin::CreatedCheckpoint { partition, cursor, failure } = made;
        Created { partition, cursor, failure: show::text(failure) }
    };
    let created: Vec<_> = reply.into_inner().checkpoints.into_iter().map(created).collect();
    let line = |made: &Created| match (made.cursor, &made.failure) {
        (Some(cursor), _) => format!("{:>9}  {cursor:>12}  made\n", made.partition),
        (None, failure) => {
            format!("{:>9}  {:>12}  {}\n", made.partition, "-", failure.as_deref().unwrap_or("-"))
        }
    };
    listing(client.output, &created, |all| {
        let lines: String = all.iter().map(line).collect();
        format!("{:>9}  {:>12}  OUTCOME\n{lines}", "PARTITION", "CURSOR")
    })?;
    let all = created.iter().all(|made| made.cursor.is_some());
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `tickfold trim --plan`.
pub(crate) async fn plan_trim(trim: Trim) -> Result<ExitCode> {
    let Trim { plan: _, keep, client } = trim;
    let keep_ms = keep.map_or(0, |keep| u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
    let request = timed(&client, admin::PlanTrimRequest { keep_ms });
    let mut state = StateServiceClient::new(connect(&client).await?);
    let reply = state.plan_trim(request).await.map_err(|status| failed(&status))?;
    let held: Vec<_> = reply.into_inner().partitions.into_iter().map(held).collect();
    let line = |held: &Held| {
        let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
        format!(
            "{:>9}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  {}\n",
            held.partition,
            held.start,
            held.end,
            number(held.lag),
            held.checkpoints.len(),
            number(held.checkpoints.get(1).copied()),
            held.trim_to,
            held.trim_to.saturating_sub(held.start),
            held.held_by
        )
    };
    let heading = format!(
        "{:>9}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  HELD BY\n",
        "PARTITION", "START", "END", "LAG", "CHECKPTS", "SECOND", "TRIM TO", "RECORDS"
    );
    listing(client.output, &held, |all| heading + &all.iter().map(line).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

fn held(partition: admin::PartitionTrim) -> Held {
    let admin::PartitionTrim {
        partition,
        start,
        end,
        start_time,
        position,
        checkpoints,
        age_limit,
        trim_to,
        held_by,
    } = partition;
    Held {
        partition,
        start,
        end,
        start_time: show::time(start_time),
        position,
        lag: position.map(|position| end.saturating_sub(position)),
        checkpoints,
        age_limit,
        trim_to,
        held_by,
    }
}
