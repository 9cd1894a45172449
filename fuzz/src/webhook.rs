//! A body on its whole way: signed and verified, routed, decoded, folded, stored, read and folded again.
//!
//! Only its own secret verifies it. It is appended to each partition once. Told a second time it tells no
//! fact again, also when the state was written to a store and read back in between.

use tickfold_core::fold::{Output, Partition};
use tickfold_core::overlay::{Nothing, Source};
use tickfold_core::raw::{RawRecord, WebhookHeaders};
use tickfold_core::records::Topic;
use tickfold_core::signature::{Signature, sign, verify};
use tickfold_core::time::Timestamp;
use tickfold_core::{Overlay, fold, route};
use tickfold_store::{MemStores, StoreHead, Stores};

/// 2026-11-20: within the horizon of the corpus' times.
const NOON_MS: i64 = 1_795_132_800_000;
const SECRET: &[u8] = b"secret";

/// See the module's description.
pub fn check(bytes: &[u8]) {
    // The last byte, so that a file of the corpus is itself an input.
    let Some((last, body)) = bytes.split_last() else { return };
    let count = 1 + u32::from(last % 4);
    let text = sign(SECRET, body);
    let signature = Signature::parse(text.as_bytes()).expect("what we sign is well formed");
    assert!(verify(SECRET, body, &signature) && !verify(b"other", body, &signature));
    assert!(!verify(SECRET, bytes, &signature), "the signature is that of another body");

    let headers = WebhookHeaders {
        signature: text,
        received_time: Timestamp::from_millis(NOON_MS),
        app: "main".to_owned(),
        secret_id: "1".to_owned(),
        request_id: "r".to_owned(),
        partition_count: count,
    }
    .encode();
    let destinations = route(body, count);
    assert!(!destinations.is_empty());
    for (at, to) in destinations.iter().enumerate() {
        assert!(to.partition < count);
        assert!(destinations[..at].iter().all(|other| other.partition != to.partition));
        folded_again(Partition { id: to.partition, count }, body, &headers);
    }
}

fn folded_again(partition: Partition, body: &[u8], headers: &[(&'static str, String)]) {
    let record = |offset: u64| RawRecord {
        offset,
        appended: Timestamp::from_millis(NOON_MS + i64::try_from(offset).expect("small")),
        headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
        value: Some(body),
    };
    let tell = |overlay: &mut Overlay, below: &dyn Source, offset| {
        fold(overlay, below, partition, &record(offset)).expect("memory reads")
    };
    let mut overlay = Overlay::default();
    tell(&mut overlay, &Nothing, 0);
    nothing_new(&tell(&mut overlay, &Nothing, 1));

    let stores = MemStores::new();
    let mut store = stores.open(0).expect("memory opens");
    let digest = store.digest_after(&overlay).expect("memory reads");
    let head = overlay.head.unwrap_or(StoreHead::EMPTY.head);
    let to = StoreHead { cursor: 2, head, digest, ..StoreHead::EMPTY };
    store.write(0, &overlay, to).expect("memory writes");
    nothing_new(&tell(&mut Overlay::default(), &*store, 2));
}

fn nothing_new(outputs: &[Output]) {
    let facts = [Topic::Transition, Topic::Charge, Topic::Action];
    for output in outputs {
        assert!(!facts.contains(&output.topic), "{:?} is told twice", output.topic);
    }
}
