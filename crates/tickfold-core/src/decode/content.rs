//! What a message says, by its type: text, media, replies, places, orders, and what it does to
//! another message.

use super::{bounded, short_id, short_text};
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
    /// Payload of a button, id of a chosen reply, or `response_json` of a flow, which is a text
    /// that need not hold JSON.
    pub payload: Option<String>,
    pub media: Option<Media>,
    pub location: Option<(f64, f64)>,
    /// Of an order or of a product asked about.
    pub catalog_id: Option<String>,
    pub product_id: Option<String>,
    /// What it does to another message.
    pub target: Option<Target>,
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
        let Some(object) = message.object(name) else { continue };
        let text = |name: &str| object.get(name).and_then(short_text);
        match name {
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
            }
            "order" => {
                said.catalog_id = short_id(object.get("catalog_id"));
                said.text = text("text");
            }
            "context" => {
                if let Some(product) = object.object("referred_product") {
                    said.catalog_id = short_id(product.get("catalog_id"));
                    said.product_id = product.get("product_retailer_id").and_then(short_text);
                }
            }
            "system" | "unsupported" => said.subtype = text("type"),
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
    }
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
        id: short_id(object.get("id"))?,
        mime_type: text("mime_type"),
        sha256: text("sha256"),
        filename: text("filename"),
        voice: object.get("voice").and_then(Json::boolean),
        animated: object.get("animated").and_then(Json::boolean),
    })
}
