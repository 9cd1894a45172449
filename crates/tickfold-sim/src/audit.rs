//! What must hold at any moment, looked at whenever something was decided, written or read.

use tickfold_core::fold::Partition;
use tickfold_core::records::Topic;
use tickfold_log::Committed;
use tickfold_processor::{Options, Token};
use tickfold_store::{MemStores, StoreHead, Stores};

use crate::broker::{Broker, Claimant, Decision};
use crate::golden::{Golden, is_of};

/// One partition, audited.
#[derive(Debug)]
pub(crate) struct Audit {
    partition: u32,
    pub(crate) golden: Golden,
    /// Outputs seen committed, by topic.
    seen: Vec<usize>,
    /// The greatest position ever committed.
    pub(crate) emitted: u64,
    /// The last claim that returned.
    claim: u64,
    /// Where the watcher stands.
    watch: (u64, u32),
    /// Transitions that the watcher was given.
    watched: usize,
}

impl Audit {
    pub(crate) fn new(partition: Partition) -> Self {
        let topics = Topic::ALL.len() + 1;
        Self {
            partition: partition.id,
            golden: Golden::new(partition),
            seen: vec![0; topics],
            emitted: 0,
            claim: 0,
            watch: (0, 0),
            watched: 0,
        }
    }

    /// A claim returned: nothing of an earlier one may take effect any more.
    pub(crate) fn claimed(&mut self, by: Claimant) {
        self.claim = self.claim.max(by.1);
    }

    /// A commit takes effect.
    pub(crate) fn decided(
        &mut self,
        broker: &Broker,
        decision: &Decision,
        options: &Options,
    ) -> Result<(), String> {
        let Decision { by, position, outputs, is_owned, .. } = decision;
        if by.1 < self.claim {
            return Err(format!("claim {} commits after claim {} returned", by.1, self.claim));
        }
        if !is_owned {
            return Err(format!("process {} commits what the group gave to another", by.0));
        }
        let Some(position) = position else {
            return Err("a commit moves no position".to_owned());
        };
        self.golden.advance(broker, position.offset)?;
        self.token(position)?;
        self.outputs(outputs, position.offset)?;
        self.bounds(position.offset, outputs.len(), options)?;
        self.emitted = self.emitted.max(position.offset);
        Ok(())
    }

    /// The token says what the golden fold says.
    fn token(&self, position: &Committed) -> Result<(), String> {
        let token = Token::parse(&position.metadata)
            .map_err(|_| format!("position {} is committed without a token", position.offset))?;
        let head = self.head(position.offset)?;
        if (token.digest, token.head, token.raw_digest) != (head.digest, head.head, head.raw_digest)
        {
            return Err(format!("the token at {} is not that of the golden fold", position.offset));
        }
        Ok(())
    }

    fn head(&self, cursor: u64) -> Result<&StoreHead, String> {
        self.golden
            .heads
            .get(&cursor)
            .ok_or_else(|| format!("{cursor} is the end of no raw record"))
    }

    /// Exactly the outputs that were missing up to the position, byte for byte.
    fn outputs(
        &mut self,
        outputs: &[(usize, tickfold_log::Record)],
        position: u64,
    ) -> Result<(), String> {
        for (topic, due) in self.golden.outputs.iter().enumerate() {
            let found: Vec<_> = outputs.iter().filter(|(of, _)| *of == topic).collect();
            let seen = self.seen[topic];
            let wanted = due[seen..].iter().take_while(|due| due.offset < position);
            let wanted: Vec<_> = wanted.collect();
            if found.len() != wanted.len() {
                let (found, wanted) = (found.len(), wanted.len());
                let more = if found > wanted { "twice or too early" } else { "lost" };
                return Err(format!(
                    "outputs {more}: topic {topic} up to {position}: {found} committed, {wanted} due"
                ));
            }
            let differs = found.iter().zip(&wanted).find(|((_, found), due)| !is_of(found, due));
            if let Some((_, due)) = differs {
                return Err(format!("outputs differ: topic {topic}, raw record {}", due.offset));
            }
            self.seen[topic] += found.len();
        }
        Ok(())
    }

    /// A commit stays within its named bounds.
    fn bounds(&self, position: u64, outputs: usize, options: &Options) -> Result<(), String> {
        let records = self.golden.counts.range(self.emitted.min(position) + 1..position + 1);
        let (mut count, mut last) = (0, 0);
        for (_, outputs) in records {
            (count, last) = (count + 1, *outputs);
        }
        if count > options.batch_records_max {
            return Err(format!("{count} records in one commit"));
        }
        if count > 1 && outputs > options.batch_outputs_max.max(last) {
            return Err(format!("{outputs} outputs of {count} records in one commit"));
        }
        Ok(())
    }

    /// A store was written: it is the golden state at its cursor, and not ahead of the log.
    pub(crate) fn written(&self, head: &StoreHead) -> Result<(), String> {
        if head.cursor > self.emitted {
            return Err(format!("a store is at {}, the log at {}", head.cursor, self.emitted));
        }
        if self.head(head.cursor)? != head {
            return Err(format!("a store at {} is not that of the golden fold", head.cursor));
        }
        Ok(())
    }

    /// A watcher resumes on any process and is given what it has not seen, without gap or repeat.
    pub(crate) fn watch(&mut self, stores: &MemStores) -> Result<(), String> {
        let Ok(Some(snapshot)) = stores.view(self.partition).snapshot() else { return Ok(()) };
        self.written(&snapshot.store_head())?;
        let since = snapshot.transitions_since().map_err(|error| error.to_string())?;
        if since > self.watch {
            // Too old: it begins anew with a snapshot.
            self.watch = since;
            let before = |kept: &&tickfold_store::Transition| (kept.offset, kept.ordinal) < since;
            self.watched = self.golden.transitions.iter().filter(before).count();
        }
        let given = snapshot.transitions(self.watch, 50).map_err(|error| error.to_string())?;
        for transition in given {
            if self.golden.transitions.get(self.watched) != Some(&transition) {
                let (offset, ordinal) = (transition.offset, transition.ordinal);
                return Err(format!(
                    "a watcher is given {offset}-{ordinal}, which is not its next"
                ));
            }
            self.watched += 1;
            self.watch = (transition.offset, transition.ordinal + 1);
        }
        Ok(())
    }
}
