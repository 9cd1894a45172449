//! The settings of topics: those the log's promises rest on, those that only serve its readers, and
//! whether what a cluster has fits.

use std::collections::BTreeMap;

use super::options::{KafkaOptions, MESSAGE_BYTES_MAX};
use crate::{Error, TopicSpec};

/// Settings of a topic that exists, by name.
pub(super) type Settings = BTreeMap<String, String>;

/// What a topic gets when it is created, by name. Streams are kept for a month: beyond the week in
/// which Meta repeats itself, and long enough to build a reader anew. Everything in them can be
/// folded from raw again.
const STREAM_RETENTION_MS: u64 = 30 * DAY_MS;
/// Rows that were replaced stay readable for so long, for readers who want each change.
const TABLE_LAG_MS: u64 = DAY_MS / 24;
/// Rows that were replaced are gone after so long, also where a partition is quiet: they hold
/// personal data. A tombstone stays for as long after that, for readers who were away.
const TABLE_GONE_MS: u64 = 7 * DAY_MS;
/// Only closed segments are compacted.
const TABLE_SEGMENT_MS: u64 = DAY_MS;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// How much hangs on a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// A promise of the log: a topic with another value is refused.
    Exactly,
    /// A promise of the log, kept by any greater value too.
    AtLeast,
    /// A good value for readers and disks, which the owner of the cluster may know better: it is
    /// set when the topic is created and never judged.
    Advised,
}

/// A setting as a topic should have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) weight: Weight,
}

impl Wanted {
    fn new(name: &'static str, value: impl ToString, weight: Weight) -> Self {
        Self { name, value: value.to_string(), weight }
    }

    /// Whether a value found in its place is as good.
    pub(super) fn fits(&self, found: Option<&str>) -> bool {
        let number = |text: &str| text.parse::<i64>().ok();
        match self.weight {
            Weight::Exactly | Weight::Advised => found == Some(self.value.as_str()),
            Weight::AtLeast => found.and_then(number) >= number(&self.value),
        }
    }
}

/// The settings of a topic.
pub(super) fn wanted(options: &KafkaOptions, spec: &TopicSpec) -> Vec<Wanted> {
    use Weight::{Advised, AtLeast, Exactly};
    let cleanup = if spec.compacted { "compact" } else { "delete" };
    let mut wanted = vec![
        Wanted::new("cleanup.policy", cleanup, Exactly),
        // Above the largest record with all that goes around it.
        Wanted::new("max.message.bytes", MESSAGE_BYTES_MAX, AtLeast),
        Wanted::new("min.insync.replicas", options.min_insync_replicas, AtLeast),
        // A replica that missed acknowledged records must not become the leader.
        Wanted::new("unclean.leader.election.enable", false, Exactly),
    ];
    if options.append_time_topics.contains(&spec.name) {
        wanted.push(Wanted::new("message.timestamp.type", "LogAppendTime", Exactly));
        // Everything else is made from it: only its owner deletes from it.
        wanted.push(Wanted::new("retention.ms", -1, Exactly));
        wanted.push(Wanted::new("retention.bytes", -1, Exactly));
    } else {
        wanted.push(Wanted::new("message.timestamp.type", "CreateTime", Exactly));
        // Records have the times of what they are made from, which may be long ago, or ahead of
        // this broker's clock. One that is refused for its time is refused for ever.
        wanted.push(Wanted::new("message.timestamp.before.max.ms", i64::MAX, AtLeast));
        wanted.push(Wanted::new("message.timestamp.after.max.ms", i64::MAX, AtLeast));
        if spec.compacted {
            wanted.push(Wanted::new("min.compaction.lag.ms", TABLE_LAG_MS, Advised));
            wanted.push(Wanted::new("max.compaction.lag.ms", TABLE_GONE_MS, Advised));
            wanted.push(Wanted::new("delete.retention.ms", TABLE_GONE_MS, Advised));
            wanted.push(Wanted::new("segment.ms", TABLE_SEGMENT_MS, Advised));
        } else {
            wanted.push(Wanted::new("retention.ms", STREAM_RETENTION_MS, Advised));
        }
    }
    // Batches stay as their producers compressed them.
    wanted.push(Wanted::new("compression.type", "producer", Advised));
    wanted
}

/// Refuses a topic whose settings would break a promise.
pub(super) fn check(
    options: &KafkaOptions,
    spec: &TopicSpec,
    found: &Settings,
) -> Result<(), Error> {
    for wanted in wanted(options, spec) {
        let found = found.get(wanted.name).map(String::as_str);
        if wanted.weight != Weight::Advised && !wanted.fits(found) {
            let (name, value) = (wanted.name, &wanted.value);
            let found = found.unwrap_or("nothing");
            let reason = format!("{name}: wanted {value}, found {found}");
            return Err(Error::TopicMismatch { topic: spec.name.clone(), reason });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Wanted, Weight};

    #[test]
    fn a_number_may_be_greater_and_anything_else_must_be_equal() {
        let fits = |weight, value: i64, found| Wanted::new("s", value, weight).fits(found);
        assert!(fits(Weight::AtLeast, 5, Some("5")) && fits(Weight::AtLeast, 5, Some("60")));
        for found in [None, Some("4"), Some("-1"), Some("six"), Some("")] {
            assert!(!fits(Weight::AtLeast, 5, found), "{found:?}");
        }
        for weight in [Weight::Exactly, Weight::Advised] {
            assert!(fits(weight, -1, Some("-1")));
            assert!(!fits(weight, -1, Some("0")) && !fits(weight, -1, None));
        }
    }
}
