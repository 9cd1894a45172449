//! Whether it is still time to act.
//!
//! Events come late: retries for a week, a replay for years. What is older than the memory of what
//! was decided must not act, since it may have acted before; what is past its use must not act
//! either, but somebody may want to know.

use crate::time::{DAY_MS, Timestamp};

/// When something is judged.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Log time.
    pub log_time: Timestamp,
    /// How long decided actions are remembered, in milliseconds.
    pub retention_ms: i64,
}

/// What to do with an action now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// It is time.
    Act,
    /// Its use is past.
    Expired,
    /// Its cause is so old that it may have acted before, and been forgotten.
    Forgotten,
}

impl Moment {
    /// True if an event of that time may still act, charge and alert.
    pub fn remembers(&self, event_time: Timestamp) -> bool {
        event_time >= self.log_time.plus(DAY_MS - self.retention_ms)
    }

    /// Judges an action by the time of its cause and its last use.
    pub fn judge(&self, event_time: Timestamp, not_after: Option<Timestamp>) -> Urgency {
        if !self.remembers(event_time) {
            Urgency::Forgotten
        } else if not_after.is_some_and(|last| last < self.log_time) {
            Urgency::Expired
        } else {
            Urgency::Act
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_goes_before_what_is_expired() {
        let now = Timestamp::from_millis(1_795_132_800_000);
        let moment = Moment { log_time: now, retention_ms: 8 * DAY_MS };
        let week = now.plus(-7 * DAY_MS);
        assert_eq!(moment.judge(week, None), Urgency::Act);
        assert_eq!(moment.judge(week.plus(-1), None), Urgency::Forgotten);
        assert_eq!(moment.judge(week.plus(-1), Some(week)), Urgency::Forgotten);
        assert_eq!(moment.judge(week, Some(now)), Urgency::Act, "the last moment is one");
        assert_eq!(moment.judge(week, Some(now.plus(-1))), Urgency::Expired);
    }
}
