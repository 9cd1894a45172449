//! The muted fold: the same state as the fold that makes outputs, of the whole corpus, repeated, with
//! days that pass in between, so that timers fire, and of bodies that have too many items.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::corpus;
use tickfold_core::fold::{ITEMS_MAX, Partition};
use tickfold_core::overlay::{Nothing, Overlay, Tally};
use tickfold_core::raw::{RawRecord, WebhookHeaders, redrive_headers, tick_headers};
use tickfold_core::time::{DAY_MS, Timestamp};
use tickfold_core::{fold, fold_muted};

const PARTITIONS: u32 = 4;
const NOON: i64 = 1_795_132_800_000;

/// Both folds of one partition.
struct Both {
    partition: Partition,
    offset: u64,
    loud: Overlay,
    muted: Overlay,
    outputs: usize,
}

impl Both {
    fn fold(&mut self, headers: &[(&str, &[u8])], at_ms: i64, value: Option<&[u8]>) {
        let appended = Timestamp::from_millis(at_ms);
        let record = RawRecord { offset: self.offset, appended, headers: headers.to_vec(), value };
        self.outputs += fold(&mut self.loud, &Nothing, self.partition, &record).unwrap().len();
        fold_muted(&mut self.muted, &Nothing, self.partition, &record).unwrap();
        self.offset += 1;
    }

    fn webhook(&mut self, at_ms: i64, body: &[u8]) {
        let headers = WebhookHeaders {
            signature: String::new(),
            received_time: Timestamp::from_millis(at_ms),
            app: "main".to_owned(),
            secret_id: "primary".to_owned(),
            request_id: "r".to_owned(),
            partition_count: PARTITIONS,
        }
        .encode();
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let record = RawRecord {
            offset: self.offset,
            appended: Timestamp::from_millis(at_ms),
            headers: headers.clone(),
            value: Some(body),
        };
        self.fold(&headers, at_ms, Some(body));
        // And once more, as a redrive.
        let again = redrive_headers(self.partition.id, &record).unwrap();
        let again: Vec<_> = again.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        self.fold(&again, at_ms, Some(body));
    }

    fn tick(&mut self, at_ms: i64) {
        let headers = tick_headers(PARTITIONS);
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        self.fold(&headers, at_ms, None);
    }
}

#[test]
fn the_muted_fold_gives_the_state_of_the_other() {
    let bodies: Vec<_> = corpus().into_iter().map(|(_, body)| body).collect();
    let crowd = vec!["null"; ITEMS_MAX + 10].join(",");
    let crowd = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"215589900000101","changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp","metadata":{{"phone_number_id":"1","display_phone_number":"2"}},"statuses":[{crowd}]}}}}]}}]}}"#
    );
    let (mut outputs, mut entries, mut items) = (0, 0, 0);
    for id in 0..PARTITIONS {
        let partition = Partition { id, count: PARTITIONS };
        let (loud, muted) = (Overlay::default(), Overlay::default());
        let mut both = Both { partition, offset: 0, loud, muted, outputs: 0 };
        for day in 0..4 {
            for (index, body) in bodies.iter().enumerate() {
                both.webhook(
                    NOON + day * 30 * DAY_MS + i64::try_from(index).unwrap() * 1_000,
                    body,
                );
            }
            both.webhook(NOON + day * 30 * DAY_MS + 500_000, crowd.as_bytes());
            both.tick(NOON + (day * 30 + 1) * DAY_MS);
            both.tick(NOON + (day * 30 + 29) * DAY_MS);
        }
        // What is muted is folded again, and was counted before.
        let tally = std::mem::take(&mut both.loud.tally);
        assert_eq!(both.muted.tally, Tally::default(), "partition {id}");
        let (loud, muted) = (format!("{:?}", both.loud), format!("{:?}", both.muted));
        assert!(loud == muted, "partition {id}: the states differ");
        outputs += both.outputs;
        items += tally.applied;
        entries += both.loud.messages.changes().count() + both.loud.timers.len();
    }
    assert!(outputs > 2_000 && entries > 200, "{outputs} outputs, {entries} entries: too thin");
    assert!(items > 200, "{items} items applied: too few");
}
