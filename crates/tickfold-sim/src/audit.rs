//! What must hold at any moment, looked at whenever something was decided, written or read.

use std::collections::BTreeMap;

use tickfold_core::fold::{Output, Partition};
use tickfold_core::records::Topic;
use tickfold_log::Committed;
use tickfold_processor::{Options, Token};
use tickfold_store::{MemStores, NextStore, StoreHead, Stores};

use crate::broker::{Broker, Claimant, Decision};
use crate::golden::{Golden, is_of};
use crate::world::is_of_a_swap;

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
    /// Where the watcher stands in the topic of transitions.
    watch: u64,
    /// Transitions that the watcher was given.
    watched: usize,
    /// What was to take the place of a store.
    prepared: Vec<Prepared>,
    /// Which of them the last commit named, and what it was when an operator moved the position.
    named: Option<Named>,
    named_before: Option<Named>,
    /// Which of them the last commit of a process named.
    named_last: BTreeMap<usize, Option<Named>>,
    /// The last commit: whose, and its position.
    last: Option<(Claimant, Committed)>,
}

/// A state that a commit named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Named {
    process: usize,
    turn: u64,
    cursor: u64,
}

/// A state that was prepared to take the place of a store.
#[derive(Debug)]
struct Prepared {
    /// Whose, the how many-th of the partition there, and where it stands.
    it: Named,
    rows: Vec<Output>,
    /// The log names it.
    is_decided: bool,
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
            watch: 0,
            watched: 0,
            prepared: Vec::new(),
            named: None,
            named_before: None,
            named_last: BTreeMap::new(),
            last: None,
        }
    }

    /// A claim returned: nothing of an earlier one may take effect any more.
    pub(crate) fn claimed(&mut self, by: Claimant) {
        self.claim = self.claim.max(by.1);
    }

    /// A state is ready to take the place of a store, with rows to be published when it does.
    pub(crate) fn prepared(&mut self, process: usize, turn: u64, cursor: u64, rows: &[Output]) {
        let it = Named { process, turn, cursor };
        self.prepared.push(Prepared { it, rows: rows.to_vec(), is_decided: false });
    }

    /// It is about to do so: the last commit of the process has to name it, even if another process
    /// committed since; at a start the last commit of all, as far as its token tells.
    pub(crate) fn may_succeed(
        &self,
        process: usize,
        next: &NextStore,
        is_start: bool,
    ) -> Result<(), String> {
        let named = match is_start {
            true => self.named,
            false => self.named_last.get(&process).copied().flatten(),
        };
        let told = |turn: u64, cursor: u64| (turn.to_le_bytes()[0], cursor);
        let (named, cursor) = (named.map(|n| told(n.turn, n.cursor)), next.head.cursor);
        match named == Some(told(next.turn, cursor)) {
            true => Ok(()),
            false => Err(format!("a store that no commit names is taken, at {cursor}")),
        }
    }

    /// An operator put the position elsewhere: what the last commit named is not there any more.
    pub(crate) fn position_moved(&mut self) {
        self.named_before = self.named.take();
    }

    /// And back.
    pub(crate) fn position_back(&mut self) {
        self.named = self.named_before.take();
    }

    /// A commit of a swap names a state that was prepared, for the first time, and has just its rows;
    /// any other has none. Whoever named a state goes on with it.
    fn swap(
        &mut self,
        decision: &Decision,
        token: &Token,
        stores: &MemStores,
    ) -> Result<(), String> {
        let Decision { by: (process, _), position, outputs, .. } = decision;
        let next = stores.next_generation(self.partition).map_err(|error| error.to_string())?;
        let next = next.map(|next| (*process, next.turn));
        if let Some(Named { turn, .. }) =
            self.named.take().filter(|named| Some((named.process, named.turn)) == next)
        {
            return Err(format!("another store goes on, and the log names turn {turn}"));
        }
        self.named_last.insert(*process, None);
        let rows = outputs.iter().filter(|(_, record)| is_of_a_swap(record));
        let cursor = position.as_ref().map(|position| position.offset);
        let Some(turn) = token.swap else {
            return match rows.count() {
                0 => Ok(()),
                many => Err(format!("{many} rows of a swap in a commit that is none")),
            };
        };
        let is_named = |Prepared { it, is_decided, .. }: &&mut Prepared| {
            let told = (it.process, it.turn.to_le_bytes()[0], Some(it.cursor));
            told == (*process, turn, cursor) && !*is_decided
        };
        let named = self.prepared.iter_mut().rev().find(is_named);
        let named = named.ok_or("a swap that nobody prepared, or for the second time")?;
        named.is_decided = true;
        self.named = Some(named.it);
        self.named_last.insert(*process, self.named);
        // Topic by topic, as a commit has them.
        let mut due: Vec<_> =
            named.rows.iter().map(|row| (Broker::topic(row.topic), row)).collect();
        due.sort_by_key(|(topic, _)| *topic);
        let mut found: Vec<_> = rows.collect();
        found.sort_by_key(|(topic, _)| *topic);
        let are_equal = due.len() == found.len()
            && due.iter().zip(&found).all(|((a, row), (b, record))| a == b && is_of(record, row));
        match are_equal {
            true => Ok(()),
            false => Err("a swap publishes other rows than were prepared".to_owned()),
        }
    }

    /// A commit takes effect, of a process with these stores.
    pub(crate) fn decided(
        &mut self,
        broker: &Broker,
        decision: &Decision,
        options: &Options,
        stores: &MemStores,
    ) -> Result<(), String> {
        let Decision { by, position, outputs, is_owned, .. } = decision;
        if by.1 < self.claim {
            return Err(format!("claim {} commits after claim {} returned", by.1, self.claim));
        }
        if !is_owned {
            return Err(format!("a commit of what the group gave to another, by process {}", by.0));
        }
        let Some(position) = position else {
            return Err("a commit moves no position".to_owned());
        };
        self.golden.advance(broker, position.offset)?;
        let token = self.token(position)?;
        // Copies of its last two requests may come behind it, as long as nobody claims anew.
        let again = (*by, position.clone());
        let is_repeated = self.last.replace(again.clone()) == Some(again) && outputs.is_empty();
        if !is_repeated {
            self.swap(decision, &token, stores)?;
        }
        let outputs: Vec<_> = outputs.iter().filter(|(_, output)| !is_of_a_swap(output)).collect();
        self.outputs(&outputs, position.offset)?;
        self.bounds(position.offset, outputs.len(), options)?;
        self.emitted = self.emitted.max(position.offset);
        Ok(())
    }

    /// The token says what the golden fold says.
    fn token(&self, position: &Committed) -> Result<Token, String> {
        let token = Token::parse(&position.metadata)
            .map_err(|_| format!("position {} is committed without a token", position.offset))?;
        let head = self.head(position.offset)?;
        if (token.digest, token.head, token.raw_digest) != (head.digest, head.head, head.raw_digest)
        {
            return Err(format!("a token that is not the golden one, at {}", position.offset));
        }
        Ok(token)
    }

    fn head(&self, cursor: u64) -> Result<&StoreHead, String> {
        self.golden
            .heads
            .get(&cursor)
            .ok_or_else(|| format!("a position at the end of no record: {cursor}"))
    }

    /// Exactly the outputs that were missing up to the position, byte for byte.
    fn outputs(
        &mut self,
        outputs: &[&(usize, tickfold_log::Record)],
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
            return Err(format!("a store ahead of the log: {} of {}", head.cursor, self.emitted));
        }
        if self.head(head.cursor)? != head {
            return Err(format!("a store that is not the golden one, at {}", head.cursor));
        }
        Ok(())
    }

    /// What others may read of a store is the golden state at its cursor, and not ahead of the log.
    pub(crate) fn shown(&self, stores: &MemStores) -> Result<(), String> {
        let Ok(Some(snapshot)) = stores.view(self.partition).snapshot() else { return Ok(()) };
        self.written(&snapshot.store_head())
    }

    /// A watcher of transitions that resumes by its token, which is its place in their topic, is given
    /// what it has not seen, without gap or repeat; at most `limit`.
    pub(crate) fn watch(&mut self, broker: &Broker, limit: usize) -> Result<(), String> {
        let topic = Broker::topic(Topic::Transition);
        for record in broker.readable(topic, self.partition, self.watch).take(limit) {
            let next = self.golden.outputs[topic].get(self.watched);
            if !next.is_some_and(|next| is_of(record, next)) {
                let offset = record.offset;
                return Err(format!("a watcher is given offset {offset}, which is not its next"));
            }
            self.watched += 1;
            self.watch = record.offset + 1;
        }
        Ok(())
    }

    /// A watcher is given every transition there is.
    pub(crate) fn watch_to_the_end(&mut self, broker: &Broker) -> Result<(), String> {
        self.watch(broker, usize::MAX)?;
        let due = self.golden.outputs[Broker::topic(Topic::Transition)].len();
        match self.watched == due {
            true => Ok(()),
            false => Err(format!("a watcher is given {} of {due} transitions", self.watched)),
        }
    }
}
