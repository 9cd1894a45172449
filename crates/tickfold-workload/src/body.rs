//! Facts written as bodies in Meta's form. What is in a body beside its facts (texts, prices, error
//! codes) follows from the message, so the same fact says the same in every body; how it is written
//! is a [`Style`].

use std::fmt::Write as _;

use tickfold_core::ids::TemplateKey;
use tickfold_core::state::Status;
use tickfold_core::time::Timestamp;

use crate::fact::{Fact, Message, Number};
use crate::rng::Rng;

const HREF: &str = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/";
const CATEGORIES: [&str; 3] = ["utility", "marketing", "authentication"];
const ERRORS: [(i64, &str); 4] = [
    (131_026, "Message undeliverable"),
    (131_047, "Re-engagement message"),
    (131_049, "Message not delivered to maintain healthy ecosystem engagement"),
    (130_472, "User's number is part of an experiment"),
];
const TEXTS: [&str; 4] = [
    "Hello, where is my order?",
    "Danke schön! 😀",
    "Olá, não recebi o código <1234>",
    "\"ok\"\nhttps://example.com/a?b=c&d",
];

/// The ways in which bodies of the same meaning differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// As Meta writes: ASCII only, lower-case `\uXXXX`, `\/`. Else UTF-8 as it is.
    escaped: bool,
    /// `field` stands before `value`.
    field_first: bool,
    /// `object` stands after `entry`.
    object_last: bool,
}

impl Style {
    /// What Meta sends most.
    pub(crate) const META: Self = Self { escaped: true, field_first: false, object_last: false };

    /// Most often Meta's.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            escaped: !rng.chance(0.1),
            field_first: rng.chance(0.1),
            object_last: rng.chance(0.1),
        }
    }
}

/// One body that asserts these facts, in this order within each number and account, of at least
/// that many bytes.
pub(crate) fn render(facts: &[Fact], style: Style, bytes_min: usize) -> Vec<u8> {
    let mut json = Json { text: String::with_capacity(512 * facts.len().max(1)), style };
    let object = r#""object":"whatsapp_business_account""#;
    json.raw("{");
    if !style.object_last {
        json.raw(object).raw(",");
    }
    json.raw(r#""entry":["#);
    let mut first = true;
    for group in groups(facts) {
        json.comma(&mut first);
        group.write(&mut json);
    }
    json.raw("]");
    if style.object_last {
        json.raw(",").raw(object);
    }
    // Unknown members occur on every level; this one is read past by everybody.
    let (open, close) = (r#","padding":""#, "\"");
    let room = json.text.len() + open.len() + close.len() + 1;
    if let Some(missing) = bytes_min.checked_sub(room) {
        json.raw(open);
        json.text.extend(std::iter::repeat_n('x', missing));
        json.raw(close);
    }
    json.raw("}");
    json.text.into_bytes()
}

/// What goes into one entry: the messages of one number, or one template event, which has a time of
/// its own.
enum Group<'a> {
    Messages { number: &'a Number, facts: Vec<(&'a Message, &'a Status, Timestamp)> },
    Template { key: &'a TemplateKey, event: &'a str, time: Timestamp },
}

fn groups(facts: &[Fact]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for fact in facts {
        match fact {
            Fact::Template { key, event, time } => {
                groups.push(Group::Template { key, event, time: *time });
            }
            Fact::Message { message, status, time } => {
                let mine = groups.iter_mut().find_map(|group| match group {
                    Group::Messages { number, facts } if **number == *message.number => Some(facts),
                    Group::Messages { .. } | Group::Template { .. } => None,
                });
                let one = (&**message, status, *time);
                match mine {
                    Some(facts) => facts.push(one),
                    None => {
                        groups.push(Group::Messages { number: &message.number, facts: vec![one] })
                    }
                }
            }
        }
    }
    groups
}

impl Group<'_> {
    fn write(&self, json: &mut Json) {
        let (waba_id, time, field) = match self {
            Self::Messages { number, .. } => (&number.waba_id, None, "messages"),
            Self::Template { key, time, .. } => {
                (&key.waba_id, Some(seconds(*time)), "message_template_status_update")
            }
        };
        json.raw(r#"{"id":"#).string(waba_id.as_str());
        if let Some(time) = time {
            json.raw(r#","time":"#).number(time);
        }
        json.raw(r#","changes":[{"#);
        if json.style.field_first {
            json.raw(r#""field":"#).string(field).raw(",");
        }
        json.raw(r#""value":{"#);
        match self {
            Self::Messages { number, facts } => messages_value(json, number, facts),
            Self::Template { key, event, .. } => template_value(json, key, event),
        }
        json.raw("}");
        if !json.style.field_first {
            json.raw(r#","field":"#).string(field);
        }
        json.raw("}]}");
    }
}

fn messages_value(json: &mut Json, number: &Number, facts: &[(&Message, &Status, Timestamp)]) {
    json.raw(r#""messaging_product":"whatsapp","metadata":{"display_phone_number":"#);
    json.string(&number.display).raw(r#","phone_number_id":"#);
    json.string(number.phone_number_id.as_str()).raw("}");
    // An inbound message is one that was received; every other status is of ours.
    let of = |wanted: bool| {
        facts.iter().filter(move |(_, status, _)| (**status == Status::Received) == wanted)
    };
    if of(true).next().is_some() {
        let mut first = true;
        json.raw(r#","contacts":["#);
        for (message, ..) in of(true) {
            json.comma(&mut first).raw(r#"{"profile":{"name":"Zoë"},"wa_id":"#);
            json.string(message.party.as_str()).raw("}");
        }
        let mut first = true;
        json.raw(r#"],"messages":["#);
        for (message, _, time) in of(true) {
            json.comma(&mut first);
            inbound(json, message, *time);
        }
        json.raw("]");
    }
    if of(false).next().is_some() {
        let mut first = true;
        json.raw(r#","statuses":["#);
        for (message, status, time) in of(false) {
            json.comma(&mut first);
            status_item(json, message, status, *time);
        }
        json.raw("]");
    }
}

fn status_item(json: &mut Json, message: &Message, status: &Status, time: Timestamp) {
    let traits = traits(message);
    json.raw(r#"{"id":"#).string(message.wamid.as_str());
    json.raw(r#","status":"#).string(status.as_str());
    json.raw(r#","timestamp":""#).number(seconds(time));
    json.raw(r#"","recipient_id":"#).string(message.party.as_str());
    if traits & 0x30 == 0 {
        json.raw(r#","biz_opaque_callback_data":"#).string("campaign/herbst/größe");
    }
    match status {
        // A quote on one, the charge on the other.
        Status::Sent | Status::Delivered => {
            let category = pick(&CATEGORIES, traits);
            json.raw(r#","pricing":{"billable":true,"pricing_model":"PMP","category":"#);
            json.string(category).raw(r#","type":"regular"}"#);
        }
        Status::Failed => {
            let (code, title) = pick(&ERRORS, traits);
            json.raw(r#","errors":[{"code":"#).number(*code);
            json.raw(r#","title":"#).string(title).raw(r#","message":"#).string(title);
            json.raw(r#","error_data":{"details":"#).string(title);
            json.raw(r#"},"href":"#).string(HREF).raw("}]");
        }
        Status::Pending | Status::Read | Status::Played | Status::Received | Status::Other(_) => {}
    }
    json.raw("}");
}

fn inbound(json: &mut Json, message: &Message, time: Timestamp) {
    let traits = traits(message);
    let text = pick(&TEXTS, traits);
    json.raw(r#"{"from":"#).string(message.party.as_str());
    json.raw(r#","id":"#).string(message.wamid.as_str());
    json.raw(r#","timestamp":""#).number(seconds(time)).raw("\"");
    match (traits >> 8) % 8 {
        0 => {
            json.raw(r#","type":"image","image":{"id":"#).string(&format!("{}", traits >> 16));
            json.raw(r#","mime_type":"#).string("image/jpeg");
            json.raw(r#","caption":"#).string(text).raw("}}");
        }
        1 => {
            json.raw(r#","type":"button","button":{"payload":"STOP","text":"#);
            json.string(text).raw("}}");
        }
        2 => {
            json.raw(r#","type":"interactive","interactive":{"type":"button_reply""#);
            json.raw(r#","button_reply":{"id":"b1","title":"#).string(text).raw("}}}");
        }
        _ => {
            json.raw(r#","type":"text","text":{"body":"#).string(text).raw("}}");
        }
    }
}

fn template_value(json: &mut Json, key: &TemplateKey, event: &str) {
    json.raw(r#""event":"#).string(event);
    json.raw(r#","message_template_id":"#).raw(key.template_id.as_str());
    json.raw(r#","message_template_name":"#).string("order_update");
    json.raw(r#","message_template_language":"#).string(&key.language);
    json.raw(r#","reason":"#).string(if event == "REJECTED" { "INVALID_FORMAT" } else { "NONE" });
    json.raw(r#","message_template_category":"UTILITY""#);
}

/// Bits that are the same for a message in every body.
fn traits(message: &Message) -> u64 {
    // FNV-1a.
    message.wamid.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn pick<T, const N: usize>(of: &[T; N], traits: u64) -> &T {
    const { assert!(N > 0) }
    let index = usize::try_from(traits % N as u64).unwrap_or(0);
    of.get(index).unwrap_or_else(|| &of[0])
}

fn seconds(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(1_000)
}

struct Json {
    text: String,
    style: Style,
}

impl Json {
    fn raw(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    fn number(&mut self, number: i64) -> &mut Self {
        let _ = write!(self.text, "{number}");
        self
    }

    fn comma(&mut self, first: &mut bool) -> &mut Self {
        if !std::mem::take(first) {
            self.text.push(',');
        }
        self
    }

    fn string(&mut self, text: &str) -> &mut Self {
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                '\n' => self.text.push_str("\\n"),
                '/' if self.style.escaped => self.text.push_str("\\/"),
                c if u32::from(c) < 0x20 || (self.style.escaped && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.text, "\\u{unit:04x}");
                    }
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_written_as_meta_writes_them_or_as_they_are() {
        let write = |escaped| {
            let mut json = Json { text: String::new(), style: Style { escaped, ..Style::META } };
            json.string("a/\"é😀\n\u{1}");
            json.text
        };
        assert_eq!(write(true), r#""a\/\"\u00e9\ud83d\ude00\n\u0001""#);
        assert_eq!(write(false), "\"a/\\\"é😀\\n\\u0001\"");
    }
}
