//! A raw record with any headers: it is folded, and a redrive of it carries the same webhook.
//!
//! The bytes are fields, each behind a 0xFF: the first is the value, each other one a header, whose name its
//! first byte chooses.

use tickfold_core::fold::Partition;
use tickfold_core::overlay::Nothing;
use tickfold_core::raw::{self, RawRecord, header};
use tickfold_core::time::Timestamp;
use tickfold_core::{Overlay, fold};

const NAMES: [&str; 13] = [
    header::KIND,
    header::CONTROL,
    header::SIGNATURE,
    header::RECEIVED_TIME,
    header::APP,
    header::SECRET_ID,
    header::REQUEST_ID,
    header::ROUTE_VERSION,
    header::PARTITION_COUNT,
    header::REDRIVE_OF,
    header::REDRIVE_APPENDED,
    "",
    "wa-new",
];

/// See the module's description.
pub fn check(bytes: &[u8]) {
    let mut fields = bytes.split(|byte| *byte == 0xff);
    let value = fields.next().filter(|value| *value != b"-");
    let named = fields.filter_map(|field| field.split_first());
    let headers: Vec<_> =
        named.map(|(name, value)| (NAMES[usize::from(*name) % NAMES.len()], value)).collect();
    let record = RawRecord {
        offset: 7,
        appended: Timestamp::from_millis(1_795_132_800_000),
        headers,
        value,
    };
    let partition = Partition { id: 0, count: 2 };
    let mut overlay = Overlay::default();
    fold(&mut overlay, &Nothing, partition, &record).expect("nothing can always be read");

    let webhook = record.webhook(partition.id);
    let redrive = raw::redrive_headers(partition.id, &record);
    assert_eq!(webhook.is_some(), redrive.is_some(), "what carries a webhook can be redriven");
    let (Some(webhook), Some(redrive)) = (webhook, redrive) else { return };
    let headers = redrive.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    let redrive = RawRecord { offset: 8, appended: record.appended, headers, value };
    let again = redrive.webhook(partition.id).expect("a redrive carries a webhook");
    assert_eq!((again.body, again.appended), (webhook.body, webhook.appended));
    assert_eq!(again.redrive_of, Some(webhook.redrive_of.unwrap_or(record.offset)));
    fold(&mut overlay, &Nothing, partition, &redrive).expect("nothing can always be read");
}
