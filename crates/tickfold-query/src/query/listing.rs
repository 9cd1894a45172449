//! Lists of what Meta manages: templates, accounts and numbers, all or those that are so and so.
//!
//! The store lists an entity under every word that its facts ever show; whether it is so at the log
//! time of the snapshot, the facts say. The word that finds the fewest is read, the others are looked
//! at.

use prost::Message;
use tickfold_core::action::ActionKind;
use tickfold_core::ids::{PhoneNumberId, TemplateId, TemplateKey, WabaId};
use tickfold_core::state::{LISTED_BYTES_MAX, ListedBy};
use tickfold_proto::query::v1 as pb;
use tickfold_store::Snapshot;

use super::filter;
use super::list::REPLY_EXTRA_BYTES;
use super::page::{Page, Parts};
use super::partitions::{Asked, Snapshots};
use super::standing::Story;
use super::{Query, arguments, joined};
use crate::call::Call;
use crate::convert::{self, Shown};
use crate::reasons::Failure;

/// Lines looked at for one page, in number. Where few of a list match, a page ends here, shorter than
/// asked for or empty, and the next one goes on.
const LINES_MAX: usize = 10_000;

/// What a list is of, and where a page of it begins.
#[derive(Debug)]
pub(super) struct Listing {
    waba_id: Option<WabaId>,
    /// At least one: the first is read.
    words: Vec<(ListedBy, String)>,
    pub(super) page: Page<Parts>,
}

/// A page: so many at most, and so many bytes unless it is a single one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

/// Entities of a page, and the token of the next one; empty at the end of the list.
pub(super) type Listed<T> = (Vec<T>, String);

impl Listing {
    pub(super) fn of_templates(request: &pb::ListTemplatesRequest) -> Result<Self, Failure> {
        let (mut waba_id, mut status, mut quality) =
            (request.waba_id.clone(), request.status.clone(), request.quality.clone());
        let arguments =
            &mut [("waba_id", &mut waba_id), ("status", &mut status), ("quality", &mut quality)];
        filter::entities(&request.filter, arguments)?;
        let words = [
            (ListedBy::Quality, word("quality", quality.to_ascii_uppercase())?),
            (ListedBy::State, word("status", status.to_ascii_uppercase())?),
        ];
        Self::of("templates", account(&waba_id)?, words.into(), &request.page_token)
    }

    pub(super) fn of_accounts(request: &pb::ListAccountsRequest) -> Result<Self, Failure> {
        let (mut state, mut restriction) =
            (request.state.clone(), request.restriction_type.clone());
        let arguments = &mut [("state", &mut state), ("restriction_type", &mut restriction)];
        filter::entities(&request.filter, arguments)?;
        let restriction = restriction.to_ascii_uppercase();
        let words = [
            (ListedBy::Restriction, word("restriction_type", restriction)?),
            (ListedBy::State, word("state", state.to_ascii_lowercase())?),
        ];
        Self::of("accounts", None, words.into(), &request.page_token)
    }

    pub(super) fn of_numbers(request: &pb::ListNumbersRequest) -> Result<Self, Failure> {
        let (mut waba_id, mut state, mut quality, mut restriction) = (
            request.waba_id.clone(),
            request.state.clone(),
            request.quality_event.clone(),
            request.restriction_type.clone(),
        );
        let arguments = &mut [
            ("waba_id", &mut waba_id),
            ("state", &mut state),
            ("quality_event", &mut quality),
            ("restriction_type", &mut restriction),
        ];
        filter::entities(&request.filter, arguments)?;
        let words = [
            (ListedBy::Account, word("waba_id", waba_id.clone())?),
            (ListedBy::Restriction, word("restriction_type", restriction.to_ascii_uppercase())?),
            (ListedBy::Quality, word("quality_event", quality.to_ascii_uppercase())?),
            (ListedBy::State, word("state", state.to_ascii_lowercase())?),
        ];
        Self::of("numbers", account(&waba_id)?, words.into(), &request.page_token)
    }

    fn of(
        what: &str,
        waba_id: Option<WabaId>,
        words: Vec<(ListedBy, String)>,
        token: &str,
    ) -> Result<Self, Failure> {
        let mut arguments = vec![what, waba_id.as_ref().map_or("", WabaId::as_str)];
        arguments.extend(words.iter().map(|(_, word)| word.as_str()));
        let page = Page::of_list(&arguments, token)?;
        let mut words = words;
        words.retain(|(_, word)| !word.is_empty());
        if words.is_empty() {
            words.push((ListedBy::All, String::new()));
        }
        Ok(Self { waba_id, words, page })
    }

    /// The partitions that have entries of it.
    pub(super) fn asked(&self) -> Asked {
        self.waba_id.clone().map_or(Asked::All, Asked::AccountOf)
    }

    fn read_by(&self) -> (ListedBy, &str) {
        let first = self.words.first().map(|(by, word)| (*by, word.as_str()));
        first.unwrap_or((ListedBy::All, ""))
    }

    fn has(&self, is_listed: impl Fn(ListedBy, &str) -> bool) -> bool {
        self.words.iter().all(|(by, word)| is_listed(*by, word))
    }

    fn templates(
        &self,
        snapshots: &Snapshots,
        size: Size,
    ) -> Result<Listed<pb::Template>, Failure> {
        let lines = |snapshot: &dyn Snapshot, after: Option<&Parts>, limit| {
            let after = after.and_then(template_key);
            let waba_id = self.waba_id.as_ref();
            snapshot.templates_listed(self.read_by(), waba_id, after.as_ref(), limit)
        };
        let read = |key: &TemplateKey| {
            for place in snapshots.each() {
                let Some(template) = place.1.template(key)? else { continue };
                let log_time = place.1.store_head().head.log_time_or_epoch();
                if self.has(|by, word| template.facts.is_listed(by, word, log_time)) {
                    let told = Story::in_list(place, ActionKind::HaltTemplate, &template.told)?;
                    return Ok(Some(convert::template(key, &template, told, log_time)));
                }
            }
            Ok(None)
        };
        self.read(snapshots, size, lines, parts_of_template, read)
    }

    fn accounts(&self, snapshots: &Snapshots, size: Size) -> Result<Listed<pb::Account>, Failure> {
        let lines = |snapshot: &dyn Snapshot, after: Option<&Parts>, limit| {
            let after = after.and_then(|parts| parts.first()).map(|id| WabaId::new(id.as_str()));
            snapshot.accounts_listed(self.read_by(), after.as_ref(), limit)
        };
        let read = |key: &WabaId| {
            for place in snapshots.each() {
                let Some(account) = place.1.account(key)? else { continue };
                let log_time = place.1.store_head().head.log_time_or_epoch();
                if self.has(|by, word| account.facts.is_listed(by, word, log_time)) {
                    let told = Story::in_list(place, ActionKind::HaltAccount, &account.told)?;
                    let shown = Shown { log_time, persons: snapshots.tells_persons() };
                    let account = convert::account(key, Some(&account), told, shown);
                    return Ok(Some(pb::Account { display_numbers: Vec::new(), ..account }));
                }
            }
            Ok(None)
        };
        self.read(snapshots, size, lines, |key: &WabaId| vec![key.to_string()], read)
    }

    fn numbers(&self, snapshots: &Snapshots, size: Size) -> Result<Listed<pb::Number>, Failure> {
        let lines = |snapshot: &dyn Snapshot, after: Option<&Parts>, limit| {
            let after = after.and_then(|parts| parts.first());
            let after = after.map(|id| PhoneNumberId::new(id.as_str()));
            snapshot.numbers_listed(self.read_by(), after.as_ref(), limit)
        };
        let read = |key: &PhoneNumberId| {
            let Some((number, log_time)) = joined::number(snapshots, key)? else { return Ok(None) };
            let so = self.has(|by, word| number.facts.is_listed(by, word, log_time));
            let shown = Shown { log_time, persons: snapshots.tells_persons() };
            Ok(so.then(|| convert::number(key, &number, Story::default(), shown)))
        };
        self.read(snapshots, size, lines, |key: &PhoneNumberId| vec![key.to_string()], read)
    }

    /// Reads one page: the partitions' lists merged by key. `read` gives nothing where a line is not
    /// so now.
    fn read<K: Ord, T: Message>(
        &self,
        snapshots: &Snapshots,
        size: Size,
        lines: impl Fn(&dyn Snapshot, Option<&Parts>, usize) -> Result<Vec<K>, tickfold_store::Error>,
        parts: impl Fn(&K) -> Parts,
        read: impl Fn(&K) -> Result<Option<T>, Failure>,
    ) -> Result<Listed<T>, Failure> {
        let (mut told, mut bytes, mut looked_at) = (Vec::new(), REPLY_EXTRA_BYTES, 0);
        let mut last = self.page.last.clone();
        loop {
            // One more than the page, to know whether another page follows.
            let limit = size.count + 1;
            let mut keys = Vec::new();
            for (_, snapshot) in snapshots.each() {
                keys.extend(lines(snapshot, last.as_ref(), limit)?);
            }
            keys.sort_unstable();
            keys.dedup();
            keys.truncate(limit);
            let is_end = keys.len() < limit;
            for key in keys {
                let (mut one, mut full) = (None, told.len() >= size.count);
                full |= looked_at >= LINES_MAX;
                if !full {
                    one = read(&key)?;
                    let more = one.as_ref().map_or(0, T::encoded_len);
                    full = bytes + more > size.bytes && !told.is_empty();
                    bytes += more;
                }
                if full && let Some(last) = &last {
                    return Ok((told, self.page.token_after(last)));
                }
                looked_at += 1;
                told.extend(one);
                last = Some(parts(&key));
            }
            if is_end {
                return Ok((told, String::new()));
            }
        }
    }
}

/// The parts of a template's key, in the order in which it sorts.
fn parts_of_template(key: &TemplateKey) -> Parts {
    vec![key.waba_id.to_string(), key.template_id.to_string(), key.language.clone()]
}

fn template_key(parts: &Parts) -> Option<TemplateKey> {
    let [waba_id, template_id, language] = parts.as_slice() else { return None };
    Some(TemplateKey {
        waba_id: WabaId::new(waba_id.as_str()),
        template_id: TemplateId::new(template_id.as_str()),
        language: language.clone(),
    })
}

fn account(waba_id: &str) -> Result<Option<WabaId>, Failure> {
    let waba_id = Some(waba_id).filter(|waba_id| !waba_id.is_empty());
    waba_id.map(|text| Ok(WabaId::new(arguments::id("waba_id", text.to_owned())?))).transpose()
}

/// A word to list by; the empty one is none. What is longer than any that is listed is a mistake.
fn word(field: &str, word: String) -> Result<String, Failure> {
    if word.len() > LISTED_BYTES_MAX {
        let what = format!("is longer than {LISTED_BYTES_MAX} bytes");
        return Err(Failure::argument(field, what));
    }
    Ok(word)
}

impl Query {
    pub(super) async fn list_of_templates(
        &self,
        request: pb::ListTemplatesRequest,
        call: Call,
    ) -> Result<pb::ListTemplatesResponse, Failure> {
        let (list, size) = (Listing::of_templates(&request)?, self.size(request.page_size)?);
        let reply = self.read(call, request.min_position, list.asked(), move |snapshots| {
            let (templates, next_page_token) = list.templates(&snapshots, size)?;
            let as_of = Some(snapshots.as_of());
            Ok(pb::ListTemplatesResponse { templates, next_page_token, as_of })
        });
        self.fits(reply.await?)
    }

    pub(super) async fn list_of_accounts(
        &self,
        request: pb::ListAccountsRequest,
        call: Call,
    ) -> Result<pb::ListAccountsResponse, Failure> {
        let (list, size) = (Listing::of_accounts(&request)?, self.size(request.page_size)?);
        let reply = self.read(call, request.min_position, list.asked(), move |snapshots| {
            let (accounts, next_page_token) = list.accounts(&snapshots, size)?;
            let as_of = Some(snapshots.as_of());
            Ok(pb::ListAccountsResponse { accounts, next_page_token, as_of })
        });
        self.fits(reply.await?)
    }

    pub(super) async fn list_of_numbers(
        &self,
        request: pb::ListNumbersRequest,
        call: Call,
    ) -> Result<pb::ListNumbersResponse, Failure> {
        let (list, size) = (Listing::of_numbers(&request)?, self.size(request.page_size)?);
        let reply = self.read(call, request.min_position, list.asked(), move |snapshots| {
            let (numbers, next_page_token) = list.numbers(&snapshots, size)?;
            let as_of = Some(snapshots.as_of());
            Ok(pb::ListNumbersResponse { numbers, next_page_token, as_of })
        });
        self.fits(reply.await?)
    }

    fn size(&self, page_size: i32) -> Result<Size, Failure> {
        let count = arguments::page_size(page_size, &self.options)?;
        Ok(Size { count, bytes: self.options.response_bytes_max })
    }
}
