//! The topics and what their records are.

use tickfold_core::records::{QUARANTINE_TOPIC, RAW_TOPIC, Topic};
use tickfold_log::{Bounds, TopicInfo};
use tickfold_proto::admin::v1 as pb;

/// Lists the topics under our prefix, those that are ours with their description. A cluster has
/// topics of others too.
pub(super) fn list(topics: Vec<TopicInfo>, prefix: &str) -> pb::ListTopicsResponse {
    let under = |topic: &TopicInfo| {
        topic.spec.name.strip_prefix(prefix).is_some_and(|name| name.starts_with('.'))
    };
    let topics = topics.into_iter().filter(under);
    let mut topics: Vec<_> = topics.map(|topic| told(topic, prefix)).collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    pb::ListTopicsResponse { topics }
}

fn told(topic: TopicInfo, prefix: &str) -> pb::Topic {
    let own_name = topic.spec.name.strip_prefix(prefix).and_then(|name| name.strip_prefix('.'));
    let kind = if topic.spec.compacted { pb::TopicKind::Table } else { pb::TopicKind::Stream };
    let partition = |(partition, bounds): (u32, Bounds)| pb::TopicPartition {
        partition,
        start_offset: bounds.start,
        end_offset: bounds.end,
    };
    pb::Topic {
        description: own_name.and_then(description).unwrap_or_default().to_owned(),
        kind: kind.into(),
        partitions: (0..).zip(topic.bounds).map(partition).collect(),
        name: topic.spec.name,
    }
}

/// One sentence on the records of a topic of ours, by its name without prefix.
fn description(name: &str) -> Option<&'static str> {
    if name == RAW_TOPIC {
        return Some(
            "Webhooks exactly as Meta sent them, and control records; all else follows from them.",
        );
    }
    if name == QUARANTINE_TOPIC {
        return Some("Webhooks whose signature no secret gave, kept until one does.");
    }
    let topic = Topic::ALL.into_iter().find(|topic| topic.name() == name)?;
    Some(match topic {
        Topic::MessageState => "The state of each message, by wamid or wamid/participant.",
        Topic::ConversationState => {
            "Window, last activity and counts of each conversation, by phone number id/party."
        }
        Topic::TemplateState => "The status of each template, by account/template/language.",
        Topic::NumberState => "Each business phone number, by phone number id.",
        Topic::AccountState => "The state of each account, by WABA id.",
        Topic::UserState => {
            "Each user, by account/identifier, with rows for preferences and other identifiers."
        }
        Topic::Transition => "Every new fact of any entity, from which state to which.",
        Topic::Event => "Everything that is not a status, with its raw JSON.",
        Topic::Charge => "What Meta bills for messages, once they were delivered.",
        Topic::Action => "What is to be done, each thing once.",
        Topic::Alert => "What a human should look at.",
        Topic::DeadLetter => "What could not be decoded, with its position and the reason.",
    })
}

#[cfg(test)]
mod tests {
    use tickfold_log::TopicSpec;

    use super::*;

    #[test]
    fn ours_have_a_description_and_others_none() {
        let topic = |name: &str, compacted| TopicInfo {
            spec: TopicSpec { name: name.to_owned(), partitions: 1, compacted },
            bounds: vec![Bounds { start: 2, end: 5 }],
        };
        let names = [("wa.other", false), ("wa.message.state.v1", true), ("was.other", true)];
        let listed = list(names.map(|(name, compacted)| topic(name, compacted)).to_vec(), "wa");
        let [ours, other] = listed.topics.as_slice() else { panic!("{listed:?}") };
        assert_eq!(
            (ours.name.as_str(), ours.kind()),
            ("wa.message.state.v1", pb::TopicKind::Table)
        );
        assert!(ours.description.ends_with('.'));
        assert_eq!((other.description.as_str(), other.kind()), ("", pb::TopicKind::Stream));
        let range = pb::TopicPartition { partition: 0, start_offset: 2, end_offset: 5 };
        assert_eq!(ours.partitions, [range]);
    }
}
