//! Restrictions of an account or of one of its numbers: each type with its end, and what lifted it.
//!
//! Meta imposes and lifts by the same event, in any order of arrival. What is in force is a function
//! of the latest word on each type and the latest word that lifted it.

use std::collections::BTreeMap;

use super::group::learn_latest;
use crate::time::Timestamp;

/// The restriction types that Meta documents, without their common beginning.
pub const RESTRICTION_TYPES: [&str; 9] = [
    "ADD_PHONE_NUMBER_ACTION",
    "BIZ_INITIATED_MESSAGING",
    "CUSTOMER_INITIATED_MESSAGING",
    "UTILITY_TEMPLATES",
    "DIRECT_SEND_UTILITY_TEMPLATES",
    "BUSINESS_INITIATED_CALLING",
    "USER_INITIATED_CALLING",
    "USER_INITIATED_CALLING_CALL_BUTTON_HIDDEN",
    "BIZ_INITIATED_AND_USER_INITIATED_CALLING",
];

/// How every restriction type begins.
const BEGINNING: &str = "RESTRICTED_";

/// The types under which no conversation can be begun, or none at all be held.
const NO_MESSAGES: [&str; 2] = ["BIZ_INITIATED_MESSAGING", "CUSTOMER_INITIATED_MESSAGING"];

/// Types kept, and words that lift.
const TYPES_MAX: usize = 64;

/// What is restricted, and what was lifted again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restrictions {
    /// The latest word on each type, by Meta's word in upper case.
    pub imposed: BTreeMap<String, Imposed>,
    /// The latest time of each `violation_type` that lifted, without its `_UNBAN`.
    pub lifted: BTreeMap<String, Option<Timestamp>>,
}

/// A restriction. Ordered by time, then by how long it holds: the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Imposed {
    /// `entry.time`; unknown is before every known time.
    pub time: Option<Timestamp>,
    /// It does not end by itself.
    pub endless: bool,
    /// `expiration`: when it ends by itself.
    pub expires: Option<Timestamp>,
}

impl Imposed {
    /// As the webhook says it.
    pub fn new(time: Option<Timestamp>, expires: Option<Timestamp>) -> Self {
        Self { time, endless: expires.is_none(), expires }
    }
}

impl Restrictions {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let Self { imposed, lifted } = other;
        let mut learned = false;
        for (kind, theirs) in imposed {
            learned |= learn_latest(&mut self.imposed, kind, theirs, TYPES_MAX);
        }
        for (violation, time) in lifted {
            learned |= learn_latest(&mut self.lifted, violation, time, TYPES_MAX);
        }
        learned
    }

    /// The types in force at a log time. Of equal times the restriction counts, not its end.
    pub fn in_force(&self, log_time: Timestamp) -> impl Iterator<Item = (&str, &Imposed)> {
        self.imposed
            .iter()
            .filter(move |(kind, imposed)| {
                self.lifted_since(kind) <= Some(imposed.time)
                    && imposed.expires.is_none_or(|at| log_time < at)
            })
            .map(|(kind, imposed)| (kind.as_str(), imposed))
    }

    /// The latest time at which a type was lifted; the outer `None` is never.
    fn lifted_since(&self, kind: &str) -> Option<Option<Timestamp>> {
        let kind = kind.strip_prefix(BEGINNING).unwrap_or(kind);
        // A violation named as a type lifts that type; any other is not known so well, and lifts
        // what there is.
        let lifts = |violation: &str| violation == kind || !RESTRICTION_TYPES.contains(&violation);
        let lifting = self.lifted.iter().filter(|(violation, _)| lifts(violation));
        lifting.map(|(_, time)| *time).max()
    }

    /// No conversation can be begun under what is in force.
    pub fn forbid_messages(&self, log_time: Timestamp) -> bool {
        self.in_force(log_time).any(|(kind, _)| forbids_messages(kind))
    }

    /// When conversations can be begun again without a word of Meta; `None` if they can, or never by
    /// itself.
    pub fn messages_end(&self, log_time: Timestamp) -> Option<Timestamp> {
        let forbidding = self.in_force(log_time).filter(|(kind, _)| forbids_messages(kind));
        let ends = forbidding.map(|(_, imposed)| imposed.expires);
        ends.reduce(|one, other| Some(one?.max(other?))).flatten()
    }

    /// When the next restriction ends by itself.
    pub fn next_end(&self, log_time: Timestamp) -> Option<Timestamp> {
        self.in_force(log_time).filter_map(|(_, imposed)| imposed.expires).min()
    }
}

fn forbids_messages(kind: &str) -> bool {
    kind.strip_prefix(BEGINNING).is_some_and(|of| NO_MESSAGES.contains(&of))
}

/// True if Meta documents the restriction type.
pub(crate) fn is_known_restriction(kind: &str) -> bool {
    kind.strip_prefix(BEGINNING).is_some_and(|of| RESTRICTION_TYPES.contains(&of))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = "RESTRICTED_BIZ_INITIATED_MESSAGING";

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp::from_millis(seconds * 1_000))
    }

    fn in_force(restrictions: &Restrictions, seconds: i64) -> usize {
        restrictions.in_force(Timestamp::from_millis(seconds * 1_000)).count()
    }

    fn restrictions(lifted: &[(&str, i64)]) -> Restrictions {
        Restrictions {
            imposed: [
                (MESSAGES.to_owned(), Imposed::new(at(10), at(50))),
                ("RESTRICTED_UTILITY_TEMPLATES".to_owned(), Imposed::new(at(10), None)),
            ]
            .into(),
            lifted: lifted.iter().map(|&(what, time)| (what.to_owned(), at(time))).collect(),
        }
    }

    #[test]
    fn a_restriction_ends_by_its_expiry_or_when_lifted_later() {
        let both = restrictions(&[]);
        assert_eq!((in_force(&both, 20), in_force(&both, 50)), (2, 1));
        assert_eq!(both.next_end(Timestamp::from_millis(0)), at(50));
        assert!(both.forbid_messages(Timestamp::from_millis(20_000)));
        assert!(!both.forbid_messages(Timestamp::from_millis(50_000)));
        // What is named as a type lifts that type only, and only what is older.
        assert_eq!(in_force(&restrictions(&[("UTILITY_TEMPLATES", 11)]), 20), 1);
        assert_eq!(in_force(&restrictions(&[("SPAM", 11)]), 20), 0);
        assert_eq!(in_force(&restrictions(&[("SPAM", 10)]), 20), 2, "of equal times it holds");
        assert_eq!(in_force(&restrictions(&[("SPAM", 9)]), 20), 2);
    }

    #[test]
    fn messages_end_with_the_last_that_forbids_them() {
        let end = |imposed: &[(&str, Option<i64>)]| {
            let imposed = imposed.iter().map(|(of, expires)| {
                (format!("RESTRICTED_{of}"), Imposed::new(at(10), expires.and_then(at)))
            });
            let restrictions =
                Restrictions { imposed: imposed.collect(), ..Restrictions::default() };
            restrictions.messages_end(Timestamp::from_millis(20_000))
        };
        let (begun, held) = ("BIZ_INITIATED_MESSAGING", "CUSTOMER_INITIATED_MESSAGING");
        assert_eq!(end(&[(begun, Some(50)), ("UTILITY_TEMPLATES", Some(30))]), at(50));
        assert_eq!(end(&[(begun, Some(50)), (held, Some(70))]), at(70));
        assert_eq!(end(&[(begun, Some(50)), (held, None)]), None);
        assert_eq!(end(&[(begun, Some(15)), (held, Some(70))]), at(70), "one is over");
        assert_eq!(end(&[("UTILITY_TEMPLATES", Some(30))]), None);
    }

    #[test]
    fn without_times_the_restriction_counts() {
        let mut of_unknown = restrictions(&[]);
        of_unknown.imposed.insert("RESTRICTED_X".to_owned(), Imposed::new(None, None));
        of_unknown.lifted.insert("SPAM".to_owned(), None);
        assert_eq!(in_force(&of_unknown, 20), 3);
    }
}
