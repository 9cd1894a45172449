//! `tickfold list`.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tickfold_proto::query::v1 as query;

use super::pages::Pages;
use super::{find, show};
use crate::cli::{List, Paging, Search};

/// Prints one entity per line, or all pages as one document.
pub(crate) async fn list(what: List) -> Result<ExitCode> {
    match what {
        List::Messages { number, party, search } => messages(number, party, search).await,
        List::Templates { waba_id, status, quality, paging } => {
            let mut queries = super::queries(&paging.client).await?;
            let mut pages = pages("templates", &paging);
            while let Some((page_size, page_token)) = pages.next() {
                let request = query::ListTemplatesRequest {
                    waba_id: waba_id.clone().unwrap_or_default(),
                    status: status.clone().unwrap_or_default(),
                    quality: quality.clone().unwrap_or_default(),
                    page_size,
                    page_token,
                    min_position: Vec::new(),
                    filter: paging.filter.clone().unwrap_or_default(),
                };
                let reply = queries.list_templates(super::timed(&paging.client, request)).await;
                let page = reply.map_err(|status| super::failed(&status))?.into_inner();
                let shown = page.templates.into_iter().map(|one| show::template(one, None));
                pages.show(shown, |one| one.line(), page.next_page_token)?;
            }
            pages.end()
        }
        List::Accounts { state, restriction, paging } => {
            let mut queries = super::queries(&paging.client).await?;
            let mut pages = pages("accounts", &paging);
            while let Some((page_size, page_token)) = pages.next() {
                let request = query::ListAccountsRequest {
                    state: state.clone().unwrap_or_default(),
                    restriction_type: restriction.clone().unwrap_or_default(),
                    page_size,
                    page_token,
                    min_position: Vec::new(),
                    filter: paging.filter.clone().unwrap_or_default(),
                };
                let reply = queries.list_accounts(super::timed(&paging.client, request)).await;
                let page = reply.map_err(|status| super::failed(&status))?.into_inner();
                let shown = page.accounts.into_iter().map(|one| show::account(one, None));
                pages.show(shown, |one| one.line(), page.next_page_token)?;
            }
            pages.end()
        }
        List::Numbers { waba_id, state, quality_event, restriction, paging } => {
            let mut queries = super::queries(&paging.client).await?;
            let mut pages = pages("numbers", &paging);
            while let Some((page_size, page_token)) = pages.next() {
                let request = query::ListNumbersRequest {
                    waba_id: waba_id.clone().unwrap_or_default(),
                    state: state.clone().unwrap_or_default(),
                    quality_event: quality_event.clone().unwrap_or_default(),
                    restriction_type: restriction.clone().unwrap_or_default(),
                    page_size,
                    page_token,
                    min_position: Vec::new(),
                    filter: paging.filter.clone().unwrap_or_default(),
                };
                let reply = queries.list_numbers(super::timed(&paging.client, request)).await;
                let page = reply.map_err(|status| super::failed(&status))?.into_inner();
                let shown = page.numbers.into_iter().map(|one| show::number(one, None));
                pages.show(shown, |one| one.line(), page.next_page_token)?;
            }
            pages.end()
        }
    }
}

async fn messages(number: String, party: Option<String>, search: Search) -> Result<ExitCode> {
    let Search { filter, from, to, limit, page_token, view, client } = search;
    let filter = within(filter, from.as_deref(), to.as_deref())?;
    let mut queries = super::queries(&client).await?;
    let mut pages = Pages::new("messages", &client, limit, page_token.as_deref());
    while let Some((page_size, page_token)) = pages.next() {
        let request = query::ListMessagesRequest {
            phone_number_id: number.clone(),
            party: party.clone().unwrap_or_default(),
            page_size,
            page_token,
            view: super::view_of(view).into(),
            min_position: Vec::new(),
            filter: filter.clone(),
        };
        let reply = queries.list_messages(super::timed(&client, request)).await;
        let page = reply.map_err(|status| super::failed(&status))?.into_inner();
        let shown = page.messages.into_iter().map(|one| show::message(one, None));
        pages.show(shown, |one| one.line(), page.next_page_token)?;
    }
    pages.end()
}

/// A filter that two times bound as well: the request has no other place for them.
fn within(filter: Option<String>, from: Option<&str>, to: Option<&str>) -> Result<String> {
    let mut filters = Vec::from_iter(filter.filter(|filter| !filter.trim().is_empty()));
    for (sign, time) in [(">=", from), ("<", to)] {
        if let Some(time) = find::timestamp(time)? {
            filters.push(format!("list_time {sign} \"{time}\""));
        }
    }
    Ok(filters.join(" AND "))
}

fn pages<'a, T: Serialize>(name: &'static str, paging: &'a Paging) -> Pages<'a, T> {
    Pages::new(name, &paging.client, paging.limit, paging.page_token.as_deref())
}
