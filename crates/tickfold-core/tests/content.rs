//! What a customer's message says: the event of each type of message has in its fields what the body
//! says, and what stands where it should not is left to the raw text.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::Path;

use serde_json::{Map, Value, json};
use support::{Folded, NOON, messages};
use tickfold_core::records::Topic;

/// Fields of an event that say where it came from and not what it says.
const OF_ANY: [&str; 17] = [
    "event_id",
    "event_time",
    "field",
    "kind",
    "natural_key",
    "party",
    "path",
    "phone_number_id",
    "raw",
    "received_time",
    "revision",
    "schema_version",
    "source_offset",
    "source_partition",
    "waba_id",
    "wamid",
    "media_expire_time",
];

/// Kind and content of the one event of a body.
fn said(body: &[u8]) -> (String, Map<String, Value>) {
    let mut folded = Folded::default();
    folded.webhook(body);
    assert_eq!(folded.values(Topic::DeadLetter), [Value::Null; 0]);
    let mut events = folded.values(Topic::Event);
    events.retain(|event| event["kind"] != "error");
    assert_eq!(events.len(), 1, "{events:?}");
    let Value::Object(mut event) = events.remove(0) else { panic!("no object") };
    let kind = event["kind"].as_str().unwrap().to_owned();
    event.retain(|name, _| !OF_ANY.contains(&name.as_str()));
    (kind, event)
}

fn of_corpus(name: &str) -> (String, Map<String, Value>) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus");
    said(&std::fs::read(dir.join(format!("messages.{name}.json"))).unwrap())
}

#[test]
fn each_type_of_message_says_in_fields_what_its_body_says() {
    let id = |rest: &str| format!("wamid.HBgMNDQ3NzAwOTAwMTIzFQIA{rest}");
    let media = |id: &str, mime: &str, sha256: &str| json!({"media_id": id, "media_mime_type": mime, "media_sha256": sha256});
    let with = |mut base: Value, more: Value| {
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base
    };
    let jpeg =
        media("1403000000000011", "image/jpeg", "hJBj9Zcl9VRjPOdXVidvR6b7jv5jMp71z+27MWeOhXc=");
    let cases = [
        ("text", "text", json!({"text": "Hello, is my parcel on its way?"})),
        (
            "text.reply",
            "text",
            json!({"text": "Yes please", "reply_to": id("ERgSNjJCQTAyQUI5NUQ3QjM0M0I3AA==")}),
        ),
        ("text.forwarded", "text", json!({"text": "fwd", "forwarded": true})),
        ("text.frequently_forwarded", "text", json!({"text": "fwd fwd", "forwarded": true})),
        ("text.group", "text", json!({"text": "hello all", "sender": "447700900123"})),
        (
            "text.referred_product",
            "text",
            json!({"text": "Is this one in blue?", "catalog_id": "194836000000005", "product_id": "SKU-77/b",
                "reply_to": id("ERgSNjVBNUU3RUZCNDFGRkI0QzE4AA==")}),
        ),
        (
            "text.referral_post",
            "text",
            json!({"text": "hi", "referral_source_type": "post", "referral_source_id": "4560000000001"}),
        ),
        ("image", "image", with(jpeg.clone(), json!({"text": "my receipt"}))),
        (
            "document",
            "document",
            with(
                media(
                    "1403000000000014",
                    "application/pdf",
                    "NgElyh7q/piHNMc8iDX9RcxLQRPX0ZdjjZJ+DXZDHr4=",
                ),
                json!({"text": "invoice", "media_filename": "fatura_\u{dc}nal (1).pdf"}),
            ),
        ),
        (
            "audio.voice",
            "audio",
            media(
                "1403000000000015",
                "audio/ogg; codecs=opus",
                "nlvavMx9iSWDNYD6aL68R72uWF/7aNXdeRQExuypTVw=",
            ),
        ),
        ("voice.legacy", "voice", media("1403000000000020", "audio/ogg; codecs=opus", "00ff")),
        (
            "sticker.animated",
            "sticker",
            media("1403000000000018", "image/webp", "98jUf7cIwKMeH8oemr8iNXMQgtdpaMGqF7a1L+RGK48="),
        ),
        (
            "media.error_131052",
            "image",
            json!({"media_id": "1403000000000019", "media_mime_type": "image/jpeg", "error_code": 131_052}),
        ),
        ("location.pin", "location", json!({"latitude": -33.8567844, "longitude": 151.2152967})),
        (
            "location.place",
            "location",
            json!({"latitude": 51.5, "longitude": 0.0, "text": "Meridian Caf\u{e9}", "address": "1 Zero St, Greenwich"}),
        ),
        ("contacts.minimal", "contacts", json!({"text": "X", "card_count": 1})),
        ("contacts.request_reply", "contacts", json!({"card_count": 1})),
        (
            "reaction.add",
            "reaction",
            json!({"text": "\u{1f44d}\u{1f3fe}", "target_wamid": id("ERgSNjJCQTAyQUI5NUQ3QjM0M0I3AA==")}),
        ),
        (
            "reaction.removed_omitted",
            "reaction",
            json!({"target_wamid": id("ERgSNjJCQTAyQUI5NUQ3QjM0M0I3AA==")}),
        ),
        (
            "reaction.removed_empty",
            "reaction",
            json!({"target_wamid": id("ERgSNjJCQTAyQUI5NUQ3QjM0M0I3AA==")}),
        ),
        (
            "button.no_context",
            "button",
            json!({"text": "Stop promotions", "payload": "Stop promotions"}),
        ),
        (
            "interactive.button_reply",
            "interactive",
            json!({"subtype": "button_reply", "text": "Yes", "payload": "yes-1",
                "reply_to": id("ERgSMTI0MENEOUE0QkQ4QkVFNkU3AA==")}),
        ),
        (
            "interactive.list_reply",
            "interactive",
            json!({"subtype": "list_reply", "text": "09:00", "payload": "slot:2026-12-01T09",
                "reply_to": id("ERgSQ0FCOUUzRkZFQUY2OUI4NDM4AA==")}),
        ),
        (
            "interactive.nfm_flow_not_object",
            "interactive",
            json!({"subtype": "nfm_reply", "reply_name": "flow", "text": "Sent", "payload": "[1,\"two\",null]"}),
        ),
        (
            "interactive.nfm_address",
            "interactive",
            json!({"subtype": "nfm_reply", "reply_name": "address_message", "text": "Asha\n12 Lake Rd",
                "payload": "{\"saved_address_id\":\"a1\",\"values\":{\"in_pin_code\":\"400001\",\"name\":\"Asha\",\"phone_number\":\"+915550000042\"}}"}),
        ),
        (
            "interactive.call_permission_reject",
            "interactive",
            json!({"subtype": "call_permission_reply", "payload": "reject", "reply_to": "wacid.iKLc4Lhj3xwd7OCVOE1OogjmAXMk"}),
        ),
        (
            "interactive.payment_method",
            "interactive",
            json!({"subtype": "payment_method", "payload": "pix", "reference_id": "order-5501"}),
        ),
        ("interactive.missing_object_with_error", "interactive", json!({})),
        (
            "order",
            "order",
            json!({"catalog_id": "194836000000005", "text": "please gift wrap", "item_count": 2,
                "total_price": 68.0, "currency": "EUR"}),
        ),
        (
            "order.string_numbers",
            "order",
            json!({"catalog_id": "194836000000005", "item_count": 1, "total_price": 7.25, "currency": "EUR"}),
        ),
        (
            "system.user_changed_number",
            "system",
            json!({"subtype": "user_changed_number", "new_value": "447700900456",
                "text": "Imogen Farrow changed from 447700900123 to 447700900456"}),
        ),
        (
            "system.user_changed_user_id",
            "system",
            json!({"subtype": "user_changed_user_id", "text": "User identifier changed",
                "new_value": "GB.90000000000000000002"}),
        ),
        (
            "system.customer_identity_changed",
            "system",
            json!({"subtype": "customer_identity_changed", "text": "Identity changed", "new_value": "h4sh="}),
        ),
        ("unsupported", "unsupported", json!({"error_code": 131_051})),
        ("unsupported.with_type", "unsupported", json!({"subtype": "poll", "error_code": 131_051})),
        ("unsupported.legacy_error", "unknown", json!({"error_code": 501})),
        (
            "edit.text",
            "edit",
            json!({"subtype": "text", "text": "Hello, is my parcel on its way today?",
                "target_wamid": id("EhgUM0E4OTc2RDVCNEZFRjgzRkVEOEQA")}),
        ),
        (
            "edit.image_caption",
            "edit",
            with(
                jpeg,
                json!({"subtype": "image", "text": "the receipt",
                    "target_wamid": id("EhgUM0ExMzkwOUZENDJCQUFEOTg3ODMA")}),
            ),
        ),
        ("revoke", "revoke", json!({"target_wamid": id("EhgUM0E4OTc2RDVCNEZFRjgzRkVEOEQA")})),
        ("request_welcome", "request_welcome", json!({})),
        ("type_missing", "unknown", json!({"text": "typeless"})),
        ("type_unknown_future", "hologram", json!({})),
    ];
    let mut differing = 0;
    for (name, kind, expected) in &cases {
        let (told, content) = of_corpus(name);
        assert_eq!(told, *kind, "{name}");
        if Value::Object(content.clone()) != *expected {
            println!("{name}: {} is not {expected}", Value::Object(content));
            differing += 1;
        }
    }
    assert_eq!(differing, 0);
}

fn message(rest: &str) -> Map<String, Value> {
    let (_, content) = said(&messages(&format!(
        r#""messages":[{{"id":"wamid.1","from":"447700900123","timestamp":"{NOON}",{rest}}}]"#
    )));
    content
}

#[test]
fn an_order_is_summed_only_if_all_of_it_is_understood() {
    let order =
        |items: &str| message(&format!(r#""type":"order","order":{{"product_items":{items}}}"#));
    let item = |price: &str, currency: &str| {
        format!(r#"{{"quantity":2,"item_price":{price},"currency":"{currency}"}}"#)
    };
    let two = order(&format!("[{},{}]", item("1.5", "EUR"), item("\"2\"", "EUR")));
    assert_eq!((&two["item_count"], &two["total_price"]), (&json!(2), &json!(7.0)));
    for items in [
        format!("[{},{}]", item("1", "EUR"), item("1", "USD")),
        format!("[{},{}]", item("1", "EUR"), item("\"free\"", "EUR")),
        format!("[{},null]", item("1", "EUR")),
        format!("[{},{}]", item("1e308", "EUR"), item("1e308", "EUR")),
    ] {
        let told = order(&items);
        assert_eq!((&told["item_count"], told.get("total_price")), (&json!(2), None), "{items}");
        assert_eq!(told.get("currency"), None, "{items}");
    }
    for items in ["[]", "7", "{}", "null"] {
        assert_eq!(order(items).get("item_count"), None, "{items}");
    }
}

#[test]
fn content_of_a_wrong_type_is_left_to_the_raw_text() {
    for (kind, content) in [
        ("text", r#""text":"hi""#),
        ("text", r#""text":{"body":{"en":"hi"}}"#),
        ("image", r#""image":[{"id":"1"}]"#),
        ("image", r#""image":{"id":{"id":"1"},"sha256":"x"}"#),
        ("location", r#""location":{"latitude":"north","longitude":1}"#),
        ("location", r#""location":{"latitude":1e999,"longitude":1}"#),
        ("contacts", r#""contacts":"Petra""#),
        ("reaction", r#""reaction":{"message_id":["wamid.X"]}"#),
        ("interactive", r#""interactive":[1]"#),
        ("edit", r#""edit":{"original_message_id":null,"message":7}"#),
        ("revoke", r#""revoke":{}"#),
        ("system", r#""system":"moved""#),
    ] {
        let told = message(&format!(r#""type":"{kind}",{content}"#));
        assert_eq!(told, Map::new(), "{content}");
    }
}
