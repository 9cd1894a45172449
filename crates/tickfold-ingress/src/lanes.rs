//! The ways into the raw topic: one for all its partitions where they share one fate, one for each
//! where a partition can be slow or away while others go on, as on a cluster.
//!
//! A webhook goes on the lanes of the partitions it names and is durable once all of them have it.
//! Before its body is read nobody knows them; so it is refused from its headers only if no lane at
//! all would take it in time, and after that only for the sake of its own lanes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tickfold_core::route::Destination;
use tickfold_log::{Append, Log};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::appender::{Appended, Appender, Failure, UNDER_WAY_BYTES_MAX};
use crate::budget::Reservation;
use crate::metrics;
use crate::positions::Positions;
use crate::status::IngressStatus;
use crate::ticks::Activity;

/// All lanes; shared.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// One, or one per partition.
    lanes: Vec<Arc<Appender>>,
    health: Arc<Health>,
}

/// Records by the lanes that they go on.
type Turn = Vec<(usize, Vec<Append>)>;

/// Why records are not known to be durable.
#[derive(Debug)]
pub(crate) struct NotAppended {
    /// No answer before the deadline, and no failure before that.
    pub(crate) late: bool,
    /// For a person.
    pub(crate) reason: Failure,
}

/// Which lanes fail.
#[derive(Debug)]
pub(crate) struct Health {
    failing: Mutex<Vec<bool>>,
    status: IngressStatus,
}

impl Lanes {
    pub(crate) fn new(log: &Arc<dyn Log>, activity: &Arc<Activity>, status: IngressStatus) -> Self {
        let count = if log.partitions_fail_apart() { activity.partitions() } else { 1 };
        let health = Arc::new(Health { failing: Mutex::new(vec![false; count]), status });
        let (tasks, all_bytes) = (TaskTracker::new(), Arc::default());
        let lane = |number| {
            let (log, activity, health) =
                (Arc::clone(log), Arc::clone(activity), Arc::clone(&health));
            let (tasks, all_bytes) = (tasks.clone(), Arc::clone(&all_bytes));
            Arc::new(Appender::new(log, activity, health, number, tasks, all_bytes))
        };
        Self { lanes: (0..count).map(lane).collect(), health }
    }

    /// How long the quickest lane would take now.
    pub(crate) fn expected_latency(&self) -> Duration {
        let latencies = self.lanes.iter().map(|lane| lane.expected_latency());
        latencies.min().unwrap_or_default()
    }

    /// How long it would take until all of these are reached.
    pub(crate) fn expected_latency_to(&self, destinations: &[Destination]) -> Duration {
        let lanes = destinations.iter().filter_map(|to| self.lanes.get(self.lane_of(to.partition)));
        lanes.map(|lane| lane.expected_latency()).max().unwrap_or_default()
    }

    /// Appends records, one to a partition. `Ok` only when all of them are durable. After an error some
    /// may be, and more may become so; what no append has taken by the deadline is taken back. More bytes than
    /// may be on their way at once go in several turns, of which a failed one is the last.
    pub(crate) async fn append(
        &self,
        records: Vec<Append>,
        reservation: Option<Reservation>,
        deadline: Instant,
    ) -> Result<Positions, NotAppended> {
        let reservation = reservation.map(Arc::new);
        let mut result = Ok(Positions::default());
        for turn in self.turns(records) {
            self.append_at_once(turn, reservation.as_ref(), deadline, &mut result).await;
            if result.is_err() {
                break;
            }
        }
        result
    }

    async fn append_at_once(
        &self,
        turn: Turn,
        reservation: Option<&Arc<Reservation>>,
        deadline: Instant,
        result: &mut Result<Positions, NotAppended>,
    ) {
        let mut waiting = self.hand_over(turn, reservation);
        for (lane, answer) in &mut waiting {
            let late = |reason: &str| Err(NotAppended { late: true, reason: reason.into() });
            let failed = |reason| Err(NotAppended { late: false, reason });
            let answered = match timeout_at(deadline, answer).await {
                Ok(Ok(Ok(positions))) => Ok(positions),
                Ok(Ok(Err(failure))) => failed(failure),
                Ok(Err(_)) => failed("the append panicked".into()),
                Err(_) => late("no answer before the deadline"),
            };
            if answered.is_err() {
                self.health.set(*lane, true);
            }
            match (&mut *result, answered) {
                (Ok(all), Ok(positions)) => all.append(positions),
                // A failure says more than that another one was late.
                (Ok(_) | Err(NotAppended { late: true, .. }), Err(not)) => *result = Err(not),
                (Err(_), _) => {}
            }
        }
    }

    /// What runs until nothing is under way or waits.
    pub(crate) fn tasks(&self) -> Option<&TaskTracker> {
        // All lanes have the same.
        self.lanes.first().map(|lane| lane.tasks())
    }

    /// Records by their lanes, as many at a time as may be on their way: a webhook of very many partitions
    /// would be refused for its size alone.
    fn turns(&self, records: Vec<Append>) -> Vec<Turn> {
        let mut by_lane: Turn = Vec::with_capacity(1);
        for record in records {
            let lane = self.lane_of(record.to.partition);
            match by_lane.iter_mut().find(|(known, _)| *known == lane) {
                Some((_, records)) => records.push(record),
                None => by_lane.push((lane, vec![record])),
            }
        }
        let (mut turns, mut bytes) = (Vec::with_capacity(1), 0_usize);
        for (lane, records) in by_lane {
            let more: usize = records.iter().map(Append::size_bytes).sum();
            bytes = bytes.saturating_add(more);
            match turns.last_mut() {
                Some(turn) if bytes <= UNDER_WAY_BYTES_MAX => Vec::push(turn, (lane, records)),
                _ => {
                    bytes = more;
                    turns.push(vec![(lane, records)]);
                }
            }
        }
        turns
    }

    fn hand_over(
        &self,
        turn: Turn,
        reservation: Option<&Arc<Reservation>>,
    ) -> Vec<(usize, oneshot::Receiver<Appended>)> {
        let hand_over = |(number, records): (usize, Vec<Append>)| {
            let lane = self.lanes.get(number)?;
            Some((number, lane.append(records, reservation.cloned())))
        };
        turn.into_iter().filter_map(hand_over).collect()
    }

    /// Partitions beyond those ingress was told of go on the last lane; the log refuses them.
    fn lane_of(&self, partition: u32) -> usize {
        let last = self.lanes.len().saturating_sub(1);
        usize::try_from(partition).map_or(last, |partition| partition.min(last))
    }

    /// The lane of a partition.
    #[cfg(test)]
    pub(crate) fn lane(&self, partition: u32) -> &Arc<Appender> {
        &self.lanes[self.lane_of(partition)]
    }
}

impl Health {
    /// The last append of a lane failed or was late, or succeeded in time. The log as a whole fails
    /// once all of its lanes do.
    pub(crate) fn set(&self, lane: usize, is_failing: bool) {
        // Told under the lock, so that what is told last is what was found last.
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match failing.get_mut(lane) {
            Some(flag) if *flag != is_failing => *flag = is_failing,
            _ => return,
        }
        let count = failing.iter().filter(|flag| **flag).count();
        metrics::lanes_failing(count);
        self.status.set_log_failing(count == failing.len());
    }
}
