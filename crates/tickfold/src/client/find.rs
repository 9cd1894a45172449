//! `tickfold find`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as query;
use tickfold_proto::query::v1::find_messages_request::What;

use super::pages::Pages;
use super::show;
use crate::cli::{Find, Search};

/// Prints one message per line, or all pages as one document.
pub(crate) async fn find(what: Find) -> Result<ExitCode> {
    let (what, search) = match what {
        Find::Fbtrace { id, search } => (What::FbtraceId(id), search),
        Find::Label { labels, search } => (What::Labels(labels_of(&labels)?), search),
    };
    let Search { filter, from, to, limit, page_token, view, client } = search;
    let mut queries = super::queries(&client).await?;
    let (from_time, to_time) = (time(from.as_deref())?, time(to.as_deref())?);
    let mut pages = Pages::new("messages", &client, limit, page_token.as_deref());
    while let Some((page_size, page_token)) = pages.next() {
        let request = query::FindMessagesRequest {
            what: Some(what.clone()),
            from_time,
            to_time,
            page_size,
            page_token,
            view: super::view_of(view).into(),
            min_position: Vec::new(),
            filter: filter.clone().unwrap_or_default(),
        };
        let reply = queries.find_messages(super::timed(&client, request)).await;
        let page = reply.map_err(|status| super::failed(&status))?.into_inner();
        let shown = page.messages.into_iter().map(|one| show::message(one, None));
        pages.show(shown, |one| one.line(), page.next_page_token)?;
    }
    pages.end()
}

/// Reads `name=value`, each name once.
fn labels_of(texts: &[String]) -> Result<query::Labels> {
    let mut labels = query::Labels::default();
    for text in texts {
        let (name, value) =
            text.split_once('=').with_context(|| format!("{text}: no NAME=VALUE"))?;
        let label = match name {
            "template" => &mut labels.template,
            "language" => &mut labels.language,
            "campaign" => &mut labels.campaign,
            "intent" => &mut labels.intent,
            _ => bail!("{name}: labels are template, language, campaign and intent"),
        };
        if value.is_empty() || !label.is_empty() {
            bail!("{text}: a label has one value");
        }
        value.clone_into(label);
    }
    Ok(labels)
}

pub(super) fn time(text: Option<&str>) -> Result<Option<prost_types::Timestamp>> {
    let Some(time) = timestamp(text)? else { return Ok(None) };
    let ms = time.as_millis();
    let nanos = i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap_or(0);
    Ok(Some(prost_types::Timestamp { seconds: ms.div_euclid(1_000), nanos }))
}

pub(super) fn timestamp(text: Option<&str>) -> Result<Option<Timestamp>> {
    let read = |text: &str| {
        let time = Timestamp::parse_rfc3339(text);
        time.with_context(|| format!("{text}: no time such as 2026-11-20T00:00:00Z"))
    };
    text.map(read).transpose()
}
