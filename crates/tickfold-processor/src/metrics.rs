//! Metrics of the processor: names and descriptions in one place.

use metrics::{
    Counter, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use tickfold_core::overlay::Tally;

use crate::lag::Lag;

const LAG_RECORDS: &str = "tickfold_processor_lag_records";
const STATE_AGE_SECONDS: &str = "tickfold_processor_state_age_seconds";
const LIVE: &str = "tickfold_processor_live_partition";
const BUSY_SECONDS_TOTAL: &str = "tickfold_processor_busy_seconds_total";
const RECORDS_TOTAL: &str = "tickfold_processor_records_total";
const ACTIONS_TOTAL: &str = "tickfold_processor_actions_total";
const ALERTS_TOTAL: &str = "tickfold_processor_alerts_total";
/// Time from append to state, for its buckets.
pub const EVENT_AGE_SECONDS: &str = "tickfold_processor_event_age_seconds";
const COMMIT_SECONDS: &str = "tickfold_processor_commit_seconds";
const COMMITS_TOTAL: &str = "tickfold_processor_commits_total";
const OUTPUTS_TOTAL: &str = "tickfold_processor_outputs_total";
const DEAD_LETTERS_TOTAL: &str = "tickfold_processor_dead_letters_total";
const FOLD_TOTAL: &str = "tickfold_processor_fold_total";
const CLOCK_BEHIND_SECONDS: &str = "tickfold_processor_clock_behind_seconds";
const REDRIVEN_TOTAL: &str = "tickfold_processor_redriven_total";
const RESTORE_REMAINING_RECORDS: &str = "tickfold_processor_restore_remaining_records";
const CHECKPOINTS_TOTAL: &str = "tickfold_processor_checkpoints_total";
const LOST_TOTAL: &str = "tickfold_processor_lost_total";
const ASSIGNED: &str = "tickfold_processor_assigned_partitions";
const GIVEN_UP_TOTAL: &str = "tickfold_processor_given_up_total";
const REFUSED_PARTITIONS: &str = "tickfold_processor_refused_partition";

/// Words of Meta's, and of ours, that a reason of an alert is counted by; any other is `other`, as
/// Meta may send what it likes.
const ALERT_REASONS: [&str; 12] = [
    "PAUSED",
    "DISABLED",
    "REJECTED",
    "FLAGGED",
    "LIMIT_EXCEEDED",
    "LOCKED",
    "RED",
    "YELLOW",
    "restricted",
    "disabled",
    "offboarded",
    "disconnected",
];

/// Describes the metrics to the installed recorder.
pub fn describe() {
    describe_gauge!(
        LAG_RECORDS,
        Unit::Count,
        "Raw offsets not committed, by partition; 0 where it is not assigned to this process"
    );
    describe_gauge!(
        STATE_AGE_SECONDS,
        Unit::Seconds,
        "Time since the append of the newest record in the state while others wait, by partition; 0 if none wait"
    );
    describe_gauge!(
        LIVE,
        Unit::Count,
        "1 if the partition folds and commits in this process, by partition; else 0"
    );
    describe_counter!(
        BUSY_SECONDS_TOTAL,
        Unit::Seconds,
        "Time that the partition's thread worked, by partition; its rate is the share of the ceiling in use"
    );
    describe_counter!(RECORDS_TOTAL, Unit::Count, "Raw records folded and committed, by partition");
    describe_counter!(ACTIONS_TOTAL, Unit::Count, "Committed actions by kind");
    describe_counter!(
        ALERTS_TOTAL,
        Unit::Count,
        "Committed alerts by kind, severity and reason; a reason that is not of the list is other"
    );
    describe_histogram!(
        EVENT_AGE_SECONDS,
        Unit::Seconds,
        "Time from the append of the last raw record of a batch to its store write"
    );
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "Duration of commits to the log");
    describe_counter!(COMMITS_TOTAL, Unit::Count, "Commits by outcome");
    describe_counter!(OUTPUTS_TOTAL, Unit::Count, "Committed derived records by topic");
    describe_counter!(DEAD_LETTERS_TOTAL, Unit::Count, "Committed dead letters by reason");
    describe_counter!(
        FOLD_TOTAL,
        Unit::Count,
        "Items of webhooks folded and committed, by outcome: applied; stale, when it came behind what is later; duplicate, when it told nothing new; unknown, an event of a field or shape that is not known. Contacts and dead letters are not among them"
    );
    describe_gauge!(
        CLOCK_BEHIND_SECONDS,
        Unit::Seconds,
        "How far the log's time of a partition is ahead of this process' clock, by partition; 0 if it is not. Beyond a second or two one of the clocks is wrong"
    );
    describe_counter!(
        REDRIVEN_TOTAL,
        Unit::Count,
        "Redrives that left no dead letter; what others left is in the dead letters"
    );
    describe_gauge!(
        RESTORE_REMAINING_RECORDS,
        Unit::Count,
        "Raw offsets still to be refolded before the partition is live"
    );
    describe_counter!(CHECKPOINTS_TOTAL, Unit::Count, "Checkpoints made and failed, by outcome");
    describe_counter!(LOST_TOTAL, Unit::Count, "Partitions lost and started anew, by partition");
    describe_gauge!(ASSIGNED, Unit::Count, "Partitions assigned to this process");
    describe_counter!(
        GIVEN_UP_TOTAL,
        Unit::Count,
        "Partitions given up to the group, by outcome: released, dropped after a wait, lost"
    );
    describe_gauge!(REFUSED_PARTITIONS, "1 if the partition is refused, by partition and reason");
}

pub(crate) fn lag(partition: u32, lag: &Lag) {
    gauge!(LAG_RECORDS, "partition" => partition.to_string()).set(as_f64(lag.records));
    let age = gauge!(STATE_AGE_SECONDS, "partition" => partition.to_string());
    age.set(lag.age().as_secs_f64());
}

pub(crate) fn live(partition: u32, is_live: bool) {
    gauge!(LIVE, "partition" => partition.to_string()).set(if is_live { 1.0 } else { 0.0 });
}

/// The counter of a partition, looked up once: it is counted at every turn.
pub(crate) fn busy_seconds(partition: u32) -> Counter {
    counter!(BUSY_SECONDS_TOTAL, "partition" => partition.to_string())
}

pub(crate) fn records(partition: u32, records: u64) {
    counter!(RECORDS_TOTAL, "partition" => partition.to_string()).increment(records);
}

pub(crate) fn action(kind: String) {
    counter!(ACTIONS_TOTAL, "kind" => kind).increment(1);
}

pub(crate) fn alert(kind: String, severity: String, reason: Option<String>) {
    let known = |reason: String| ALERT_REASONS.into_iter().find(|known| *known == reason);
    let reason = reason.map_or("none", |reason| known(reason).unwrap_or("other"));
    counter!(ALERTS_TOTAL, "kind" => kind, "severity" => severity, "reason" => reason).increment(1);
}

pub(crate) fn restore_remaining(partition: u32, records: u64) {
    gauge!(RESTORE_REMAINING_RECORDS, "partition" => partition.to_string()).set(as_f64(records));
}

pub(crate) fn event_age(milliseconds: u64) {
    histogram!(EVENT_AGE_SECONDS).record(as_f64(milliseconds) / 1_000.0);
}

pub(crate) fn clock_behind(partition: u32, milliseconds: u64) {
    let behind = gauge!(CLOCK_BEHIND_SECONDS, "partition" => partition.to_string());
    behind.set(as_f64(milliseconds) / 1_000.0);
}

pub(crate) fn folded(tally: Tally) {
    let Tally { applied, stale, duplicate, unknown } = tally;
    let outcomes =
        [("applied", applied), ("stale", stale), ("duplicate", duplicate), ("unknown", unknown)];
    for (outcome, items) in outcomes {
        counter!(FOLD_TOTAL, "outcome" => outcome).increment(items);
    }
}

pub(crate) fn commit(outcome: &'static str, milliseconds: u64) {
    histogram!(COMMIT_SECONDS).record(as_f64(milliseconds) / 1_000.0);
    counter!(COMMITS_TOTAL, "outcome" => outcome).increment(1);
}

pub(crate) fn outputs(topic: &str, records: u64) {
    counter!(OUTPUTS_TOTAL, "topic" => topic.to_owned()).increment(records);
}

pub(crate) fn dead_letter(reason: String) {
    counter!(DEAD_LETTERS_TOTAL, "reason" => reason).increment(1);
}

pub(crate) fn redriven() {
    counter!(REDRIVEN_TOTAL).increment(1);
}

pub(crate) fn checkpoint(made: bool) {
    let outcome = if made { "made" } else { "failed" };
    counter!(CHECKPOINTS_TOTAL, "outcome" => outcome).increment(1);
}

pub(crate) fn lost(partition: u32) {
    counter!(LOST_TOTAL, "partition" => partition.to_string()).increment(1);
}

pub(crate) fn assigned(partitions: usize) {
    gauge!(ASSIGNED).set(as_f64(u64::try_from(partitions).unwrap_or(u64::MAX)));
}

pub(crate) fn given_up(outcome: &'static str) {
    counter!(GIVEN_UP_TOTAL, "outcome" => outcome).increment(1);
}

pub(crate) fn refused(partition: u32, reason: &'static str, is_refused: bool) {
    let value = if is_refused { 1.0 } else { 0.0 };
    gauge!(REFUSED_PARTITIONS, "partition" => partition.to_string(), "reason" => reason).set(value);
}

/// Gauges and histograms are floating point; what they count stays far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "display only")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
