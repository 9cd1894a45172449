//! In which fields two values of one kind of state differ, by the names of the persisted records.
//!
//! The bytes are compared as they stand, without the domain types: equal values are equal bytes, and
//! a field that a later version adds is told without a line of code here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};
use tickfold_proto::STORE_DESCRIPTOR_SET;

use crate::RowKind;

/// What a path is called where the bytes are no record of ours.
const UNREADABLE: &str = "unreadable";

/// Fields of a message by tag: name, and the full name of its type if that is a message.
type Fields = BTreeMap<u32, (String, Option<String>)>;

static MESSAGES: LazyLock<BTreeMap<String, Fields>> = LazyLock::new(|| {
    let mut messages = BTreeMap::new();
    // The bytes are part of this program; a test reads them.
    let set = FileDescriptorSet::decode(STORE_DESCRIPTOR_SET).unwrap_or_default();
    for file in &set.file {
        for message in &file.message_type {
            add(&mut messages, &format!(".{}", file.package()), message);
        }
    }
    messages
});

fn add(messages: &mut BTreeMap<String, Fields>, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    let field = |field: &prost_types::FieldDescriptorProto| {
        let message = (field.r#type() == Type::Message).then(|| field.type_name().to_owned());
        Some((u32::try_from(field.number()).ok()?, (field.name().to_owned(), message)))
    };
    message.nested_type.iter().for_each(|nested| add(messages, &name, nested));
    messages.insert(name, message.field.iter().filter_map(field).collect());
}

fn record(kind: RowKind) -> Option<&'static str> {
    Some(match kind {
        RowKind::Message => ".tickfold.store.v1.Message",
        RowKind::Conversation => ".tickfold.store.v1.Conversation",
        RowKind::Template => ".tickfold.store.v1.Template",
        RowKind::Account => ".tickfold.store.v1.Account",
        RowKind::Number => ".tickfold.store.v1.Number",
        RowKind::User => ".tickfold.store.v1.User",
        RowKind::Call => ".tickfold.store.v1.Call",
        RowKind::Group => ".tickfold.store.v1.Group",
        RowKind::Payment => ".tickfold.store.v1.Payment",
        RowKind::Decided => ".tickfold.store.v1.Decided",
        RowKind::ChargeTotal => ".tickfold.store.v1.ChargeTotal",
        RowKind::Natural => ".tickfold.store.v1.Natural",
        RowKind::Regime => ".tickfold.store.v1.Regime",
        // The key is all of it.
        RowKind::Timer => return None,
    })
}

/// Paths of the fields that differ, such as `facts.failures`; a repeated field is one.
pub(crate) fn differing(kind: RowKind, before: &[u8], after: &[u8]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    if let Some(record) = record(kind) {
        compare(record, "", before, after, &mut paths);
    }
    paths
}

fn compare(message: &str, prefix: &str, before: &[u8], after: &[u8], paths: &mut BTreeSet<String>) {
    let (Some(before), Some(after)) = (by_tag(before), by_tag(after)) else {
        paths.insert(format!("{prefix}{UNREADABLE}"));
        return;
    };
    let tags: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
    for tag in tags {
        let (old, new) = (before.get(&tag), after.get(&tag));
        if old == new {
            continue;
        }
        let known = MESSAGES.get(message).and_then(|fields| fields.get(&tag));
        let Some((name, inner)) = known else {
            paths.insert(format!("{prefix}{tag}"));
            continue;
        };
        match (inner, old.map(Vec::as_slice), new.map(Vec::as_slice)) {
            (Some(inner), Some([Field::Bytes(old)]), Some([Field::Bytes(new)])) => {
                compare(inner, &format!("{prefix}{name}."), old, new, paths);
            }
            _ => _ = paths.insert(format!("{prefix}{name}")),
        }
    }
}

/// A field as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a record by tag; `None` if it is none.
fn by_tag(mut bytes: &[u8]) -> Option<BTreeMap<u32, Vec<Field<'_>>>> {
    let mut fields: BTreeMap<u32, Vec<Field<'_>>> = BTreeMap::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            1 => Field::Bytes(take(&mut bytes, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Field::Bytes(take(&mut bytes, length)?)
            }
            5 => Field::Bytes(take(&mut bytes, 4)?),
            _ => return None,
        };
        fields.entry(u32::try_from(key >> 3).ok()?).or_default().push(field);
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(bytes).ok()
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use tickfold_proto::store::v1 as proto;

    use super::*;

    fn paths(before: &proto::Message, after: &proto::Message) -> Vec<String> {
        let (before, after) = (before.encode_to_vec(), after.encode_to_vec());
        differing(RowKind::Message, &before, &after).into_iter().collect()
    }

    #[test]
    fn the_fields_that_differ_are_named_by_their_paths() {
        let message = proto::Message {
            journal: Some(proto::Journal { revision: 4, created_ms: 1, changed_ms: 2 }),
            facts: Some(proto::MessageFacts::default()),
            ..Default::default()
        };
        assert_eq!(paths(&message, &message), Vec::<String>::new());
        let journal = Some(proto::Journal { revision: 5, created_ms: 1, changed_ms: 3 });
        let later = proto::Message { journal, ..message.clone() };
        assert_eq!(paths(&message, &later), ["journal.changed_ms", "journal.revision"]);
        let without = proto::Message { facts: None, ..message.clone() };
        assert_eq!(paths(&without, &message), ["facts"]);
    }

    #[test]
    fn bytes_that_are_no_record_and_fields_of_nobody_are_told_too() {
        assert_eq!(
            differing(RowKind::Decided, b"\xff", b"").into_iter().collect::<Vec<_>>(),
            [UNREADABLE]
        );
        // Field 1,000 of nobody, as a number.
        let foreign = [0xc0, 0x3e, 0x01];
        let told = differing(RowKind::Decided, &foreign, b"");
        assert_eq!(told.into_iter().collect::<Vec<_>>(), ["1000"]);
        assert!(differing(RowKind::Timer, b"a", b"b").is_empty());
    }

    #[test]
    fn every_kind_with_a_value_has_its_record() {
        for kind in RowKind::ALL {
            let known = record(kind).is_none_or(|record| MESSAGES.contains_key(record));
            assert!(known, "{kind:?}");
        }
    }
}
