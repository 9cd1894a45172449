//! How the nodes' pages of one list of templates, accounts or numbers become one page.

use std::collections::BTreeMap;

use prost::Message;
use tickfold_proto::query::v1 as pb;

use super::arguments::{self, View};
use super::list::REPLY_EXTRA_BYTES;
use super::listing::{Listed, Listing, Size};
use super::merge::{Spread, numbers};
use super::page::{Page, Parts};
use super::partitions::Asked;
use crate::QueryOptions;
use crate::reasons::Failure;

/// A list: what its entries sort by, and how two nodes' words on one entry become one.
macro_rules! a_list {
    ($request:ident, $reply:ident, $entries:ident, $listing:path, $parts:expr, $join:expr) => {
        impl Spread for pb::$request {
            type Reply = pb::$reply;

            fn view(&self) -> Result<View, Failure> {
                Ok(View::Basic)
            }

            /// What is malformed is said by whoever reads the list.
            fn asked(&self) -> Asked {
                $listing(self).map_or(Asked::All, |list| list.asked())
            }

            fn min_position(&mut self) -> &mut Vec<pb::Position> {
                &mut self.min_position
            }

            fn as_of(reply: &mut pb::$reply) -> &mut Option<pb::AsOf> {
                &mut reply.as_of
            }

            fn merge(
                &self,
                replies: Vec<pb::$reply>,
                options: &QueryOptions,
            ) -> Result<pb::$reply, Failure> {
                let count = arguments::page_size(self.page_size, options)?;
                let size = Size { count, bytes: options.response_bytes_max };
                let pages =
                    replies.into_iter().map(|reply| (reply.$entries, reply.next_page_token));
                let page = $listing(self)?.page;
                let ($entries, next_page_token) =
                    pages_of(pages.collect(), &page, size, $parts, $join)?;
                Ok(pb::$reply { $entries, next_page_token, as_of: None })
            }

            /// Whoever cannot be asked may have more.
            fn tells_absence(&self, _: &pb::$reply) -> bool {
                true
            }
        }
    };
}

a_list!(
    ListTemplatesRequest,
    ListTemplatesResponse,
    templates,
    Listing::of_templates,
    |one: &pb::Template| {
        vec![one.waba_id.clone(), one.template_id.clone(), one.language.clone()]
    },
    |first, _| first
);
a_list!(
    ListAccountsRequest,
    ListAccountsResponse,
    accounts,
    Listing::of_accounts,
    |one: &pb::Account| vec![one.waba_id.clone()],
    |first, _| first
);
a_list!(
    ListNumbersRequest,
    ListNumbersResponse,
    numbers,
    Listing::of_numbers,
    |one: &pb::Number| vec![one.phone_number_id.clone()],
    numbers
);

/// The nodes' pages of one list as one. It ends where the first of them ends that has more than it
/// told, so the next page begins there for all of them.
fn pages_of<T: Message>(
    replies: Vec<Listed<T>>,
    page: &Page<Parts>,
    size: Size,
    parts: impl Fn(&T) -> Parts,
    join: impl Fn(T, T) -> T,
) -> Result<Listed<T>, Failure> {
    let mut end: Option<Parts> = None;
    let mut all: BTreeMap<Parts, T> = BTreeMap::new();
    for (entries, token) in replies {
        end = end.into_iter().chain(page.place(&token)?).min();
        for one in entries {
            let place = parts(&one);
            let one = match all.remove(&place) {
                Some(other) => join(other, one),
                None => one,
            };
            all.insert(place, one);
        }
    }
    let (mut told, mut bytes) = (Vec::new(), REPLY_EXTRA_BYTES);
    let mut last: Option<Parts> = None;
    for (place, one) in all {
        if end.as_ref().is_some_and(|end| place > *end) {
            break;
        }
        bytes += one.encoded_len();
        let full = told.len() >= size.count || (bytes > size.bytes && !told.is_empty());
        if full {
            return Ok((told, last.map(|last| page.token_after(&last)).unwrap_or_default()));
        }
        told.push(one);
        last = Some(place);
    }
    Ok((told, end.map(|end| page.token_after(&end)).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(ids: &[&str], more: Option<&str>) -> pb::ListAccountsResponse {
        let account = |id: &&str| pb::Account { waba_id: (*id).to_owned(), ..Default::default() };
        let page = Listing::of_accounts(&pb::ListAccountsRequest::default()).unwrap().page;
        let token = more.map(|last| page.token_after(&vec![last.to_owned()]));
        pb::ListAccountsResponse {
            accounts: ids.iter().map(account).collect(),
            next_page_token: token.unwrap_or_default(),
            as_of: None,
        }
    }

    fn merged(page_size: i32, replies: Vec<pb::ListAccountsResponse>) -> (String, Option<Parts>) {
        let request = pb::ListAccountsRequest { page_size, ..Default::default() };
        let merged = request.merge(replies, &QueryOptions::default()).unwrap();
        let page = Listing::of_accounts(&request).unwrap().page;
        let ids = merged.accounts.iter().map(|account| account.waba_id.as_str());
        (ids.collect(), page.place(&merged.next_page_token).unwrap())
    }

    #[test]
    fn a_page_ends_where_a_node_did_not_tell_all() {
        let after = |id: &str| Some(vec![id.to_owned()]);
        let whole = merged(9, vec![reply(&["a", "d"], None), reply(&["b"], None)]);
        assert_eq!(whole, ("abd".to_owned(), None));
        let cut = merged(9, vec![reply(&["a", "c"], Some("c")), reply(&["b", "d"], None)]);
        assert_eq!(cut, ("abc".to_owned(), after("c")), "between c and d the first may have more");
        // A node that looked at many and found none says how far it came.
        let none = merged(9, vec![reply(&[], Some("b")), reply(&["a", "c"], None)]);
        assert_eq!(none, ("a".to_owned(), after("b")));
        let short = merged(2, vec![reply(&["a", "d"], None), reply(&["b"], None)]);
        assert_eq!(short, ("ab".to_owned(), after("b")));
    }
}
