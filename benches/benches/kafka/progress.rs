//! How far a group is, by the positions that it has committed.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::Outcome;
use crate::raw::Raw;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// A program that gets no further for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(120);
const CALL: Duration = Duration::from_secs(10);

/// Asks for the positions of a group on the records that were there before it began.
pub(crate) struct Watch {
    consumer: BaseConsumer,
    topic: String,
    ends: Vec<i64>,
    begin: Instant,
}

impl Watch {
    pub(crate) fn new(brokers: &str, group: &str, raw: &Raw) -> Outcome<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", group);
        // The last position that is certain: with a stable one the question would wait for the
        // transactions under way, of which there is always one.
        config.set("isolation.level", "read_uncommitted");
        let (topic, ends) = (raw.topic.clone(), raw.ends.clone());
        Ok(Self { consumer: config.create()?, topic, ends, begin: Instant::now() })
    }

    /// Likewise on all records that there are by now.
    pub(crate) fn to_the_end(brokers: &str, group: &str, raw: &Raw) -> Outcome<Self> {
        let mut watch = Self::new(brokers, group, raw)?;
        for (partition, end) in (0_i32..).zip(&mut watch.ends) {
            (_, *end) = watch.consumer.fetch_watermarks(&watch.topic, partition, CALL)?;
        }
        Ok(watch)
    }

    /// Waits until that share is committed, and says when it was seen and which share it was then.
    pub(crate) fn until(
        &self,
        share: f64,
        mut check: impl FnMut() -> Outcome<()>,
    ) -> Outcome<(Duration, f64)> {
        let (mut before, mut moved) = (0.0, Instant::now());
        loop {
            let now = self.share()?;
            if now >= share {
                return Ok((self.begin.elapsed(), now));
            }
            if now > before {
                (before, moved) = (now, Instant::now());
            }
            if moved.elapsed() > PATIENCE {
                return Err(format!("{:.1} % folded, and no more", now * 100.0).into());
            }
            check()?;
            thread::sleep(PAUSE);
        }
    }

    fn share(&self) -> Outcome<f64> {
        let mut places = TopicPartitionList::new();
        for partition in 0..i32::try_from(self.ends.len())? {
            places.add_partition(&self.topic, partition);
        }
        let committed = self.consumer.committed_offsets(places, CALL)?;
        let (mut done, mut all) = (0, 0);
        for (partition, end) in (0_i32..).zip(&self.ends) {
            let place = committed.find_partition(&self.topic, partition);
            if let Some(Offset::Offset(offset)) = place.map(|place| place.offset()) {
                done += offset.min(*end);
            }
            all += end;
        }
        Ok(done as f64 / all as f64)
    }
}
