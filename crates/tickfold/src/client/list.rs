//! `tickfold list`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use tickfold_proto::query::v1 as query;

use super::show;
use crate::cli::{Client, List, Output, Paging};

/// Entities asked for at once.
const PAGE_SIZE: u32 = 1_000;

/// Prints one entity per line, or all pages as one document.
pub(crate) async fn list(what: List) -> Result<ExitCode> {
    match what {
        List::Templates { waba_id, status, quality, paging } => {
            let mut queries = super::queries(&paging.client).await?;
            let mut pages = Pages::new("templates", &paging);
            while let Some((page_size, page_token)) = pages.next() {
                let request = query::ListTemplatesRequest {
                    waba_id: waba_id.clone().unwrap_or_default(),
                    status: status.clone().unwrap_or_default(),
                    quality: quality.clone().unwrap_or_default(),
                    page_size,
                    page_token,
                    min_position: Vec::new(),
                };
                let reply = queries.list_templates(super::timed(&paging.client, request)).await;
                let page = reply.map_err(|status| super::failed(&status))?.into_inner();
                let shown = page.templates.into_iter().map(|one| show::template(one, None));
                pages.show(shown.map(|one| (one.line(), one)), page.next_page_token)?;
            }
            pages.end()
        }
        List::Accounts { state, restriction, paging } => {
            let mut queries = super::queries(&paging.client).await?;
            let mut pages = Pages::new("accounts", &paging);
            while let Some((page_size, page_token)) = pages.next() {
                let request = query::ListAccountsRequest {
                    state: state.clone().unwrap_or_default(),
                    restriction_type: restriction.clone().unwrap_or_default(),
                    page_size,
                    page_token,
                    min_position: Vec::new(),
                };
                let reply = queries.list_accounts(super::timed(&paging.client, request)).await;
                let page = reply.map_err(|status| super::failed(&status))?.into_inner();
                let shown = page.accounts.into_iter().map(|one| show::account(one, None));
                pages.show(shown.map(|one| (one.line(), one)), page.next_page_token)?;
            }
            pages.end()
        }
        List::Numbers { waba_id, state, quality_event, restriction, paging } => {
            let mut queries = super::queries(&paging.client).await?;
            let mut pages = Pages::new("numbers", &paging);
            while let Some((page_size, page_token)) = pages.next() {
                let request = query::ListNumbersRequest {
                    waba_id: waba_id.clone().unwrap_or_default(),
                    state: state.clone().unwrap_or_default(),
                    quality_event: quality_event.clone().unwrap_or_default(),
                    restriction_type: restriction.clone().unwrap_or_default(),
                    page_size,
                    page_token,
                    min_position: Vec::new(),
                };
                let reply = queries.list_numbers(super::timed(&paging.client, request)).await;
                let page = reply.map_err(|status| super::failed(&status))?.into_inner();
                let shown = page.numbers.into_iter().map(|one| show::number(one, None));
                pages.show(shown.map(|one| (one.line(), one)), page.next_page_token)?;
            }
            pages.end()
        }
    }
}

/// The pages of one list, as they are asked for and shown.
struct Pages<'a> {
    name: &'static str,
    client: &'a Client,
    left: u32,
    /// Of the next page; `None` at the end of the list.
    token: Option<String>,
    /// What is printed as one document in the end.
    found: Vec<Value>,
}

impl<'a> Pages<'a> {
    fn new(name: &'static str, paging: &'a Paging) -> Self {
        let Paging { limit, page_token, client } = paging;
        let token = Some(page_token.clone().unwrap_or_default());
        Self { name, client, left: *limit, token, found: Vec::new() }
    }

    /// Size and token of the next page, if one is wanted and there is one.
    fn next(&mut self) -> Option<(i32, String)> {
        if self.left == 0 {
            return None;
        }
        let size = i32::try_from(self.left.min(PAGE_SIZE)).unwrap_or(i32::MAX);
        Some((size, self.token.clone()?))
    }

    fn show<S: Serialize>(
        &mut self,
        page: impl Iterator<Item = (String, S)>,
        token: String,
    ) -> Result<()> {
        for (line, one) in page {
            self.left = self.left.saturating_sub(1);
            match self.client.output {
                Output::Table => super::print(&line),
                Output::Jsonl => super::print(&(serde_json::to_string(&one)? + "\n")),
                Output::Json => {
                    self.found.push(serde_json::to_value(&one).context("write an entry")?);
                }
            }
        }
        self.token = show::text(token);
        Ok(())
    }

    fn end(self) -> Result<ExitCode> {
        let Self { name, client, token, found, .. } = self;
        if client.output == Output::Json {
            let mut document = Map::from_iter([(name.to_owned(), Value::Array(found))]);
            document.extend(token.map(|token| ("next_page_token".to_owned(), token.into())));
            super::print(&(serde_json::to_string_pretty(&document)? + "\n"));
        } else if let Some(token) = token {
            super::report(&format!("there is more: --page-token {token}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}
