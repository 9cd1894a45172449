//! Tells a task that is stuck from one that waits.
//!
//! A task is stuck when input waits for it, or its start is not done, and nothing comes of it: neither
//! does the committed position move, nor does a restore get further than it ever was. Where the log says that it can
//! do nothing now, or does not answer, there is nobody to blame: a new process would find the same
//! log, so the time starts anew with each such answer. So it does with a commit that is late or aborted, which
//! may well pass, but only for so long: it may be one that can never be accepted. A partition that fails over and over for
//! another reason is stuck too, since a new process may get further: it opens log and stores anew.

use tickfold_log::Offset;

/// What is seen of a partition at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Committed position, as far as known.
    pub(crate) position: Offset,
    /// End of raw; `None` if the log does not tell.
    pub(crate) end: Option<Offset>,
    /// Offsets that a restore has still to go; `None` if none is under way.
    pub(crate) restore_remaining: Option<u64>,
    /// It is not live yet.
    pub(crate) is_starting: bool,
    /// How often the log said that it can do nothing now.
    pub(crate) times_log_away: u64,
    /// How often a commit was aborted, or waited for long.
    pub(crate) times_commit_late: u64,
    /// It is refused or stopped, or stands still for somebody: it is not to work.
    pub(crate) is_over: bool,
    /// It opens or copies a store: that takes as long as there are bytes, and shows nothing meanwhile.
    pub(crate) copies: bool,
}

/// How many times longer a store may take to be opened or copied. Only a disk that hangs takes as long.
const COPY_TIMES: u64 = 60;
/// How many times longer it may take in which commits are late or aborted. Without an answer of the
/// brokers, one comes to its end well within that.
const COMMIT_TIMES: u64 = 10;

/// Watches one partition.
#[derive(Debug)]
pub(crate) struct Watchdog {
    limit_ms: u64,
    /// The last look.
    seen_ms: u64,
    /// For how long there was no progress and no excuse, without what went into copies, and in those. One
    /// that is made again and again is no progress either.
    stands_ms: u64,
    copies_ms: u64,
    /// For how long there was neither progress nor any excuse but commits that were late.
    uncommitted_ms: u64,
    position: Offset,
    /// The least that a restore had still to go at this position.
    remaining_min: u64,
    times_log_away: u64,
    times_commit_late: u64,
}

impl Watchdog {
    /// Begins to watch.
    pub(crate) fn new(limit_ms: u64, now_ms: u64) -> Self {
        Self {
            limit_ms,
            seen_ms: now_ms,
            stands_ms: 0,
            copies_ms: 0,
            uncommitted_ms: 0,
            position: 0,
            remaining_min: u64::MAX,
            times_log_away: 0,
            times_commit_late: 0,
        }
    }

    /// Takes what is seen now; returns for how many milliseconds the task is stuck, once that is
    /// the limit.
    pub(crate) fn see(&mut self, seen: &Seen, now_ms: u64) -> Option<u64> {
        let moved = seen.position != self.position;
        let remaining = seen.restore_remaining.unwrap_or(u64::MAX);
        let restores = remaining < self.remaining_min;
        let log_away = seen.end.is_none() || seen.times_log_away != self.times_log_away;
        let nothing_waits = seen.end.is_some_and(|end| end <= seen.position);
        // A start has to be done whether or not there is new input.
        let idle = nothing_waits && !seen.is_starting;
        if moved {
            self.remaining_min = u64::MAX;
        }
        self.remaining_min = self.remaining_min.min(remaining);
        self.position = seen.position;
        self.times_log_away = seen.times_log_away;
        let commit_late = std::mem::replace(&mut self.times_commit_late, seen.times_commit_late)
            != seen.times_commit_late;
        let passed_ms = now_ms.saturating_sub(std::mem::replace(&mut self.seen_ms, now_ms));
        if moved || restores || log_away || idle || seen.is_over {
            (self.stands_ms, self.copies_ms, self.uncommitted_ms) = (0, 0, 0);
            return None;
        }
        self.uncommitted_ms = self.uncommitted_ms.saturating_add(passed_ms);
        if commit_late && self.uncommitted_ms < self.limit_ms.saturating_mul(COMMIT_TIMES) {
            (self.stands_ms, self.copies_ms) = (0, 0);
            return None;
        }
        let sum = if seen.copies { &mut self.copies_ms } else { &mut self.stands_ms };
        *sum = sum.saturating_add(passed_ms);
        let is_stuck = self.stands_ms >= self.limit_ms
            || self.copies_ms >= self.limit_ms.saturating_mul(COPY_TIMES);
        is_stuck.then(|| self.stands_ms.saturating_add(self.copies_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT_MS: u64 = 60_000;

    fn waiting() -> Seen {
        Seen {
            position: 40,
            end: Some(100),
            restore_remaining: None,
            is_starting: false,
            times_log_away: 0,
            times_commit_late: 0,
            is_over: false,
            copies: false,
        }
    }

    #[test]
    fn a_store_may_take_an_hour_to_be_copied_and_no_longer() {
        let starts = Seen { is_starting: true, ..waiting() };
        let copies_until = |end| move |second| Seen { copies: second < end, ..starts };
        assert_eq!(watch(copies_until(u64::MAX)), None, "not within five minutes");
        assert_eq!(watch(copies_until(200)), Some((259, 259_000)), "the time after it counts");
        let again_and_again = |second| Seen { copies: second % 15 < 5, ..starts };
        assert_eq!(watch(again_and_again), Some((89, 89_000)), "that it is tried is no progress");
        let mut dog = Watchdog::new(LIMIT_MS, 0);
        let mut looks = (0..u64::MAX)
            .map(|minute| (minute, dog.see(&copies_until(u64::MAX)(0), minute * LIMIT_MS)));
        assert_eq!(looks.find_map(|(minute, stuck)| stuck.map(|_| minute)), Some(60));
    }

    /// Looks every second for five minutes; returns when it barked and for how long it was stuck.
    fn watch(mut at: impl FnMut(u64) -> Seen) -> Option<(u64, u64)> {
        let mut dog = Watchdog::new(LIMIT_MS, 0);
        (0..300).find_map(|second| {
            let stuck_ms = dog.see(&at(second), second * 1_000)?;
            Some((second, stuck_ms))
        })
    }

    #[test]
    fn no_progress_while_input_waits_is_stuck_after_the_limit() {
        assert_eq!(watch(|_| waiting()), Some((60, LIMIT_MS)));
        let stops_at_100 =
            |second: u64| Seen { position: second.min(100), end: Some(999), ..waiting() };
        assert_eq!(watch(stops_at_100), Some((160, LIMIT_MS)));
    }

    #[test]
    fn a_task_that_moves_however_slowly_is_not_stuck() {
        assert_eq!(watch(|second| Seen { position: second / 59, ..waiting() }), None);
        // A claim may find the position further back.
        assert_eq!(watch(|second| Seen { position: 40 - second / 50, ..waiting() }), None);
    }

    #[test]
    fn nothing_to_do_is_no_reason() {
        assert_eq!(watch(|_| Seen { end: Some(40), ..waiting() }), None);
        assert_eq!(watch(|_| Seen { is_over: true, ..waiting() }), None);
        let input_comes =
            |second| Seen { end: Some(if second < 90 { 40 } else { 41 }), ..waiting() };
        assert_eq!(watch(input_comes), Some((149, LIMIT_MS)), "counted from when it was idle");
    }

    #[test]
    fn a_start_that_gets_nowhere_is_stuck_also_without_input() {
        let starts = Seen { end: Some(40), is_starting: true, ..waiting() };
        assert_eq!(watch(|_| starts), Some((60, LIMIT_MS)));
        let live_at_50 = |second| Seen { is_starting: second < 50, ..starts };
        assert_eq!(watch(live_at_50), None);
        assert_eq!(watch(|second| Seen { times_log_away: second / 30, ..starts }), None);
    }

    #[test]
    fn a_log_that_is_away_is_no_reason_until_it_is_back() {
        assert_eq!(watch(|_| Seen { end: None, ..waiting() }), None);
        assert_eq!(watch(|second| Seen { times_log_away: second / 30, ..waiting() }), None);
        let back_at_100 = |second: u64| Seen { times_log_away: second.min(100), ..waiting() };
        assert_eq!(watch(back_at_100), Some((160, LIMIT_MS)));
    }

    #[test]
    fn a_commit_that_is_late_again_and_again_is_no_reason_for_ten_times_the_limit() {
        let late = |second: u64| Seen { times_commit_late: second / 10, ..waiting() };
        assert_eq!(watch(late), None, "not within five minutes");
        let mut dog = Watchdog::new(LIMIT_MS, 0);
        let stuck = (0..2_000).find(|second| dog.see(&late(*second), second * 1_000).is_some());
        assert_eq!(stuck, Some(650), "the limit after the last one that was excused");
        let once = |second: u64| Seen { times_commit_late: second.min(100), ..waiting() };
        assert_eq!(watch(once), Some((160, LIMIT_MS)), "the time after it counts");
        // An answer that the log is away, or progress, begins it all anew.
        let mut dog = Watchdog::new(LIMIT_MS, 0);
        let away = |second: u64| Seen { times_log_away: second / 140, ..late(second) };
        assert!((0..9_999).all(|second| dog.see(&away(second), second * 1_000).is_none()));
    }

    #[test]
    fn a_restore_that_gets_on_is_progress_and_one_that_begins_anew_is_not() {
        let restoring =
            |remaining| Seen { restore_remaining: Some(remaining), is_starting: true, ..waiting() };
        assert_eq!(watch(|second| restoring(1_000 - second)), None);
        assert_eq!(watch(|second| restoring(1_000 - second % 20)), Some((79, LIMIT_MS)));
        assert_eq!(watch(|_| Seen { end: Some(40), ..restoring(9) }), Some((60, LIMIT_MS)));
    }
}
