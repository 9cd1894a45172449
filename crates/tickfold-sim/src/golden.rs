//! What should be there: each partition of raw folded once more, one record at a time, into a store
//! of its own, as far as readers can see it.
//!
//! At the end of a run the same is folded in one go, on nothing and without a store.

use std::collections::BTreeMap;

use tickfold_core::FOLD_VERSION;
use tickfold_core::fold::{Output, Partition};
use tickfold_core::overlay::{Nothing, Overlay};
use tickfold_core::records::Topic;
use tickfold_core::state::{Regime, Status};
use tickfold_log::{Record, RecordDigest};
use tickfold_processor::raw_record;
use tickfold_store::{MemStores, PartitionStore, StoreHead, Stores};

use crate::broker::Broker;

/// A row of the store.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// One partition.
#[derive(Debug)]
pub(crate) struct Golden {
    partition: Partition,
    stores: MemStores,
    store: Box<dyn PartitionStore>,
    raw: RecordDigest,
    /// What the partition goes by. Read from the store it would be parsed for each record.
    regime: Option<Regime>,
    /// By topic of the broker.
    pub(crate) outputs: Vec<Vec<Output>>,
    /// Heads, by cursor.
    pub(crate) heads: BTreeMap<u64, StoreHead>,
    /// Outputs of each raw record, by the position after it.
    pub(crate) counts: BTreeMap<u64, usize>,
}

impl Golden {
    pub(crate) fn new(partition: Partition) -> Self {
        let stores = MemStores::new();
        let store = stores.open(partition.id).expect("memory opens");
        let heads = BTreeMap::from([(0, StoreHead::EMPTY)]);
        Self {
            partition,
            stores,
            store,
            raw: RecordDigest::default(),
            regime: None,
            outputs: (0..=Topic::ALL.len()).map(|_| Vec::new()).collect(),
            heads,
            counts: BTreeMap::new(),
        }
    }

    /// Folds what lies below a position.
    pub(crate) fn advance(&mut self, broker: &Broker, below: u64) -> Result<(), String> {
        let from = self.store.store_head().cursor;
        if from >= below {
            return Ok(());
        }
        let new = broker.part(crate::broker::RAW, self.partition.id).visible(from);
        for record in new.take_while(|record| record.offset < below) {
            let mut overlay = Overlay::default();
            let regime = self.regime.clone();
            overlay.regime.entry(&(), |()| Ok(regime)).map_err(|error| error.to_string())?;
            let folded = tickfold_core::fold(
                &mut overlay,
                &*self.store,
                self.partition,
                &raw_record(record),
            );
            let outputs = folded.map_err(|error| error.to_string())?;
            shown_state_does_not_fall(&overlay)?;
            self.raw.add(record);
            let cursor = record.offset + 1;
            self.counts.insert(cursor, outputs.len());
            let head = self.store.store_head();
            let to = StoreHead {
                cursor,
                fold_version: FOLD_VERSION,
                head: overlay.head.unwrap_or(head.head),
                digest: self.store.digest_after(&overlay).map_err(|error| error.to_string())?,
                raw_digest: self.raw.sum(),
            };
            let written = self.store.write(head.cursor, &overlay, to);
            written.map_err(|error| error.to_string())?;
            self.regime = overlay.regime.get(&()).cloned().flatten();
            self.heads.insert(cursor, to);
            for output in outputs {
                self.outputs[Broker::topic(output.topic)].push(output);
            }
        }
        Ok(())
    }

    /// The state, as rows.
    pub(crate) fn dump(&self) -> Vec<Row> {
        self.stores.dump(self.partition.id)
    }

    /// The head where it stands.
    pub(crate) fn head(&self) -> StoreHead {
        self.store.store_head()
    }
}

/// Everything folded in one go on nothing: outputs by topic, and the state as rows.
pub(crate) fn in_one_go(partition: Partition, records: &[Record]) -> (Vec<Vec<Output>>, Vec<Row>) {
    let mut overlay = Overlay::default();
    let mut by_topic: Vec<Vec<Output>> = (0..=Topic::ALL.len()).map(|_| Vec::new()).collect();
    let mut cursor = 0;
    for record in records {
        let folded = tickfold_core::fold(&mut overlay, &Nothing, partition, &raw_record(record));
        for output in folded.expect("nothing can always be read") {
            by_topic[Broker::topic(output.topic)].push(output);
        }
        cursor = record.offset + 1;
    }
    let stores = MemStores::new();
    let mut store = stores.open(partition.id).expect("memory opens");
    let digest = store.digest_after(&overlay).expect("memory reads");
    let head = overlay.head.unwrap_or(StoreHead::EMPTY.head);
    let to = StoreHead { cursor, head, digest, ..StoreHead::EMPTY };
    store.write(0, &overlay, to).expect("memory writes");
    (by_topic, stores.dump(partition.id))
}

/// What is shown of a message only rises.
fn shown_state_does_not_fall(overlay: &Overlay) -> Result<(), String> {
    for (wamid, change) in overlay.messages.changes() {
        let (Some(before), Some(after)) = (&change.before, &change.after) else { continue };
        let rank = |facts: &tickfold_core::state::MessageFacts| facts.state().map(Status::rank);
        if rank(&after.facts) < rank(&before.facts) {
            let (from, to) = (before.facts.state(), after.facts.state());
            return Err(format!("a shown state that falls: {wamid} from {from:?} to {to:?}"));
        }
    }
    Ok(())
}

/// A record of a derived topic is this output, byte for byte.
pub(crate) fn is_of(record: &Record, output: &Output) -> bool {
    let found = record.headers.iter().map(|header| (&*header.name, &header.value));
    record.key.as_deref().unwrap_or_default() == output.key.as_bytes()
        && record.value == output.value
        && record.timestamp_ms == output.timestamp.as_millis()
        && found.eq(output.headers.iter().map(|(name, value)| (*name, value)))
}
