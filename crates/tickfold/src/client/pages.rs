//! The pages of a list, as they are asked for and shown: what `tickfold list` and `tickfold find` share.

use std::process::ExitCode;

use anyhow::Result;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::show;
use crate::cli::{Client, Output};

/// Entries asked for at once.
const PAGE_SIZE: u32 = 1_000;

/// One list on its way: printed one entry per line, or as one document in the end.
pub(super) struct Pages<'a, T> {
    /// Of the entries in the document.
    name: &'static str,
    client: &'a Client,
    left: u32,
    /// Of the next page; `None` at the end of the list.
    token: Option<String>,
    /// What is printed as one document in the end.
    found: Vec<T>,
}

impl<'a, T: Serialize> Pages<'a, T> {
    pub(super) fn new(
        name: &'static str,
        client: &'a Client,
        limit: u32,
        page_token: Option<&str>,
    ) -> Self {
        let token = Some(page_token.unwrap_or_default().to_owned());
        Self { name, client, left: limit, token, found: Vec::new() }
    }

    /// Size and token of the next page, if one is wanted and there is one.
    pub(super) fn next(&mut self) -> Option<(i32, String)> {
        if self.left == 0 {
            return None;
        }
        let size = i32::try_from(self.left.min(PAGE_SIZE)).unwrap_or(i32::MAX);
        Some((size, self.token.clone()?))
    }

    /// Shows the entries of a page, in a table as `line` has them.
    pub(super) fn show(
        &mut self,
        page: impl Iterator<Item = T>,
        line: impl Fn(&T) -> String,
        token: String,
    ) -> Result<()> {
        for one in page {
            self.left = self.left.saturating_sub(1);
            match self.client.output {
                Output::Table => super::print_part(&line(&one)),
                Output::Jsonl => super::print_part(&(serde_json::to_string(&one)? + "\n")),
                Output::Json => self.found.push(one),
            }
        }
        self.token = show::text(token);
        Ok(())
    }

    pub(super) fn end(self) -> Result<ExitCode> {
        if self.client.output == Output::Json {
            super::print(&(serde_json::to_string_pretty(&Document(&self))? + "\n"));
        } else if let Some(token) = self.token {
            super::report(&format!("there is more: --page-token {token}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// All pages as one JSON document.
struct Document<'d, 'a, T>(&'d Pages<'a, T>);

impl<T: Serialize> Serialize for Document<'_, '_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Pages { name, token, found, .. } = self.0;
        let mut document = serializer.serialize_map(None)?;
        document.serialize_entry(name, found)?;
        if let Some(token) = token {
            document.serialize_entry("next_page_token", token)?;
        }
        document.end()
    }
}
