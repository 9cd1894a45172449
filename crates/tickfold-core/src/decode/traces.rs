//! `fbtrace_id`, wherever it stands in an item: what Meta's support asks for.

use super::id_text;
use crate::json::{Document, Json};
use crate::route::RawText;

/// How deep it is looked for. Meta puts it into errors, three levels down.
const DEPTH_MAX: usize = 8;

/// How many are taken out of one item.
const TRACES_MAX: usize = 16;

/// The least trace id in an item's text, for its event.
pub(crate) fn least_trace(raw: RawText<'_>) -> Option<String> {
    let RawText::Json(text) = raw else { return None };
    if !text.contains("fbtrace_id") {
        return None;
    }
    of(Document::parse(text.as_bytes()).ok()?.root()).into_iter().min()
}

/// The trace ids of an item, in its order. Almost no item has one, and then this is one search of
/// its text.
pub(super) fn of(json: Json<'_>) -> Vec<String> {
    let mut found = Vec::new();
    if json.raw().contains("fbtrace_id") {
        look(json, DEPTH_MAX, &mut found);
    }
    found
}

fn look(json: Json<'_>, depth: usize, found: &mut Vec<String>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    if let Some(members) = json.object() {
        for name in members.names() {
            // Of duplicates the last one is what every reader of the item sees.
            let Some(member) = members.get(&name) else { continue };
            match name.as_ref() {
                "fbtrace_id" if found.len() < TRACES_MAX => found.extend(id_text(Some(member))),
                _ => look(member, depth, found),
            }
        }
    } else if let Some(elements) = json.array() {
        elements.for_each(|element| look(element, depth, found));
    }
}
