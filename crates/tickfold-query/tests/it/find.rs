//! Finding messages by label, by trace id and by number, in pages and within times.

use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1::find_messages_request::What;
use tickfold_proto::query::v1::{self as pb, MessageView};

use crate::world::{T0, World, Writers, change, fields, inbound, reason, status, waba};

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

/// Nine messages of a campaign: sent, failed for one of two errors, and delivered, in turn.
fn outcomes(writers: &mut Writers) {
    for n in 0..9_i64 {
        let wamid = format!("wamid.{n}");
        let label = r#","biz_opaque_callback_data":"campaign=spring""#;
        let account = waba(u32::try_from(n % 2).unwrap());
        writers.post(&status(&account, &wamid, "sent", n, label));
        let code = 131_026 + n % 2;
        match n % 3 {
            0 => {}
            1 => {
                let errors = format!(r#","errors":[{{"code":{code}}}]"#);
                writers.post(&status(&account, &wamid, "failed", n + 20, &errors));
            }
            _ => {
                writers.post(&status(&account, &wamid, "delivered", n + 20, ""));
            }
        }
    }
}

fn filtered(filter: &str) -> pb::FindMessagesRequest {
    pb::FindMessagesRequest { filter: filter.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_filter_finds_what_its_label_lists_and_its_comparisons_leave() {
    let (world, mut writers) = World::open().await;
    outcomes(&mut writers);
    let time = |after: i64| Timestamp::from_millis((T0 + after) * 1_000);
    let wamids = |wanted: &[i64]| wanted.iter().map(|n| format!("wamid.{n}")).collect::<Vec<_>>();
    for (filter, wanted) in [
        (String::new(), &[8, 7, 6, 5, 4, 3, 2, 1, 0][..]),
        ("state = FAILED".to_owned(), &[7, 4, 1]),
        ("state != failed".to_owned(), &[8, 6, 5, 3, 2, 0]),
        ("state = FAILED AND error_code = 131026".to_owned(), &[4]),
        ("error_code != 131026".to_owned(), &[8, 7, 6, 5, 3, 2, 1, 0]),
        (format!("waba_id = {}", waba(1)), &[7, 5, 3, 1]),
        (format!("list_time >= \"{}\" AND list_time < \"{}\"", time(3), time(6)), &[5, 4, 3]),
        (format!("list_time > \"{}\" AND state = DELIVERED", time(5)), &[8]),
        (format!("list_time = \"{}\"", time(2)), &[2]),
        ("direction = INBOUND".to_owned(), &[]),
    ] {
        let (by_label, both) = (labels("spring", ""), "labels.campaign = spring AND ");
        for page_size in [1, 2, 100] {
            let request =
                pb::FindMessagesRequest { page_size, filter: filter.clone(), ..by_label.clone() };
            assert_eq!(found(&world, request).await, wamids(wanted), "{filter}");
            // The label may stand in the filter as well, and the filter narrows what times leave.
            if !filter.is_empty() {
                let request =
                    pb::FindMessagesRequest { page_size, ..filtered(&format!("{both}{filter}")) };
                assert_eq!(found(&world, request).await, wamids(wanted), "{both}{filter}");
            }
        }
    }
    let to_time = Some(prost_types::Timestamp { seconds: T0 + 5, nanos: 0 });
    let request = pb::FindMessagesRequest {
        to_time,
        ..filtered("labels.campaign = spring AND state = FAILED")
    };
    assert_eq!(found(&world, request).await, ["wamid.4", "wamid.1"]);
    let rest = r#","errors":[{"code":131000,"fbtrace_id":"AbC"}]"#;
    writers.post(&status(&waba(0), "wamid.T", "failed", 90, rest));
    writers.post(&status(&waba(1), "wamid.U", "failed", 91, rest));
    let request = filtered(&format!("fbtrace_id = AbC AND waba_id = {}", waba(1)));
    assert_eq!(found(&world, request).await, ["wamid.U"]);
}

#[tokio::test]
async fn a_conversation_is_filtered_in_pages() {
    let (world, mut writers) = World::open().await;
    for n in 0..30 {
        writers.post(&inbound(&waba(0), &format!("wamid.{n:02}"), n));
        if n % 3 == 0 {
            writers.post(&status(&waba(0), &format!("wamid.out{n:02}"), "read", n, ""));
        }
    }
    let time = Timestamp::from_millis((T0 + 12) * 1_000);
    let list = |filter: &str, page_size, page_token: &str| pb::ListMessagesRequest {
        phone_number_id: "1".into(),
        party: "49170".into(),
        page_size,
        page_token: page_token.into(),
        filter: filter.into(),
        ..Default::default()
    };
    let filter = format!("direction = OUTBOUND AND state = READ AND list_time >= {time}");
    for page_size in [1, 3, 100] {
        let (mut token, mut seen) = (String::new(), Vec::new());
        loop {
            let request = list(&filter, page_size, &token);
            let page = world.query().list_messages(request).await.unwrap().into_inner();
            seen.extend(page.messages.into_iter().map(|message| message.wamid));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        let wanted = [27, 24, 21, 18, 15, 12].map(|n| format!("wamid.out{n}"));
        assert_eq!(seen, wanted, "pages of {page_size}");
    }
    // A token is of its filter, however that is written, and of no other one.
    let first = world.query().list_messages(list(&filter, 1, "")).await.unwrap().into_inner();
    let token = first.next_page_token;
    let spaced = filter.replace(" = ", "=");
    world.query().list_messages(list(&spaced, 1, &token)).await.unwrap();
    for other in
        ["", "direction = OUTBOUND", &filter.replace("READ", "SENT"), &filter.replace(":12", ":13")]
    {
        assert_ne!(other, filter);
        let error = world.query().list_messages(list(other, 1, &token)).await.unwrap_err();
        assert_eq!(reason(&error).0, "PAGE_TOKEN_MISMATCH", "{other}");
    }
}

#[tokio::test]
async fn a_filter_is_refused_at_its_place_or_if_no_list_answers_it() {
    let (world, mut writers) = World::open().await;
    campaigns(&mut writers);
    let refused = async |request: pb::FindMessagesRequest| {
        let error = world.query().find_messages(request).await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::InvalidArgument);
        assert_eq!(fields(&error), ["filter"]);
        reason(&error)
    };
    let (word, metadata) = refused(filtered("labels.campaign = spring AND party = 49170")).await;
    assert_eq!(word, "FILTER_INVALID");
    let position = ("position".to_owned(), "30".to_owned());
    assert!(metadata.contains(&position), "{metadata:?}");
    assert!(metadata.iter().any(|(key, text)| key == "allowed" && text.contains("labels.intent")));
    assert!(metadata.iter().all(|(_, text)| !text.contains("49170")), "{metadata:?}");
    let (word, metadata) = refused(filtered("state = FAILED AND error_code = 131026")).await;
    assert_eq!(word, "FILTER_NOT_INDEXED");
    let opening = "phone_number_id, labels.intent, labels.campaign, labels.template, labels.language, \
                   fbtrace_id";
    assert_eq!(metadata[0], ("allowed".to_owned(), opening.to_owned()));
    for unbound in ["phone_number_id != 1", "waba_id = 1", "list_time > 2026-11-20T00:00:00Z"] {
        assert_eq!(refused(filtered(unbound)).await.0, "FILTER_NOT_INDEXED", "{unbound}");
    }
    // One thing to find by, said once.
    for (what, filter, at) in [
        (labels("spring", ""), "labels.campaign = spring", 1),
        (labels("spring", ""), "state = SENT AND fbtrace_id = x", 18),
        (trace("x"), "labels.campaign = spring", 1),
        (trace("x"), "fbtrace_id = x", 1),
        (pb::FindMessagesRequest::default(), "fbtrace_id = x AND labels.intent = a", 20),
        (labels("spring", ""), "labels.intent = a AND labels.intent = b", 23),
    ] {
        let (word, metadata) =
            refused(pb::FindMessagesRequest { filter: filter.into(), ..what }).await;
        let at = ("position".to_owned(), at.to_string());
        assert!(word == "FILTER_INVALID" && metadata.contains(&at), "{filter}: {metadata:?}");
    }
    // A label of another name comes to those of the argument.
    let both =
        pb::FindMessagesRequest { filter: "labels.language = de".into(), ..labels("spring", "") };
    assert_eq!(found(&world, both).await, ["wamid.3", "wamid.2", "wamid.0"]);
    // A page of one search is none of another.
    let first = pb::FindMessagesRequest {
        page_size: 1,
        ..filtered("labels.campaign = spring AND state = SENT")
    };
    let page = world.query().find_messages(first.clone()).await.unwrap().into_inner();
    for filter in ["labels.campaign = spring", "labels.campaign = spring AND state != SENT"] {
        let (page_token, filter) = (page.next_page_token.clone(), filter.to_owned());
        let other = pb::FindMessagesRequest { page_token, filter, ..first.clone() };
        let error = world.query().find_messages(other).await.unwrap_err();
        assert_eq!(reason(&error).0, "PAGE_TOKEN_MISMATCH");
    }
}

#[tokio::test]
async fn lists_of_entities_take_their_arguments_as_a_filter() {
    let (world, mut writers) = World::open().await;
    for (n, event) in [(0, "PAUSED"), (0, "APPROVED"), (1, "PAUSED")] {
        let template = format!(
            r#"{{"message_template_id":60010000000{n},"message_template_name":"t","message_template_language":"{event}","event":"{event}"}}"#
        );
        writers.post(&change(&waba(n), "message_template_status_update", &template));
    }
    let list =
        |filter: &str| pb::ListTemplatesRequest { filter: filter.into(), ..Default::default() };
    let mut client = world.query();
    for (filter, count) in [
        (String::new(), 3),
        ("status = paused".to_owned(), 2),
        (format!("status = PAUSED AND waba_id = {}", waba(1)), 1),
        ("quality = RED".to_owned(), 0),
    ] {
        let page = client.list_templates(list(&filter)).await.unwrap().into_inner();
        assert_eq!(page.templates.len(), count, "{filter}");
    }
    // The same list, however it is written.
    let first = pb::ListTemplatesRequest { page_size: 1, ..list("status = PAUSED") };
    let page = client.list_templates(first).await.unwrap().into_inner();
    let page_token = page.next_page_token;
    let plain = pb::ListTemplatesRequest {
        status: "PAUSED".into(),
        page_token: page_token.clone(),
        ..list("")
    };
    assert_eq!(client.list_templates(plain).await.unwrap().into_inner().templates.len(), 1);
    let other = pb::ListTemplatesRequest { page_token, ..list("status = APPROVED") };
    let error = client.list_templates(other).await.unwrap_err();
    assert_eq!(reason(&error).0, "PAGE_TOKEN_MISMATCH");
    let twice = pb::ListTemplatesRequest { status: "PAUSED".into(), ..list("status = PAUSED") };
    for odd in [twice, list("status != PAUSED"), list("state = x")] {
        let error = client.list_templates(odd).await.unwrap_err();
        assert_eq!(reason(&error).0, "FILTER_INVALID");
    }
    let accounts =
        |filter: &str| pb::ListAccountsRequest { filter: filter.into(), ..Default::default() };
    client.list_accounts(accounts("state = restricted AND restriction_type = X")).await.unwrap();
    let error = client.list_accounts(accounts("waba_id = 1")).await.unwrap_err();
    assert_eq!(reason(&error).0, "FILTER_INVALID");
    let filter = "waba_id = 1 AND state = flagged AND quality_event = FLAGGED".into();
    let numbers = pb::ListNumbersRequest { filter, ..Default::default() };
    client.list_numbers(numbers).await.unwrap();
}

fn of_number(number: &str, filter: &str) -> pb::ListMessagesRequest {
    let (phone_number_id, filter) = (number.to_owned(), filter.to_owned());
    pb::ListMessagesRequest { phone_number_id, filter, ..Default::default() }
}

/// All wamids of a list, page by page, and how many pages there were.
async fn listed(world: &World, mut request: pb::ListMessagesRequest) -> (Vec<String>, usize) {
    let (mut wamids, mut pages) = (Vec::new(), 0);
    loop {
        let page = world.query().list_messages(request.clone()).await.unwrap().into_inner();
        wamids.extend(page.messages.into_iter().map(|message| message.wamid));
        (request.page_token, pages) = (page.next_page_token, pages + 1);
        if request.page_token.is_empty() {
            return (wamids, pages);
        }
    }
}

/// What [`outcomes`] posts of number 1, and messages of other times, parties, directions and numbers.
fn numbers(writers: &mut Writers) {
    outcomes(writers);
    writers.post(&inbound(&waba(0), "wamid.in", 5));
    let other_party = status(&waba(1), "wamid.p", "sent", 5, "").replace("49170", "49171");
    writers.post(&other_party);
    let of_another = |wamid: &str, rest: &str| {
        status(&waba(0), wamid, "failed", 4, rest)
            .replace(r#""phone_number_id":"1""#, r#""phone_number_id":"11""#)
    };
    let rest = r#","errors":[{"code":131026}],"biz_opaque_callback_data":"campaign=spring""#;
    writers.post(&of_another("wamid.other", rest));
}

#[tokio::test]
async fn a_number_lists_the_messages_of_all_its_parties_within_times_and_conditions() {
    let (world, mut writers) = World::open().await;
    numbers(&mut writers);
    let time = |after: i64| Timestamp::from_millis((T0 + after) * 1_000);
    // Newest first over all partitions, equal times by falling wamid.
    for (filter, wanted) in [
        (String::new(), &["8", "7", "6", "p", "in", "5", "4", "3", "2", "1", "0"][..]),
        ("state = FAILED".to_owned(), &["7", "4", "1"]),
        ("state = FAILED AND error_code = 131026".to_owned(), &["4"]),
        (
            format!("state = FAILED AND error_code = 131027 AND list_time >= \"{}\"", time(2)),
            &["7"],
        ),
        ("direction = INBOUND".to_owned(), &["in"]),
        (
            format!("list_time >= \"{}\" AND list_time < \"{}\"", time(4), time(6)),
            &["p", "in", "5", "4"],
        ),
        (format!("list_time > \"{}\"", time(6)), &["8", "7"]),
        (format!("list_time <= \"{}\"", time(1)), &["1", "0"]),
        (format!("list_time = \"{}\"", time(5)), &["p", "in", "5"]),
        (format!("list_time > \"{}\"", time(8)), &[]),
        (format!("waba_id = {} AND state = SENT", waba(1)), &["p", "3"]),
        // A label finds fewer, and the number is looked at.
        ("labels.campaign = spring AND state = SENT".to_owned(), &["6", "3", "0"]),
    ] {
        let wanted: Vec<_> = wanted.iter().map(|name| format!("wamid.{name}")).collect();
        for page_size in [1, 2, 3, 100] {
            let request = pb::ListMessagesRequest { page_size, ..of_number("1", &filter) };
            let (wamids, pages) = listed(&world, request).await;
            assert_eq!(wamids, wanted, "{filter}, pages of {page_size}");
            let least = wanted.len().div_ceil(usize::try_from(page_size).unwrap());
            assert!(pages >= least.max(1), "{filter}: {pages} pages of {page_size}");
        }
        // The number may stand in the filter as well, of this list and of a search.
        let both = match filter.as_str() {
            "" => "phone_number_id = 1".to_owned(),
            _ => format!("{filter} AND phone_number_id = 1"),
        };
        assert_eq!(listed(&world, of_number("", &both)).await.0, wanted, "{both}");
        assert_eq!(found(&world, filtered(&both)).await, wanted, "{both}");
    }
    let from_time = Some(prost_types::Timestamp { seconds: T0 + 7, nanos: 0 });
    let request = pb::FindMessagesRequest { from_time, ..filtered("phone_number_id = 1") };
    assert_eq!(found(&world, request).await, ["wamid.8", "wamid.7"]);
    assert_eq!(listed(&world, of_number("11", "")).await.0, ["wamid.other"]);
    let spring = "labels.campaign = spring AND error_code = 131026";
    assert_eq!(listed(&world, of_number("", spring)).await.0, ["wamid.other", "wamid.4"]);
    assert_eq!(listed(&world, of_number("1", spring)).await.0, ["wamid.4"]);
    assert_eq!(listed(&world, of_number("12", "")).await.0, [""; 0]);
    assert_eq!(listed(&world, of_number("1", "phone_number_id = 11")).await.0, [""; 0]);

    // With a party it is the conversation, as before.
    let conversation = pb::ListMessagesRequest { party: "49171".into(), ..of_number("1", "") };
    assert_eq!(listed(&world, conversation).await.0, ["wamid.p"]);
    // A message whose number turns out to be another one moves, and one that is new comes on top.
    let rest = r#","errors":[{"code":131026}]"#;
    writers.post(&status(&waba(0), "wamid.other", "failed", 4, rest));
    writers.post(&status(&waba(1), "wamid.9", "failed", 40, rest));
    assert_eq!(listed(&world, of_number("11", "")).await.0, [""; 0]);
    let failed = "state = FAILED AND error_code = 131026";
    let wanted = ["wamid.9", "wamid.other", "wamid.4"];
    assert_eq!(listed(&world, of_number("1", failed)).await.0, wanted);
}

#[tokio::test]
async fn a_list_of_a_number_has_tokens_of_its_own_and_is_refused_where_nothing_is_listed() {
    let (world, mut writers) = World::open().await;
    numbers(&mut writers);
    let filter = "state != PENDING AND list_time < 2026-11-21T00:00:00Z";
    let first = pb::ListMessagesRequest { page_size: 1, ..of_number("1", filter) };
    let page = world.query().list_messages(first.clone()).await.unwrap().into_inner();
    let page_token = page.next_page_token;
    let again = pb::ListMessagesRequest { page_token, ..first };
    // Of another size it is the same list, however the filter and the number are written.
    let spaced = filter.replace(" < ", "<");
    for same in [
        pb::ListMessagesRequest { page_size: 9, ..again.clone() },
        pb::ListMessagesRequest { filter: spaced, ..again.clone() },
        pb::ListMessagesRequest {
            phone_number_id: String::new(),
            filter: format!("{filter} AND phone_number_id = 1"),
            ..again.clone()
        },
    ] {
        let page = world.query().list_messages(same).await.unwrap().into_inner();
        assert_eq!(page.messages[0].wamid, "wamid.7");
    }
    for other in [
        pb::ListMessagesRequest { phone_number_id: "11".into(), ..again.clone() },
        pb::ListMessagesRequest { party: "49170".into(), ..again.clone() },
        pb::ListMessagesRequest { view: MessageView::Full.into(), ..again.clone() },
        pb::ListMessagesRequest { filter: String::new(), ..again.clone() },
        pb::ListMessagesRequest { filter: filter.replace("-21", "-22"), ..again.clone() },
        pb::ListMessagesRequest { filter: filter.replace("PENDING", "READ"), ..again.clone() },
    ] {
        let error = world.query().list_messages(other.clone()).await.unwrap_err();
        assert_eq!(reason(&error).0, "PAGE_TOKEN_MISMATCH", "{other:?}");
    }
    let long = "1".repeat(600);
    let party = pb::ListMessagesRequest { party: "49170".into(), ..of_number("", "") };
    for (request, word, field) in [
        (of_number("", ""), "INVALID_ARGUMENT", "phone_number_id"),
        (party, "INVALID_ARGUMENT", "phone_number_id"),
        (of_number(&long, ""), "INVALID_ARGUMENT", "phone_number_id"),
        (of_number("", "state = FAILED AND error_code = 131026"), "FILTER_NOT_INDEXED", "filter"),
        (of_number("", "phone_number_id != 1"), "FILTER_NOT_INDEXED", "filter"),
        // A list is in the order of time, which messages of a trace id are not.
        (of_number("1", "fbtrace_id = x"), "FILTER_INVALID", "filter"),
        (of_number("1", "party = 49170"), "FILTER_INVALID", "filter"),
    ] {
        let error = world.query().list_messages(request.clone()).await.unwrap_err();
        assert_eq!((reason(&error).0.as_str(), fields(&error)), (word, vec![field.to_owned()]));
        if word == "FILTER_NOT_INDEXED" {
            let opening = "phone_number_id, labels.intent, labels.campaign, labels.template, \
                           labels.language";
            assert_eq!(reason(&error).1[0].1, opening);
            assert!(error.message().contains(opening), "{error:?}");
        }
    }
}
