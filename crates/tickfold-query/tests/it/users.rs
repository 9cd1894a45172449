//! One user under several identifiers: whichever is asked for, the answer is of all.

use std::time::Duration;

use tickfold_proto::query::v1::{self as pb, IdentifierRelation, MessageView, WindowState};

use crate::world::{World, Writers, after, change, message, reason, status, waba};

const PHONE: &str = "49170";
const USER: &str = "DE.7";
const NEW: &str = "DE.8";

/// A user who wrote by phone number, then by user id alone, then got another user id.
fn story(writers: &mut Writers) {
    let text = r#""type":"text","text":{"body":"hi"}"#;
    let both = format!(r#""from":"{PHONE}","from_user_id":"{USER}",{text}"#);
    writers.post(&message(&waba(1), "wamid.1", 1, &both));
    writers.post(&status(&waba(1), "wamid.2", "sent", 2, ""));
    let alone = format!(r#""from_user_id":"{USER}",{text}"#);
    writers.post(&message(&waba(1), "wamid.3", 30, &alone));
    let update = format!(
        r#"{{"user_id_update":[{{"wa_id":"{PHONE}","timestamp":"1795132840",
        "user_id":{{"previous":"{USER}","current":"{NEW}"}}}}]}}"#
    );
    writers.post(&change(&waba(1), "user_id_update", &update));
    let stop = format!(
        r#"{{"user_preferences":[{{"user_id":"{NEW}","category":"marketing_messages",
        "value":"stop","timestamp":1795132850}}]}}"#
    );
    writers.post(&change(&waba(1), "user_preferences", &stop));
}

async fn user(world: &World, party: &str) -> pb::User {
    let (waba_id, party) = (waba(1), party.to_owned());
    let request = pb::GetUserRequest { waba_id, party, ..Default::default() };
    world.query().get_user(request).await.unwrap().into_inner().user.unwrap()
}

fn conversation_of(party: &str) -> pb::GetConversationRequest {
    let (phone_number_id, party) = ("1".to_owned(), party.to_owned());
    pb::GetConversationRequest { phone_number_id, party, ..Default::default() }
}

#[tokio::test]
async fn a_watched_conversation_of_several_identifiers_skips_nothing() {
    use pb::watch_conversation_response::Item;
    let (world, mut writers) = World::open().await;
    world.topics().await;
    story(&mut writers);
    world.publish(&mut writers).await;
    let request = pb::WatchConversationRequest {
        phone_number_id: "1".to_owned(),
        party: USER.to_owned(),
        ..Default::default()
    };
    let mut watch = world.watch().watch_conversation(request).await.unwrap().into_inner();
    let mut next = async || {
        let next = tokio::time::timeout(Duration::from_secs(10), watch.message()).await;
        next.expect("something is told").unwrap().unwrap()
    };
    let Some(Item::Conversation(first)) = next().await.item else { panic!("no conversation") };
    assert_eq!(next().await.item, Some(Item::Mark(1)));
    let text = r#""type":"text","text":{"body":"hi"}"#;
    let alone = format!(r#""from_user_id":"{NEW}",{text}"#);
    writers.post(&message(&waba(1), "wamid.4", 60, &alone));
    world.publish(&mut writers).await;
    let told = next().await;
    let Some(Item::Conversation(second)) = &told.item else { panic!("{told:?}") };
    assert_eq!(second.inbound_count, first.inbound_count + 1);
    assert_eq!(told.skipped_revisions, 0, "it is one change");
}

#[tokio::test]
async fn a_watched_conversation_that_is_unknown_is_told_once_its_user_is_linked() {
    use pb::watch_conversation_response::Item;
    let (world, mut writers) = World::open().await;
    world.topics().await;
    for (asked, written, how) in [
        ("DE.W1", r#""from":"49171","from_user_id":"DE.W1","#, "by the other identifier"),
        ("49172", r#""from":"49172","from_user_id":"DE.W2","#, "by the first one"),
    ] {
        let request = pb::WatchConversationRequest {
            phone_number_id: "1".to_owned(),
            party: asked.to_owned(),
            ..Default::default()
        };
        let watch = world.watch().watch_conversation(request).await;
        let mut watch = watch.unwrap().into_inner();
        let mut next = async || {
            let next = tokio::time::timeout(Duration::from_secs(10), watch.message()).await;
            let next = next.unwrap_or_else(|_| panic!("{how}: nothing is told"));
            next.unwrap().unwrap().item.unwrap()
        };
        assert_eq!(next().await, Item::Missing(true), "{how}");
        assert_eq!(next().await, Item::Mark(1), "{how}");
        let body = format!(r#"{written}{}"#, r#""type":"text","text":{"body":"hi"}"#);
        writers.post(&message(&waba(0), asked, 1, &body));
        world.publish(&mut writers).await;
        let Item::Conversation(told) = next().await else { panic!("{how}: no conversation") };
        assert_eq!(told.inbound_count, 1, "{how}");
        assert_eq!(told.parties.len(), 2, "{how}");
    }
}

#[tokio::test]
async fn a_user_is_one_under_each_identifier() {
    let (world, mut writers) = World::open().await;
    story(&mut writers);
    let told = user(&world, PHONE).await;
    assert_eq!(told.parties, [PHONE, USER, NEW]);
    let links: Vec<_> = told
        .links
        .iter()
        .map(|link| (link.from.as_str(), link.relation(), link.to.as_str()))
        .collect();
    assert!(links.contains(&(PHONE, IdentifierRelation::Same, USER)), "{links:?}");
    assert!(links.contains(&(USER, IdentifierRelation::Became, NEW)), "{links:?}");
    assert_eq!(after(told.links[0].event_time.as_ref()), Some(1));
    let preference = &told.preferences[0];
    assert_eq!((preference.category.as_str(), preference.stopped), ("marketing_messages", true));
    assert_eq!((preference.party.as_str(), told.truncated), (NEW, false));
    for party in [USER, NEW] {
        assert_eq!(user(&world, party).await, told, "{party}");
    }
    let (waba_id, party) = (waba(0), PHONE.to_owned());
    let elsewhere = pb::GetUserRequest { waba_id, party, ..Default::default() };
    let error = world.query().get_user(elsewhere).await.unwrap_err();
    assert_eq!(reason(&error).0, "USER_NOT_FOUND", "identifiers are of one account");
}

#[tokio::test]
async fn a_conversation_is_one_under_each_identifier_with_its_history() {
    let (world, mut writers) = World::open().await;
    story(&mut writers);
    let mut conversations = Vec::new();
    for party in [PHONE, USER, NEW] {
        let mut request = conversation_of(party);
        (request.message_count, request.message_view) = (2, MessageView::Full.into());
        let reply = world.query().get_conversation(request).await.unwrap().into_inner();
        let wamids: Vec<_> = reply.messages.iter().map(|one| one.wamid.as_str()).collect();
        assert_eq!(wamids, ["wamid.3", "wamid.2"], "{party}");
        let mut conversation = reply.conversation.unwrap();
        assert_eq!(std::mem::take(&mut conversation.party), party);
        conversations.push(conversation);
        // The list goes on where the answer stops.
        let list = pb::ListMessagesRequest {
            phone_number_id: "1".into(),
            party: party.into(),
            page_token: reply.next_page_token,
            view: MessageView::Full.into(),
            ..Default::default()
        };
        let list = world.query().list_messages(list).await.unwrap().into_inner();
        assert_eq!(list.messages.len(), 1, "{party}");
        assert_eq!(list.messages[0].wamid, "wamid.1", "{party}");
        assert_eq!(list.next_page_token, "", "{party}");
    }
    let conversation = &conversations[0];
    assert!(conversations.iter().all(|other| other == conversation), "{conversations:?}");
    assert_eq!(conversation.parties, [PHONE, USER, NEW]);
    assert_eq!((conversation.inbound_count, conversation.outbound_count), (2, 1));
    assert_eq!(after(conversation.first_inbound_time.as_ref()), Some(1));
    assert_eq!(after(conversation.window_expire_time.as_ref()), Some(30 + 86_400));
    assert_eq!(conversation.window_state(), WindowState::Open);
    assert!(conversation.contacted);
    // Without being asked for there are no messages, and no token.
    let reply = world.query().get_conversation(conversation_of(NEW)).await.unwrap().into_inner();
    assert!(reply.messages.is_empty() && reply.next_page_token.is_empty());
}

#[tokio::test]
async fn an_advert_opens_the_free_entry_point_and_permission_to_call_ends() {
    let (world, mut writers) = World::open().await;
    let advert = r#""from":"49170","type":"text","text":{"body":"hi"},
        "referral":{"source_type":"ad","source_id":"5","ctwa_clid":"c"}"#;
    writers.post(&message(&waba(0), "wamid.I", 1, advert));
    let billing = r#","conversation":{"id":"b","origin":{"type":"referral_conversion"},
        "expiration_timestamp":"1795392010"}"#;
    writers.post(&status(&waba(0), "wamid.O", "sent", 10, billing));
    let permission = r#""from":"49170","type":"interactive","interactive":{
        "type":"call_permission_reply","call_permission_reply":{"response":"accept",
        "expiration_timestamp":1795200000}}"#;
    writers.post(&message(&waba(0), "wamid.P", 20, permission));
    let ask = || async {
        let reply = world.query().get_conversation(conversation_of("49170")).await.unwrap();
        reply.into_inner().conversation.unwrap()
    };
    let told = ask().await;
    assert_eq!(told.free_entry_state(), WindowState::Open);
    assert_eq!(after(told.free_entry_expire_time.as_ref()), Some(10 + 3 * 86_400));
    let referral = told.referral.unwrap();
    assert_eq!(
        (referral.source_type.as_str(), referral.source_id.as_str(), referral.ctwa_clid.as_str()),
        ("ad", "5", "c")
    );
    assert!(told.call_permission.unwrap().permitted);
    let request = pb::GetMessageRequest { wamid: "wamid.O".into(), ..Default::default() };
    let ours = world.query().get_message(request).await.unwrap().into_inner().message.unwrap();
    assert_eq!(ours.billing_conversation.unwrap().origin, "referral_conversion");

    writers.now_ms += 4 * 86_400_000;
    writers.tick(0);
    let told = ask().await;
    assert_eq!(told.free_entry_state(), WindowState::Closed);
    let permission = told.call_permission.unwrap();
    assert_eq!((permission.permitted, permission.refused), (false, false));
}
