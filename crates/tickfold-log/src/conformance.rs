//! The conformance suite of the [`Log`] port: one public function per promise (`test-util`).
//!
//! Every adapter runs all of it through [`run_all`]. A case opens its own log through the
//! [`Fixture`] and fails by panicking with the promise that was broken; nothing here knows an
//! adapter. Cases about appends and reads are in `appends`, about claims and commits in `commits`,
//! about members and positions in `groups`,
//! about deletion on purpose in `trims`, about the life of a log in `lifecycle`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test suite: a broken promise panics"
)]

pub mod appends;
pub mod commits;
pub mod groups;
pub mod lifecycle;
pub mod trims;

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Append, Committed, Error, Header, Log, LogFuture, Offset, PartitionId, Record, TopicPartition,
    TopicSpec,
};

/// How the suite gets the adapter under test.
pub trait Fixture: Sync {
    /// Opens a log in which the topics of [`Fixture::name`] do not exist yet.
    fn open(&self) -> LogFuture<'_, Arc<dyn Log>>;

    /// Closes the log and opens the same data anew, as after a restart. `None`: this adapter
    /// promises nothing beyond its process.
    fn reopen(&self, log: Arc<dyn Log>) -> LogFuture<'_, Option<Arc<dyn Log>>>;

    /// What the log's own clock shows, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// The least timestamp the log can store; a lesser one that is given is stored as this one.
    fn least_timestamp_ms(&self) -> i64 {
        0
    }

    /// The topic name a case uses.
    fn name(&self, case: &str) -> String {
        format!("conformance.{case}")
    }
}

/// Runs every case in a fixed order and returns their names, for the test to print.
pub async fn run_all(fixture: &dyn Fixture) -> Vec<&'static str> {
    let mut ran = Vec::new();
    macro_rules! run {
        ($($module:ident::$case:ident),* $(,)?) => {
            $(
                Box::pin($module::$case(fixture)).await;
                ran.push(stringify!($case));
            )*
        };
    }
    run!(
        appends::offsets_follow_the_order_of_the_call,
        appends::partitions_are_independent,
        appends::timestamps_are_kept_or_set,
        appends::absent_and_empty_differ,
        appends::headers_keep_order_and_repeat,
        appends::reads_are_limited_but_give_one,
        appends::reads_at_and_past_the_end_are_empty,
        appends::appended_is_readable_at_once,
        appends::readers_see_a_prefix,
        appends::bounds_and_last_record_follow,
        appends::concurrent_appends_all_arrive,
        appends::too_large_is_refused_whole,
        appends::unknown_partitions_are_refused,
        appends::an_empty_append_is_nothing,
        commits::outputs_and_position_move_together,
        commits::a_commit_without_outputs_moves_the_position,
        commits::a_claim_fences_the_older,
        commits::claims_of_others_are_independent,
        commits::metadata_comes_back,
        commits::bad_commits_are_aborted_and_may_be_corrected,
        commits::commits_and_appends_share_a_partition,
        trims::a_trim_moves_the_start,
        trims::a_trim_again_changes_nothing,
        trims::a_trim_of_everything_reuses_no_offset,
        trims::trims_and_appends_go_on_side_by_side,
        trims::a_trim_wakes_nobody_and_moves_no_position,
        trims::trims_survive_a_restart,
        groups::a_member_alone_is_assigned_everything,
        groups::a_member_that_went_finds_its_partitions_again,
        groups::positions_are_seen_from_outside,
        groups::records_are_found_by_time,
        lifecycle::topics_are_created_once,
        lifecycle::topics_that_differ_are_refused,
        lifecycle::wait_past_wakes,
        lifecycle::wait_past_ends_with_the_log,
        lifecycle::a_closed_log_refuses_everything,
        lifecycle::everything_survives_a_restart,
    );
    ran
}

/// A stream of `partitions` partitions.
fn stream(name: &str, partitions: PartitionId) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, compacted: false }
}

/// Opens the log with one topic for the case.
async fn open_with(fixture: &dyn Fixture, case: &str, partitions: PartitionId) -> Bench {
    let topic = fixture.name(case);
    let log = fixture.open().await;
    log.ensure_topics(&[stream(&topic, partitions)]).await.expect("ensure_topics");
    Bench { log, topic }
}

/// An open log and the topic of the case.
struct Bench {
    log: Arc<dyn Log>,
    topic: String,
}

impl Bench {
    fn at(&self, partition: PartitionId) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), partition)
    }

    /// An append of a value that names itself.
    fn value(&self, partition: PartitionId, value: &str) -> Append {
        Append {
            to: self.at(partition),
            key: None,
            value: Some(Bytes::from(value.to_owned())),
            headers: vec![],
            timestamp_ms: Some(1),
        }
    }

    async fn append(&self, records: Vec<Append>) -> Vec<Offset> {
        self.log.append(records).await.expect("append")
    }

    async fn all(&self, partition: PartitionId) -> Vec<Record> {
        let mut all = Vec::new();
        let mut next = 0;
        loop {
            let read = self.log.read(&self.at(partition), next, 7, usize::MAX).await.expect("read");
            let Some(last) = read.last() else { return all };
            next = last.offset + 1;
            all.extend(read);
        }
    }

    async fn values(&self, partition: PartitionId) -> Vec<String> {
        let text = |r: Record| String::from_utf8(r.value.expect("value").to_vec()).expect("UTF-8");
        self.all(partition).await.into_iter().map(text).collect()
    }
}

fn position(offset: Offset, metadata: &str) -> Committed {
    Committed { offset, metadata: metadata.to_owned() }
}

fn header(name: &str, value: &str) -> Header {
    Header { name: name.to_owned().into(), value: Bytes::from(value.to_owned()) }
}

#[track_caller]
fn expect_closed<T: std::fmt::Debug>(what: &str, result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Closed)), "{what} on a closed log: {result:?}");
}
