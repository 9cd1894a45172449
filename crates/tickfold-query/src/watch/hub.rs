//! Follows the partitions of the topics that are watched, each once for all who watch it, and lets go
//! of those that nobody watches any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tickfold_core::records::Topic;
use tickfold_log::{Log, Offset};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::feed::{Feed, Follow};
use super::records;
use crate::reasons::{Failure, Reason};

/// Topics that are watched.
const TOPICS: [Topic; 8] = [
    Topic::MessageState,
    Topic::ConversationState,
    Topic::NumberState,
    Topic::AccountState,
    Topic::UserState,
    Topic::Transition,
    Topic::Action,
    Topic::Alert,
];

/// Records read at once, and their bytes.
const BATCH_RECORDS: usize = 512;
const BATCH_BYTES: usize = 1024 * 1024;

/// Pause after a read that failed for a while, as while a broker is away.
const PAUSE: Duration = Duration::from_millis(200);

/// All topics that can be watched. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Feeds(Arc<BTreeMap<Topic, Arc<Feed>>>);

impl Feeds {
    pub(super) fn of(&self, topic: Topic) -> Result<&Arc<Feed>, Failure> {
        let missing = || Failure::new(Reason::Defect, "a topic that is not watched");
        self.0.get(&topic).ok_or_else(missing)
    }
}

/// What follows them while it is polled.
#[derive(Debug)]
pub(crate) struct Hub {
    wanted: mpsc::UnboundedReceiver<Follow>,
}

impl Hub {
    /// Nothing is read before somebody watches.
    pub(crate) fn new(log: &Arc<dyn Log>, prefix: &str, partition_count: u32) -> (Feeds, Self) {
        let (sender, wanted) = mpsc::unbounded_channel();
        let feed = |topic| {
            let feed = Feed::new(Arc::clone(log), prefix, topic, partition_count, sender.clone());
            (topic, Arc::new(feed))
        };
        (Feeds(Arc::new(TOPICS.into_iter().map(feed).collect())), Self { wanted })
    }

    /// Runs until it is dropped, and ends what it started then.
    pub(crate) async fn run(mut self) {
        let mut followed = JoinSet::new();
        loop {
            tokio::select! {
                wanted = self.wanted.recv() => match wanted {
                    Some(Follow { feed, partition }) => {
                        followed.spawn(async move { follow(&feed, partition).await });
                    }
                    None => break,
                },
                Some(_) = followed.join_next() => {}
            }
        }
    }
}

/// Follows a partition until nobody watches its topic, or it cannot be read.
async fn follow(feed: &Feed, partition: u32) {
    if let Err(failure) = try_follow(feed, partition).await {
        if failure.reason() != Reason::ShuttingDown {
            let reason = failure.reason().as_str();
            tracing::warn!(topic = feed.topic.name(), partition, reason, "cannot be watched");
        }
        feed.failed(partition, &failure);
    }
}

async fn try_follow(feed: &Feed, partition: u32) -> Result<(), Failure> {
    let of = feed.partition(partition);
    let (mut next, revision) = loop {
        match place(feed, partition).await {
            Ok(place) => break place,
            Err(error) => pause_or_fail(error).await?,
        }
    };
    feed.opened(partition, next, revision);
    while !feed.let_go(partition) {
        let read = async {
            let records = feed.log.read(&of, next, BATCH_RECORDS, BATCH_BYTES).await?;
            if records.is_empty() {
                feed.log.wait_past(&of, next).await?;
            }
            Ok(records)
        };
        match read.await {
            Ok(records) => {
                let Some(last) = records.last() else { continue };
                next = last.offset.saturating_add(1);
                feed.came(partition, &records, next);
            }
            Err(error) => pause_or_fail(error).await?,
        }
    }
    Ok(())
}

/// Where the partition ends, and the raw offset that its last record came from.
async fn place(feed: &Feed, partition: u32) -> Result<(Offset, Option<u64>), tickfold_log::Error> {
    let of = feed.partition(partition);
    // The end first: what comes in between is read then.
    let end = feed.log.bounds(&of).await?.end;
    let last = feed.log.last_record(&of).await?;
    let Some(last) = last else { return Ok((end, None)) };
    // Behind the last record there may be markers, which are no records.
    Ok((end.min(last.offset.saturating_add(1)), records::revision(&last)))
}

async fn pause_or_fail(error: tickfold_log::Error) -> Result<(), Failure> {
    let failure = Failure::from(error);
    if failure.reason() != Reason::LogUnavailable {
        return Err(failure);
    }
    tokio::time::sleep(PAUSE).await;
    Ok(())
}
