//! Finding messages by what was said of them: a trace id of Meta's, the labels of their sender, or their
//! number.

use std::collections::BTreeSet;

use prost::Message as _;
use tickfold_core::ids::{PhoneNumberId, Wamid};
use tickfold_core::state::LABEL_BYTES_MAX;
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::find_messages_request::What;
use tickfold_store::MessageListItem;

use super::arguments::{View, id};
use super::filter::{self, Conditions, FoundBy, Opening};
use super::joined;
use super::list::{self, Cut, List, Messages, Order, REPLY_EXTRA_BYTES};
use super::page::Page;
use super::partitions::Snapshots;
use crate::convert;
use crate::reasons::Failure;

/// What is searched for, within which times, and where the page begins.
#[derive(Debug)]
pub(super) struct Search {
    by: By,
    pub(super) conditions: Conditions,
    view: View,
    page: Page,
}

#[derive(Debug)]
enum By {
    Trace(String),
    Labels(Vec<(&'static str, String)>),
    Number(PhoneNumberId),
}

impl Search {
    /// Reads and checks the arguments.
    pub(super) fn of(request: &pb::FindMessagesRequest) -> Result<Self, Failure> {
        let view = View::of(request.view)?;
        let found_by = filter::found_by(request.what.as_ref(), &request.filter)?;
        let FoundBy { opening, mut conditions } = found_by;
        if let Some(from) = bound("from_time", request.from_time.as_ref())? {
            conditions.not_before(from);
        }
        if let Some(to) = bound("to_time", request.to_time.as_ref())? {
            conditions.before(to);
        }
        Self::opened(FoundBy { opening, conditions }, view, &request.page_token)
    }

    /// The same of a list that names no conversation.
    pub(super) fn of_list(request: &pb::ListMessagesRequest) -> Result<Self, Failure> {
        let view = View::of(request.view)?;
        let found_by = filter::in_list(&request.phone_number_id, &request.filter)?;
        Self::opened(found_by, view, &request.page_token)
    }

    fn opened(found_by: FoundBy, view: View, page_token: &str) -> Result<Self, Failure> {
        let FoundBy { opening, conditions } = found_by;
        let by = match opening {
            Opening::What(What::FbtraceId(trace)) => By::Trace(id("fbtrace_id", trace)?),
            Opening::What(What::Labels(labels)) => By::Labels(wanted(&labels)?),
            Opening::Number(number) => {
                By::Number(PhoneNumberId::new(id("phone_number_id", number)?))
            }
        };
        let ([from, to], looked_at) = (conditions.bounds(), conditions.looked_at());
        let mut parts = vec![from.as_str(), to.as_str()];
        match &by {
            By::Trace(trace) => parts.extend(["trace", trace]),
            By::Labels(labels) => {
                parts.extend(labels.iter().flat_map(|(name, value)| [*name, value.as_str()]));
            }
            By::Number(number) => parts.extend(["number", number.as_str()]),
        }
        if !looked_at.is_empty() {
            parts.extend(["filter", looked_at.as_str()]);
        }
        let page = Page::of_search(view, &parts, page_token)?;
        Ok(Self { by, conditions, view, page })
    }

    /// What tokens are bound to, and how what is found is ordered.
    pub(super) fn order(&self) -> (&Page, Order) {
        let order = match self.by {
            By::Trace(_) => Order::Wamid,
            By::Labels(_) | By::Number(_) => Order::Newest,
        };
        (&self.page, order)
    }

    /// What tokens are bound to, and what is compared.
    pub(super) fn into_page(self) -> (Page, Conditions) {
        (self.page, self.conditions)
    }

    /// One page of what is found.
    pub(super) fn page(
        self,
        snapshots: &Snapshots,
        size: usize,
        bytes_max: usize,
    ) -> Result<Messages, Failure> {
        let Self { by, conditions, view, page } = self;
        let list = match by {
            By::Labels(labels) => List::Labels(labels),
            By::Number(number) => List::Number(number),
            By::Trace(trace) => {
                let cut = Cut { page: &page, conditions: &conditions, view, size, bytes_max };
                return of_trace(snapshots, &trace, &cut);
            }
        };
        let page = page.not_above(conditions.to);
        let cut = Cut { page: &page, conditions: &conditions, view, size, bytes_max };
        list::page(snapshots, &list, &cut)
    }
}

/// Messages of a trace id, by wamid: there are few.
fn of_trace(snapshots: &Snapshots, trace: &str, cut: &Cut<'_>) -> Result<Messages, Failure> {
    let Cut { page, conditions, view, size, bytes_max } = *cut;
    let within = |at: Timestamp| {
        conditions.from.is_none_or(|from| from <= at) && conditions.to.is_none_or(|to| at < to)
    };
    let after: Option<&Wamid> = page.last.as_ref().map(|last| &last.wamid);
    let mut wamids = BTreeSet::new();
    for (_, snapshot) in snapshots.each() {
        wamids.extend(snapshot.messages_of_trace(trace, after, size + 1)?);
    }
    let (mut told, mut bytes) = (Messages::default(), REPLY_EXTRA_BYTES);
    let mut last: Option<Wamid> = None;
    for (index, wamid) in wamids.into_iter().enumerate() {
        let found = joined::message(snapshots, &wamid)?.filter(|found| within(found.list_time));
        let message = found.map(|found| convert::message(&found, view));
        let message = message.filter(|message| conditions.are_met(message));
        let more = message.as_ref().map_or(0, pb::Message::encoded_len);
        let full = index >= size || (bytes + more > bytes_max && !told.messages.is_empty());
        if full && let Some(wamid) = last {
            let list_time = Timestamp::from_millis(0);
            told.next_page_token = page.token_after(&MessageListItem { list_time, wamid });
            return Ok(told);
        }
        bytes += more;
        told.messages.extend(message);
        last = Some(wamid);
    }
    Ok(told)
}

/// The labels asked for, the one that is likely to find the fewest first: that one is read.
fn wanted(labels: &pb::Labels) -> Result<Vec<(&'static str, String)>, Failure> {
    let named = [
        ("intent", &labels.intent),
        ("campaign", &labels.campaign),
        ("template", &labels.template),
        ("language", &labels.language),
    ];
    let given = named.into_iter().filter(|(_, value)| !value.is_empty());
    let wanted: Vec<_> = given.map(|(name, value)| (name, value.clone())).collect();
    if wanted.is_empty() {
        return Err(Failure::argument("labels", "names no label"));
    }
    for (name, value) in &wanted {
        // A label that no message can have is a mistake, such as a whole text of callback data.
        if value.len() > LABEL_BYTES_MAX {
            return Err(Failure::argument(format!("labels.{name}"), "is too long for a label"));
        }
    }
    Ok(wanted)
}

pub(super) fn bound(
    field: &str,
    time: Option<&prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Failure> {
    let Some(time) = time else { return Ok(None) };
    let nanos = i64::from(time.nanos);
    let ms = time.seconds.checked_mul(1_000).filter(|_| (0..1_000_000_000).contains(&nanos));
    match ms.and_then(|ms| ms.checked_add(nanos / 1_000_000)) {
        Some(ms) => Ok(Some(Timestamp::from_millis(ms))),
        None => Err(Failure::argument(field, "is not a time")),
    }
}
