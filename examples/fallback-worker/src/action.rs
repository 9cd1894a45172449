//! An action as this worker looks at it: few of the members of `schemas/action.v1.json`, and none
//! of those that will be added.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// One record of the topic.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Action {
    /// Names it for ever: the idempotency key.
    pub(crate) action_id: String,
    pub(crate) kind: String,
    /// The customer: a phone number, or a business-scoped id where there is none.
    #[serde(default)]
    pub(crate) party: Option<String>,
    #[serde(default, deserialize_with = "time")]
    pub(crate) not_after: Option<Timestamp>,
    /// What the sender of the message wrote beside it: how a real worker finds what to say.
    #[serde(default)]
    pub(crate) callback_data: Option<String>,
    /// The action that this one takes back.
    #[serde(default)]
    pub(crate) supersedes: Option<String>,
}

/// What to do about an action.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision<'a> {
    /// Send an SMS to this number, unless it gets later than this meanwhile.
    Send { to: &'a str, not_after: Option<Timestamp> },
    /// Nothing, and why.
    Leave(&'static str),
}

impl Action {
    /// Looks at it at a time, with what was taken back.
    pub(crate) fn decide(&self, superseded: &HashSet<&str>, now: Timestamp) -> Decision<'_> {
        match self.kind.as_str() {
            "sms_fallback" => {}
            // Whoever sent the SMS before it came cannot unsend it.
            "fallback_superseded" => return Decision::Leave("noted"),
            _ => return Decision::Leave("not ours"),
        }
        if superseded.contains(self.action_id.as_str()) {
            return Decision::Leave("superseded");
        }
        if self.not_after.is_some_and(|not_after| now > not_after) {
            return Decision::Leave("expired");
        }
        match self.party.as_deref() {
            Some(party) if !party.is_empty() && party.bytes().all(|byte| byte.is_ascii_digit()) => {
                Decision::Send { to: party, not_after: self.not_after }
            }
            Some(_) | None => Decision::Leave("no phone number"),
        }
    }
}

/// RFC 3339, as all times of the topics.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(kind: &str, rest: &str) -> Action {
        let json = format!(r#"{{"action_id":"a1","kind":"{kind}","added_later":7{rest}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_fallback_is_sent_in_time_unless_it_was_taken_back() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-20T00:00:00Z");
        let party = r#","party":"447700900123","not_after":"2026-11-20T00:00:00Z""#;
        let fallback = action("sms_fallback", party);
        let none = HashSet::new();
        let sent = Decision::Send { to: "447700900123", not_after: Some(now) };
        assert_eq!(fallback.decide(&none, now), sent);
        assert_eq!(fallback.decide(&none, at("2026-11-20T00:00:01Z")), Decision::Leave("expired"));
        assert_eq!(fallback.decide(&HashSet::from(["a1"]), now), Decision::Leave("superseded"));
        let other = HashSet::from(["a2"]);
        assert!(matches!(fallback.decide(&other, now), Decision::Send { .. }));
    }

    #[test]
    fn who_has_no_phone_number_gets_no_sms_and_other_kinds_are_not_ours() {
        let (none, now) = (HashSet::new(), Timestamp::now());
        let leave = |action: Action| match action.decide(&none, now) {
            Decision::Leave(why) => why,
            Decision::Send { .. } => "sent",
        };
        let bsuid = r#","party":"GB.48210093377120064511""#;
        assert_eq!(leave(action("sms_fallback", bsuid)), "no phone number");
        assert_eq!(leave(action("sms_fallback", "")), "no phone number");
        assert_eq!(leave(action("fallback_superseded", r#","supersedes":"a0""#)), "noted");
        assert_eq!(leave(action("halt_template", "")), "not ours");
        assert_eq!(leave(action("a_kind_of_next_year", "")), "not ours");
    }
}
