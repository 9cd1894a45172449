//! Records of the derived topics as a watch reads them: what is needed to find who waits for one, and
//! what is told of it.

use std::borrow::Cow;

use serde::Deserialize;
use tickfold_core::records::Topic;
use tickfold_core::time::Timestamp;
use tickfold_log::{Offset, Record};
use tickfold_proto::query::v1 as pb;

use crate::convert;
use crate::query::View;

/// A record of a stream that somebody watches.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) partition: u32,
    pub(super) offset: Offset,
    pub(super) timestamp_ms: i64,
    pub(super) bytes: usize,
    fields: Fields,
}

/// Members of transitions, actions and alerts. What is absent is empty, as it is in proto.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    event_id: String,
    event_time: String,
    event_time_estimated: bool,
    received_time: String,
    source_partition: u32,
    source_offset: u64,

    entity: String,
    key: String,
    from: String,
    to: String,
    state: String,
    late: bool,
    origin: String,
    cause_wamid: String,

    action_id: String,
    alert_id: String,
    kind: String,
    severity: String,
    next_step: String,
    subject: String,
    cause: String,
    not_before: String,
    not_after: String,
    scope: String,
    category: String,
    queue: String,
    attempt: Option<u32>,
    attempts_max: Option<u32>,
    supersedes: String,
    rules_version: u32,

    waba_id: String,
    phone_number_id: String,
    wamid: String,
    participant: String,
    party: String,
    template: String,
    template_name: String,
    template_language: String,
    display_phone_number: String,
    error_code: Option<i64>,
    callback_data: String,
    reason: String,
}

impl Item {
    /// Reads a record; `None` for one that is none of ours, which the topics have not.
    pub(super) fn read(partition: u32, record: &Record) -> Option<Self> {
        let fields = serde_json::from_slice(record.value.as_deref()?).ok()?;
        let (offset, timestamp_ms) = (record.offset, record.timestamp_ms);
        Some(Self { partition, offset, timestamp_ms, bytes: record.size_bytes(), fields })
    }

    /// The account; empty if it belongs to none.
    pub(super) fn waba_id(&self) -> &str {
        &self.fields.waba_id
    }

    pub(super) fn transition(&self, view: View) -> pb::TransitionRecord {
        let f = &self.fields;
        let key = match f.entity.as_str() {
            // Behind the wamid that of one in a group names the participant.
            "message" if view == View::Basic => f.wamid.clone(),
            // Keys of these are ids of Meta's; those of others name the person.
            "message" | "template" | "account" | "number" => f.key.clone(),
            _ => personal(view, &f.key),
        };
        pb::TransitionRecord {
            origin: Some(self.origin()),
            entity: f.entity.clone(),
            key,
            waba_id: f.waba_id.clone(),
            phone_number_id: f.phone_number_id.clone(),
            wamid: f.wamid.clone(),
            participant: personal(view, &f.participant),
            from: f.from.clone(),
            to: f.to.clone(),
            state: f.state.clone(),
            late: f.late,
            error_code: f.error_code,
            // Of a user's alias it is the other identifier.
            reason: if f.entity == "user" { personal(view, &f.reason) } else { f.reason.clone() },
            party: personal(view, &f.party),
            via: f.origin.clone(),
            cause_wamid: personal(view, &f.cause_wamid),
        }
    }

    pub(super) fn action(&self, view: View) -> pb::ActionRecord {
        let f = &self.fields;
        pb::ActionRecord {
            origin: Some(self.origin()),
            action_id: f.action_id.clone(),
            kind: f.kind.clone(),
            subject: personal(view, &f.subject),
            cause: personal(view, &f.cause),
            not_before: time(&f.not_before),
            not_after: time(&f.not_after),
            scope: f.scope.clone(),
            category: f.category.clone(),
            queue: f.queue.clone(),
            attempt: f.attempt,
            attempts_max: f.attempts_max,
            supersedes: f.supersedes.clone(),
            about: Some(self.about(view)),
        }
    }

    pub(super) fn alert(&self, view: View) -> pb::AlertRecord {
        let f = &self.fields;
        pb::AlertRecord {
            origin: Some(self.origin()),
            alert_id: f.alert_id.clone(),
            kind: f.kind.clone(),
            severity: f.severity.clone(),
            next_step: f.next_step.clone(),
            subject: personal(view, &f.subject),
            cause: personal(view, &f.cause),
            reason: f.reason.clone(),
            action_id: f.action_id.clone(),
            about: Some(self.about(view)),
        }
    }

    fn origin(&self) -> pb::RecordOrigin {
        let f = &self.fields;
        let source = pb::SourcePosition { partition: f.source_partition, offset: f.source_offset };
        pb::RecordOrigin {
            event_id: f.event_id.clone(),
            source: Some(source),
            event_time: time(&f.event_time),
            event_time_estimated: f.event_time_estimated,
            received_time: time(&f.received_time),
            log_time: Some(convert::time(Timestamp::from_millis(self.timestamp_ms))),
        }
    }

    fn about(&self, view: View) -> pb::RecordSubject {
        let f = &self.fields;
        pb::RecordSubject {
            waba_id: f.waba_id.clone(),
            phone_number_id: f.phone_number_id.clone(),
            wamid: f.wamid.clone(),
            participant: personal(view, &f.participant),
            party: personal(view, &f.party),
            template: f.template.clone(),
            error_code: f.error_code,
            callback_data: personal(view, &f.callback_data),
            template_name: f.template_name.clone(),
            template_language: f.template_language.clone(),
            display_phone_number: f.display_phone_number.clone(),
            rules_version: f.rules_version,
        }
    }
}

/// What only the larger views tell.
fn personal(view: View, text: &str) -> String {
    if view == View::Basic { String::new() } else { text.to_owned() }
}

fn time(text: &str) -> Option<prost_types::Timestamp> {
    Timestamp::parse_rfc3339(text).map(convert::time)
}

/// The raw offset that a derived record came from: of rows their revision. Tombstones have it in no
/// other place.
pub(super) fn revision(record: &Record) -> Option<u64> {
    let event_id = std::str::from_utf8(record.header("ce_id")?).ok()?;
    event_id.split('-').nth(1)?.parse().ok()
}

/// What those who wait for a change of a thing have named: the wamid, the identifier of a user, the
/// number, the account, or of a conversation its key. An action or alert changes the message that
/// it is about, whatever the time at which it was decided.
pub(super) fn subject(topic: Topic, record: &Record) -> Option<Cow<'_, str>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Row<'a> {
        #[serde(borrow)]
        wamid: Cow<'a, str>,
        #[serde(borrow)]
        party: Cow<'a, str>,
        #[serde(borrow)]
        phone_number_id: Cow<'a, str>,
        #[serde(borrow)]
        waba_id: Cow<'a, str>,
    }
    let key = || std::str::from_utf8(record.key.as_deref()?).ok().map(Cow::Borrowed);
    // A tombstone has only its key, which begins with what is asked for.
    let Some(value) = record.value.as_deref() else { return key() };
    if topic == Topic::ConversationState {
        return key();
    }
    let row: Row<'_> = serde_json::from_slice(value).ok()?;
    match topic {
        Topic::MessageState | Topic::Action | Topic::Alert => Some(row.wamid),
        Topic::UserState => Some(row.party),
        Topic::NumberState => Some(row.phone_number_id),
        Topic::AccountState => Some(row.waba_id),
        Topic::ConversationState
        | Topic::TemplateState
        | Topic::Transition
        | Topic::Event
        | Topic::Charge
        | Topic::DeadLetter => None,
    }
}

/// The account of a record, read without the rest of it.
pub(super) fn account(record: &Record) -> Option<Cow<'_, str>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Head<'a> {
        #[serde(borrow)]
        waba_id: Cow<'a, str>,
    }
    let head: Head<'_> = serde_json::from_slice(record.value.as_deref()?).ok()?;
    Some(head.waba_id)
}

#[cfg(test)]
mod tests {
    use tickfold_log::Header;

    use super::*;

    fn record(key: &str, value: Option<&str>) -> Record {
        Record {
            offset: 9,
            timestamp_ms: 1_000,
            key: Some(key.to_owned().into()),
            value: value.map(|value| value.to_owned().into()),
            headers: vec![Header { name: "ce_id".into(), value: "3-17-2".into() }],
        }
    }

    #[test]
    fn a_row_says_whom_it_concerns_and_a_tombstone_too() {
        let row = r#"{"wamid":"w\/1","party":"49","phone_number_id":"7","waba_id":"5","x":[1]}"#;
        let record_of = |value| record("7/49", value);
        let row = record_of(Some(row));
        let of = |topic| subject(topic, &row).unwrap().into_owned();
        assert_eq!(of(Topic::MessageState), "w/1");
        assert_eq!(of(Topic::ConversationState), "7/49");
        assert_eq!(of(Topic::UserState), "49");
        assert_eq!(of(Topic::NumberState), "7");
        assert_eq!(of(Topic::AccountState), "5");
        assert_eq!(subject(Topic::MessageState, &record_of(None)).unwrap(), "7/49");
        assert_eq!((revision(&row), account(&row).as_deref()), (Some(17), Some("5")));
        assert!(subject(Topic::MessageState, &record_of(Some("{"))).is_none());
    }

    #[test]
    fn the_basic_view_names_no_person() {
        let value = r#"{"event_id":"3-17-2","event_time":"2026-11-20T00:00:00Z","source_partition":3,
            "source_offset":17,"entity":"conversation","key":"7/49","to":"open","state":"open",
            "late":false,"party":"49","participant":"50","cause_wamid":"w","subject":"49","cause":"49",
            "callback_data":"secret","waba_id":"5","error_code":131026,"attempt":2}"#;
        let item = Item::read(3, &record("k", Some(value))).unwrap();
        let told = item.transition(View::Basic);
        assert_eq!(
            (told.key.as_str(), told.party.as_str(), told.cause_wamid.as_str()),
            ("", "", "")
        );
        assert_eq!((told.waba_id.as_str(), told.error_code), ("5", Some(131_026)));
        assert_eq!(told.origin.unwrap().source.unwrap().offset, 17);
        assert_eq!(item.transition(View::Full).key, "7/49");
        for (entity, basic) in [("user", ""), ("template", "DE.7")] {
            let value = format!(r#"{{"entity":"{entity}","to":"alias","reason":"DE.7"}}"#);
            let item = Item::read(3, &record("k", Some(&value))).unwrap();
            assert_eq!(item.transition(View::Basic).reason, basic, "{entity}");
            assert_eq!(item.transition(View::Full).reason, "DE.7", "{entity}");
        }
        for text in
            [format!("{:?}", item.action(View::Basic)), format!("{:?}", item.alert(View::Basic))]
        {
            assert!(!text.contains("\"49\"") && !text.contains("secret"), "{text}");
        }
        let full = item.action(View::Full);
        assert_eq!((full.subject.as_str(), full.attempt), ("49", Some(2)));
        assert_eq!(full.about.unwrap().callback_data, "secret");
    }
}
