//! Finding messages by label and by trace id, in pages and within times.

use tickfold_proto::query::v1::find_messages_request::What;
use tickfold_proto::query::v1::{self as pb, MessageView};

use crate::world::{T0, World, Writers, fields, reason, status, waba};

/// Messages of two campaigns in two accounts, at rising times.
fn campaigns(writers: &mut Writers) {
    for n in 0..6_i64 {
        let account = u32::try_from(n % 2).unwrap();
        let (campaign, language) = (if n < 4 { "spring" } else { "autumn" }, ["de", "en"]);
        let language = language[usize::from(n == 1)];
        let text = format!(
            r#","biz_opaque_callback_data":"campaign={campaign};language={language};intent=i-{n}""#
        );
        writers.post(&status(&waba(account), &format!("wamid.{n}"), "sent", n, &text));
    }
}

fn labels(campaign: &str, language: &str) -> pb::FindMessagesRequest {
    let (campaign, language) = (campaign.to_owned(), language.to_owned());
    let labels = pb::Labels { campaign, language, ..Default::default() };
    pb::FindMessagesRequest { what: Some(What::Labels(labels)), ..Default::default() }
}

fn trace(id: &str) -> pb::FindMessagesRequest {
    pb::FindMessagesRequest { what: Some(What::FbtraceId(id.to_owned())), ..Default::default() }
}

/// All wamids found, page by page.
async fn found(world: &World, mut request: pb::FindMessagesRequest) -> Vec<String> {
    let mut wamids = Vec::new();
    loop {
        let page = world.query().find_messages(request.clone()).await.unwrap().into_inner();
        wamids.extend(page.messages.into_iter().map(|message| message.wamid));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return wamids;
        }
    }
}

#[tokio::test]
async fn labels_find_their_messages_newest_first_over_all_accounts() {
    let (world, mut writers) = World::open().await;
    campaigns(&mut writers);
    let all = ["wamid.3", "wamid.2", "wamid.1", "wamid.0"];
    for page_size in [1, 2, 3, 4, 100] {
        let request = pb::FindMessagesRequest { page_size, ..labels("spring", "") };
        assert_eq!(found(&world, request).await, all, "pages of {page_size}");
        let request = pb::FindMessagesRequest { page_size, ..labels("spring", "de") };
        assert_eq!(found(&world, request).await, ["wamid.3", "wamid.2", "wamid.0"]);
    }
    assert_eq!(found(&world, labels("", "en")).await, ["wamid.1"]);
    assert_eq!(found(&world, labels("spring", "fr")).await, [""; 0]);
    assert_eq!(found(&world, labels("summer", "")).await, [""; 0]);
    // What a message no longer says does not find it.
    let other = r#","biz_opaque_callback_data":"campaign=zz""#;
    writers.post(&status(&waba(1), "wamid.3", "delivered", 9, other));
    assert_eq!(found(&world, labels("spring", "")).await, all[1..]);
    assert_eq!(found(&world, labels("zz", "")).await, ["wamid.3"]);
}

#[tokio::test]
async fn times_bound_what_is_found() {
    let (world, mut writers) = World::open().await;
    campaigns(&mut writers);
    let at = |after: i64| Some(prost_types::Timestamp { seconds: T0 + after, nanos: 0 });
    let between = |from: Option<i64>, to: Option<i64>| pb::FindMessagesRequest {
        from_time: from.and_then(at),
        to_time: to.and_then(at),
        page_size: 1,
        ..labels("spring", "")
    };
    for (from, to, expected) in [
        (Some(1), Some(3), &["wamid.2", "wamid.1"][..]),
        (None, Some(1), &["wamid.0"]),
        (Some(3), None, &["wamid.3"]),
        (Some(4), None, &[]),
        (Some(2), Some(2), &[]),
    ] {
        assert_eq!(found(&world, between(from, to)).await, expected, "{from:?} {to:?}");
    }
}

#[tokio::test]
async fn a_trace_id_finds_its_messages() {
    let (world, mut writers) = World::open().await;
    for (wamid, after) in [("wamid.B", 1), ("wamid.A", 2), ("wamid.C", 3)] {
        let rest = r#","errors":[{"code":131000,"fbtrace_id":"AbC"}]"#;
        writers.post(&status(&waba(0), wamid, "failed", after, rest));
    }
    writers.post(&status(&waba(1), "wamid.D", "failed", 4, r#","errors":[{"code":1}]"#));
    for page_size in [1, 2, 100] {
        let request = pb::FindMessagesRequest { page_size, ..trace("AbC") };
        assert_eq!(found(&world, request).await, ["wamid.A", "wamid.B", "wamid.C"]);
    }
    let to_time = Some(prost_types::Timestamp { seconds: T0 + 2, nanos: 0 });
    let request = pb::FindMessagesRequest { to_time, ..trace("AbC") };
    assert_eq!(found(&world, request).await, ["wamid.B"]);
    assert_eq!(found(&world, trace("abc")).await, [""; 0]);
    let view = MessageView::Basic.into();
    let request = pb::FindMessagesRequest { view, ..trace("AbC") };
    let page = world.query().find_messages(request).await.unwrap().into_inner();
    assert_eq!(page.messages[0].fbtrace_ids, ["AbC"]);
    assert_eq!(page.messages[0].party, "");
}

#[tokio::test]
async fn a_search_without_sense_is_refused_and_a_token_is_of_one_search() {
    let (world, mut writers) = World::open().await;
    campaigns(&mut writers);
    let long = labels(&"x".repeat(600), "");
    let odd = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
    let odd = pb::FindMessagesRequest { from_time: Some(odd), ..labels("spring", "") };
    for (request, field) in [
        (pb::FindMessagesRequest::default(), "what"),
        (labels("", ""), "labels"),
        (long, "labels.campaign"),
        (trace(""), "fbtrace_id"),
        (odd, "from_time"),
    ] {
        let error = world.query().find_messages(request).await.unwrap_err();
        assert_eq!(fields(&error), [field]);
    }
    let first = pb::FindMessagesRequest { page_size: 1, ..labels("spring", "") };
    let page = world.query().find_messages(first).await.unwrap().into_inner();
    let page_token = page.next_page_token;
    let other = pb::FindMessagesRequest { page_token, ..labels("autumn", "") };
    let error = world.query().find_messages(other).await.unwrap_err();
    assert_eq!(reason(&error).0, "PAGE_TOKEN_MISMATCH");
}
