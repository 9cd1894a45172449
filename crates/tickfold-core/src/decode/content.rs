//! What a message says, by its type: text, media, replies, places, orders, and what it does to
//! another message.

use super::{bounded, id_text, short_id, short_text};
use crate::ids::Wamid;
use crate::json::{Json, Object};
use crate::state::Media;

/// What a message says. Members of types that it has not are absent.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// `interactive.type`, `system.type` or `unsupported.type`.
    pub subtype: Option<String>,
    /// What the customer wrote or chose, where the type has one obvious text.
    pub text: Option<String>,
    /// Payload of a button, id of a chosen reply, answer to a request to call, chosen way to pay, or
    /// `response_json` of a flow, which is a text that need not hold JSON.
    pub payload: Option<String>,
    pub media: Option<Media>,
    pub location: Option<(f64, f64)>,
    /// `location.address`.
    pub address: Option<String>,
    /// Of an order or of a product asked about.
    pub catalog_id: Option<String>,
    pub product_id: Option<String>,
    pub order: Option<Order>,
    /// How many cards, of shared contacts.
    pub card_count: Option<u64>,
    /// `nfm_reply.name`: `flow` or `address_message`.
    pub reply_name: Option<String>,
    /// The order that a chosen way to pay is for.
    pub reference_id: Option<String>,
    /// What WhatsApp says the customer has now: a number, a user id, or a hash of an identity.
    pub new_value: Option<String>,
    /// What it does to another message.
    pub target: Option<Target>,
}

/// What a customer ordered.
#[derive(Debug, PartialEq)]
pub(crate) struct Order {
    pub item_count: u64,
    /// Quantities times prices, if every item has both and they share a currency.
    pub total: Option<(f64, String)>,
}

/// What a message does to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Edits(Wamid),
    Revokes(Wamid),
    Reacts { to: Wamid, emoji: Option<String> },
}

impl Target {
    /// The other message.
    pub(crate) fn wamid(&self) -> &Wamid {
        match self {
            Self::Edits(wamid) | Self::Revokes(wamid) | Self::Reacts { to: wamid, .. } => wamid,
        }
    }
}

/// Names of the objects that hold media. `voice` is of the on-premises time.
const MEDIA_KINDS: [&str; 6] = ["image", "video", "document", "audio", "voice", "sticker"];

/// Reads what a message says. The objects are told by their names and not by `type`, which may be
/// missing or new.
pub(super) fn said(message: &Object<'_>) -> Said {
    let mut said = Said::default();
    // Most messages are text, so what they are is looked at once and not by every type in turn.
    for name in message.names() {
        if name == "contacts" {
            cards(message, &mut said);
        }
        let Some(object) = message.object(&name) else { continue };
        let text = |name: &str| object.get(name).and_then(short_text);
        match name.as_ref() {
            "text" => said.text = text("body"),
            "button" => {
                said.text = text("text");
                said.payload = text("payload");
            }
            "interactive" => interactive(&object, &mut said),
            "reaction" => {
                said.text = text("emoji");
                said.target = short_id(object.get("message_id"))
                    .map(|to| Target::Reacts { to: Wamid::new(to), emoji: text("emoji") });
            }
            "location" => {
                let degrees = |name: &str| object.get(name).and_then(Json::number);
                said.location = degrees("latitude").zip(degrees("longitude"));
                said.text = text("name");
                said.address = text("address");
            }
            "order" => {
                said.catalog_id = id_text(object.get("catalog_id"));
                said.text = text("text");
                said.order = order(&object);
            }
            "context" => {
                if let Some(product) = object.object("referred_product") {
                    said.catalog_id = id_text(product.get("catalog_id"));
                    said.product_id = product.get("product_retailer_id").and_then(short_text);
                }
            }
            "system" => {
                said.subtype = text("type");
                said.text = text("body");
                let names = ["wa_id", "new_wa_id", "user_id", "identity"];
                said.new_value = names.into_iter().find_map(text);
            }
            "unsupported" => said.subtype = text("type"),
            "edit" => edit(&object, &mut said),
            "revoke" => {
                let target = short_id(object.get("original_message_id")).map(Wamid::new);
                said.target = target.map(Target::Revokes);
            }
            kind if MEDIA_KINDS.contains(&kind) => {
                said.media = media(&object);
                said.text = text("caption");
            }
            _ => {}
        }
    }
    said
}

fn interactive(object: &Object<'_>, said: &mut Said) {
    said.subtype = object.get("type").and_then(short_text);
    for name in ["button_reply", "list_reply"] {
        if let Some(reply) = object.object(name) {
            said.text = reply.get("title").and_then(short_text);
            said.payload = reply.get("id").and_then(short_text);
        }
    }
    if let Some(reply) = object.object("nfm_reply") {
        said.text = reply.get("body").and_then(short_text);
        said.payload = reply.get("response_json").and_then(short_text);
        said.reply_name = reply.get("name").and_then(short_text);
    }
    if let Some(reply) = object.object("call_permission_reply") {
        said.payload = reply.get("response").and_then(short_text);
    }
    if let Some(reply) = object.object("payment_method") {
        said.payload = reply.get("payment_method").and_then(short_text);
        said.reference_id = id_text(reply.get("reference_id"));
    }
}

/// Shared contacts: whose card the first one is, and how many there are.
fn cards(message: &Object<'_>, said: &mut Said) {
    let Some(cards) = message.get("contacts").and_then(Json::array) else { return };
    let first = cards.clone().next().and_then(|card| card.object()?.object("name"));
    said.text = first.and_then(|name| name.get("formatted_name").and_then(short_text));
    said.card_count = u64::try_from(cards.count()).ok();
}

/// `product_items` of an order. Prices are floats in practice, and numbers come as text too.
fn order(object: &Object<'_>) -> Option<Order> {
    let items = object.get("product_items")?.array()?;
    let mut total = None;
    for item in items.clone() {
        let price = item.object().and_then(|item| {
            let number = |name: &str| item.get(name).and_then(Json::number);
            let currency = item.get("currency").and_then(short_text)?;
            Some((number("quantity")? * number("item_price")?, currency))
        });
        total = match (total, price) {
            (None, price) => Some(price),
            (Some(Some((sum, of))), Some((price, currency))) if of == currency => {
                Some(Some((sum + price, of)))
            }
            (Some(_), _) => Some(None),
        };
    }
    let total = total.flatten().filter(|(sum, _)| f64::is_finite(*sum));
    Some(Order { item_count: u64::try_from(items.count()).ok()?, total })
}

/// An edit: its new text and media are those of the message inside.
fn edit(object: &Object<'_>, said: &mut Said) {
    if let Some(inner) = object.object("message") {
        let inner_said = said_of_edit(&inner);
        said.text = inner_said.text;
        said.media = inner_said.media;
        said.subtype = inner.text("type").map(|word| bounded(&word));
    }
    let target = short_id(object.get("original_message_id")).map(Wamid::new);
    said.target = target.map(Target::Edits);
}

/// What stands inside an edit. Only text and media can, so an edit within an edit is not followed.
fn said_of_edit(inner: &Object<'_>) -> Said {
    let body = inner.object("text").and_then(|text| text.get("body").and_then(short_text));
    let object = MEDIA_KINDS.into_iter().find_map(|kind| inner.object(kind));
    let caption = object.as_ref().and_then(|object| object.get("caption").and_then(short_text));
    Said { text: body.or(caption), media: object.as_ref().and_then(media), ..Said::default() }
}

/// A media object; one without an id cannot be fetched and is none.
pub(super) fn media(object: &Object<'_>) -> Option<Media> {
    let text = |name: &str| object.get(name).and_then(short_text);
    Some(Media {
        id: id_text(object.get("id"))?,
        mime_type: text("mime_type"),
        sha256: text("sha256"),
        filename: text("filename"),
        voice: object.get("voice").and_then(Json::boolean),
        animated: object.get("animated").and_then(Json::boolean),
    })
}
