//! The embedded log: one process, commits that are one batch, and a sync before the answer.

use tickfold_log::{Append, Committed, Record};

use super::transaction::Decision;
use super::{Broker, Claimant};

/// Something that was written and not synced: how to take it back.
#[derive(Debug)]
pub(crate) struct Unsynced {
    /// Ends of the partitions that it grew, before it.
    ends: Vec<(usize, u32, u64)>,
    /// The position before it.
    position: (u32, Option<Committed>),
    /// Nobody may see it before.
    decision: Decision,
}

impl Broker {
    /// Writes a commit as one batch.
    pub(crate) fn write(
        &mut self,
        partition: u32,
        by: Claimant,
        outputs: &[Append],
        position: Committed,
    ) {
        let now_ms = self.log_time_ms();
        let before = self.positions[partition as usize].replace(position.clone());
        let (mut ends, mut written) = (Vec::new(), Vec::new());
        for append in outputs {
            let topic = self.topic_of(&append.to);
            let end = self.part(topic, partition).end();
            ends.push((topic, partition, end));
            self.part_mut(topic, partition).push(append, now_ms, None);
            let record = self.part(topic, partition).visible(end).next().cloned();
            written.push((topic, record.expect("just written")));
        }
        let position = Some(position);
        let decision = Decision { partition, by, position, outputs: written, is_owned: true };
        self.unsynced.push(Unsynced { ends, position: (partition, before), decision });
    }

    /// What readers are given of a derived partition: nothing that is not synced.
    pub(crate) fn readable(
        &self,
        topic: usize,
        partition: u32,
        from: u64,
    ) -> impl Iterator<Item = &Record> {
        let mut ends = self.unsynced.iter().flat_map(|unsynced| &unsynced.ends);
        let end = ends.find(|(of, at, _)| (*of, *at) == (topic, partition)).map(|(_, _, end)| *end);
        let records = self.part(topic, partition).visible(from);
        records.take_while(move |record| end.is_none_or(|end| record.offset < end))
    }

    /// What was written is durable.
    pub(crate) fn sync(&mut self) {
        let synced = self.unsynced.drain(..).map(|unsynced| unsynced.decision);
        self.decisions.extend(synced);
    }

    /// The newest of what was not synced is lost, all but so many; how many were.
    pub(crate) fn lose_unsynced(&mut self, kept: usize) -> usize {
        let lost = self.unsynced.split_off(kept.min(self.unsynced.len()));
        let count = lost.len();
        for Unsynced { ends, position: (partition, before), .. } in lost.into_iter().rev() {
            for (topic, partition, end) in ends.into_iter().rev() {
                self.part_mut(topic, partition).truncate(end);
            }
            self.positions[partition as usize] = before;
        }
        self.sync();
        count
    }
}
