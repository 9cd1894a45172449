//! Where a body names a message, and as what: for explaining what a raw record did to it.
//!
//! Nothing here folds. It decodes as the fold does and reports the items that name the message, also
//! those that teach nothing of it.

use std::ops::ControlFlow;

use memchr::memmem;

use crate::decode::{Item, Target, decode};
use crate::fold::{ITEMS_MAX, Partition};
use crate::ids::{Participant, WabaId, Wamid};
use crate::route::{Placement, RawText, visit_slots};
use crate::time::Timestamp;

/// Mentions reported of one body. A body that repeats one message so often says nothing new.
const MENTIONS_MAX: usize = 100;

/// How an item names a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Naming {
    /// It is a status of the message, or the message itself.
    Itself,
    /// It edits, revokes or reacts to the message.
    Changes,
    /// It is a message that answers this one.
    Answers,
    /// It is something else that goes with the message, such as a payment.
    Beside,
    /// It could not be decoded.
    Broken,
    /// It belongs to an account of another partition, where it is folded.
    Elsewhere,
}

/// An item that names a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// JSON path within the body.
    pub path: String,
    /// The account that it belongs to, if it names one.
    pub waba_id: Option<WabaId>,
    /// How.
    pub naming: Naming,
    /// Meta's word for what it is: a status, a type of message, a kind of event; of a broken one why
    /// it is.
    pub word: String,
    /// Whose status of a group it is; the message itself otherwise.
    pub participant: Participant,
    /// When it happened, as far as Meta said.
    pub time: Option<Timestamp>,
}

/// Finds bodies that may name a message without decoding them.
#[derive(Debug)]
pub struct Needle {
    finder: memmem::Finder<'static>,
}

impl Needle {
    /// A needle for the message. JSON may write some characters in two ways, as Meta does with `/`,
    /// so the longest part that has none of them is looked for.
    pub fn new(wamid: &Wamid) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let parts = wamid.as_str().split(|c| !plain(c));
        let longest = parts.max_by_key(|part| part.len()).unwrap_or_default();
        Self { finder: memmem::Finder::new(longest).into_owned() }
    }

    /// False only if the body cannot name the message. A body that writes ASCII in escapes of four
    /// digits is always worth decoding.
    pub fn may_be_in(&self, body: &[u8]) -> bool {
        self.finder.find(body).is_some() || memmem::find(body, b"\\u00").is_some()
    }
}

/// The items of a body that name the message, in body order, as a partition sees them.
pub fn mentions(
    body: &[u8],
    appended: Timestamp,
    partition: Partition,
    wamid: &Wamid,
) -> Vec<Mention> {
    let needle = Needle::new(wamid);
    let placement = Placement::new(body, partition.count);
    let (mut found, mut items) = (Vec::new(), 0_usize);
    let _ = visit_slots(body, &mut |slot| {
        let here = placement.partition(slot.waba_id.as_ref()) == partition.id;
        decode(&slot, appended, &mut |decoded| {
            if items >= ITEMS_MAX || found.len() >= MENTIONS_MAX {
                return ControlFlow::Break(());
            }
            // Of the others the fold takes no notice either when it counts.
            items += usize::from(here);
            let raw = match decoded.site.raw {
                RawText::Json(text) => text.as_bytes(),
                RawText::Bytes(bytes) => bytes,
            };
            let time = decoded.item.time();
            let named = naming(&decoded.item, wamid, || needle.may_be_in(raw));
            found.extend(named.map(|(naming, word, participant)| Mention {
                path: decoded.site.path.to_string(),
                waba_id: slot.waba_id.clone(),
                naming: if here { naming } else { Naming::Elsewhere },
                word,
                participant,
                time,
            }));
            ControlFlow::Continue(())
        })
    });
    found
}

fn naming(
    item: &Item,
    wamid: &Wamid,
    may_be: impl FnOnce() -> bool,
) -> Option<(Naming, String, Participant)> {
    let whole = Participant::whole();
    let is = |other: Option<&str>| other == Some(wamid.as_str());
    match item {
        Item::Status(item) if item.wamid == *wamid => {
            let word = item.status.as_str().to_owned();
            Some((Naming::Itself, word, item.participant.clone()))
        }
        Item::Message(item) if item.wamid == *wamid => {
            Some((Naming::Itself, item.message_type.clone(), whole))
        }
        Item::Message(item) if is(item.said.target.as_ref().map(|to| to.wamid().as_str())) => {
            let word = match item.said.target {
                Some(Target::Edits(_)) => "edit",
                Some(Target::Revokes(_)) => "revoke",
                Some(Target::Reacts { .. }) | None => "reaction",
            };
            Some((Naming::Changes, word.to_owned(), whole))
        }
        Item::Message(item) if is(item.reply_to.as_deref()) => {
            Some((Naming::Answers, item.message_type.clone(), whole))
        }
        Item::Payment(item) if item.key.wamid == *wamid => {
            Some((Naming::Beside, format!("payment {}", item.status), whole))
        }
        Item::Other(item) if item.wamid.as_ref() == Some(wamid) => {
            Some((Naming::Beside, item.kind.clone(), whole))
        }
        Item::Broken { scope, reason } if may_be() => {
            Some((Naming::Broken, format!("{scope} {reason}"), whole))
        }
        Item::Status(_)
        | Item::Message(_)
        | Item::Contact(..)
        | Item::Call(_)
        | Item::Payment(_)
        | Item::Group(_)
        | Item::Preference(_)
        | Item::UserId(_)
        | Item::Template(_)
        | Item::Account(_)
        | Item::Number(_)
        | Item::Other(_)
        | Item::NewMember(_)
        | Item::Broken { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WABA: &str = "215589900000101";

    fn check(wamid: &str, value: &str, expected: &[(Naming, &str)]) {
        let body = format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{WABA}","changes":[{{"field":"messages","value":{{{value}}}}}]}}]}}"#
        );
        let wamid = Wamid::from(wamid);
        assert!(expected.is_empty() || Needle::new(&wamid).may_be_in(body.as_bytes()), "{body}");
        let at = Timestamp::from_millis(1_795_132_800_000);
        let found = mentions(body.as_bytes(), at, Partition { id: 0, count: 1 }, &wamid);
        let found: Vec<_> = found.iter().map(|one| (one.naming, one.word.as_str())).collect();
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn items_name_a_message_in_one_of_several_ways() {
        let status = |id: &str| format!(r#"{{"id":"{id}","status":"read","recipient_id":"49"}}"#);
        let two = format!(r#""statuses":[{},{}]"#, status("wamid.A"), status("wamid.B"));
        check("wamid.B", &two, &[(Naming::Itself, "read")]);
        check("wamid", &two, &[]);
        let message = |rest: &str| format!(r#""messages":[{{"id":"wamid.M","from":"49",{rest}}}]"#);
        let text = message(r#""type":"text","context":{"id":"wamid.A"}"#);
        check("wamid.A", &text, &[(Naming::Answers, "text")]);
        check("wamid.M", &text, &[(Naming::Itself, "text")]);
        let reaction = message(r#""type":"reaction","reaction":{"message_id":"wamid.A"}"#);
        check("wamid.A", &reaction, &[(Naming::Changes, "reaction")]);
        let broken = r#""statuses":[{"id":"wamid.A","recipient_id":"49"}]"#;
        check("wamid.A", broken, &[(Naming::Broken, "status status_missing_or_not_a_word")]);
    }

    #[test]
    fn a_wamid_is_found_however_json_writes_it() {
        let wamid = "wamid.HBgMNDQ3/zI+AA==";
        for written in [
            wamid.to_owned(),
            wamid.replace('/', "\\/"),
            wamid.replace('=', "\\u003d").replace('+', "\\u002B"),
            wamid.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect(),
        ] {
            let value = format!(r#""statuses":[{{"id":"{written}","status":"sent"}}]"#);
            check(wamid, &value, &[(Naming::Itself, "sent")]);
        }
        assert!(!Needle::new(&Wamid::from(wamid)).may_be_in(b"wamid.HBgMNDQ4/zI+AA=="));
    }

    #[test]
    fn an_item_of_another_partition_is_elsewhere() {
        let body = format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{WABA}","changes":[{{"field":"messages","value":{{"statuses":[{{"id":"wamid.A","status":"sent"}}]}}}}]}}]}}"#
        );
        let here = crate::raw::partition_of(&WABA.into(), 8);
        let at = Timestamp::from_millis(1_795_132_800_000);
        for id in 0..8 {
            let partition = Partition { id, count: 8 };
            let found = mentions(body.as_bytes(), at, partition, &Wamid::from("wamid.A"));
            let expected = if id == here { Naming::Itself } else { Naming::Elsewhere };
            assert_eq!(found.iter().map(|one| one.naming).collect::<Vec<_>>(), [expected]);
        }
    }
}
