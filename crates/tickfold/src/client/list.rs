//! `tickfold list`.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tickfold_proto::query::v1 as query;

use super::pages::Pages;
use super::show;
use crate::cli::{List, Paging};

/// Prints one entity per line, or all pages as one document.
pub(crate) async fn list(what: List) -> Result<ExitCode> {
    match what {
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

fn pages<'a, T: Serialize>(name: &'static str, paging: &'a Paging) -> Pages<'a, T> {
    Pages::new(name, &paging.client, paging.limit, paging.page_token.as_deref())
}
