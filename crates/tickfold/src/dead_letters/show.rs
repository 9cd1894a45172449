//! One position: its dead letters, its redrives, and the raw record behind them.

use tickfold_core::raw::header;
use tickfold_core::time::Timestamp;
use tickfold_log::Record;
use tickfold_processor::raw_record;
use tickfold_proto::admin::v1 as pb;
use tickfold_query::Reason;
use tonic::Status;

use super::letter::{Attempts, Letter};
use super::{Parts, Position, header_text, told, told_time};

/// Dead letters told of one position. With their raw text they stay a few times the body's length.
const LETTERS_MAX: usize = 200;

/// Redrives told of one position.
const REDRIVES_MAX: usize = 1_000;

impl Parts {
    pub(super) async fn show(
        &self,
        asked: Position,
        raw: bool,
    ) -> Result<pb::GetDeadLetterResponse, Status> {
        let found = self.raw_record(asked).await?;
        let original = found.as_ref().map_or(asked, |record| original(asked, record));
        let webhook = match found {
            Some(record) if original == asked => Some(record),
            _ => self.raw_record(original).await?,
        };
        let partition = original.0;
        let from = match &webhook {
            Some(record) => self.letters_since(partition, record.timestamp_ms).await?,
            None => 0,
        };
        let (mut letters, mut more) = (Vec::new(), false);
        let mut redrives: Vec<pb::Redrive> = Vec::new();
        let mut attempts = Attempts::default();
        let mut take = |mut letter: Letter| {
            if letter.position != original {
                return;
            }
            if !raw {
                letter.forget_raw();
            }
            attempts.add(&letter);
            if let Some(redrive) = letter.redrive {
                let position = Some(told(redrive));
                let log_time = Some(told_time(attempts.newest_time_ms));
                let told = pb::Redrive { position, log_time, left: attempts.left };
                redrives.pop_if(|last| last.position == told.position);
                match redrives.len() == REDRIVES_MAX {
                    true => more = true,
                    false => redrives.push(told),
                }
            }
            match letters.len() == LETTERS_MAX {
                _ if letter.is_redriven() => {}
                true => more = true,
                false => letters.push(letter),
            }
        };
        self.scan(partition, from, &mut take).await?;
        if letters.is_empty() && redrives.is_empty() {
            let message = format!("{}@{} has no dead letter", original.0, original.1);
            return Err(Reason::DeadLetterNotFound.status(message));
        }
        let attempts = (attempts.count > 0).then_some(attempts);
        let dead_letters = letters.into_iter().map(|letter| letter.told(attempts.as_ref()));
        Ok(pb::GetDeadLetterResponse {
            dead_letters: dead_letters.collect(),
            redrives,
            webhook: webhook.map(|record| webhook_told(original, record, raw)),
            more,
        })
    }
}

/// The webhook that a raw record is, or repeats.
pub(super) fn original((partition, offset): Position, record: &Record) -> Position {
    let webhook = raw_record(record).webhook(partition);
    (partition, webhook.and_then(|webhook| webhook.redrive_of).unwrap_or(offset))
}

fn webhook_told(position: Position, record: Record, raw: bool) -> pb::RawWebhook {
    let text = |name| header_text(&record, name);
    let received = Timestamp::parse_rfc3339(&text(header::RECEIVED_TIME));
    pb::RawWebhook {
        position: Some(told(position)),
        append_time: Some(told_time(record.timestamp_ms)),
        received_time: received.map(|time| told_time(time.as_millis())),
        app: text(header::APP),
        secret_id: text(header::SECRET_ID),
        request_id: text(header::REQUEST_ID),
        signature: text(header::SIGNATURE),
        route_version: text(header::ROUTE_VERSION),
        partition_count: text(header::PARTITION_COUNT),
        body_bytes: record.value.as_ref().map_or(0, |body| body.len() as u64),
        body: record.value.filter(|_| raw),
    }
}
