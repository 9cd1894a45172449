//! From the append of a raw record to the moment at which a reader has what follows from it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::outputs::{Origin, reader};
use crate::raw::Raw;
use crate::{Outcome, PARTITIONS};

/// After the last body, for what follows from it.
const GRACE: Duration = Duration::from_secs(2);
const CALL: Duration = Duration::from_secs(10);

/// Sends bodies at a rate and returns the times of those that made a transition. A repetition makes
/// none.
pub(crate) fn live(
    brokers: &str,
    raw: &mut Raw,
    prefix: &str,
    rate: u32,
    duration: Duration,
) -> Outcome<Vec<Duration>> {
    let consumer = at_the_end(brokers, &format!("{prefix}.transition.v1"))?;
    let over = AtomicBool::new(false);
    let (sent, seen) = thread::scope(|scope| {
        let reading = scope.spawn(|| read(&consumer, &over));
        let sent = send(raw, rate, duration);
        thread::sleep(GRACE);
        over.store(true, Ordering::Release);
        let seen = reading.join().map_err(|_| "the reader panicked")?;
        Outcome::Ok((sent?, seen?))
    })?;
    let latencies = seen.into_iter().filter_map(|(origin, at)| {
        let sent = sent.get(&(origin.partition, origin.offset))?;
        Some(at.saturating_duration_since(*sent))
    });
    let latencies: Vec<_> = latencies.collect();
    if latencies.len() * 10 < sent.len() * 9 {
        return Err(format!("{} bodies sent, {} seen", sent.len(), latencies.len()).into());
    }
    Ok(latencies)
}

/// The quantile in milliseconds.
pub(crate) fn quantile(latencies: &mut [Duration], per_mille: usize) -> f64 {
    latencies.sort_unstable();
    let at = latencies.len() * per_mille / 1_000;
    latencies.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3
}

fn send(raw: &mut Raw, rate: u32, duration: Duration) -> Outcome<crate::raw::Sent> {
    let (begin, mut number) = (Instant::now(), 0_u32);
    while begin.elapsed() < duration {
        let due = begin + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        raw.send_next()?;
        number += 1;
    }
    raw.sent()
}

/// A reader of what is committed from now on.
fn at_the_end(brokers: &str, topic: &str) -> Outcome<BaseConsumer> {
    let consumer = reader(brokers)?;
    let mut places = TopicPartitionList::new();
    for partition in 0..i32::try_from(PARTITIONS)? {
        let (_, end) = consumer.fetch_watermarks(topic, partition, CALL)?;
        places.add_partition_offset(topic, partition, Offset::Offset(end))?;
    }
    consumer.assign(&places)?;
    Ok(consumer)
}

fn read(consumer: &BaseConsumer, over: &AtomicBool) -> Outcome<Vec<(Origin, Instant)>> {
    let mut seen = Vec::new();
    while !over.load(Ordering::Acquire) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => seen.push((Origin::of(&message)?, Instant::now())),
            // There is more to come.
            Some(Err(KafkaError::PartitionEOF(_))) | None => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(seen)
}
