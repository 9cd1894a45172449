//! Pages of a conversation: complete and without repeats while messages arrive, and bound to their
//! request.

use tickfold_proto::query::v1 as pb;
use tickfold_query::QueryOptions;
use tonic::Code;

use crate::world::{T0, World, change, fields, inbound, long_errors, reason, status, waba};

fn list(size: i32, token: &str) -> pb::ListMessagesRequest {
    pb::ListMessagesRequest {
        phone_number_id: "1".into(),
        party: "49170".into(),
        page_size: size,
        page_token: token.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn pages_hold_every_message_once_newest_first_while_new_ones_arrive() {
    let (world, mut writers) = World::open().await;
    for n in 0..25 {
        writers.post(&inbound(&waba(0), &format!("wamid.{n:02}"), n));
    }
    let mut client = world.query();
    let (mut token, mut pages, mut seen) = (String::new(), Vec::new(), Vec::new());
    loop {
        let reply = client.list_messages(list(10, &token)).await.unwrap().into_inner();
        pages.push(reply.messages.len());
        seen.extend(reply.messages.into_iter().map(|message| message.wamid));
        // A newer one, and a status that changes an old one but not its place.
        let n = pages.len();
        writers.post(&inbound(&waba(0), &format!("wamid.new{n}"), 100 + n as i64));
        writers.post(&status(&waba(0), "wamid.03", "read", 200, ""));
        token = reply.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [10, 10, 5]);
    let expected: Vec<_> = (0..25).rev().map(|n| format!("wamid.{n:02}")).collect();
    assert_eq!(seen, expected);
    let first = client.list_messages(list(1, "")).await.unwrap().into_inner();
    assert_eq!(first.messages[0].wamid, "wamid.new3");
}

#[tokio::test]
async fn the_last_page_has_no_token_even_when_full() {
    let (world, mut writers) = World::open().await;
    for n in 0..4 {
        writers.post(&inbound(&waba(n % 2), &format!("wamid.{n}"), 7));
    }
    let mut client = world.query();
    let first = client.list_messages(list(2, "")).await.unwrap().into_inner();
    let last = client.list_messages(list(2, &first.next_page_token)).await.unwrap().into_inner();
    assert_eq!((last.messages.len(), last.next_page_token.as_str()), (2, ""));
    // Equal times are ordered by wamid, over partitions too.
    let wamids: Vec<_> =
        first.messages.iter().chain(&last.messages).map(|m| m.wamid.as_str()).collect();
    assert_eq!(wamids, ["wamid.3", "wamid.2", "wamid.1", "wamid.0"]);
}

#[tokio::test]
async fn a_page_ends_before_its_bytes_exceed_the_limit() {
    let options = QueryOptions { response_bytes_max: 64 * 1024, ..QueryOptions::default() };
    let (world, mut writers) = World::open_with(options).await;
    for n in 0..5 {
        writers.post(&status(&waba(0), &format!("wamid.{n}"), "failed", n, &long_errors(5)));
    }
    let (mut token, mut pages) = (String::new(), Vec::new());
    loop {
        let request =
            pb::ListMessagesRequest { view: pb::MessageView::Full.into(), ..list(0, &token) };
        let reply = world.query().list_messages(request).await.unwrap().into_inner();
        pages.push(reply.messages.len());
        token = reply.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [2, 2, 1]);
}

#[tokio::test]
async fn a_page_of_few_matches_ends_after_ten_thousand_lines_and_the_next_goes_on() {
    let (world, mut writers) = World::open().await;
    let other = waba(1);
    writers.post(&status(&waba(0), "wamid.failed", "failed", 0, ""));
    // Behind it in time, before it in the list, in both partitions.
    for (account, count) in [(waba(0), 6_000), (other, 4_500)] {
        let one = |n: i64| {
            let time = T0 + 1 + n % 50;
            format!(
                r#"{{"id":"wamid.{account}.{n}","status":"sent","timestamp":"{time}","recipient_id":"49170"}}"#
            )
        };
        for begin in (0..count).step_by(500) {
            let statuses: Vec<_> = (begin..begin + 500).map(one).collect();
            let value = format!(
                r#"{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550001111",
                "phone_number_id":"1"}},"statuses":[{}]}}"#,
                statuses.join(",")
            );
            writers.post(&change(&account, "messages", &value));
        }
    }
    let failed = |token: &str| pb::ListMessagesRequest {
        filter: "state = FAILED".to_owned(),
        ..list(1_000, token)
    };
    let page = world.query().list_messages(failed("")).await.unwrap().into_inner();
    assert!(page.messages.is_empty(), "{} messages", page.messages.len());
    assert_ne!(page.next_page_token, "", "there is more to look at");
    let rest = world.query().list_messages(failed(&page.next_page_token)).await.unwrap();
    let rest = rest.into_inner();
    let wamids: Vec<_> = rest.messages.iter().map(|message| message.wamid.as_str()).collect();
    assert_eq!((wamids, rest.next_page_token.as_str()), (vec!["wamid.failed"], ""));
}

#[tokio::test]
async fn a_token_is_good_for_the_request_it_came_from_and_after_a_restart() {
    let (world, mut writers) = World::open().await;
    for n in 0..3 {
        writers.post(&inbound(&waba(0), &format!("wamid.{n}"), n));
    }
    let mut client = world.query();
    let token = client.list_messages(list(1, "")).await.unwrap().into_inner().next_page_token;

    let other_party = pb::ListMessagesRequest { party: "49171".into(), ..list(1, &token) };
    let other_number = pb::ListMessagesRequest { phone_number_id: "2".into(), ..list(1, &token) };
    let other_view = pb::ListMessagesRequest { view: 2, ..list(1, &token) };
    for changed in [other_party, other_number, other_view] {
        let error = client.list_messages(changed).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(reason(&error).0, "PAGE_TOKEN_MISMATCH");
        assert_eq!(fields(&error), ["page_token"]);
    }
    let error = client.list_messages(list(1, "nonsense")).await.unwrap_err();
    assert_eq!(
        (error.code(), reason(&error).0.as_str()),
        (Code::InvalidArgument, "PAGE_TOKEN_INVALID")
    );
    let error = client.list_messages(list(-1, "")).await.unwrap_err();
    assert_eq!(fields(&error), ["page_size"]);

    // Another size is not another request; another process is not another list.
    drop((world, writers));
    let (world, mut writers) = World::open().await;
    for n in 0..3 {
        writers.post(&inbound(&waba(0), &format!("wamid.{n}"), n));
    }
    let rest = world.query().list_messages(list(9, &token)).await.unwrap().into_inner();
    let rest: Vec<_> = rest.messages.iter().map(|message| message.wamid.as_str()).collect();
    assert_eq!(rest, ["wamid.1", "wamid.0"]);
}
