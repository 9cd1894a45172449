//! Transactions: one per transactional id, which is one per partition of raw.

use std::collections::BTreeSet;

use tickfold_log::{Append, Committed, Record};

use super::{Broker, Claimant, MemberId, RAW, TRANSACTION_MS};

/// The producer of a tool that is not ours.
const FOREIGN: u32 = 1_000_000;

/// In whose name a position is committed.
pub(crate) type Speaker = Option<(usize, MemberId, u32)>;

/// What a producer asks.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// Be the only producer of this id from now on.
    Init,
    /// Write records.
    Produce(Vec<Append>),
    /// Move the position, as a member of the group in a generation.
    Offsets { speaker: Speaker, position: Committed },
    /// End the transaction.
    End { commit: bool },
}

/// What a broker answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Done.
    Ok,
    /// The producer's epoch.
    Epoch(u32),
    /// An earlier transaction is still being ended: ask again.
    Busy,
    /// Another producer of this id came.
    Fenced,
    /// The group is in another generation, or knows no such member.
    Generation,
    /// It cannot be in this state.
    State,
    /// The transaction cannot go on, for a reason of the broker's own.
    Refused,
}

/// A transaction that was decided to commit.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) partition: u32,
    /// Who began it.
    pub(crate) by: Claimant,
    /// The position it moves, if it does.
    pub(crate) position: Option<Committed>,
    /// Its records, by topic.
    pub(crate) outputs: Vec<(usize, Record)>,
    /// The group had given the partition to whoever committed, when it took the position.
    pub(crate) is_owned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    #[default]
    Empty,
    Ongoing,
    /// Decided; markers are being written.
    Ending {
        commit: bool,
    },
    Ended {
        commit: bool,
    },
}

/// A transactional id.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    epoch: u32,
    standing: Standing,
    touched: BTreeSet<usize>,
    pending: Option<Committed>,
    is_owned: bool,
    by: Option<Claimant>,
    since_ms: u64,
}

impl Transaction {
    /// A position waits for its marker.
    pub(crate) fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    fn begin(&mut self, by: Claimant, now_ms: u64) {
        if self.standing != Standing::Ongoing {
            self.standing = Standing::Ongoing;
            (self.by, self.since_ms, self.is_owned) = (Some(by), now_ms, true);
        }
    }

    /// Nothing is left to be marked.
    fn is_marked(&self) -> bool {
        self.touched.is_empty() && self.pending.is_none()
    }
}

impl Broker {
    /// Answers a request of a producer.
    pub(crate) fn handle(
        &mut self,
        partition: u32,
        epoch: u32,
        by: Claimant,
        request: Request,
    ) -> Reply {
        let now_ms = self.now_ms;
        let standing = self.transactions[partition as usize].standing;
        if matches!(request, Request::Init) {
            return self.init(partition);
        }
        let transaction = &mut self.transactions[partition as usize];
        if epoch != transaction.epoch {
            return Reply::Fenced;
        }
        match (request, standing) {
            (Request::End { commit }, Standing::Ended { commit: ended }) => {
                if commit == ended {
                    Reply::Ok
                } else {
                    Reply::State
                }
            }
            (_, Standing::Ending { .. }) => Reply::Busy,
            (Request::Produce(appends), _) => {
                transaction.begin(by, now_ms);
                let log_time_ms = self.log_time_ms();
                for append in &appends {
                    let topic = self.topic_of(&append.to);
                    self.transactions[partition as usize].touched.insert(topic);
                    self.part_mut(topic, append.to.partition).push(
                        append,
                        log_time_ms,
                        Some(partition),
                    );
                }
                Reply::Ok
            }
            (Request::Offsets { speaker, position }, _) => {
                if let Some((process, member, generation)) = speaker
                    && !self.group.is_member(process, member, generation)
                {
                    return Reply::Generation;
                }
                let is_owned = self.group.owner(partition) == Some(by.0);
                transaction.begin(by, now_ms);
                (transaction.pending, transaction.is_owned) = (Some(position), is_owned);
                Reply::Ok
            }
            (Request::End { commit }, Standing::Ongoing) => {
                self.end(partition, commit);
                Reply::Ok
            }
            (Request::End { .. }, Standing::Empty) => Reply::State,
            (Request::Init, _) => unreachable!("handled before"),
        }
    }

    fn init(&mut self, partition: u32) -> Reply {
        let transaction = &mut self.transactions[partition as usize];
        match transaction.standing {
            Standing::Ongoing => {
                transaction.epoch += 1;
                self.end(partition, false);
                Reply::Busy
            }
            Standing::Ending { .. } => Reply::Busy,
            Standing::Empty | Standing::Ended { .. } => {
                transaction.epoch += 1;
                transaction.standing = Standing::Empty;
                Reply::Epoch(transaction.epoch)
            }
        }
    }

    /// Decides. From here on the transaction ends so, whatever else happens.
    fn end(&mut self, partition: u32, commit: bool) {
        let transaction = &mut self.transactions[partition as usize];
        transaction.standing = Standing::Ending { commit };
        if !commit {
            // An aborted position waits for its marker too.
            return;
        }
        let (by, position, is_owned) =
            (transaction.by.expect("it began"), transaction.pending.clone(), transaction.is_owned);
        let touched: Vec<usize> = transaction.touched.iter().copied().collect();
        let mut outputs = Vec::new();
        for topic in touched {
            let records = self.part(topic, partition).open(partition).cloned();
            outputs.extend(records.map(|record| (topic, record)));
        }
        self.decisions.push(Decision { partition, by, position, outputs, is_owned });
    }

    /// Partitions of raw whose transaction waits for markers.
    pub(crate) fn ending(&self) -> Vec<u32> {
        let ending = self
            .transactions
            .iter()
            .enumerate()
            .filter(|(_, transaction)| matches!(transaction.standing, Standing::Ending { .. }));
        ending.map(|(partition, _)| u32::try_from(partition).expect("few")).collect()
    }

    /// Writes one marker of a transaction that is being ended: of the topic that stands there, or
    /// of the position.
    pub(crate) fn mark(&mut self, partition: u32, choice: usize) {
        let transaction = &mut self.transactions[partition as usize];
        let Standing::Ending { commit } = transaction.standing else { return };
        let choices = transaction.touched.len() + usize::from(transaction.pending.is_some());
        if choices > 0 {
            match transaction.touched.iter().nth(choice % choices).copied() {
                Some(topic) => {
                    transaction.touched.remove(&topic);
                    self.part_mut(topic, partition).mark(partition, commit);
                }
                None => {
                    let position = transaction.pending.take();
                    if commit {
                        self.positions[partition as usize] = position;
                    }
                }
            }
        }
        let transaction = &mut self.transactions[partition as usize];
        if transaction.is_marked() {
            transaction.standing = Standing::Ended { commit };
        }
    }

    /// Aborts transactions that are open for too long; how many.
    pub(crate) fn expire_transactions(&mut self) -> u64 {
        let mut expired = 0;
        for partition in 0..self.partitions() {
            let transaction = &mut self.transactions[partition as usize];
            let age_ms = self.now_ms.saturating_sub(transaction.since_ms);
            if transaction.standing == Standing::Ongoing && age_ms >= TRANSACTION_MS {
                transaction.epoch += 1;
                self.end(partition, false);
                expired += 1;
            }
        }
        expired
    }

    /// True if no transaction is open or being ended.
    pub(crate) fn is_settled(&self) -> bool {
        self.transactions.iter().all(|transaction| {
            matches!(transaction.standing, Standing::Empty | Standing::Ended { .. })
        })
    }

    /// A tool writes to raw in a transaction of its own, and leaves it open.
    pub(crate) fn append_foreign(&mut self, append: &Append) {
        let now_ms = self.log_time_ms();
        let partition = append.to.partition;
        self.part_mut(RAW, partition).push(append, now_ms, Some(FOREIGN));
    }

    /// The tool ends it.
    pub(crate) fn end_foreign(&mut self, partition: u32, commit: bool) {
        self.part_mut(RAW, partition).mark(FOREIGN, commit);
    }

    /// The tool has something open in a partition.
    pub(crate) fn has_foreign(&self, partition: u32) -> bool {
        self.part(RAW, partition).open(FOREIGN).next().is_some()
    }
}
