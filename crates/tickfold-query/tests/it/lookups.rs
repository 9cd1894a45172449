//! Every lookup: what it finds, what views leave out, what it refuses.

use tickfold_proto::query::v1::{self as pb, MessageState, MessageView, WindowState};
use tickfold_query::QueryOptions;
use tonic::Code;

use crate::world::{World, after, change, fields, inbound, long_errors, reason, status, waba};

fn get(wamid: &str, view: MessageView) -> pb::GetMessageRequest {
    pb::GetMessageRequest { wamid: wamid.into(), view: view.into(), ..Default::default() }
}

const FAILED: &str = r#","biz_opaque_callback_data":"order-7",
    "errors":[{"code":131026,"title":"Undeliverable","message":"Undeliverable msg",
    "error_data":{"details":"not on WhatsApp"}}]"#;

#[tokio::test]
async fn a_message_shows_facts_state_errors_and_history_as_its_view_allows() {
    let (world, mut writers) = World::open().await;
    writers.post(&status(&waba(1), "wamid.A", "failed", 5, FAILED));
    writers.post(&status(&waba(1), "wamid.A", "sent", 3, ""));
    let mut client = world.query();

    let reply = client.get_message(get("wamid.A", MessageView::Basic)).await.unwrap().into_inner();
    let basic = reply.message.unwrap();
    assert_eq!((basic.state(), basic.state_text.as_str()), (MessageState::Failed, "failed"));
    assert_eq!(after(basic.sent_time.as_ref()), Some(3));
    assert_eq!(after(basic.failed_time.as_ref()), Some(5));
    let facts: Vec<_> = basic.facts.iter().map(pb::StatusFact::state).collect();
    assert_eq!(facts, [MessageState::Sent, MessageState::Failed]);
    assert_eq!((basic.error_code, basic.errors[0].code), (Some(131_026), 131_026));
    assert_eq!((basic.waba_id, basic.phone_number_id.as_str()), (waba(1), "1"));
    assert_eq!(basic.revision, 1);
    // No personal data, whatever the webhook held.
    assert_eq!((basic.party.as_str(), basic.parties.len()), ("", 0));
    let error = &basic.errors[0];
    let texts = [&error.title, &error.message, &error.details, &basic.callback_data];
    assert!(texts.iter().all(|text| text.is_empty()), "{texts:?}");
    assert!(basic.history.is_empty());

    let as_of = reply.as_of.unwrap();
    let positions: Vec<_> = as_of.positions.iter().map(|p| (p.partition, p.offset)).collect();
    assert_eq!(positions, [(0, 0), (1, 2)]);
    assert_eq!(after(as_of.event_time.as_ref()), Some(60));
    assert_eq!(as_of.age, Some(prost_types::Duration { seconds: 40, nanos: 250_000_000 }));
    // The weakest of owner and follower.
    assert_eq!(as_of.role(), pb::Role::Follower);

    let full = client.get_message(get("wamid.A", MessageView::Full)).await.unwrap().into_inner();
    let full = full.message.unwrap();
    assert_eq!(
        (full.party.as_str(), full.parties.as_slice()),
        ("49170", &["49170".to_owned()][..])
    );
    assert_eq!(full.callback_data, "order-7");
    assert_eq!(full.errors[0].details, "not on WhatsApp");
    assert!(full.history.is_empty());

    let history = client.get_message(get("wamid.A", MessageView::History)).await.unwrap();
    let history = history.into_inner().message.unwrap().history;
    let lines: Vec<_> = history
        .iter()
        .map(|t| (t.from(), t.to(), t.state(), t.late, t.source.unwrap().offset))
        .collect();
    let (none, sent, failed) =
        (MessageState::Unspecified, MessageState::Sent, MessageState::Failed);
    assert_eq!(lines, [(none, failed, failed, false, 0), (failed, sent, failed, true, 1)]);
    assert_eq!(history[0].source.unwrap().partition, 1);
    assert_eq!(history[0].error_code, Some(131_026));
}

#[tokio::test]
async fn a_message_in_two_partitions_is_joined() {
    let (world, mut writers) = World::open().await;
    writers.post(&status(&waba(0), "wamid.M", "delivered", 9, ""));
    writers.now_ms += 1_000;
    writers.post(&status(&waba(1), "wamid.M", "read", 12, ""));
    writers.post(&status(&waba(1), "wamid.M", "delivered", 8, ""));
    let reply = world.query().get_message(get("wamid.M", MessageView::History)).await.unwrap();
    let message = reply.into_inner().message.unwrap();
    assert_eq!(message.state(), MessageState::Read);
    assert_eq!(after(message.delivered_time.as_ref()), Some(8));
    assert_eq!(after(message.first_log_time.as_ref()), Some(60));
    assert_eq!(after(message.last_log_time.as_ref()), Some(61));
    let from: Vec<_> = message.history.iter().map(|t| t.source.unwrap().partition).collect();
    assert_eq!(from, [0, 1, 1]);
    // Listed once, though both partitions list it.
    let list = pb::ListMessagesRequest {
        phone_number_id: "1".into(),
        party: "49170".into(),
        ..Default::default()
    };
    let list = world.query().list_messages(list).await.unwrap().into_inner();
    assert_eq!(list.messages.len(), 1);
    assert_eq!(list.messages[0].state(), MessageState::Read);
}

#[tokio::test]
async fn a_lookup_tells_found_and_missing_in_order() {
    let (world, mut writers) = World::open().await;
    writers.post(&status(&waba(0), "wamid.A", "sent", 0, ""));
    writers.post(&status(&waba(1), "wamid.B", "read", 0, ""));
    let wamids = ["wamid.X", "wamid.B", "wamid.A", "wamid.B", "wamid.Y"];
    let request = pb::LookupMessagesRequest {
        wamids: wamids.map(String::from).to_vec(),
        ..Default::default()
    };
    let reply = world.query().lookup_messages(request).await.unwrap().into_inner();
    let found: Vec<_> = reply.found.iter().map(|message| message.wamid.as_str()).collect();
    assert_eq!(found, ["wamid.B", "wamid.A"]);
    assert_eq!(reply.missing, ["wamid.X", "wamid.Y"]);
    assert_eq!(reply.as_of.unwrap().positions.len(), 2);
}

#[tokio::test]
async fn a_conversation_has_its_window_at_log_time_and_counts() {
    let (world, mut writers) = World::open().await;
    let request = pb::GetConversationRequest {
        phone_number_id: "1".into(),
        party: "49170".into(),
        ..Default::default()
    };
    writers.post(&inbound(&waba(0), "wamid.I", 10));
    writers.post(&status(&waba(0), "wamid.O", "sent", 20, ""));
    let reply = world.query().get_conversation(request.clone()).await.unwrap().into_inner();
    let conversation = reply.conversation.unwrap();
    assert_eq!(conversation.window_state(), WindowState::Open);
    assert_eq!(after(conversation.window_expire_time.as_ref()), Some(10 + 86_400));
    assert_eq!(after(conversation.last_outbound_time.as_ref()), Some(20));
    assert_eq!((conversation.inbound_count, conversation.outbound_count), (1, 1));
    assert_eq!(conversation.waba_id, waba(0));

    writers.now_ms += 86_400_000;
    writers.tick(0);
    let reply = world.query().get_conversation(request).await.unwrap().into_inner();
    assert_eq!(reply.conversation.unwrap().window_state(), WindowState::Closed);
}

#[tokio::test]
async fn template_account_and_number_are_found_where_their_account_is() {
    let (world, mut writers) = World::open().await;
    let paused = r#"{"event":"PAUSED","message_template_id":1590000000000042,
        "message_template_name":"order_update","message_template_language":"en-US",
        "reason":null,"other_info":{"title":"FIRST_PAUSE","description":"d"}}"#;
    writers.post(&change(&waba(1), "message_template_status_update", paused));
    let restricted = r#"{"event":"ACCOUNT_RESTRICTION","restriction_info":
        [{"restriction_type":"RESTRICTED_BIZ_INITIATED_MESSAGING","expiration":1795219200}]}"#;
    writers.post(&change(&waba(1), "account_update", restricted));
    writers.post(&inbound(&waba(1), "wamid.I", 10));
    let mut client = world.query();

    let request = pb::GetTemplateRequest {
        waba_id: waba(1),
        template_id: "1590000000000042".into(),
        language: "en-US".into(),
        ..Default::default()
    };
    let reply = client.get_template(request).await.unwrap().into_inner();
    let template = reply.template.unwrap();
    assert_eq!((template.status.as_str(), template.name.as_str()), ("PAUSED", "order_update"));
    assert_eq!((template.language.as_str(), template.events.len()), ("en_US", 1));
    assert_eq!(template.events[0].title, "FIRST_PAUSE");
    // Only the account's partition was asked.
    let as_of = reply.as_of.unwrap();
    assert_eq!(as_of.positions, [pb::Position { partition: 1, offset: 3 }]);

    let request = pb::GetAccountRequest { waba_id: waba(1), ..Default::default() };
    let account = client.get_account(request).await.unwrap().into_inner().account.unwrap();
    assert_eq!((account.state.as_str(), account.events.len()), ("restricted", 1));
    assert_eq!(after(account.events[0].restrictions[0].expire_time.as_ref()), Some(86_400));

    let request = pb::GetNumberRequest { phone_number_id: "1".into(), ..Default::default() };
    let number = client.get_number(request).await.unwrap().into_inner().number.unwrap();
    assert_eq!((number.waba_id, number.display_phone_number.as_str()), (waba(1), "15550001111"));
    assert_eq!(after(number.first_seen_time.as_ref()), Some(60));
}

#[tokio::test]
async fn what_is_not_known_is_not_found_with_the_reason_of_its_kind() {
    let (world, _writers) = World::open().await;
    let mut client = world.query();
    let (number, party) = ("1".to_owned(), "2".to_owned());
    let errors = [
        client.get_message(get("wamid.X", MessageView::Full)).await.unwrap_err(),
        client
            .get_conversation(pb::GetConversationRequest {
                phone_number_id: number.clone(),
                party: party.clone(),
                ..Default::default()
            })
            .await
            .unwrap_err(),
        client
            .get_template(pb::GetTemplateRequest {
                waba_id: "1".into(),
                template_id: "2".into(),
                language: "en".into(),
                ..Default::default()
            })
            .await
            .unwrap_err(),
        client
            .get_account(pb::GetAccountRequest { waba_id: "1".into(), ..Default::default() })
            .await
            .unwrap_err(),
        client
            .get_number(pb::GetNumberRequest {
                phone_number_id: number.clone(),
                ..Default::default()
            })
            .await
            .unwrap_err(),
    ];
    let reasons = ["MESSAGE", "CONVERSATION", "TEMPLATE", "ACCOUNT", "NUMBER"];
    for (error, entity) in errors.iter().zip(reasons) {
        assert_eq!(error.code(), Code::NotFound);
        assert_eq!(reason(error).0, format!("{entity}_NOT_FOUND"));
    }
    // An empty conversation is a list without messages.
    let list = pb::ListMessagesRequest { phone_number_id: number, party, ..Default::default() };
    let list = client.list_messages(list).await.unwrap().into_inner();
    assert!(list.messages.is_empty() && list.next_page_token.is_empty());
}

#[tokio::test]
async fn malformed_arguments_are_named() {
    let (world, _writers) = World::open().await;
    let mut client = world.query();
    let mut unknown_view = get("wamid.A", MessageView::Basic);
    unknown_view.view = 77;
    let mut foreign = get("wamid.A", MessageView::Basic);
    foreign.min_position = vec![pb::Position { partition: crate::world::P, offset: 0 }];
    let mut twice = get("wamid.A", MessageView::Basic);
    twice.min_position = vec![pb::Position::default(); 2];
    for (request, field) in [
        (get("", MessageView::Basic), "wamid"),
        (get(&"x".repeat(600), MessageView::Basic), "wamid"),
        (unknown_view, "view"),
        (foreign, "min_position[0].partition"),
        (twice, "min_position[1].partition"),
    ] {
        let error = client.get_message(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(
            (reason(&error).0.as_str(), fields(&error)),
            ("INVALID_ARGUMENT", vec![field.to_owned()])
        );
    }
    for wamids in [vec![], vec!["w".to_owned(); 1001]] {
        let request = pb::LookupMessagesRequest { wamids, ..Default::default() };
        let error = client.lookup_messages(request).await.unwrap_err();
        assert_eq!(fields(&error), ["wamids"]);
    }
}

#[tokio::test]
async fn a_reply_that_clients_would_refuse_is_refused_by_us() {
    let options = QueryOptions { response_bytes_max: 64 * 1024, ..QueryOptions::default() };
    let (world, mut writers) = World::open_with(options).await;
    writers.post(&status(&waba(0), "wamid.L", "failed", 0, &long_errors(20)));
    let error = world.query().get_message(get("wamid.L", MessageView::Full)).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(reason(&error).0, "RESPONSE_TOO_LARGE");
    world.query().get_message(get("wamid.L", MessageView::Basic)).await.unwrap();
    // Of a lookup only what is found counts, and none of it is left out silently.
    writers.post(&status(&waba(0), "wamid.S", "failed", 0, &long_errors(12)));
    let mut request = pb::LookupMessagesRequest {
        wamids: ["wamid.S".to_owned()].into_iter().chain((0..9).map(|n| n.to_string())).collect(),
        view: MessageView::Full.into(),
        ..Default::default()
    };
    let reply = world.query().lookup_messages(request.clone()).await.unwrap().into_inner();
    assert_eq!((reply.found.len(), reply.missing.len()), (1, 9));
    request.wamids.push("wamid.L".into());
    let error = world.query().lookup_messages(request).await.map(drop).unwrap_err();
    assert_eq!(reason(&error).0, "RESPONSE_TOO_LARGE");
    // A page ends before it; the page of this one message cannot, and says the same.
    let mut list = pb::ListMessagesRequest {
        phone_number_id: "1".into(),
        party: "49170".into(),
        view: MessageView::Full.into(),
        ..Default::default()
    };
    let page = world.query().list_messages(list.clone()).await.unwrap().into_inner();
    assert_eq!((page.messages.len(), page.messages[0].wamid.as_str()), (1, "wamid.S"));
    list.page_token = page.next_page_token;
    let error = world.query().list_messages(list).await.map(drop).unwrap_err();
    assert_eq!(reason(&error).0, "RESPONSE_TOO_LARGE");
}

#[tokio::test]
async fn a_store_that_cannot_be_understood_is_data_loss() {
    let (world, mut writers) = World::open().await;
    writers.post(&status(&waba(0), "wamid.A", "sent", 0, ""));
    world.stores.garble_messages(0);
    let error = world.query().get_message(get("wamid.A", MessageView::Basic)).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).0.as_str()), (Code::DataLoss, "STORE_UNREADABLE"));
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_internal() {
    let (world, mut writers) = World::open().await;
    writers.post(&status(&waba(0), "wamid.A", "sent", 0, ""));
    world.stores.fail_reads(true);
    let error = world.query().get_message(get("wamid.A", MessageView::Basic)).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).0.as_str()), (Code::Internal, "STORE_READ_FAILED"));
}
